// Attention on turbo blocks against fp16 and bf16 attention, one core, data out of cache.
//
//   build/release/bin/cpu_attention_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=7
//
// Every series walks the same number of KV heads of 32,768 tokens, head_dim 128; "tokens/s" is tokens of one head, "B/s"
// the bytes of that series' own format. ReadMemory is the core's cold read bandwidth in the same run.
#include <benchmark/benchmark.h>
#include <immintrin.h>
#include <sys/mman.h>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "codec/codec_id.h"
#include "codec/half_float.h"
#include "kernels/kv_kernels.h"
#include "tests/bench/rival_attention.h"

namespace polarkv {
namespace {

constexpr uint32_t kTokens = 32768;
constexpr uint32_t kBlockTokens = 2048;
constexpr size_t kBytes = size_t{256} << 20;  // of every series, far out of any cache
constexpr uint32_t kDim = bench::kRivalDim;

std::vector<float> Gaussian(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(generator);
  return x;
}

// Memory in huge pages, as stores have it: the same for every series.
std::span<uint8_t> HugeMemory(size_t size) {
  constexpr size_t kPage = size_t{2} << 20;
  size = (size + kPage - 1) / kPage * kPage;
  void* memory = std::aligned_alloc(kPage, size);
  madvise(memory, size, MADV_HUGEPAGE);
  return {static_cast<uint8_t*>(memory), size};
}

// One head's blocks, encoded once; the other heads are copies in memory of their own.
struct Encoded {
  std::vector<std::vector<BlockView>> heads;
  double bytes_per_token = 0;
};

std::vector<uint8_t> SelectedBlock(const BlockSpec& spec, const BlockSelection& selection) {
  const auto k = Gaussian(size_t{kBlockTokens} * kDim, 1), v = Gaussian(size_t{kBlockTokens} * kDim, 2);
  const std::array<int64_t, 4> shape = {1, 1, kBlockTokens, kDim};
  const auto whole = EncodeBlock(spec, TensorView::Contiguous(k.data(), Dtype::kF32, shape),
                                 TensorView::Contiguous(v.data(), Dtype::kF32, shape)).value();
  std::vector<uint8_t> block;
  const auto ranges = SelectionRanges(BlockLayout::Make(spec).value(), selection).value();
  for (const ByteRange& range : ranges) {
    block.insert(block.end(), whole.begin() + range.offset, whole.begin() + range.offset + range.length);
  }
  return block;
}

const Encoded& Blocks(const std::string& codec, PlaneMask planes) {
  static std::map<std::pair<std::string, PlaneMask>, Encoded> all;
  Encoded& e = all[{codec, planes}];
  if (!e.heads.empty()) return e;
  BlockSpec spec;
  spec.layers = spec.kv_heads = 1;
  spec.head_dim = kDim;
  spec.tokens = kBlockTokens;
  spec.codec = ParseCodecPair(codec).value();
  spec.source_dtype = Dtype::kF32;
  spec.first_position = kBlockTokens;  // not the first block, some of whose tokens are stored raw
  const BlockSelection selection{0, 0, planes};
  const std::vector<uint8_t> block = SelectedBlock(spec, selection);
  const size_t head_blocks = kTokens / kBlockTokens, heads = kBytes / (head_blocks * block.size()) + 1;
  const std::span<uint8_t> memory = HugeMemory(heads * head_blocks * block.size());
  e.bytes_per_token = static_cast<double>(block.size()) / kBlockTokens;
  e.heads.resize(heads);
  for (size_t i = 0; i < heads * head_blocks; ++i) {
    const std::span<uint8_t> copy = memory.subspan(i * block.size(), block.size());
    std::copy(block.begin(), block.end(), copy.begin());
    e.heads[i / head_blocks].push_back(BlockView::ParseSelection(copy, selection, VerifyPayload::kNo).value());
  }
  return e;
}

constexpr uint32_t kRivalHeads = kBytes / (size_t{kTokens} * kDim * 4);

std::span<const uint16_t> SixteenBit(bool bf16) {
  static std::map<bool, std::span<uint16_t>> all;
  std::span<uint16_t>& data = all[bf16];
  if (!data.empty()) return data;
  const auto x = Gaussian(1 << 20, 3);
  const std::span<uint8_t> memory = HugeMemory(kBytes + (size_t{1} << 20));  // prefetched beyond the end
  data = {reinterpret_cast<uint16_t*>(memory.data()), kBytes / 2};
  for (size_t i = 0; i < data.size(); ++i) {
    const float value = x[i & (x.size() - 1)];
    data[i] = bf16 ? static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16) : FloatToHalf(value);
  }
  return data;
}

void Count(benchmark::State& state, size_t heads, double bytes_per_token) {
  const double tokens = static_cast<double>(state.iterations()) * static_cast<double>(heads) * kTokens;
  state.counters["tokens/s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
  state.counters["B/s"] = benchmark::Counter(tokens * bytes_per_token, benchmark::Counter::kIsRate);
}

void Polarkv(benchmark::State& state, const std::string& codec, PlaneMask planes) {
  const Encoded& blocks = Blocks(codec, planes);
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
  const Encoded& blocks = Blocks(codec, kAllPlanes);
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
#define POLARKV_SERIES(name, codec, planes) \
  BENCHMARK_CAPTURE(Polarkv, name, codec, planes)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond)
POLARKV_SERIES(turbo4, "turbo4", kAllPlanes);
POLARKV_SERIES(turbo4_read_at_3_bits, "turbo4", 0x07);
POLARKV_SERIES(turbo4_read_at_2_bits, "turbo4", 0x01);
POLARKV_SERIES(turbo3, "turbo3", kAllPlanes);
POLARKV_SERIES(turbo2, "turbo2", kAllPlanes);
#define POLARKV_CACHED_SERIES(name, codec) \
  BENCHMARK_CAPTURE(InCache, name, codec)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond)
POLARKV_CACHED_SERIES(turbo4, "turbo4");
POLARKV_CACHED_SERIES(turbo2, "turbo2");

}  // namespace
}  // namespace polarkv

BENCHMARK_MAIN();
