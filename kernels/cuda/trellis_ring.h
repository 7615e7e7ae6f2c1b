// The best ring of trellis codes, one ring a lane: the search of codec/trellis_search.h, to the bit (FORMAT.md,
// "Trellis codes").
//
// Costs are accumulated as the reference does it, code by code and rounded. A cost of a longer way never falls when
// that of the shorter one rises, so a minimum may be taken before symbols are known: first only the costs of all
// contexts in which the ring may begin are computed, then the symbols for the best of them. With three bits four
// windows lead from each context to each other; for the cost the nearest of them counts, whatever was before.
#ifndef POLARKV_KERNELS_CUDA_TRELLIS_RING_H_
#define POLARKV_KERNELS_CUDA_TRELLIS_RING_H_

#include <limits>

#include "codec/trellis_code.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

// Rotated coordinates of a quarter in the stage: 16 bits each, those of a chunk in the order of the words of
// packed_rotation.h, so that code c < 8 of a chunk is in the upper half of word c, code c + 8 in the lower one.
constexpr uint32_t kTargetChunkBytes = 32;
POLARKV_HOST_DEVICE constexpr uint32_t TargetOffset(uint32_t c) { return c % 8 * 4 + (c < 8 ? 2 : 0); }

// What the codes of the lanes' rings should stand for. Of keys a half of 16 codes is a token's chunk, of values the
// same coordinate of 16 tokens; a second half is 8 tokens or 32 coordinates further on. kStride: bytes between tokens.
template <class W, int kSide, uint32_t kStride>
struct RingTargets {
  using U32 = typename W::U32;
  using F32 = typename W::F32;

  const uint8_t* stage;
  U32 first;    // offset of code 0
  U32 counted;  // bit i: code i counts
  bool all;     // all bits of all lanes

  POLARKV_WARP_FUNCTION static uint32_t Offset(uint32_t i) {
    if constexpr (kSide == 0) return TargetOffset(i % 16) + i / 16 * (8 * kStride);
    return i % 16 * kStride + i / 16 * (2 * kTargetChunkBytes);
  }
  // Of codes i and i + k, k < 4, i being a multiple of 4.
  POLARKV_WARP_FUNCTION static constexpr uint32_t Step(uint32_t k) { return k * (kSide == 0 ? 4 : kStride); }

  POLARKV_WARP_FUNCTION F32 Get(U32 at, float to_unit_variance) const {
    return W::ToFloat(W::LoadSignedShort(stage, at)) * F32(to_unit_variance);
  }
};

// Differences from the levels of all windows, zero where a code does not count.
template <class W, class Targets>
POLARKV_WARP_FUNCTION void FindErrors(const Targets& targets, const float (&levels)[kTrellisWindows],
                                      typename W::F32 target, uint32_t i, typename W::F32 (&error)[kTrellisWindows]) {
  using F32 = typename W::F32;
  POLARKV_UNROLL
  for (uint32_t w = 0; w < kTrellisWindows; ++w) error[w] = target - F32(levels[w]);
  if (targets.all) return;
  const auto counts = (W::ShiftRight(targets.counted, typename W::U32(i)) & 1u) > typename W::U32(0u);
  POLARKV_UNROLL
  for (F32& e : error) e = W::Select(counts, e, F32(0.0f));
}

// step(number of the code, its errors), for all codes of the rings in order.
template <uint32_t kCodes, class W, class Targets, class Function>
POLARKV_WARP_FUNCTION void EachCode(const Targets& targets, float to_unit_variance,
                                    const float (&levels)[kTrellisWindows], const Function& step) {
  constexpr uint32_t kTogether = 4;
  POLARKV_UNROLL_BY(1)
  for (uint32_t first = 0; first < kCodes; first += kTogether) {
    const auto at = targets.first + Targets::Offset(first);
    POLARKV_UNROLL
    for (uint32_t k = 0; k < kTogether; ++k) {
      typename W::F32 error[kTrellisWindows];
      const auto target = targets.Get(at + Targets::Step(k), to_unit_variance);
      FindErrors<W>(targets, levels, target, first + k, error);
      step(first + k, error);
    }
  }
}

// Symbols as TrellisRings (codec/trellis_search.h) has them.
template <class W>
struct LaneRing {
  typename W::U32 upper, lower;
};

// One and two bits.
template <int kBits, class W>
class RingSearch {
 public:
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  static constexpr uint32_t kContexts = kTrellisWindows >> kBits;
  static constexpr uint32_t kCodes = TrellisRing(kBits);
  static constexpr float kNever = std::numeric_limits<float>::infinity();

