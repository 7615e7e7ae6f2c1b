// Attention with AMX products, over the type of the tile registers (amx_unit.h, amx_emulated_unit.h). For sources compiled
// with AVX-512 and VBMI.
//
// A product's result takes long to come and freshly stored rows take long to be loaded, so nothing waits for its own
// tile: while tile s goes through the softmax, the keys of the next have become scores, and the sums of the one before
// are added to the outputs.
//
//   step s:  weights(s) from scores(s)              operands ready:  keys(s + 1), values(s)
//            scores(s + 1) = queries x keys(s + 1)
//            outputs += sums(s - 1)
//            decode keys(s + 2)
//            sums(s) = weights(s) x values(s)
//            decode values(s + 1)
#ifndef POLARKV_KERNELS_CPU_AMX_ATTENTION_BODY_H_
#define POLARKV_KERNELS_CPU_AMX_ATTENTION_BODY_H_

#include "kernels/cpu/amx_operands.h"
#include "kernels/cpu/tile_planes_avx512.h"
#include "kernels/cpu/tile_softmax_avx512.h"

namespace polarkv::cpu {
namespace {

// Up to 16 rows over a run of tiles.
template <class Unit>
class AmxPass {
 public:
  // `is_first`: no pass over the same tiles went before, so that memory is yet to be asked for those that come.
  AmxPass(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
          uint32_t rows, const TurboExtras* extras, bool is_first)
      : reader_(reader), tiles_(tiles), states_(states), rows_(rows), extras_(extras), groups_(tiles.head_dim / 64),
        is_first_(is_first) {
    for (uint32_t word = 0; word < kNibbleWords; ++word) {
      // The reader's keys are unsigned, 128 higher.
      const __m512i entries = _mm512_load_si512(reader.key_table.entry[word]);
      _mm512_store_si512(key_table_.entry[word], _mm512_xor_si512(entries, _mm512_set1_epi8(-128)));
    }
    for (uint32_t row = 0; row < rows; ++row) {
      std::memcpy(operands_.queries + row * tiles.head_dim, queries[row].words, tiles.head_dim);
      units_[row] = queries[row].scale;
      for (__m512i& scores : operands_.scores[row]) scores = _mm512_setzero_si512();
    }
  }

  void Run(Unit& unit) {
    const uint32_t end = (tiles_.tokens + kTileTokens - 1) / kTileTokens;
    DecodeKeysOf(0);
    DecodeValuesOf(0);
    Score(unit);
    if (end > 1) DecodeKeysOf(1);
    for (uint32_t tile = 0; tile < end; ++tile) {
      Weigh(tile);
      if (tile + 1 < end) Score(unit);
      if (tile > 0) AddSums(factor_[(tile - 1) % 2]);
      if (tile + 2 < end) DecodeKeysOf(tile + 2);
      MultiplyValues(unit, groups_, operands_);
      if (tile + 1 < end) DecodeValuesOf(tile + 1);
    }
    AddSums(factor_[(end - 1) % 2]);
  }

 private:
  void DecodeKeysOf(uint32_t tile) {
    if (reader_.key_kind == CodeKind::kNone) return;
    const TileAt ahead = WhatToPrefetch(tile);
    kDecodeKeys[static_cast<uint32_t>(reader_.key_kind)](
        {tiles_.head_dim, &key_table_, KeyPlanes(reader_, tiles_, tile), KeyPlanes(reader_, *ahead.run, ahead.tile)}, operands_);
  }
  void DecodeValuesOf(uint32_t tile) {
    const TileAt ahead = WhatToPrefetch(tile);
    kDecodeValues[static_cast<uint32_t>(reader_.value_kind)](
        {tiles_.head_dim, &reader_.value_table, ValuePlanes(reader_, tiles_, tile), ValuePlanes(reader_, *ahead.run, ahead.tile)},
        operands_);
  }
  TileAt WhatToPrefetch(uint32_t tile) const { return is_first_ ? Ahead(tiles_, tile, kTilesAhead) : TileAt{&tiles_, tile}; }

  void Score(Unit& unit) {
    if (reader_.key_kind != CodeKind::kNone) MultiplyKeys(unit, groups_, operands_);
  }

