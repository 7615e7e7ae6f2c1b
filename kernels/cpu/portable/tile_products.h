// A tile's codes times rotated queries (scores), and weights times a tile's codes (outputs).
#ifndef POLARKV_KERNELS_CPU_PORTABLE_TILE_PRODUCTS_H_
#define POLARKV_KERNELS_CPU_PORTABLE_TILE_PRODUCTS_H_

#include "kernels/cpu/portable/byte_dot.h"
#include "kernels/cpu/portable/code_places.h"
#include "kernels/cpu/portable/tile_softmax.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

// Words of a query or of weights, as the dot product wants them.
template <uint32_t kCount>
struct Operands {
  alignas(64) int32_t first[kCount], second[kCount];

  HWY_INLINE Operand All(uint32_t i) const { return {hn::Set(kI32, first[i]), hn::Set(kI32, second[i])}; }
  // Word i in even lanes, word j in odd ones.
  HWY_INLINE Operand Alternating(uint32_t i, uint32_t j) const {
    return {hn::OddEven(hn::Set(kI32, first[j]), hn::Set(kI32, first[i])),
            hn::OddEven(hn::Set(kI32, second[j]), hn::Set(kI32, second[i]))};
  }
};
using QueryOperands = Operands<64>;  // head_dim 256
using WeightOperands = Operands<kTileTokens / 4>;

using RowScores = int32_t[kTileTokens];

// Score vector 2 * e3 + T1 holds, in lane (T0, e1, e2, e0), token 16 * (2 * T1 + T0) + e, e = (e3 e2 e1 e0).
template <int kRows, typename Places>
HWY_INLINE void FullScores(const Places& places, PlaceCount count, const QueryOperands* queries, RowScores* scores) {
  for (uint32_t e = 0; e < 2; ++e) {
    for (uint32_t part = 0; part < kParts; ++part) {
      WordVector sums[kRows][2];
      for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(kI32);
      for (uint32_t group = 0; group < count.groups; ++group) {
        for (uint32_t quarter = 0; quarter < 4; ++quarter) {
          ByteVector images[kDwords];
          places.Full(group, 4 * e + quarter, part, images);
          const uint32_t word = 4 * (quarter * count.groups + group);
          for (uint32_t i = 0; i < 4; ++i) {
            for (int r = 0; r < kRows; ++r) {
              const Operand query = queries[r].All(word + i);
              KeyDot::Add(sums[r][0], images[i], query);
              KeyDot::Add(sums[r][1], images[4 + i], query);
            }
          }
        }
      }
      for (int r = 0; r < kRows; ++r) {
        for (uint32_t half = 0; half < 2; ++half) {
          hn::Store(sums[r][half], kI32, scores[r] + 16 * (2 * half + e) + part * kWordLanes);
        }
      }
    }
  }
}

