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

#include "kernels/cpu/amx_softmax.h"
#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kRowsAtATime = 4;  // of a softmax: more would not fit the registers

// Bytes that the steps after the next will decode, in eight streams: memory serves several better than one.
struct ComingBytes {
  static constexpr uint32_t kStreams = 8;
  const uint8_t* stream[kStreams] = {};
  uint32_t lines = 0;  // of 64 bytes, in each stream that is not null

  void Prefetch(uint32_t begin, uint32_t end) const {
    for (uint32_t i = begin; i < end; ++i) {
      for (const uint8_t* each : stream) {
        if (each != nullptr) _mm_prefetch(reinterpret_cast<const char*>(each + i * kLineBytes), _MM_HINT_T0);
      }
    }
  }
};

// Up to 16 rows over a run of tiles.
template <class Unit, int kKeyBits, int kValueBits>
class AmxPass {
 public:
  AmxPass(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
          uint32_t rows, const TurboExtras* extras)
      : tiles_(tiles), groups_(tiles.head_dim / 64), states_(states), count_(rows), extras_(extras) {
    LoadTable(reader.key_table, key_table_);
    LoadTable(reader.value_table, value_table_);
    // The reader's keys are unsigned, 128 higher.
    for (__m512i& entries : key_table_) entries = _mm512_xor_si512(entries, _mm512_set1_epi8(-128));
    for (uint32_t row = 0; row < rows; ++row) {
      std::memcpy(operands_.queries + row * tiles.head_dim, queries[row].words, tiles.head_dim);
      rows_.scale[row] = queries[row].scale;
      rows_.max[row] = states[row].max;
      rows_.sum[row] = states[row].sum;
      rows_.output[row] = states[row].output;
    }
  }

  void Run(Unit& unit) {
    const uint32_t end = (tiles_.tokens + kTileTokens - 1) / kTileTokens;
    DecodeKeysOf(0);
    DecodeValuesOf(0);
    MultiplyKeys(unit, groups_, operands_);
    if (end > 1) DecodeKeysOf(1);
    for (uint32_t tile = 0; tile < end; ++tile) {
      Weigh(tile);
      if (tile + 1 < end) MultiplyKeys(unit, groups_, operands_);
      if (tile > 0) Flush(operands_, rows_.factor[(tile - 1) % 2], groups_, count_, rows_);
      if (tile + 2 < end) DecodeKeysOf(tile + 2);
      MultiplyValues(unit, groups_, operands_);
      if (tile + 1 < end) DecodeValuesOf(tile + 1);
    }
    Flush(operands_, rows_.factor[(end - 1) % 2], groups_, count_, rows_);
    for (uint32_t row = 0; row < count_; ++row) {
      states_[row].max = rows_.max[row];
      states_[row].sum = rows_.sum[row];
    }
  }

 private:
  CodePlanes Keys(uint32_t tile) const { return Planes(tile, tiles_.key_crumbs, kKeyBits, tiles_.key_refine); }
  CodePlanes Values(uint32_t tile) const { return Planes(tile, tiles_.value_crumbs, kValueBits, tiles_.value_refine); }
  CodePlanes Planes(uint32_t tile, uint32_t crumbs, int bits, const uint8_t* const refine[2]) const {
    const uint64_t at = uint64_t{tile} * tiles_.refine_stride;
    return {tiles_.base + uint64_t{tile} * tiles_.base_stride + crumbs, bits >= 3 ? refine[0] + at : nullptr,
            bits == 4 ? refine[1] + at : nullptr};
  }

  void DecodeKeysOf(uint32_t tile) { DecodeKeys<kKeyBits>(Keys(tile), key_table_, groups_, operands_); }
  void DecodeValuesOf(uint32_t tile) { DecodeValues<kValueBits>(Values(tile), value_table_, groups_, operands_); }

  // Keys are decoded two tiles ahead, values one: what comes next is the keys of the third, the values of the second.
  ComingBytes Coming(uint32_t tile) const {
    ComingBytes coming;
    coming.lines = groups_ * kLinesPerVector;
    const auto add = [&](const CodePlanes& planes, const uint8_t** stream) {
      stream[0] = planes.crumbs;
      stream[1] = planes.crumbs + coming.lines * kLineBytes;
      stream[2] = planes.refine1;
      stream[3] = planes.refine0;
    };
    if ((tile + 3) * kTileTokens < tiles_.tokens) add(Keys(tile + 3), coming.stream);
    if ((tile + 2) * kTileTokens < tiles_.tokens) add(Values(tile + 2), coming.stream + 4);
    return coming;
  }

