// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
#include <immintrin.h>

#include "kernels/cpu/tile_softmax_avx512.h"

namespace polarkv::cpu {
namespace {

// How many tiles ahead memory is asked for. To the second cache: the first one has too few misses under way for memory's
// latency, and would stall the loads that it can serve.
constexpr uint32_t kTilesAhead = 4;

using ScoreBody = void (*)(const TileSide&, const TurboQuery*, RowScores*);
using ValueBody = void (*)(const TileSide&, const TileWeights&, TurboRowState*);
using DecodeBody = void (*)(const TileSide&, __m512i*);

template <typename Lines>
constexpr ScoreBody kScoreBodies[kRowsTogether] = {ScoreTile<1, Lines>, ScoreTile<2, Lines>, ScoreTile<3, Lines>,
                                                   ScoreTile<4, Lines>};
template <typename Lines>
constexpr ValueBody kValueBodies[kRowsTogether] = {AddValueTile<1, Lines>, AddValueTile<2, Lines>, AddValueTile<3, Lines>,
                                                   AddValueTile<4, Lines>};
constexpr ScoreBody kZeroBodies[kRowsTogether] = {ZeroScores<1>, ZeroScores<2>, ZeroScores<3>, ZeroScores<4>};

// The bodies for a kind of codes, by number of rows minus 1.
struct KindBodies {
  const ScoreBody* score;
  const ValueBody* value;
  DecodeBody decode;
};

template <CodeKind kKind>
constexpr KindBodies BodiesOf() {
  return {kScoreBodies<CodeLines<kKind>>, kValueBodies<CodeLines<kKind>>, DecodeTile<kKind>};
}
constexpr KindBodies kKindBodies[kCodeKinds] = {
    {kZeroBodies, nullptr, [](const TileSide&, __m512i*) {}},
    BodiesOf<CodeKind::kTurbo1>(), BodiesOf<CodeKind::kTurbo2>(), BodiesOf<CodeKind::kTurbo3>(),
    BodiesOf<CodeKind::kTurbo4>(), BodiesOf<CodeKind::kTurbo5>(), BodiesOf<CodeKind::kTrellis1>(),
    BodiesOf<CodeKind::kTrellis2>(), BodiesOf<CodeKind::kTrellis3>()};

// The planes of one side of a tile.
CodePlanesAt PlanesOf(CodeKind kind, bool third_in_base, const TurboTiles& tiles, uint32_t payload,
                      const uint8_t* const* refine, uint32_t tile) {
  const uint8_t* first = tiles.base + uint64_t{tile} * tiles.base_stride + payload;
  const uint8_t* after_crumbs = first + 16 * tiles.head_dim;
  const uint64_t at = uint64_t{tile} * tiles.refine_stride;
  const uint8_t* refine1 = refine[0] != nullptr ? refine[0] + at : nullptr;
  const uint8_t* refine0 = refine[1] != nullptr ? refine[1] + at : nullptr;
  if (third_in_base || kind == CodeKind::kTrellis3) return {{first, after_crumbs, refine1, refine0}};
  return {{first, refine1, refine0, nullptr}};
}
CodePlanesAt KeyPlanes(const TurboReader& reader, const TurboTiles& tiles, uint32_t tile) {
  return PlanesOf(reader.key_kind, reader.key_third_in_base, tiles, tiles.key_crumbs, tiles.key_refine, tile);
}
CodePlanesAt ValuePlanes(const TurboReader& reader, const TurboTiles& tiles, uint32_t tile) {
  return PlanesOf(reader.value_kind, reader.value_third_in_base, tiles, tiles.value_crumbs, tiles.value_refine, tile);
}

// A tile of this run, of those that follow, or of the next ones; beyond what is known, the tile itself.
struct TileAt {
  const TurboTiles* run;
  uint32_t tile;
};
TileAt Ahead(const TurboTiles& tiles, uint32_t tile, uint32_t distance) {
  const TurboTiles* run = &tiles;
  uint32_t at = tile + distance;
  for (; run != nullptr; run = run->next) {
    const uint32_t there = (run->tokens + kTileTokens - 1) / kTileTokens + run->following;
    if (at < there) return {run, at};
    at -= there;
  }
  return {&tiles, tile};
}

void PrefetchHead(const TileAt& at, uint32_t payload) {
  const uint8_t* base = at.run->base + uint64_t{at.tile} * at.run->base_stride;
  for (uint32_t i = 0; i < payload; i += kLineBytes) _mm_prefetch(reinterpret_cast<const char*>(base + i), _MM_HINT_T1);
}

// Rows of one call, and their tiles one after the other.
class Walk {
 public:
  Walk(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states, uint32_t rows,
       const TurboExtras* extras)
      : reader_(reader), tiles_(tiles), queries_(queries), states_(states), rows_(rows), extras_(extras) {
    keys_.head_dim = values_.head_dim = tiles.head_dim;
    keys_.table = &reader.key_table;
    values_.table = &reader.value_table;
  }

