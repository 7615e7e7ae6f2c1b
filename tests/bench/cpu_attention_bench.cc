// Attention on turbo blocks against fp16 and bf16 attention, one core, data out of cache.
//
//   build/release/bin/cpu_attention_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=7
//
// Every series reads 256 MiB of its own format, KV heads of 32,768 tokens, head_dim 128; "tokens/s" is tokens of one head, "B/s"
// the bytes of that series' own format. ReadMemory is the core's cold read bandwidth in the same run.
#include <benchmark/benchmark.h>
#include <immintrin.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/kv_kernels.h"
#include "tests/bench/attention_data.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using bench::Blocks;
using bench::Count;
using bench::kBlockTokens;
using bench::kDim;
using bench::kRivalHeads;
using bench::kTokens;
using bench::SixteenBit;
using testing::Gaussian;

void Polarkv(benchmark::State& state, const std::string& codec, PlaneMask planes, bool means = false) {
  const auto& blocks = Blocks(codec, planes, means);
  const auto rows = static_cast<uint32_t>(state.range(0));
  const auto q = Gaussian(rows * kDim, 5);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (const auto& head : blocks.heads) {
      if (!Attend(head, 0, rows, 1, q, 1 / std::sqrt(float{kDim}), o, lse).ok()) state.SkipWithError("attend failed");
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, blocks.heads.size(), blocks.bytes_per_token);
}

// One block over and over, which the second cache holds: the same work without memory.
void InCache(benchmark::State& state, const std::string& codec) {
  const auto& blocks = Blocks(codec, kAllPlanes);
  const std::vector<BlockView> head(kTokens / kBlockTokens, blocks.heads[0][0]);
  const auto rows = static_cast<uint32_t>(state.range(0));
  const auto q = Gaussian(rows * kDim, 5);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (size_t i = 0; i < blocks.heads.size(); ++i) {
      if (!Attend(head, 0, rows, 1, q, 1 / std::sqrt(float{kDim}), o, lse).ok()) state.SkipWithError("attend failed");
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, blocks.heads.size(), blocks.bytes_per_token);
}

void Fp16(benchmark::State& state) {
  const auto data = SixteenBit(false);
  const auto rows = static_cast<uint32_t>(state.range(0));
  const auto q = Gaussian(rows * kDim, 5);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (uint32_t head = 0; head < kRivalHeads; ++head) {
      const uint16_t* k = data.data() + size_t{head} * 2 * kTokens * kDim;
      bench::AttendFp16(k, k + size_t{kTokens} * kDim, kTokens, q.data(), rows, o.data(), lse.data());
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, kRivalHeads, 4 * kDim);
}

void Bf16(benchmark::State& state) {
  if (!bench::HasBf16()) return state.SkipWithError("no AVX-512 BF16 here");
  const auto data = SixteenBit(true);
  const auto rows = static_cast<uint32_t>(state.range(0));
  std::vector<uint16_t> q(rows * kDim, 0x3D00);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (uint32_t head = 0; head < kRivalHeads; ++head) {
      const uint16_t* k = data.data() + size_t{head} * 2 * kTokens * kDim;
      bench::AttendBf16(k, k + size_t{kTokens} * kDim, kTokens, q.data(), rows, o.data(), lse.data());
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, kRivalHeads, 4 * kDim);
}

__attribute__((target("avx512f"))) void ReadMemory(benchmark::State& state) {
  const auto data = SixteenBit(false);
  const auto* bytes = reinterpret_cast<const char*>(data.data());
  const size_t size = data.size() * 2;
  constexpr size_t kChunk = 32768, kStreams = 8;
  __m512i x = _mm512_setzero_si512();
  for (auto _ : state) {
    for (size_t at = 0; at + 2 * kChunk <= size; at += kChunk) {
      for (size_t i = 0; i < kChunk / kStreams; i += 64) {
        for (size_t s = 0; s < kStreams; ++s) _mm_prefetch(bytes + at + kChunk + s * kChunk / kStreams + i, _MM_HINT_T1);
      }
      for (size_t i = 0; i < kChunk; i += 64) x = _mm512_xor_si512(x, _mm512_loadu_si512(bytes + at + i));
    }
    benchmark::DoNotOptimize(x);
  }
  state.counters["B/s"] = benchmark::Counter(static_cast<double>(state.iterations()) * size, benchmark::Counter::kIsRate);
}

BENCHMARK(ReadMemory)->Unit(benchmark::kMillisecond);
BENCHMARK(Fp16)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond);
BENCHMARK(Bf16)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond);
#define POLARKV_SERIES(name, codec, ...) \
  BENCHMARK_CAPTURE(Polarkv, name, codec, __VA_ARGS__)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond)
POLARKV_SERIES(turbo4, "turbo4", kAllPlanes);
POLARKV_SERIES(turbo4_read_at_3_bits, "turbo4", 0x07);
POLARKV_SERIES(turbo4_read_at_2_bits, "turbo4", 0x01);
POLARKV_SERIES(turbo3, "turbo3", kAllPlanes);
POLARKV_SERIES(turbo2, "turbo2", kAllPlanes);
POLARKV_SERIES(turbo4_with_key_means, "turbo4", kAllPlanes, true);
POLARKV_SERIES(compact, "compact", kAllPlanes);
POLARKV_SERIES(small, "small", kAllPlanes);
POLARKV_SERIES(tiny, "tiny", kAllPlanes);
POLARKV_SERIES(turbo5, "turbo5", kAllPlanes);
POLARKV_SERIES(turbo1, "turbo1", kAllPlanes);
POLARKV_SERIES(turbo3q, "k=turbo3q,v=turbo3", kAllPlanes);
POLARKV_SERIES(qjl4, "k=qjl4,v=turbo2", kAllPlanes);
POLARKV_SERIES(fp16, "fp16", kAllPlanes);
POLARKV_SERIES(archive, "archive", kAllPlanes);
POLARKV_SERIES(polarR, "polarR", kAllPlanes);
POLARKV_SERIES(polar44, "polar44", kAllPlanes);
#define POLARKV_CACHED_SERIES(name, codec) \
  BENCHMARK_CAPTURE(InCache, name, codec)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond)
POLARKV_CACHED_SERIES(turbo4, "turbo4");
POLARKV_CACHED_SERIES(turbo2, "turbo2");

}  // namespace
}  // namespace polarkv

BENCHMARK_MAIN();
