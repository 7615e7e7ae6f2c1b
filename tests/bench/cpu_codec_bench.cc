// Encoding and decoding blocks against memcpy, one core, data out of cache.
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
#include "codec/key_mean.h"
#include "codec/key_mean_profile.h"
#include "codec/rope_phase.h"
#include "kernels/cpu/cpu_encode.h"
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

// The bias of biased keys, of every coordinate.
constexpr float kBias = 1;

// BF16 keys with a bias that RoPE turned, as large as the rest, in place of K.
const std::vector<std::vector<uint16_t>>& BiasedTensors() {
  static std::vector<std::vector<uint16_t>> tensors;
  if (!tensors.empty()) return tensors;
  tensors = Tensors(false);
  const BlockSpec spec = Spec("turbo4");
  const std::vector<float> mean(kDim, kBias);
  std::vector<uint16_t> keys = tensors[0];
  for (size_t t = 0; t < size_t{kHeads} * kTokens; ++t) {
    float turned[kDim];
    TurnToPosition(spec.rope, RopePhases(spec.rope), spec.first_position + t % kTokens, mean.data(), kDim, turned);
    for (uint32_t j = 0; j < kDim; ++j) {
      const float key = BFloat16ToFloat(keys[t * kDim + j]) + turned[j];
      keys[t * kDim + j] = static_cast<uint16_t>(std::bit_cast<uint32_t>(key) >> 16);
    }
  }
  for (uint32_t i = 0; i < kTensors; ++i) tensors[2 * i] = keys;
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

KeyMeanProfilePtr Profile() {
  const BlockSpec spec = Spec("turbo4");
  const std::vector<float> mean(kDim, kBias);
  const size_t bytes = VectorRecordBytes(kDim);
  std::vector<uint8_t> records(bytes * kHeads);
  for (uint32_t head = 0; head < kHeads; ++head) WriteRecord(mean.data(), kDim, records.data() + head * bytes);
  return KeyMeanProfile::Make({1, kHeads, kDim, spec.rope, RopePhases(spec.rope)}, records).value();
}

enum class Keys { kUnbiased, kBiased, kBiasedAsAProfileSays };

void Encode(benchmark::State& state, const std::string& codec, Dtype dtype, Keys keys = Keys::kUnbiased,
            cpu::InstructionSet set = cpu::BestInstructionSet()) {
  if (!cpu::Supports(set)) return state.SkipWithError("not on this machine");
  const auto& tensors = keys == Keys::kUnbiased ? Tensors(dtype == Dtype::kF16) : BiasedTensors();
  static std::vector<std::vector<uint8_t>> blocks(kTensors);
  const BlockSpec spec = Spec(codec);
  const KeyMeanProfilePtr profile = keys == Keys::kBiasedAsAProfileSays ? Profile() : nullptr;
  EncodeOptions options;
  options.profile = profile.get();
  for (auto& block : blocks) block.reserve(BlockLayout::Make(spec)->total_bytes());
  for (auto _ : state) {
    for (uint32_t i = 0; i < kTensors; ++i) {
      const absl::Status s =
          cpu::EncodeBlock(spec, View(tensors[2 * i], dtype), View(tensors[2 * i + 1], dtype), options, set, blocks[i]);
      if (!s.ok()) state.SkipWithError("encode failed");
    }
  }
  Count(state);
}

// With AVX2, on whatever machine.
void EncodeAvx2(benchmark::State& state, const std::string& codec, Dtype dtype, Keys keys = Keys::kUnbiased) {
  Encode(state, codec, dtype, keys, cpu::InstructionSet::kAvx2);
}

struct Encoded {
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<BlockView> views;
};

Encoded Blocks(const std::string& codec, bool biased = false) {
  const auto& tensors = biased ? BiasedTensors() : Tensors(false);
  const auto block = EncodeBlock(Spec(codec), View(tensors[0], Dtype::kBF16), View(tensors[1], Dtype::kBF16)).value();
  Encoded encoded{std::vector(kTensors, block), {}};
  for (const auto& bytes : encoded.bytes) encoded.views.push_back(BlockView::Parse(bytes, VerifyPayload::kNo).value());
  return encoded;
}

void Decode(benchmark::State& state, const std::string& codec, Dtype dtype, KvDomain domain, bool biased = false) {
  const Encoded encoded = Blocks(codec, biased);
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
BENCHMARK_CAPTURE(Encode, turbo4_bf16_biased, "turbo4", Dtype::kBF16, Keys::kBiased)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, turbo4_bf16_profile, "turbo4", Dtype::kBF16, Keys::kBiasedAsAProfileSays)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, turbo5_bf16, "turbo5", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, trellis3_bf16, "trellis3", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, trellis2_bf16, "trellis2", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, trellis1_bf16, "trellis1", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EncodeAvx2, turbo4_bf16, "turbo4", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EncodeAvx2, turbo4_fp16, "turbo4", Dtype::kF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EncodeAvx2, turbo2_bf16, "turbo2", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EncodeAvx2, turbo4_bf16_biased, "turbo4", Dtype::kBF16, Keys::kBiased)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EncodeAvx2, trellis3_bf16, "trellis3", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EncodeAvx2, trellis1_bf16, "trellis1", Dtype::kBF16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Seal, turbo4, "turbo4")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo4_bf16, "turbo4", Dtype::kBF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo4_fp16, "turbo4", Dtype::kF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo2_bf16, "turbo2", Dtype::kBF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo4_bf16_biased, "turbo4", Dtype::kBF16, KvDomain::kModel, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo5_bf16, "turbo5", Dtype::kBF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, trellis3_bf16, "trellis3", Dtype::kBF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, trellis1_bf16, "trellis1", Dtype::kBF16, KvDomain::kModel)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, turbo4_bf16_rotated, "turbo4", Dtype::kBF16, KvDomain::kRotated)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace polarkv

BENCHMARK_MAIN();