  template <class Targets>
  POLARKV_WARP_FUNCTION static LaneRing<W> Find(const Targets& targets, float to_unit_variance,
                                                const float (&levels)[kTrellisWindows]) {
    const U32 start = CheapestStart(targets, to_unit_variance, levels);
    F32 cost[kContexts];
    U32 symbols[kContexts];
    POLARKV_UNROLL
    for (uint32_t c = 0; c < kContexts; ++c) {
      cost[c] = W::Select(U32(1u) > (start ^ c), F32(0.0f), F32(kNever));
      symbols[c] = 0u;
    }
    EachCode<kCodes, W>(targets, to_unit_variance, levels,
                        [&](uint32_t, const F32(&error)[kTrellisWindows]) { ExtendWays(error, cost, symbols); });
    U32 ring = symbols[0];
    POLARKV_UNROLL
    for (uint32_t c = 1; c < kContexts; ++c) ring = W::Select(U32(1u) > (start ^ c), symbols[c], ring);
    return {ring, U32(0u)};
  }

 private:
  template <class Targets>
  POLARKV_WARP_FUNCTION static U32 CheapestStart(const Targets& targets, float to_unit_variance,
                                                 const float (&levels)[kTrellisWindows]) {
    F32 cost[kContexts][kContexts];  // [start][context]
    POLARKV_UNROLL
    for (uint32_t s = 0; s < kContexts; ++s) {
      POLARKV_UNROLL
      for (uint32_t c = 0; c < kContexts; ++c) cost[s][c] = c == s ? 0.0f : kNever;
    }
    EachCode<kCodes, W>(targets, to_unit_variance, levels, [&](uint32_t, const F32(&error)[kTrellisWindows]) {
      POLARKV_UNROLL
      for (auto& ways : cost) ExtendCosts(error, ways);
    });
    U32 start = 0u;
    F32 least = cost[0][0];
    POLARKV_UNROLL
    for (uint32_t s = 1; s < kContexts; ++s) {
      start = W::Select(least > cost[s][s], U32(s), start);
      least = W::Min(cost[s][s], least);
    }
    return start;
  }

  POLARKV_WARP_FUNCTION static F32 CostOf(uint32_t window, const F32 (&error)[kTrellisWindows],
                                          const F32 (&cost)[kContexts]) {
    return W::Fma(error[window], error[window], cost[window >> kBits]);
  }

  POLARKV_WARP_FUNCTION static void ExtendCosts(const F32 (&error)[kTrellisWindows], F32 (&cost)[kContexts]) {
    F32 next[kContexts];
    POLARKV_UNROLL
    for (uint32_t c = 0; c < kContexts; ++c) {
      const F32 least = W::Min(CostOf(c, error, cost), CostOf(c + kContexts, error, cost));
      if constexpr (kBits == 1) {
        next[c] = least;
      } else {
        next[c] =
            W::LeastOfThree(least, CostOf(c + 2 * kContexts, error, cost), CostOf(c + 3 * kContexts, error, cost));
      }
    }
    POLARKV_UNROLL
    for (uint32_t c = 0; c < kContexts; ++c) cost[c] = next[c];
  }

  // Of equal ways that by the smaller window's.
  POLARKV_WARP_FUNCTION static void ExtendWays(const F32 (&error)[kTrellisWindows], F32 (&cost)[kContexts],
                                               U32 (&symbols)[kContexts]) {
    F32 next[kContexts];
    U32 next_symbols[kContexts];
    POLARKV_UNROLL
    for (uint32_t c = 0; c < kContexts; ++c) {
      F32 least = CostOf(c, error, cost);
      U32 way = symbols[c >> kBits];
      POLARKV_UNROLL
      for (uint32_t window = c + kContexts; window < kTrellisWindows; window += kContexts) {
        const F32 other = CostOf(window, error, cost);
        way = W::Select(least > other, symbols[window >> kBits], way);
        least = W::Min(other, least);
      }
      next[c] = least;
      next_symbols[c] = (way << kBits) + (c & ((1u << kBits) - 1));
    }
    POLARKV_UNROLL
    for (uint32_t c = 0; c < kContexts; ++c) {
      cost[c] = next[c];
      symbols[c] = next_symbols[c];
    }
  }
};

