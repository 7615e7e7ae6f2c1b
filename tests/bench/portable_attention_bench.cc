// Attention with the portable bodies against 16-bit attention compiled for AVX2, one core, data out of cache.
//
//   build/release/bin/portable_attention_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=7
//
// Every series walks 256 MiB of KV heads of 32,768 tokens, head_dim 128; "tokens/s" is tokens of one head, "B/s" the bytes
// of that series' own format.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_attention.h"
#include "tests/bench/attention_data.h"
#include "tests/bench/rival_attention_avx2.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using bench::Blocks;
using bench::Count;
using bench::kDim;
using bench::kRivalHeads;
using bench::kTokens;
using cpu::InstructionSet;
using testing::Gaussian;

void Blocked(benchmark::State& state, const std::string& codec, InstructionSet set) {
  if (!cpu::Supports(set)) return state.SkipWithError("not on this machine");
  const auto& blocks = Blocks(codec);
  const auto rows = static_cast<uint32_t>(state.range(0));
  const auto q = Gaussian(rows * kDim, 5);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (const auto& head : blocks.heads) {
      if (!cpu::Attend(head, 0, rows, 1, q, 1 / std::sqrt(float{kDim}), o, lse, set).ok()) state.SkipWithError("failed");
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, blocks.heads.size(), blocks.bytes_per_token);
}

void SixteenBit(benchmark::State& state, bool bf16) {
  if (!cpu::Supports(InstructionSet::kAvx2)) return state.SkipWithError("no AVX2 here");
  const auto data = bench::SixteenBit(bf16);
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
