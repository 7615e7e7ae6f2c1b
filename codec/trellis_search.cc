#include "codec/trellis_search.h"

#include <cmath>
#include <limits>

#include "codec/fma_target.h"

// A context is what a window keeps of earlier symbols: its lower 4 - K bits after the symbol was read. For each context the
// search keeps the cheapest way there (cost and symbols), once for each context in which the ring may have begun; a ring
// closes if it ends in the context in which it began.
namespace polarkv {
namespace {

constexpr uint32_t kLanes = kQuantizerLanes;
using LaneFloats = float[kLanes];
using LaneWords = uint32_t[kLanes];

template <uint32_t kBits>
struct Ways {
  static constexpr uint32_t kContexts = kTrellisWindows >> kBits;
  LaneFloats cost[kContexts];
  LaneWords upper[kContexts];
  LaneWords lower[kContexts];
};

// One more symbol: the ways to each context by way of the cheapest window that ends in it.
template <uint32_t kBits>
[[gnu::always_inline]] inline void Extend(const LaneFloats* error, const Ways<kBits>& from, Ways<kBits>& to) {
  constexpr uint32_t kContexts = Ways<kBits>::kContexts;
  constexpr uint32_t kUpperBits = kBits < 2 ? 1 : 2;
  for (uint32_t context = 0; context < kContexts; ++context) {
    for (uint32_t l = 0; l < kLanes; ++l) {
      float best = 0;
      uint32_t upper = 0, lower = 0;
#pragma GCC unroll 8
      for (uint32_t h = 0; h < (1u << kBits); ++h) {
        const uint32_t window = h * kContexts + context;
        const uint32_t before = window >> kBits;
        const uint32_t symbol = window & ((1u << kBits) - 1);
        const float cost = std::fma(error[window][l], error[window][l], from.cost[before][l]);
        const uint32_t with_symbol = from.upper[before][l] << kUpperBits | symbol >> (kBits - kUpperBits);
        const bool better = h == 0 || cost < best;
        best = better ? cost : best;
        upper = better ? with_symbol : upper;
        if constexpr (kBits == 3) lower = better ? from.lower[before][l] << 1 | (symbol & 1) : lower;
      }
      to.cost[context][l] = best;
      to.upper[context][l] = upper;
      if constexpr (kBits == 3) to.lower[context][l] = lower;
    }
  }
}

template <uint32_t kBits>
[[gnu::always_inline]] inline void SearchBody(uint32_t codes, const std::array<float, kTrellisWindows>& table,
                                              const TrellisTargets& targets, TrellisRings& rings) {
  constexpr uint32_t kContexts = Ways<kBits>::kContexts;
  constexpr float kNever = std::numeric_limits<float>::infinity();
  alignas(64) Ways<kBits> ways[2][kContexts];  // [parity of the code][starting context]
  for (uint32_t start = 0; start < kContexts; ++start) {
    for (uint32_t context = 0; context < kContexts; ++context) {
      for (uint32_t l = 0; l < kLanes; ++l) {
        ways[0][start].cost[context][l] = context == start ? 0 : kNever;
        ways[0][start].upper[context][l] = ways[0][start].lower[context][l] = 0;
      }
    }
  }
  alignas(64) LaneFloats error[kTrellisWindows];
  for (uint32_t i = 0; i < codes; ++i) {
    for (uint32_t window = 0; window < kTrellisWindows; ++window) {
      for (uint32_t l = 0; l < kLanes; ++l)
        error[window][l] = (targets.x[i][l] - table[window]) * targets.weight[i][l];
    }
    for (uint32_t start = 0; start < kContexts; ++start) {
      Extend<kBits>(error, ways[i % 2][start], ways[(i + 1) % 2][start]);
    }
  }
  for (uint32_t start = 0; start < kContexts; ++start) {
    const Ways<kBits>& last = ways[codes % 2][start];
    for (uint32_t l = 0; l < kLanes; ++l) {
      const bool better = start == 0 || last.cost[start][l] < rings.cost[l];
      rings.cost[l] = better ? last.cost[start][l] : rings.cost[l];
      rings.upper[l] = better ? last.upper[start][l] : rings.upper[l];
      rings.lower[l] = kBits < 3 ? 0 : better ? last.lower[start][l] : rings.lower[l];
    }
  }
}

template <uint32_t kBits>
POLARKV_FMA_TARGET void SearchFma(uint32_t codes, const std::array<float, kTrellisWindows>& table,
                                  const TrellisTargets& targets, TrellisRings& rings) {
  SearchBody<kBits>(codes, table, targets, rings);
}

template <uint32_t kBits>
void Search(uint32_t codes, const std::array<float, kTrellisWindows>& table, const TrellisTargets& targets,
            TrellisRings& rings) {
  HasHardwareFma() ? SearchFma<kBits>(codes, table, targets, rings) : SearchBody<kBits>(codes, table, targets, rings);
}

}  // namespace

void SearchTrellis(uint32_t bits, uint32_t codes, const std::array<float, kTrellisWindows>& table,
                   const TrellisTargets& targets, TrellisRings& rings) {
  switch (bits) {
    case 1:
      return Search<1>(codes, table, targets, rings);
    case 2:
      return Search<2>(codes, table, targets, rings);
    default:
      return Search<3>(codes, table, targets, rings);
  }
}

}  // namespace polarkv