// Three bits: two contexts, the lowest bit of the last symbol. The search finds the ring's lowest bits, and walks along
// them for the upper ones.
template <class W>
class RingSearch<3, W> {
 public:
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  static constexpr uint32_t kCodes = TrellisRing(3);
  static constexpr float kNever = std::numeric_limits<float>::infinity();

  // `groups`: GroupedLevels(), in memory that the warp shares.
  template <class Targets>
  POLARKV_WARP_FUNCTION static LaneRing<W> Find(const Targets& targets, float to_unit_variance,
                                                const float (&levels)[kTrellisWindows], const uint8_t* groups) {
    F32 cost[2][2] = {{0.0f, kNever}, {kNever, 0.0f}};  // [start][context]
    U32 low_bits[2][2] = {{U32(0u), U32(0u)}, {U32(0u), U32(0u)}};
    EachCode<kCodes, W>(targets, to_unit_variance, levels, [&](uint32_t, const F32(&error)[kTrellisWindows]) {
      F32 nearest[2][2];  // [context before][after]
      POLARKV_UNROLL
      for (uint32_t group = 0; group < 4; ++group) {
        const uint32_t w = group / 2 * 8 + group % 2;
        const F32 low = W::Min(W::Magnitude(error[w]), W::Magnitude(error[w + 2]));
        const F32 high = W::Min(W::Magnitude(error[w + 4]), W::Magnitude(error[w + 6]));
        nearest[group / 2][group % 2] = W::Min(low, high);
      }
      POLARKV_UNROLL
      for (uint32_t start = 0; start < 2; ++start) Extend(nearest, cost[start], low_bits[start]);
    });
    const U32 lower = W::Select(cost[0][0] > cost[1][1], low_bits[1][1], low_bits[0][0]);
    return {UpperBits(targets, to_unit_variance, lower, groups), lower};
  }

 private:
  POLARKV_WARP_FUNCTION static void Extend(const F32 (&nearest)[2][2], F32 (&cost)[2], U32 (&low_bits)[2]) {
    F32 next[2];
    U32 next_bits[2];
    POLARKV_UNROLL
    for (uint32_t c = 0; c < 2; ++c) {
      const F32 from0 = W::Fma(nearest[0][c], nearest[0][c], cost[0]);
      const F32 from1 = W::Fma(nearest[1][c], nearest[1][c], cost[1]);
      next[c] = W::Min(from1, from0);
      next_bits[c] = (W::Select(from0 > from1, low_bits[1], low_bits[0]) << 1) + c;
    }
    POLARKV_UNROLL
    for (uint32_t c = 0; c < 2; ++c) {
      cost[c] = next[c];
      low_bits[c] = next_bits[c];
    }
  }

  // Of the four windows with the given low bits the first one with the least cost, for each code.
  template <class Targets>
  POLARKV_WARP_FUNCTION static U32 UpperBits(const Targets& targets, float to_unit_variance, U32 lower,
                                             const uint8_t* groups) {
    const U32 ring = lower | (lower << 16);
    F32 cost = 0.0f;
    U32 upper = 0u;
    constexpr uint32_t kTogether = 4;
    POLARKV_UNROLL_BY(1)
    for (uint32_t first = 0; first < kCodes; first += kTogether) {
      const auto at = targets.first + Targets::Offset(first);
      POLARKV_UNROLL
      for (uint32_t k = 0; k < kTogether; ++k) {
        const uint32_t i = first + k;
        // The bit before and its own; four floats for each.
        const U32 group = W::ShiftRight(ring, U32(kCodes - 1 - i)) & 3u;
        const Words4<W> levels = W::LoadVector(groups, group << 4);
        const F32 target = targets.Get(at + Targets::Step(k), to_unit_variance);
        F32 costs[4];
        POLARKV_UNROLL
        for (uint32_t h = 0; h < 4; ++h) {
          F32 error = target - W::FloatOfBits(levels.w[h]);
          if (!targets.all) {
            const auto counts = (W::ShiftRight(targets.counted, U32(i)) & 1u) > U32(0u);
            error = W::Select(counts, error, F32(0.0f));
          }
          costs[h] = W::Fma(error, error, cost);
        }
        const F32 low = W::Min(costs[1], costs[0]), high = W::Min(costs[3], costs[2]);
        const U32 low_bits = W::Select(costs[0] > costs[1], U32(1u), U32(0u));
        const U32 high_bits = W::Select(costs[2] > costs[3], U32(3u), U32(2u));
        upper = (upper << 2) + W::Select(low > high, high_bits, low_bits);
        cost = W::Min(high, low);
      }
    }
    return upper;
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TRELLIS_RING_H_
