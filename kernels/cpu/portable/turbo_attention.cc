// Compiled once for each instruction set that has a body of its own here; called only where the machine has it (see
// kernels/cpu/turbo_attention.h on ODR).
#include "kernels/cpu/turbo_attention.h"

#include "kernels/cpu/portable/bodies.h"
#include "kernels/cpu/portable/byte_dot.h"
#include "kernels/cpu/portable/tile_softmax.h"
#include "kernels/cpu/portable/turbo_places.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

constexpr uint32_t kRowsTogether = 4;
constexpr uint32_t kMaxWords = 64;  // of a query: head_dim 256

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
using QueryOperands = Operands<kMaxWords>;
using WeightOperands = Operands<kTileTokens / 4>;

// Score vector 2 * e3 + T1 holds, in lane (T0, e1, e2, e0), token 16 * (2 * T1 + T0) + e, e = (e3 e2 e1 e0).
template <int kRows, typename Places>
HWY_INLINE void FullScores(const Places& places, PlaceCount count, const QueryOperands* queries, int32_t scores[kRows][kTileTokens]) {
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
void AddTailScores(const Places& places, PlaceCount count, const QueryOperands* queries, int32_t scores[kRows][kTileTokens]) {
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

// Adds weighted images to output: what comes out is in dim order.
template <int kRows>
HWY_INLINE void AddToOutput(const WordVector sums[kRows][2], const RowWeights* weights, uint32_t first_dim, uint32_t second_dim,
                            TurboRowState* states) {
  for (int r = 0; r < kRows; ++r) {
    const FloatVector factor = hn::Set(kF32, weights[r].factor);
    for (uint32_t half = 0; half < 2; ++half) {
      float* output = states[r].output + (half == 0 ? first_dim : second_dim);
      hn::StoreU(hn::MulAdd(hn::ConvertTo(kF32, sums[r][half]), factor, hn::LoadU(kF32, output)), kF32, output);
    }
  }
}

template <int kRows, typename Places>
HWY_INLINE void AddValues(const Places& places, PlaceCount count, const WeightOperands* operands, const RowWeights* weights,
                          TurboRowState* states) {
  const auto start = [&](WordVector sums[kRows][2]) {
    for (int r = 0; r < kRows; ++r) {
      sums[r][0] = hn::Zero(kI32);
      if constexpr (ValueDot::kImageOffset != 0) sums[r][0] = hn::Set(kI32, -ValueDot::kImageOffset * weights[r].sum);
      sums[r][1] = sums[r][0];
    }
  };
  const auto add = [&](WordVector sums[kRows][2], const ByteVector images[kDwords], uint32_t quarter) {
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

template <int kRows, bool kExtras = false, typename KeyPlaces, typename ValuePlaces>
HWY_INLINE void AttendRows(const KeyPlaces& keys, const ValuePlaces& values, const TileScales& scales, uint32_t head_dim,
                           const TurboQuery* queries, TurboRowState* states, const TurboExtras& extras = {}) {
  const PlaceCount count(head_dim);
  QueryOperands query_words[kRows];
  for (int r = 0; r < kRows; ++r) {
    KeyDot::Prepare(queries[r].words, head_dim / 4, query_words[r].first, query_words[r].second);
  }
  alignas(64) int32_t scores[kRows][kTileTokens];
  FullScores<kRows>(keys, count, query_words, scores);
  if (count.tail_width != 0) AddTailScores<kRows>(keys, count, query_words, scores);
  RowWeights weights[kRows];
  WeightOperands weight_words[kRows];
  for (int r = 0; r < kRows; ++r) {
    Softmax<kExtras>(scores[r], scales, head_dim, queries[r], states[r], extras, weights[r]);
    ValueDot::Prepare(weights[r].words, kTileTokens / 4, weight_words[r].first, weight_words[r].second);
  }
  AddValues<kRows>(values, count, weight_words, weights, states);
}

// One row decodes as it goes; for more, tiles are decoded to memory once.
template <int kKeyBits, int kValueBits>
void AttendTiles(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                 uint32_t rows, const TurboExtras* extras) {
  const PlaceCount count(tiles.head_dim);
  alignas(64) ByteVector decoded[2][kMaxPlaces * kDwords];
  const DecodedPlaces all_keys(count, decoded[0]), all_values(count, decoded[1]);
  TileScales scales;
  for (uint32_t tile = 0; tile * kTileTokens < tiles.tokens; ++tile) {
    const uint8_t* base = tiles.base + uint64_t{tile} * tiles.base_stride;
    const uint64_t refine = uint64_t{tile} * tiles.refine_stride;
    const bool last = (tile + 1) * kTileTokens >= tiles.tokens;
    const uint64_t next_base = last ? 0 : tiles.base_stride, next_refine = last ? 0 : tiles.refine_stride;
    const TurboPlaces<kKeyBits> keys(reader.key_table, kKeyTableOffset, count, base + tiles.key_crumbs,
                                     kKeyBits >= 3 ? tiles.key_refine[0] + refine : nullptr,
                                     kKeyBits == 4 ? tiles.key_refine[1] + refine : nullptr, next_base, next_refine);
    const TurboPlaces<kValueBits> values(reader.value_table, -ValueDot::kImageOffset, count, base + tiles.value_crumbs,
                                         kValueBits >= 3 ? tiles.value_refine[0] + refine : nullptr,
                                         kValueBits == 4 ? tiles.value_refine[1] + refine : nullptr, next_base, next_refine);
    ReadTileScales(tiles, tile, scales);
    if (rows == 1 && extras == nullptr) {
      AttendRows<1>(keys, values, scales, tiles.head_dim, queries, states);
      continue;
    }
    keys.DecodeAll(decoded[0]);
    values.DecodeAll(decoded[1]);
    uint32_t row = 0;
    for (; row + kRowsTogether <= rows && extras == nullptr; row += kRowsTogether) {
      AttendRows<kRowsTogether>(all_keys, all_values, scales, tiles.head_dim, &queries[row], &states[row]);
    }
    for (; row < rows; ++row) {
      if (extras == nullptr) {
        AttendRows<1>(all_keys, all_values, scales, tiles.head_dim, &queries[row], &states[row]);
      } else {
        const TurboExtras of_row = {extras->added + kTileTokens * row, extras->probability + kTileTokens * row};
        AttendRows<1, true>(all_keys, all_values, scales, tiles.head_dim, &queries[row], &states[row], of_row);
      }
    }
  }
}

template <int kKeyBits>
void AttendWithKeys(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                    uint32_t rows, const TurboExtras* extras) {
  if (reader.value_bits == 2) return AttendTiles<kKeyBits, 2>(reader, tiles, queries, states, rows, extras);
  if (reader.value_bits == 3) return AttendTiles<kKeyBits, 3>(reader, tiles, queries, states, rows, extras);
  AttendTiles<kKeyBits, 4>(reader, tiles, queries, states, rows, extras);
}

}  // namespace

void TurboAttend(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                 uint32_t rows, const TurboExtras* extras) {
  if (reader.key_bits == 2) return AttendWithKeys<2>(reader, tiles, queries, states, rows, extras);
  if (reader.key_bits == 3) return AttendWithKeys<3>(reader, tiles, queries, states, rows, extras);
  AttendWithKeys<4>(reader, tiles, queries, states, rows, extras);
}

}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();
