// Compiled once for each instruction set that has a body of its own here; called only where the machine has it (see
// kernels/cpu/turbo_attention.h on ODR).
#include "kernels/cpu/turbo_attention.h"

#include "kernels/cpu/portable/bodies.h"
#include "kernels/cpu/portable/tile_products.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

constexpr uint32_t kTilesAhead = 4;  // memory is asked for, to the second cache

using ScoreBody = void (*)(const TileSide&, const TurboQuery*, RowScores*);
using ValueBody = void (*)(const TileSide&, const RowWeights*, TurboRowState*);
using DecodeBody = void (*)(const TileSide&, ByteVector*);

// How a kind of codes is worked on: for one row as they are decoded, for more after they were decoded to memory.
struct KindBodies {
  ScoreBody score;
  ValueBody value;
  DecodeBody decode;
};
template <CodeKind kKind>
constexpr KindBodies BodiesOf() {
  return {ScoreTile<1, CodePlaces<kKind>>, AddValueTile<1, CodePlaces<kKind>>, DecodePlaces<kKind>};
}
constexpr KindBodies kKindBodies[kCodeKinds] = {
    {ZeroScores<1>, nullptr, [](const TileSide&, ByteVector*) {}},
    BodiesOf<CodeKind::kTurbo1>(), BodiesOf<CodeKind::kTurbo2>(), BodiesOf<CodeKind::kTurbo3>(),
    BodiesOf<CodeKind::kTurbo4>(), BodiesOf<CodeKind::kTurbo5>(), BodiesOf<CodeKind::kTrellis1>(),
    BodiesOf<CodeKind::kTrellis2>(), BodiesOf<CodeKind::kTrellis3>()};

// A tile of this run, of those that follow, or of the next ones; beyond what is known, the tile itself.
struct TileAt {
  const TurboTiles* run;
  uint32_t tile;
};
TileAt Ahead(const TurboTiles& tiles, uint32_t tile, uint32_t distance) {
  uint32_t at = tile + distance;
  for (const TurboTiles* run = &tiles; run != nullptr; run = run->next) {
    const uint32_t there = (run->tokens + kTileTokens - 1) / kTileTokens + run->following;
    if (at < there) return {run, at};
    at -= there;
  }
  return {&tiles, tile};
}

CodePlanes PlanesOf(CodeKind kind, bool third_in_base, const TileAt& at, uint32_t payload, const uint8_t* const* refine) {
  const uint8_t* first = at.run->base + uint64_t{at.tile} * at.run->base_stride + payload;
  const uint64_t offset = uint64_t{at.tile} * at.run->refine_stride;
  const uint8_t* refine1 = refine[0] != nullptr ? refine[0] + offset : nullptr;
  const uint8_t* refine0 = refine[1] != nullptr ? refine[1] + offset : nullptr;
  if (third_in_base || kind == CodeKind::kTrellis3) return {{first, first + 16 * at.run->head_dim, refine1, refine0}};
  return {{first, refine1, refine0, nullptr}};
}

// Rows of one call, and their tiles one after the other.
class Walk {
 public:
  Walk(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states, uint32_t rows,
       const TurboExtras* extras)
      : reader_(reader), tiles_(tiles), queries_(queries), states_(states), rows_(rows), extras_(extras) {}

  void One() {
    const ScoreBody score = kKindBodies[static_cast<uint32_t>(reader_.key_kind)].score;
    const ValueBody add = kKindBodies[static_cast<uint32_t>(reader_.value_kind)].value;
    for (uint32_t tile = 0; tile < Count(); ++tile) {
      Open(tile);
      AttendRows<1>(tile, 0, score, add);
    }
  }

  void Many() {
    alignas(64) ByteVector decoded[2][kMaxPlaces * kDwords];
    keys_.decoded = decoded[0];
    values_.decoded = decoded[1];
    const bool has_keys = reader_.key_kind != CodeKind::kNone;
    const ScoreBody score_four = has_keys ? ScoreTile<4, DecodedPlaces> : ZeroScores<4>;
    const ScoreBody score_one = has_keys ? ScoreTile<1, DecodedPlaces> : ZeroScores<1>;
    for (uint32_t tile = 0; tile < Count(); ++tile) {
      Open(tile);
      kKindBodies[static_cast<uint32_t>(reader_.key_kind)].decode(keys_, decoded[0]);
      kKindBodies[static_cast<uint32_t>(reader_.value_kind)].decode(values_, decoded[1]);
      uint32_t row = 0;
      for (; row + 4 <= rows_; row += 4) AttendRows<4>(tile, row, score_four, AddValueTile<4, DecodedPlaces>);
      for (; row < rows_; ++row) AttendRows<1>(tile, row, score_one, AddValueTile<1, DecodedPlaces>);
    }
  }

 private:
  uint32_t Count() const { return (tiles_.tokens + kTileTokens - 1) / kTileTokens; }

  void Open(uint32_t tile) {
    const TileAt at = {&tiles_, tile}, ahead = Ahead(tiles_, tile, kTilesAhead);
    const auto keys = [&](const TileAt& there) {
      return PlanesOf(reader_.key_kind, reader_.key_third_in_base, there, there.run->key_crumbs, there.run->key_refine);
    };
    const auto values = [&](const TileAt& there) {
      return PlanesOf(reader_.value_kind, reader_.value_third_in_base, there, there.run->value_crumbs, there.run->value_refine);
    };
    keys_.at = keys(at);
    keys_.ahead = keys(ahead);
    values_.at = values(at);
    values_.ahead = values(ahead);
    const uint8_t* base = ahead.run->base + uint64_t{ahead.tile} * ahead.run->base_stride;
    for (uint32_t i = 0; i < tiles_.key_crumbs; i += kLineBytes) __builtin_prefetch(base + i, 0, 2);
    ReadTileScales(tiles_, tile, scales_);
  }

  template <int kRows>
  void AttendRows(uint32_t tile, uint32_t row, ScoreBody score, ValueBody add) {
    alignas(64) RowScores scores[kRows];
    RowWeights weights[kRows];
    score(keys_, queries_ + row, scores);
    for (int r = 0; r < kRows; ++r) {
      const TurboQuery& query = queries_[row + r];
      TurboRowState& state = states_[row + r];
      if (extras_ == nullptr) {
        Softmax<false>(scores[r], scales_, tiles_.head_dim, query, state, {}, weights[r]);
      } else {
        Softmax<true>(scores[r], scales_, tiles_.head_dim, query, state, extras_->From(tile, row + r), weights[r]);
      }
    }
    add(values_, weights, states_ + row);
  }

  const TurboReader& reader_;
  const TurboTiles& tiles_;
  const TurboQuery* queries_;
  TurboRowState* states_;
  uint32_t rows_;
  const TurboExtras* extras_;
  TileSide keys_{PlaceCount(tiles_.head_dim), &reader_.key_table, static_cast<uint8_t>(-kKeyTableOffset), {}, {}, nullptr};
  TileSide values_{PlaceCount(tiles_.head_dim), &reader_.value_table, ValueDot::kImageOffset, {}, {}, nullptr};
  TileScales scales_;
};

}  // namespace

void TurboAttend(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                 uint32_t rows, const TurboExtras* extras) {
  Walk walk(reader, tiles, queries, states, rows, extras);
  if (rows == 1) return walk.One();
  walk.Many();
}

}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();
