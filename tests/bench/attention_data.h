// What the attention benchmarks read: as many bytes of every format, far out of any cache, in huge pages, as stores have them.
#ifndef POLARKV_TESTS_BENCH_ATTENTION_DATA_H_
#define POLARKV_TESTS_BENCH_ATTENTION_DATA_H_

#include <benchmark/benchmark.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codec/block_view.h"
#include "tests/bench/rival_attention.h"

namespace polarkv::bench {

inline constexpr uint32_t kTokens = 32768;  // of a head
inline constexpr uint32_t kBlockTokens = 2048;
inline constexpr size_t kBytes = size_t{256} << 20;  // of every series
inline constexpr uint32_t kDim = kRivalDim;
inline constexpr uint32_t kRivalHeads = kBytes / (size_t{kTokens} * kDim * 4);

// One head's blocks, encoded once; the other heads are copies in memory of their own.
struct HeadBlocks {
  std::vector<std::vector<BlockView>> heads;
  double bytes_per_token = 0;
};
// Made when first asked for. `means`: keys that have a mean before RoPE, which is coded apart.
const HeadBlocks& Blocks(const std::string& codec, PlaneMask planes = kAllPlanes, bool means = false);

// kRivalHeads times keys, then values, [kTokens][kDim] each, normal numbers: the same in every layout. May be prefetched
// beyond the end.
std::span<const uint16_t> SixteenBit(bool bf16);

// Tokens of one head and bytes, a second.
void Count(benchmark::State& state, size_t heads, double bytes_per_token);

}  // namespace polarkv::bench

#endif  // POLARKV_TESTS_BENCH_ATTENTION_DATA_H_
