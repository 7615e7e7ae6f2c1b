#include "tests/quality/baseline_schemes.h"

#include <span>

namespace polarkv::quality {
namespace {

// Returns bits per coordinate.
double QuantizeHeads(const KvCase& kv, const SideQuantizer& quantizer, const std::vector<float>& in,
                     std::vector<float>& out) {
  out.resize(in.size());
  const size_t head_elements = size_t{kv.tokens} * kv.head_dim;
  double bits = 0;
  for (uint32_t head = 0; head < kv.kv_heads; ++head) {
    bits += quantizer.Quantize({kv.tokens, kv.head_dim, kv.rope},
                               std::span(in).subspan(head * head_elements, head_elements),
                               std::span(out).subspan(head * head_elements, head_elements));
  }
  return bits / static_cast<double>(kv.coordinates());
}

}  // namespace

absl::StatusOr<Reconstruction> BaselineScheme::Apply(const KvCase& kv) const {
  Reconstruction result;
  result.bits.k = QuantizeHeads(kv, *keys_, kv.k, result.k);
  result.bits.v = QuantizeHeads(kv, *values_, kv.v, result.v);
  result.net = result.bits;
  return result;
}

Schemes BaselineSchemes() {
  Schemes schemes;
  const auto add = [&schemes](std::string name, std::string family, SideQuantizerPtr keys, SideQuantizerPtr values) {
    schemes.push_back(
        std::make_unique<BaselineScheme>(std::move(name), std::move(family), std::move(keys), std::move(values)));
  };
  add(kKivi4, "KIVI G=128", PerChannelIntegers(4, 128), PerTokenIntegers(4, 128));
  add(kKivi4Fine, "KIVI G=32", PerChannelIntegers(4, 32), PerTokenIntegers(4, 32));
  add("KIVI int2 G=128", "KIVI G=128", PerChannelIntegers(2, 128), PerTokenIntegers(2, 128));
  add("KIVI int2 G=32", "KIVI G=32", PerChannelIntegers(2, 32), PerTokenIntegers(2, 32));
  add("per-token int4", "per-token int", PerTokenIntegers(4, 0), PerTokenIntegers(4, 0));
  add("fp8 e4m3", "fp8", Float8(), Float8());
  add("NVFP4", "NVFP4", Nvfp4(), Nvfp4());
  // The paper codes keys only; its experiments keep values as KIVI does.
  add(kPolarPublished, "PolarQuant", PublishedPolar(4, 4), PerTokenIntegers(4, 128));
  for (uint32_t bits = 1; bits <= 4; ++bits) {
    add("Lloyd-Max " + std::to_string(bits), "Lloyd-Max", LloydMaxCodes(bits), LloydMaxCodes(bits));
  }
  for (uint32_t bits = 2; bits <= 4; ++bits) {
    add("TurboQuant prod " + std::to_string(bits), "TurboQuant prod", LloydMaxCodesWithResidual(bits - 1),
        LloydMaxCodes(bits));
  }
  for (uint32_t sketches : {1u, 2u, 4u}) {
    add("QJL m=" + std::to_string(sketches) + "d", "QJL", SignsOfSketches(sketches), PerTokenIntegers(4, 128));
  }
  return schemes;
}

}  // namespace polarkv::quality
