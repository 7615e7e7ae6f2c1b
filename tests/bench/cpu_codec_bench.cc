// Encoding and decoding turbo blocks against memcpy, one core, data out of cache.
//
//   build/release/bin/cpu_codec_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=7
//
// "B/s" counts the 16-bit numbers in every series: those read by encoders, written by decoders and copied by memcpy, so
// that a ratio of two series is a ratio of times.
#include <benchmark/benchmark.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "codec/block_view.h"
#include "codec/codec_id.h"
#include "codec/half_float.h"
#include "kernels/kv_kernels.h"

namespace polarkv {
namespace {

constexpr uint32_t kTensors = 24;  // of 8 MiB: out of any cache
constexpr uint32_t kTokens = 2048, kHeads = 8, kDim = 128;
constexpr size_t kElements = size_t{kHeads} * kTokens * kDim;

BlockSpec Spec(const std::string& codec) {
  BlockSpec spec;
  spec.layers = 1;
  spec.kv_heads = kHeads;
  spec.head_dim = kDim;
  spec.tokens = kTokens;
  spec.codec = ParseCodecPair(codec).value();
  spec.source_dtype = Dtype::kBF16;
  spec.first_position = kTokens;  // not the first block, some of whose tokens are stored raw
  spec.rope = {RopePairing::kHalf, 10000.0f, kDim};
  return spec;
}

// K, or V, of kTensors blocks.
const std::vector<std::vector<uint16_t>>& Tensors(bool fp16) {
  static std::vector<std::vector<uint16_t>> all[2];
  auto& tensors = all[fp16 ? 1 : 0];
  if (!tensors.empty()) return tensors;
  std::mt19937 generator(fp16 ? 1 : 2);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> x(kElements);
  for (uint16_t& value : x) {
    const float number = normal(generator);
    value = fp16 ? FloatToHalf(number) : static_cast<uint16_t>(std::bit_cast<uint32_t>(number) >> 16);
  }
  tensors.assign(2 * kTensors, x);
  return tensors;
}

std::vector<std::vector<uint16_t>>& Outputs() {
  static std::vector<std::vector<uint16_t>> outputs(2 * kTensors, std::vector<uint16_t>(kElements, 1));
  return outputs;
}

void Count(benchmark::State& state) {
  const double bytes = static_cast<double>(state.iterations()) * 2 * kTensors * kElements * 2;
  state.counters["B/s"] = benchmark::Counter(bytes, benchmark::Counter::kIsRate);
}

TensorView View(const std::vector<uint16_t>& x, Dtype dtype) {
  return TensorView::Contiguous(x.data(), dtype, {1, kHeads, kTokens, kDim});
}

void Memcpy(benchmark::State& state) {
  const auto& from = Tensors(false);
  auto& to = Outputs();
  for (auto _ : state) {
    for (uint32_t i = 0; i < 2 * kTensors; ++i) std::memcpy(to[i].data(), from[i].data(), 2 * kElements);
    benchmark::ClobberMemory();
  }
  Count(state);
}

void Encode(benchmark::State& state, const std::string& codec, Dtype dtype) {
  const auto& tensors = Tensors(dtype == Dtype::kF16);
  static std::vector<std::vector<uint8_t>> blocks(kTensors);
  const BlockSpec spec = Spec(codec);
  for (auto& block : blocks) block.reserve(BlockLayout::Make(spec)->total_bytes());
  for (auto _ : state) {
    for (uint32_t i = 0; i < kTensors; ++i) {
      const absl::Status s = EncodeBlock(spec, View(tensors[2 * i], dtype), View(tensors[2 * i + 1], dtype), {}, blocks[i]);
      if (!s.ok()) state.SkipWithError("encode failed");
    }
  }
  Count(state);
}

struct Encoded {
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<BlockView> views;
};

Encoded Blocks(const std::string& codec) {
  const auto& tensors = Tensors(false);
  const auto block = EncodeBlock(Spec(codec), View(tensors[0], Dtype::kBF16), View(tensors[1], Dtype::kBF16)).value();
  Encoded encoded{std::vector(kTensors, block), {}};
  for (const auto& bytes : encoded.bytes) encoded.views.push_back(BlockView::Parse(bytes, VerifyPayload::kNo).value());
  return encoded;
}

void Decode(benchmark::State& state, const std::string& codec, Dtype dtype, KvDomain domain) {
  const Encoded encoded = Blocks(codec);
  auto& outputs = Outputs();
  const auto bytes = [](std::vector<uint16_t>& x) { return std::span(reinterpret_cast<uint8_t*>(x.data()), 2 * x.size()); };
  for (auto _ : state) {
    for (uint32_t i = 0; i < kTensors; ++i) {
      const absl::Status s =
          DecodeBlock(encoded.views[i], dtype, domain, bytes(outputs[2 * i]), bytes(outputs[2 * i + 1]));
      if (!s.ok()) state.SkipWithError("decode failed");
    }
  }
  Count(state);
}

// What of encoding is checksums: they are a pass over the finished block.
void Seal(benchmark::State& state, const std::string& codec) {
  Encoded encoded = Blocks(codec);
  const BlockSpec spec = Spec(codec);
  const BlockLayout layout = BlockLayout::Make(spec).value();
  for (auto _ : state) {
    for (auto& block : encoded.bytes) SealBlock(spec, layout, block);
  }
  Count(state);
}

BENCHMARK(Memcpy)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, turbo4_bf16, "turbo4", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, turbo4_fp16, "turbo4", Dtype::kF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, turbo3_bf16, "turbo3", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, turbo2_bf16, "turbo2", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Seal, turbo4, "turbo4")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo4_bf16, "turbo4", Dtype::kBF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo4_fp16, "turbo4", Dtype::kF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo2_bf16, "turbo2", Dtype::kBF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo4_bf16_rotated, "turbo4", Dtype::kBF16, KvDomain::kRotated)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace polarkv

BENCHMARK_MAIN();