  void Weigh(uint32_t tile) {
    const TileScales scales = ReadTileScales(tiles_, tile);
    const ComingBytes coming = Coming(tile);
    float* waiting = rows_.factor[(tile + 1) % 2];
    for (uint32_t row = 0; row < count_;) {
      const uint32_t next = row + kRowsAtATime <= count_ ? row + kRowsAtATime : row + 1;
      coming.Prefetch(coming.lines * row / count_, coming.lines * next / count_);
      if (extras_ != nullptr) {
        for (uint32_t i = row; i < next; ++i) {
          WeighRows<1, true>(i, scales, tiles_.head_dim, waiting, extras_, rows_, operands_);
        }
      } else if (next - row == kRowsAtATime) {
        WeighRows<kRowsAtATime, false>(row, scales, tiles_.head_dim, waiting, extras_, rows_, operands_);
      } else {
        WeighRows<1, false>(row, scales, tiles_.head_dim, waiting, extras_, rows_, operands_);
      }
      row = next;
    }
    AddTileSums(tile, scales, count_, extras_, rows_);
  }

  const TurboTiles& tiles_;
  const uint32_t groups_;
  TurboRowState* const states_;
  const uint32_t count_;
  const TurboExtras* const extras_;
  __m512i key_table_[4], value_table_[4];
  PassRows rows_;
  AmxOperands operands_;
};

// More rows than one pass takes go over the same tiles again while a second-level cache holds them.
constexpr uint32_t kTilesTogether = 64;

inline void Skip(uint32_t count, TurboTiles& tiles) {
  tiles.base += uint64_t{count} * tiles.base_stride;
  const uint64_t refine = uint64_t{count} * tiles.refine_stride;
  for (uint32_t i = 0; i < 2; ++i) {
    if (tiles.key_refine[i] != nullptr) tiles.key_refine[i] += refine;
    if (tiles.value_refine[i] != nullptr) tiles.value_refine[i] += refine;
  }
}

template <class Unit, int kKeyBits, int kValueBits>
void AttendPasses(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                  uint32_t rows, const TurboExtras* extras) {
  const uint32_t passes = (rows + kMaxPassRows - 1) / kMaxPassRows;
  Unit unit;
  for (uint32_t token = 0; token < tiles.tokens;) {
    const uint32_t left = tiles.tokens - token;
    TurboTiles part = tiles;
    part.tokens = passes > 1 && left > kTilesTogether * kTileTokens ? kTilesTogether * kTileTokens : left;
    Skip(token / kTileTokens, part);
    for (uint32_t pass = 0; pass < passes; ++pass) {
      const uint32_t first = rows * pass / passes, count = rows * (pass + 1) / passes - first;
      TurboExtras of_pass = {};
      if (extras != nullptr) of_pass = {extras->added + kTileTokens * first, extras->probability + kTileTokens * first};
      unit.Configure(ConfigFor(count));
      AmxPass<Unit, kKeyBits, kValueBits>(reader, part, queries + first, states + first, count,
                                          extras != nullptr ? &of_pass : nullptr)
          .Run(unit);
    }
    token += part.tokens;
  }
  unit.Release();
}

template <class Unit, int kKeyBits>
void AttendWithKeys(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                    TurboRowState* states, uint32_t rows, const TurboExtras* extras) {
  if (reader.value_bits == 2) return AttendPasses<Unit, kKeyBits, 2>(reader, tiles, queries, states, rows, extras);
  if (reader.value_bits == 3) return AttendPasses<Unit, kKeyBits, 3>(reader, tiles, queries, states, rows, extras);
  AttendPasses<Unit, kKeyBits, 4>(reader, tiles, queries, states, rows, extras);
}

template <class Unit>
void AttendOn(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
              uint32_t rows, const TurboExtras* extras) {
  if (reader.key_bits == 2) return AttendWithKeys<Unit, 2>(reader, tiles, queries, states, rows, extras);
  if (reader.key_bits == 3) return AttendWithKeys<Unit, 3>(reader, tiles, queries, states, rows, extras);
  AttendWithKeys<Unit, 4>(reader, tiles, queries, states, rows, extras);
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_ATTENTION_BODY_H_
