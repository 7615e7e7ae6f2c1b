#include "codec/deep_code.h"

#include <cmath>
#include <limits>
#include <memory>

#include "codec/fma_target.h"

// The search is that of trellis_search.h, over windows side by side: a context is a window's lower 12 - K bits, and
// `before` the cheapest way there.
namespace polarkv {
namespace {

constexpr uint32_t kMaxSteps = 256;
using WindowFloats = float[kDeepWindows];

struct DeepTables {
  alignas(64) WindowFloats value[2];  // by coordinate of a step
  DeepTables() {
    for (uint32_t w = 0; w < kDeepWindows; ++w) {
      for (uint32_t i = 0; i < 2; ++i) value[i][w] = static_cast<float>(DeepImage(w, i)) / kDeepUnit;
    }
  }
};

const DeepTables& Tables() {
  static const auto* tables = new DeepTables;
  return *tables;
}

struct DeepScratch {
  alignas(64) WindowFloats cost;
  alignas(64) WindowFloats before;
  alignas(64) uint8_t chosen[kMaxSteps][kDeepWindows];  // upper bits of the window on the cheapest way, by context
};

constexpr uint32_t kAnyContext = kDeepWindows;

// The cheapest chain over the steps of x, from step `first` around to the one before it, that begins and ends in
// `context`, or anywhere. Writes the symbols and returns the context in which the chain stood at its middle; `least`:
// its cost.
template <uint32_t kBits, uint32_t kCoordinates>
[[gnu::always_inline]] inline uint32_t ChainBody(const float* x, uint32_t head_dim, uint32_t first, uint32_t context,
                                                 const DeepTables& tables, DeepScratch& scratch, uint8_t* symbols,
                                                 float* least) {
  constexpr uint32_t kContexts = kDeepWindows >> kBits;
  const uint32_t steps = head_dim / kCoordinates;
  for (uint32_t g = 0; g < kContexts; ++g) {
    scratch.before[g] = context == kAnyContext || context == g ? 0 : std::numeric_limits<float>::infinity();
  }
  for (uint32_t i = 0; i < steps; ++i) {
    const float* target = x + (first + i) % steps * kCoordinates;
    for (uint32_t g = 0; g < kContexts; ++g) {
      for (uint32_t b = 0; b < 1u << kBits; ++b) {
        const uint32_t w = (g << kBits) + b;
        const float error = target[0] - tables.value[0][w];
        float cost = std::fma(error, error, scratch.before[g]);
        if constexpr (kCoordinates == 2) {
          const float second = target[1] - tables.value[1][w];
          cost = std::fma(second, second, cost);
        }
        scratch.cost[w] = cost;
      }
    }
    for (uint32_t g = 0; g < kContexts; ++g) {
      scratch.before[g] = scratch.cost[g];
      scratch.chosen[i][g] = 0;
    }
    for (uint32_t h = 1; h < 1u << kBits; ++h) {
      const float* cost = scratch.cost + h * kContexts;
      for (uint32_t g = 0; g < kContexts; ++g) {
        const bool better = cost[g] < scratch.before[g];
        scratch.before[g] = better ? cost[g] : scratch.before[g];
        scratch.chosen[i][g] = better ? static_cast<uint8_t>(h) : scratch.chosen[i][g];
      }
    }
  }
  if (context == kAnyContext) {
    context = 0;
    for (uint32_t g = 1; g < kContexts; ++g) context = scratch.before[g] < scratch.before[context] ? g : context;
  }
  *least = scratch.before[context];
  uint32_t middle = context;
  for (uint32_t i = steps; i-- > 0;) {
    if (i + 1 == steps / 2) middle = context;
    const uint32_t window = scratch.chosen[i][context] * kContexts + context;
    symbols[(first + i) % steps] = static_cast<uint8_t>(window & ((1u << kBits) - 1));
    context = window >> kBits;
  }
  return middle;
}

template <uint32_t kBits, uint32_t kCoordinates>
[[gnu::always_inline]] inline float SearchBody(const float* x, uint32_t head_dim, const DeepTables& tables,
                                               DeepScratch& scratch, uint8_t* symbols) {
  const uint32_t half = head_dim / kCoordinates / 2;
  float least;
  const uint32_t context =
      ChainBody<kBits, kCoordinates>(x, head_dim, half, kAnyContext, tables, scratch, symbols, &least);
  ChainBody<kBits, kCoordinates>(x, head_dim, 0, context, tables, scratch, symbols, &least);
  return least;
}

template <uint32_t kBits, uint32_t kCoordinates>
POLARKV_FMA_TARGET float SearchFma(const float* x, uint32_t head_dim, const DeepTables& tables, DeepScratch& scratch,
                                   uint8_t* symbols) {
  return SearchBody<kBits, kCoordinates>(x, head_dim, tables, scratch, symbols);
}

template <uint32_t kBits, uint32_t kCoordinates>
float Search(const float* x, uint32_t head_dim, DeepScratch& scratch, uint8_t* symbols) {
  return HasHardwareFma() ? SearchFma<kBits, kCoordinates>(x, head_dim, Tables(), scratch, symbols)
                          : SearchBody<kBits, kCoordinates>(x, head_dim, Tables(), scratch, symbols);
}

float SearchWith(DeepStep step, const float* x, uint32_t head_dim, DeepScratch& scratch, uint8_t* symbols) {
  if (step.coordinates == 2) {
    return step.bits == 3 ? Search<3, 2>(x, head_dim, scratch, symbols) : Search<5, 2>(x, head_dim, scratch, symbols);
  }
  return step.bits == 2 ? Search<2, 1>(x, head_dim, scratch, symbols) : Search<3, 1>(x, head_dim, scratch, symbols);
}

uint32_t TokenBytes(DeepStep step, uint32_t head_dim) { return head_dim / step.coordinates * step.bits / 8; }

}  // namespace

float SearchDeep(DeepStep step, const float* x, uint32_t head_dim, uint8_t* symbols) {
  return SearchWith(step, x, head_dim, *std::make_unique<DeepScratch>(), symbols);
}

void ReadDeep(DeepStep step, KvSide side, uint32_t head_dim, const uint8_t* payload, float* matrix) {
  const uint32_t token_stride = side == KvSide::kKey ? 1 : head_dim;
  const uint32_t coordinate_stride = side == KvSide::kKey ? kTileTokens : 1;
  for (uint32_t t = 0; t < kTileTokens; ++t, payload += TokenBytes(step, head_dim)) {
    const uint32_t steps = head_dim / step.coordinates;
    const auto symbol = [&](uint32_t i) {
      uint32_t value = 0;
      for (uint32_t b = 0; b < step.bits; ++b) {
        const uint32_t bit = i * step.bits + b;
        value |= (uint32_t{payload[bit / 8]} >> bit % 8 & 1) << b;
      }
      return value;
    };
    uint32_t window = 0;
    for (uint32_t i = steps - kDeepWindowBits; i < steps; ++i) window = window << step.bits | symbol(i);
    for (uint32_t i = 0; i < steps; ++i) {
      window = (window << step.bits | symbol(i)) & (kDeepWindows - 1);
      for (uint32_t j = 0; j < step.coordinates; ++j) {
        const uint32_t coordinate = i * step.coordinates + j;
        matrix[t * token_stride + coordinate * coordinate_stride] = static_cast<float>(DeepImage(window, j));
      }
    }
  }
}

ScaleRange DeepTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                   const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const uint32_t head_dim = rotation_.head_dim();
  const auto tile = std::make_unique<RotatedTile>();
  const auto scratch = std::make_unique<DeepScratch>();
  rotation_.Rotate(rows, tokens, counted, *tile);
  float x[kMaxHeadDim];
  uint8_t symbols[kMaxHeadDim];
  for (uint32_t t = 0; t < tokens; ++t) {
    if ((counted >> t & 1) == 0) continue;
    const uint32_t group = t / kQuantizerLanes, lane = t % kQuantizerLanes;
    for (uint32_t j = 0; j < head_dim; ++j) {
      x[j] = tile->y[group][j][lane] * kToUnitVariance;
    }
    SearchWith(step_, x, head_dim, *scratch, symbols);
    uint8_t* out = planes.payload + t * TokenBytes(step_, head_dim);
    for (uint32_t bit = 0; bit < 8 * TokenBytes(step_, head_dim); ++bit) {
      const uint32_t value = symbols[bit / step_.bits] >> bit % step_.bits & 1;
      out[bit / 8] = static_cast<uint8_t>(out[bit / 8] | value << bit % 8);
    }
  }
  std::vector<float> images(size_t{kTileTokens} * head_dim);
  ReadDeep(step_, rotation_.side(), head_dim, planes.payload, images.data());
  return rotation_.StoreImageScales(*tile, images.data(), tokens, scales);
}

}  // namespace polarkv
