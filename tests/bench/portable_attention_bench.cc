// Attention with the portable bodies against 16-bit attention compiled for AVX2, one core, data out of cache.
//
//   build/release/bin/portable_attention_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=7
//
// Every series walks KV heads of 32,768 tokens, head_dim 128, 128 MiB or more; "tokens/s" is tokens of one head, "B/s" the bytes
// of that series' own format.
#include <benchmark/benchmark.h>

#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "codec/codec_id.h"
#include "codec/half_float.h"
#include "kernels/cpu/cpu_attention.h"
#include "kernels/kv_kernels.h"
#include "tests/bench/rival_attention_avx2.h"

namespace polarkv {
namespace {

using cpu::InstructionSet;

constexpr uint32_t kTokens = 32768, kBlockTokens = 2048, kDim = 128;
constexpr size_t kBytes = size_t{128} << 20;
constexpr uint32_t kRivalHeads = kBytes / (kTokens * kDim * 4);

std::vector<float> Gaussian(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(generator);
  return x;
}

// One block, copied until the memory is full.
struct Encoded {
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<std::vector<BlockView>> heads;
};

const Encoded& Blocks(const std::string& codec) {
  static std::map<std::string, Encoded> all;
  Encoded& e = all[codec];
  if (!e.heads.empty()) return e;
  BlockSpec spec;
  spec.layers = spec.kv_heads = 1;
  spec.head_dim = kDim;
  spec.tokens = kBlockTokens;
  spec.codec = ParseCodecPair(codec).value();
  spec.source_dtype = Dtype::kF32;
  spec.first_position = kBlockTokens;  // not the first block, some of whose tokens are stored raw
  const auto k = Gaussian(size_t{kBlockTokens} * kDim, 1), v = Gaussian(size_t{kBlockTokens} * kDim, 2);
  const std::array<int64_t, 4> shape = {1, 1, kBlockTokens, kDim};
  const auto block = EncodeBlock(spec, TensorView::Contiguous(k.data(), Dtype::kF32, shape),
                                 TensorView::Contiguous(v.data(), Dtype::kF32, shape)).value();
  constexpr size_t kBlocksPerHead = kTokens / kBlockTokens;
  e.heads.resize(kBytes / (block.size() * kBlocksPerHead) + 1);
  e.bytes.assign(e.heads.size() * kBlocksPerHead, block);
  for (size_t i = 0; i < e.bytes.size(); ++i) {
    e.heads[i / kBlocksPerHead].push_back(BlockView::Parse(e.bytes[i], VerifyPayload::kNo).value());
  }
  return e;
}

void Count(benchmark::State& state, size_t heads, double bytes_per_token) {
  const double tokens = static_cast<double>(state.iterations()) * static_cast<double>(heads) * kTokens;
  state.counters["tokens/s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
  state.counters["B/s"] = benchmark::Counter(tokens * bytes_per_token, benchmark::Counter::kIsRate);
}

void Blocked(benchmark::State& state, const std::string& codec, InstructionSet set) {
  if (!cpu::Supports(set)) return state.SkipWithError("not on this machine");
  const Encoded& blocks = Blocks(codec);
  const auto rows = static_cast<uint32_t>(state.range(0));
  const auto q = Gaussian(rows * kDim, 5);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (const auto& head : blocks.heads) {
      if (!cpu::Attend(head, 0, rows, 1, q, 1 / std::sqrt(float{kDim}), o, lse, set).ok()) state.SkipWithError("failed");
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, blocks.heads.size(), static_cast<double>(blocks.bytes[0].size()) / kBlockTokens);
}

void SixteenBit(benchmark::State& state, bool bf16) {
  if (!cpu::Supports(InstructionSet::kAvx2)) return state.SkipWithError("no AVX2 here");
  static std::map<bool, std::vector<uint16_t>> all;
  std::vector<uint16_t>& data = all[bf16];
  if (data.empty()) {
    const auto x = Gaussian(1 << 20, 3);
    data.resize(kBytes / 2 + (1 << 18));  // prefetched beyond the end
    for (size_t i = 0; i < data.size(); ++i) {
      const float value = x[i & (x.size() - 1)];
      data[i] = bf16 ? static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16) : FloatToHalf(value);
    }
  }
  const auto attend = bf16 ? bench::AttendBf16Avx2 : bench::AttendFp16Avx2;
  const auto rows = static_cast<uint32_t>(state.range(0));
  auto q = Gaussian(rows * kDim, 5);
  for (float& x : q) x *= 1.44269504f / std::sqrt(float{kDim});
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (uint32_t head = 0; head < kRivalHeads; ++head) {
      const uint16_t* k = data.data() + size_t{head} * 2 * kTokens * kDim;
      attend(k, k + size_t{kTokens} * kDim, kTokens, q.data(), rows, o.data(), lse.data());
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, kRivalHeads, 4 * kDim);
}

#define POLARKV_ROWS(series) series->Arg(1)->Arg(4)->Arg(8)->Unit(benchmark::kMillisecond)
POLARKV_ROWS(BENCHMARK_CAPTURE(SixteenBit, fp16, false));
POLARKV_ROWS(BENCHMARK_CAPTURE(SixteenBit, bf16, true));
POLARKV_ROWS(BENCHMARK_CAPTURE(Blocked, turbo4_avx2, "turbo4", InstructionSet::kAvx2));
POLARKV_ROWS(BENCHMARK_CAPTURE(Blocked, turbo2_avx2, "turbo2", InstructionSet::kAvx2));
POLARKV_ROWS(BENCHMARK_CAPTURE(Blocked, trellis3_avx2, "trellis3", InstructionSet::kAvx2));
POLARKV_ROWS(BENCHMARK_CAPTURE(Blocked, turbo4_vector128, "turbo4", InstructionSet::kVector128));
POLARKV_ROWS(BENCHMARK_CAPTURE(Blocked, turbo2_vector128, "turbo2", InstructionSet::kVector128));
POLARKV_ROWS(BENCHMARK_CAPTURE(Blocked, turbo4_avx512, "turbo4", InstructionSet::kAvx512));

}  // namespace
}  // namespace polarkv

BENCHMARK_MAIN();