  // Few rows: codes are decoded in registers for all of them. A tile's values are added after the next tile's scores, so
  // that neither waits for the softmax.
  template <int kRows>
  void Few() {
    const ScoreBody score = kKindBodies[static_cast<uint32_t>(reader_.key_kind)].score[kRows - 1];
    const ValueBody add = kKindBodies[static_cast<uint32_t>(reader_.value_kind)].value[kRows - 1];
    TileWeights weights[2];
    TileSide values_before{};
    for (int r = 0; r < kRows; ++r) weights[1].factor[r] = 0;
    const uint32_t count = Count();
    for (uint32_t tile = 0; tile < count; ++tile) {
      Open(tile);
      alignas(64) RowScores scores[kRows];
      score(keys_, queries_, scores);
      TileWeights& now = weights[tile % 2];
      TileWeights& before = weights[1 - tile % 2];
      SoftmaxRows<kRows>(0, scores, before.factor, now);
      if (tile > 0) add(values_before, before, states_);
      values_before = values_;
    }
    if (count > 0) add(values_before, weights[(count - 1) % 2], states_);
  }

  // Any number of rows: tiles are decoded to memory once.
  void Many() {
    alignas(64) __m512i decoded[2][4 * kLinesPerVector * 8];
    const KindBodies& key = kKindBodies[static_cast<uint32_t>(reader_.key_kind)];
    const KindBodies& value = kKindBodies[static_cast<uint32_t>(reader_.value_kind)];
    keys_.decoded = decoded[0];
    values_.decoded = decoded[1];
    for (uint32_t tile = 0; tile < Count(); ++tile) {
      Open(tile);
      key.decode(keys_, decoded[0]);
      value.decode(values_, decoded[1]);
      for (uint32_t row = 0; row < rows_; row += kRowsTogether) Block(row);
      AddBlock();
    }
  }

 private:
  uint32_t Count() const { return (tiles_.tokens + kTileTokens - 1) / kTileTokens; }

  void Open(uint32_t tile) {
    const TileAt ahead = Ahead(tiles_, tile, kTilesAhead);
    keys_.at = KeyPlanes(reader_, tiles_, tile);
    values_.at = ValuePlanes(reader_, tiles_, tile);
    keys_.ahead = KeyPlanes(reader_, *ahead.run, ahead.tile);
    values_.ahead = ValuePlanes(reader_, *ahead.run, ahead.tile);
    PrefetchHead(ahead, tiles_.key_crumbs);
    ReadTileScales(tiles_, tile, scales_);
  }

  void Block(uint32_t row) {
    const uint32_t left = rows_ - row < kRowsTogether ? rows_ - row : kRowsTogether;
    alignas(64) RowScores scores[kRowsTogether];
    const ScoreBody* score = reader_.key_kind == CodeKind::kNone ? kZeroBodies : kScoreBodies<DecodedLines>;
    score[left - 1](keys_, queries_ + row, scores);
    TileWeights& now = weights_[block_ % 2];
    float none[kRowsTogether] = {};
    if (left == 4) SoftmaxRows<4>(row, scores, none, now);
    if (left == 3) SoftmaxRows<3>(row, scores, none, now);
    if (left == 2) SoftmaxRows<2>(row, scores, none, now);
    if (left == 1) SoftmaxRows<1>(row, scores, none, now);
    AddBlock();
    pending_row_ = row;
    pending_ = left;
    ++block_;
  }

  // The values of the block before, if they are not added yet.
  void AddBlock() {
    if (pending_ == 0) return;
    kValueBodies<DecodedLines>[pending_ - 1](values_, weights_[(block_ + 1) % 2], states_ + pending_row_);
    pending_ = 0;
  }

  template <int kRows>
  void SoftmaxRows(uint32_t row, const RowScores* scores, float* pending, TileWeights& out) {
    if (extras_ != nullptr) {
      const TurboExtras of_rows = {extras_->added + kTileTokens * row, extras_->probability + kTileTokens * row};
      Softmax<kRows, true>(scores, scales_, tiles_.head_dim, queries_ + row, states_ + row, of_rows, pending, out);
    } else {
      Softmax<kRows, false>(scores, scales_, tiles_.head_dim, queries_ + row, states_ + row, {}, pending, out);
    }
  }

  const TurboReader& reader_;
  const TurboTiles& tiles_;
  const TurboQuery* queries_;
  TurboRowState* states_;
  uint32_t rows_;
  const TurboExtras* extras_;
  TileSide keys_{}, values_{};
  TileScales scales_;
  TileWeights weights_[2];
  uint32_t block_ = 0, pending_ = 0, pending_row_ = 0;
};

}  // namespace

void TurboAttendAvx512(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                       TurboRowState* states, uint32_t rows, const TurboExtras* extras) {
  Walk walk(reader, tiles, queries, states, rows, extras);
  if (rows == 1) return walk.Few<1>();
  if (rows == 2) return walk.Few<2>();
  if (rows == 3) return walk.Few<3>();
  if (rows == 4) return walk.Few<4>();
  walk.Many();
}

}  // namespace polarkv::cpu