  void Weigh(uint32_t tile) {
    PrefetchHead(WhatToPrefetch(tile), tiles_.key_crumbs);
    TileScales scales;
    ReadTileScales(tiles_, tile, scales);
    // Four at a time: more would not fit the registers.
    for (uint32_t row = 0; row < rows_; row += 4) {
      const uint32_t left = rows_ - row;
      if (left >= 4) WeighRows<4>(row, tile, scales);
      if (left == 3) WeighRows<3>(row, tile, scales);
      if (left == 2) WeighRows<2>(row, tile, scales);
      if (left == 1) WeighRows<1>(row, tile, scales);
    }
  }
  template <int kRows>
  void WeighRows(uint32_t row, uint32_t tile, const TileScales& scales) {
    float* before = factor_[(tile + 1) % 2] + row;
    float* factor = factor_[tile % 2] + row;
    if (extras_ != nullptr) {
      SoftmaxRows<kRows, true>(operands_.scores + row, scales, tiles_.head_dim, units_ + row, states_ + row,
                               extras_->From(tile, row), before, operands_.weights + row, factor);
    } else {
      SoftmaxRows<kRows, false>(operands_.scores + row, scales, tiles_.head_dim, units_ + row, states_ + row, {}, before,
                                operands_.weights + row, factor);
    }
  }

  // The sums of the tile whose weights have these factors.
  void AddSums(const float* factor) {
    for (uint32_t row = 0; row < rows_; ++row) {
      float* output = states_[row].output;
      for (uint32_t i = 0; i < 4 * groups_; ++i) AddToOutput(_mm512_load_si512(operands_.sums[i][row]), factor[row], output + 16 * i);
    }
  }

  const TurboReader& reader_;
  const TurboTiles& tiles_;
  TurboRowState* const states_;
  const uint32_t rows_;
  const TurboExtras* const extras_;
  const uint32_t groups_;
  const bool is_first_;
  TurboTable key_table_;
  float units_[kMaxPassRows];           // of the rows' logits
  float factor_[2][kMaxPassRows] = {};  // what a weight of one stands for, in even and odd tiles
  AmxOperands operands_;
};

// More rows than one pass takes go over the same tiles again while a second-level cache holds them.
constexpr uint32_t kTilesTogether = 64;

// Tiles [first, first + count) of a run, or less where it ends.
inline TurboTiles Part(const TurboTiles& tiles, uint32_t first, uint32_t count) {
  TurboTiles part = tiles;
  part.base += uint64_t{first} * tiles.base_stride;
  for (uint32_t i = 0; i < 2; ++i) {
    if (part.key_refine[i] != nullptr) part.key_refine[i] += uint64_t{first} * tiles.refine_stride;
    if (part.value_refine[i] != nullptr) part.value_refine[i] += uint64_t{first} * tiles.refine_stride;
  }
  const uint32_t left = tiles.tokens - first * kTileTokens;
  if (left <= count * kTileTokens) {
    part.tokens = left;
  } else {
    part.tokens = count * kTileTokens;
    part.following += (left - part.tokens + kTileTokens - 1) / kTileTokens;
  }
  return part;
}

template <class Unit>
void AttendOn(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
              uint32_t rows, const TurboExtras* extras) {
  const uint32_t passes = (rows + kMaxPassRows - 1) / kMaxPassRows;
  const uint32_t end = (tiles.tokens + kTileTokens - 1) / kTileTokens;
  const uint32_t together = passes == 1 ? end : kTilesTogether;
  Unit unit;
  for (uint32_t tile = 0; tile < end; tile += together) {
    const TurboTiles part = Part(tiles, tile, together);
    for (uint32_t pass = 0; pass < passes; ++pass) {
      const uint32_t first = rows * pass / passes, count = rows * (pass + 1) / passes - first;
      TurboExtras of_pass;
      if (extras != nullptr) of_pass = extras->From(tile, first);
      unit.Configure(ConfigFor(count));
      AmxPass<Unit>(reader, part, queries + first, states + first, count, extras != nullptr ? &of_pass : nullptr, pass == 0)
          .Run(unit);
    }
  }
  unit.Release();
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_ATTENTION_BODY_H_