// The last group's share of the scores: its words are in the tokens' order.
template <int kRows, typename Places>
void AddTailScores(const Places& places, PlaceCount count, const QueryOperands* queries, RowScores* scores) {
  const uint32_t width = count.tail_width, word = 16 * count.groups;
  alignas(64) int32_t sums[kRows][2 * kTileTokens];  // [A, B][32 tokens][width]
  for (uint32_t place = 0; place < count.tail(); ++place) {
    ByteVector images[kDwords];
    places.Tail(place, images);
    for (int r = 0; r < kRows; ++r) {
      for (uint32_t half = 0; half < 2; ++half) {
        WordVector sum = hn::Zero(kI32);
        for (uint32_t i = 0; i < 4; ++i) {
          KeyDot::Add(sum, images[4 * half + i], queries[r].Alternating(word + i, word + i + 4 * (width - 1)));
        }
        hn::Store(sum, kI32, sums[r] + 32 * width * half + place * kWordLanes);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (uint32_t token = 0; token < kTileTokens; ++token) {
      int32_t& score = scores[r][kScoreOrder.place[token]];
      for (uint32_t i = 0; i < width; ++i) score += sums[r][width * token + i];
    }
  }
}

// scores: [kRows], in units of KeyDot::kUnit.
template <int kRows, typename Places>
void ScoreTile(const TileSide& side, const TurboQuery* queries, RowScores* scores) {
  const Places places(side);
  const PlaceCount count = side.count;
  QueryOperands words[kRows];
  for (int r = 0; r < kRows; ++r) {
    KeyDot::Prepare(queries[r].words, 16 * count.groups + 4 * count.tail_width, words[r].first, words[r].second);
  }
  FullScores<kRows>(places, count, words, scores);
  if (count.tail_width != 0) AddTailScores<kRows>(places, count, words, scores);
}

template <int kRows>
void ZeroScores(const TileSide&, const TurboQuery*, RowScores* scores) {
  for (int r = 0; r < kRows; ++r) {
    for (int32_t& score : scores[r]) score = 0;
  }
}

// Adds weighted images to output: what comes out is in dim order.
template <int kRows>
HWY_INLINE void AddToOutput(const WordVector (*sums)[2], const RowWeights* weights, uint32_t first_dim, uint32_t second_dim,
                            TurboRowState* states) {
  for (int r = 0; r < kRows; ++r) {
    const FloatVector factor = hn::Set(kF32, weights[r].factor);
    for (uint32_t half = 0; half < 2; ++half) {
      float* output = states[r].output + (half == 0 ? first_dim : second_dim);
      hn::StoreU(hn::MulAdd(hn::ConvertTo(kF32, sums[r][half]), factor, hn::LoadU(kF32, output)), kF32, output);
    }
  }
}

// Adds the tile's values, weighted, to each row's output.
template <int kRows, typename Places>
void AddValueTile(const TileSide& side, const RowWeights* weights, TurboRowState* states) {
  const Places places(side);
  const PlaceCount count = side.count;
  WeightOperands operands[kRows];
  for (int r = 0; r < kRows; ++r) {
    ValueDot::Prepare(weights[r].words, kTileTokens / 4, operands[r].first, operands[r].second);
  }
  const auto start = [&](WordVector (*sums)[2]) HWY_ATTR {
    for (int r = 0; r < kRows; ++r) {
      sums[r][0] = hn::Zero(kI32);
      if constexpr (ValueDot::kImageOffset != 0) sums[r][0] = hn::Set(kI32, -ValueDot::kImageOffset * weights[r].sum);
      sums[r][1] = sums[r][0];
    }
  };
  const auto add = [&](WordVector (*sums)[2], const ByteVector* images, uint32_t quarter) HWY_ATTR {
    for (uint32_t i = 0; i < 4; ++i) {
      for (int r = 0; r < kRows; ++r) {
        const Operand weight = operands[r].All(4 * quarter + i);
        ValueDot::Add(sums[r][0], images[i], weight);
        ValueDot::Add(sums[r][1], images[4 + i], weight);
      }
    }
  };
  for (uint32_t group = 0; group < count.groups; ++group) {
    for (uint32_t e = 0; e < 2; ++e) {
      for (uint32_t part = 0; part < kParts; ++part) {
        WordVector sums[kRows][2];
        start(sums);
        for (uint32_t quarter = 0; quarter < 4; ++quarter) {
          ByteVector images[kDwords];
          places.Full(group, 4 * e + quarter, part, images);
          add(sums, images, quarter);
        }
        const uint32_t dim = 64 * group + 16 * e + part * kWordLanes;
        AddToOutput<kRows>(sums, weights, dim, dim + 32, states);
      }
    }
  }
  // The last group: [quarter][8 * width dims] of A, and as many of B.
  const uint32_t dims = 8 * count.tail_width;
  for (uint32_t dim = 0; dim < dims; dim += kWordLanes) {
    WordVector sums[kRows][2];
    start(sums);
    for (uint32_t quarter = 0; quarter < 4; ++quarter) {
      ByteVector images[kDwords];
      places.Tail((quarter * dims + dim) / kWordLanes, images);
      add(sums, images, quarter);
    }
    AddToOutput<kRows>(sums, weights, 64 * count.groups + dim, 64 * count.groups + dims + dim, states);
  }
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_TILE_PRODUCTS_H_
