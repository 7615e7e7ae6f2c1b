// Property: whatever numbers a tensor holds, encoding refuses them or makes a block that passes every check, decodes to
// finite numbers and attends to finite output; and every body of this machine makes the same block.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "codec/block_view.h"
#include "codec/key_mean_profile_builder.h"
#include "codec/reference_codec.h"
#include "kernels/cpu/cpu_encode.h"
#include "kernels/kv_kernels.h"

namespace polarkv {
namespace {

constexpr size_t kControlBytes = 16;
constexpr std::array<uint16_t, 6> kHeadDims = {64, 80, 96, 128, 192, 256};
constexpr uint32_t kMostTokens = 130;  // three tiles, the last one short

struct EncodeInput {
  BlockSpec spec;
  EncodeOptions options;
  KeyMeanProfilePtr profile;  // that options may have
  std::vector<uint8_t> k, v;  // contiguous
};

CodecId AnyCodec(uint8_t byte) { return AllCodecs()[byte % AllCodecs().size()]; }

// Deep codes' search takes a thousand times as long as others', with instrumentation seconds a tile.
bool IsSlow(CodecId codec) { return TraitsOf(codec).kind == CodecKind::kDeep || codec == CodecId::kBand2_5; }

size_t BytesOf(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 2; }

// The input's numbers over and over, from another place for values.
std::vector<uint8_t> Fill(std::span<const uint8_t> numbers, size_t bytes, size_t first) {
  std::vector<uint8_t> tensor(bytes);
  if (numbers.empty()) return tensor;
  for (size_t i = 0; i < bytes; ++i) tensor[i] = numbers[(first + i) % numbers.size()];
  return tensor;
}

TensorView View(const BlockSpec& spec, const std::vector<uint8_t>& tensor) {
  return TensorView::Contiguous(tensor.data(), spec.source_dtype,
                                {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim});
}

// Of the first tokens of the input's own keys; null if there is none of such keys.
KeyMeanProfilePtr ProfileOf(const EncodeInput& input, uint32_t tokens) {
  const BlockSpec& spec = input.spec;
  const auto builder = KeyMeanProfileBuilder::Create({spec.layers, spec.kv_heads, spec.head_dim, spec.rope, {}});
  if (!builder.ok()) std::abort();
  TensorView keys = View(spec, input.k);
  keys.shape[2] = std::min(tokens, spec.tokens);
  if (!(*builder)->Add(keys, spec.first_position).ok()) return nullptr;
  const absl::StatusOr<KeyMeanProfilePtr> profile = (*builder)->Build();
  return profile.ok() ? *profile : nullptr;
}

EncodeInput ReadEncodeInput(std::span<const uint8_t, kControlBytes> control, std::span<const uint8_t> numbers) {
  EncodeInput input;
  BlockSpec& spec = input.spec;
  spec.layers = static_cast<uint16_t>(1 + control[0] / 2 % 2);
  spec.kv_heads = static_cast<uint16_t>(1 + control[0] % 2);
  spec.head_dim = kHeadDims[control[1] % kHeadDims.size()];
  spec.tokens = 1 + control[2] % kMostTokens;
  spec.codec = {AnyCodec(control[3]), AnyCodec(control[4])};
  if (IsSlow(spec.codec.k) || IsSlow(spec.codec.v)) {
    spec.layers = 1;
    spec.tokens = 1 + control[2] % 66;
  }
  spec.source_dtype = static_cast<Dtype>(1 + control[5] % 3);
  spec.rope.pairing = static_cast<RopePairing>(control[6] % 3);
  if (spec.rope.pairing != RopePairing::kNone) {
    spec.rope.base = control[7] % 2 == 0 ? 1e4f : 1e6f;
    spec.rope.dims = static_cast<uint16_t>(control[8] % 2 == 0 ? spec.head_dim : 2 + control[8] % spec.head_dim / 2 * 2);
  }
  std::memcpy(&spec.first_position, &control[9], 4);
  if (control[13] % 2 == 0) spec.first_position = 0;
  if (control[13] / 2 % 2 == 0) input.options.bands = BandPolicy::kAlways;
  input.options.key_mean = static_cast<KeyMeanPolicy>(control[14] % 3);
  input.options.raw_first_tokens = control[15] % 8;
  input.options.escapes = control[15] % 16 < 12;
  const size_t bytes =
      size_t{spec.layers} * spec.kv_heads * spec.tokens * spec.head_dim * BytesOf(spec.source_dtype);
  input.k = Fill(numbers, bytes, 0);
  input.v = Fill(numbers, bytes, 3 * BytesOf(spec.source_dtype));
  if (control[14] / 4 % 4 == 0) input.profile = ProfileOf(input, 8u + control[14] / 16);
  input.options.profile = input.profile.get();
  return input;
}

bool AllFinite(std::span<const float> numbers) {
  return std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); });
}

void CheckBlock(std::span<const uint8_t> bytes, const KeyMeanProfilePtr& profile) {
  const absl::StatusOr<BlockView> view = BlockView::Parse(bytes, VerifyPayload::kYes, profile);
  if (!view.ok()) std::abort();
  const BlockSpec& spec = view->spec();
  const size_t size = size_t{spec.layers} * spec.kv_heads * spec.tokens * spec.head_dim;
  std::vector<float> k(size), v(size), fast_k(size), fast_v(size);
  if (!reference::DecodeBlock(*view, k, v).ok() || !DecodeBlock(*view, fast_k, fast_v).ok()) std::abort();
  if (!AllFinite(k) || !AllFinite(v) || k != fast_k || v != fast_v) std::abort();
  std::vector<float> q(size_t{2} * spec.kv_heads * spec.head_dim, -0.125f), o(q.size()), lse(size_t{2} * spec.kv_heads);
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    if (!Attend({&*view, 1}, layer, 2u * spec.kv_heads, 1, q, 1.0f, o, lse).ok()) std::abort();
    if (!AllFinite(o) || !AllFinite(lse)) std::abort();
  }
}

void Run(const EncodeInput& input) {
  const BlockSpec& spec = input.spec;
  const TensorView k = View(spec, input.k), v = View(spec, input.v);
  const absl::StatusOr<std::vector<uint8_t>> block = reference::EncodeBlock(spec, k, v, input.options);
  if (block.ok()) CheckBlock(*block, input.profile);
  for (const cpu::InstructionSet set : cpu::kInstructionSets) {
    if (set == cpu::InstructionSet::kScalar || !cpu::Supports(set)) continue;
    std::vector<uint8_t> bytes;
    const absl::Status status = cpu::EncodeBlock(spec, k, v, input.options, set, bytes);
    if (status.code() != block.status().code() || (block.ok() && bytes != *block)) std::abort();
  }
}

}  // namespace
}  // namespace polarkv

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace polarkv;
  if (size < kControlBytes) return 0;
  const std::span<const uint8_t> all(data, size);
  Run(ReadEncodeInput(all.first<kControlBytes>(), all.subspan(kControlBytes)));
  return 0;
}
