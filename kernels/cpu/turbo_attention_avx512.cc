// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
#include <immintrin.h>

#include "kernels/cpu/tile_planes_avx512.h"
#include "kernels/cpu/tile_softmax_avx512.h"

namespace polarkv::cpu {
namespace {

// Numbers of rows that have bodies; others take the next larger.
constexpr int kRowCounts = 5;
constexpr uint32_t kRowsOfBody[kRowCounts] = {1, 2, 4, 6, 8};

// For one kind of codes, by number of rows.
struct KindBodies {
  void (*score[kRowCounts])(const TileSide&, const QueryBlock&, RowScores*);
  void (*add_values[kRowCounts])(const TileSide&, const TileWeights&, TurboRowState*);
};

template <CodeKind kKind>
constexpr KindBodies BodiesOf() {
  using Lines = CodeLines<kKind>;
  return {{ScoreTile<1, Lines>, ScoreTile<2, Lines>, ScoreTile<4, Lines>, ScoreTile<6, Lines>, ScoreTile<8, Lines>},
          {AddValueTile<1, Lines>, AddValueTile<2, Lines>, AddValueTile<4, Lines>, AddValueTile<6, Lines>,
           AddValueTile<8, Lines>}};
}
constexpr KindBodies kKindBodies[kCodeKinds] = {
    {}, BodiesOf<CodeKind::kTurbo1>(), BodiesOf<CodeKind::kTurbo2>(), BodiesOf<CodeKind::kTurbo3>(),
    BodiesOf<CodeKind::kTurbo4>(), BodiesOf<CodeKind::kTurbo5>(), BodiesOf<CodeKind::kTrellis1>(),
    BodiesOf<CodeKind::kTrellis2>(), BodiesOf<CodeKind::kTrellis3>()};

// Up to kRowsTogether rows, and what a body needs to work on as many as it is made for: the missing ones get a query that
// is there and an output that nobody looks at.
class RowBlock {
 public:
  void Load(const TurboQuery* queries, const TurboRowState* states, uint32_t rows, uint32_t head_dim) {
    rows_ = rows;
    while (kRowsOfBody[body_] < rows) ++body_;
    for (uint32_t r = 0; r < kRowsOfBody[body_]; ++r) {
      const TurboQuery& query = queries[r < rows ? r : 0];
      std::memcpy(queries_.words[r], query.words, head_dim);
      queries_.sum[r] = query.sum;
      queries_.scale[r] = query.scale;
      if (r < rows) states_[r] = states[r];
      if (r >= rows) states_[r].output = nobody_;
    }
  }

  void Score(CodeKind kind, const TileSide& keys, RowScores* scores) const {
    if (kind != CodeKind::kNone) return kKindBodies[static_cast<uint32_t>(kind)].score[body_](keys, queries_, scores);
    for (uint32_t r = 0; r < rows_; ++r) {
      for (__m512i& score : scores[r]) score = _mm512_setzero_si512();
    }
  }

  void AddValues(CodeKind kind, const TileSide& values, const TileWeights& weights) {
    kKindBodies[static_cast<uint32_t>(kind)].add_values[body_](values, weights, states_);
  }

  // `pending`: what weights stand for whose values are yet to be added to these rows.
  void Softmax(const RowScores* scores, const TileScales& scales, uint32_t head_dim, const TurboExtras* extras,
               float* pending, TileWeights& weights) {
    for (uint32_t r = 0; r < rows_; r += 4) {
      const uint32_t left = rows_ - r;
      const auto some = left >= 4 ? &RowBlock::SoftmaxOf<4> : left == 3 ? &RowBlock::SoftmaxOf<3>
                      : left == 2 ? &RowBlock::SoftmaxOf<2> : &RowBlock::SoftmaxOf<1>;
      (this->*some)(r, scores, scales, head_dim, extras, pending, weights);
    }
  }

  // The rows' states, back to where they came from.
  void Store(TurboRowState* states) const {
    for (uint32_t r = 0; r < rows_; ++r) states[r] = states_[r];
  }

 private:
  template <int kRows>
  void SoftmaxOf(uint32_t r, const RowScores* scores, const TileScales& scales, uint32_t head_dim,
                 const TurboExtras* extras, float* pending, TileWeights& weights) {
    if (extras != nullptr) {
      SoftmaxRows<kRows, true>(scores + r, scales, head_dim, queries_.scale + r, states_ + r, extras->From(0, r), pending + r,
                               weights.words + r, weights.factor + r);
    } else {
      SoftmaxRows<kRows, false>(scores + r, scales, head_dim, queries_.scale + r, states_ + r, {}, pending + r,
                                weights.words + r, weights.factor + r);
    }
  }

  uint32_t rows_ = 0, body_ = 0;
  QueryBlock queries_;
  TurboRowState states_[kRowsTogether];
  float nobody_[4 * 64];  // largest head_dim
};

// Blocks of rows that go through the tiles together, so that a tile is in the first cache for all but the first.
constexpr uint32_t kBlocksTogether = 4;

// A run of tiles for up to kBlocksTogether blocks of rows. Values are added after the scores that come next, the next
// block's or the next tile's, so that neither waits for the softmax.
class TileWalk {
 public:
  TileWalk(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
           uint32_t rows, const TurboExtras* extras)
      : reader_(reader), tiles_(tiles), extras_(extras), blocks_((rows + kRowsTogether - 1) / kRowsTogether) {
    for (uint32_t b = 0; b < blocks_; ++b) {
      const uint32_t first = b * kRowsTogether, left = rows - first;
      block_[b].Load(queries + first, states + first, left < kRowsTogether ? left : kRowsTogether,
                     tiles.head_dim);
    }
    keys_ = {tiles.head_dim, &reader.key_table, {}, {}};
    values_ = {tiles.head_dim, &reader.value_table, {}, {}};
  }

  void Run(TurboRowState* states) {
    for (uint32_t tile = 0; tile * kTileTokens < tiles_.tokens; ++tile) {
      Open(tile);
      for (uint32_t b = 0; b < blocks_; ++b) {
        Attend(tile, b);
        keys_.ahead = keys_.at;  // once is enough
        values_.ahead = values_.at;
      }
    }
    AddPending();
    for (uint32_t b = 0; b < blocks_; ++b) block_[b].Store(states + b * kRowsTogether);
  }

 private:
  void Open(uint32_t tile) {
    const TileAt ahead = Ahead(tiles_, tile, kTilesAhead);
    PrefetchHead(ahead, tiles_.key_crumbs);
    keys_.at = KeyPlanes(reader_, tiles_, tile);
    keys_.ahead = KeyPlanes(reader_, *ahead.run, ahead.tile);
    values_.at = ValuePlanes(reader_, tiles_, tile);
    values_.ahead = ValuePlanes(reader_, *ahead.run, ahead.tile);
    ReadTileScales(tiles_, tile, scales_);
  }

  void Attend(uint32_t tile, uint32_t b) {
    alignas(64) RowScores scores[kRowsTogether];
    block_[b].Score(reader_.key_kind, keys_, scores);
    float others[kRowsTogether] = {};  // other blocks' pending weights do not depend on this one's largest logits
    float* pending = pending_ == &block_[b] ? weights_[turn_].factor : others;
    TurboExtras extras;
    if (extras_ != nullptr) extras = extras_->From(tile, b * kRowsTogether);
    block_[b].Softmax(scores, scales_, tiles_.head_dim, extras_ != nullptr ? &extras : nullptr, pending,
                      weights_[1 - turn_]);
    AddPending();
    turn_ = 1 - turn_;
    pending_ = &block_[b];
    pending_values_ = values_;
  }

  void AddPending() {
    if (pending_ != nullptr) pending_->AddValues(reader_.value_kind, pending_values_, weights_[turn_]);
  }

  const TurboReader& reader_;
  const TurboTiles& tiles_;
  const TurboExtras* extras_;
  uint32_t blocks_;
  RowBlock block_[kBlocksTogether];
  TileSide keys_, values_, pending_values_;
  TileScales scales_;
  TileWeights weights_[2] = {};
  uint32_t turn_ = 0;  // of the weights that are pending
  RowBlock* pending_ = nullptr;
};

// Images 1 and -1, and 128 as keys have.
constexpr TurboTable kSignTable = [] {
  TurboTable table{};
  constexpr uint32_t kOnlyBit[kNibbleWords] = {2, 0, 3, 1};  // as turbo_table.h says
  for (uint32_t word = 0; word < kNibbleWords; ++word) {
    for (uint32_t i = 0; i < 64; ++i) table.entry[word][i] = static_cast<int8_t>((i >> kOnlyBit[word] & 1) != 0 ? -127 : 127);
  }
  return table;
}();

// Sixty-four halves in score order.
void LoadNorms(const uint8_t* halves, __m512 out[4]) {
  __m512i natural[4];
  RowScores ordered;
  for (int i = 0; i < 4; ++i) {
    const auto half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + 32 * i));
    natural[i] = _mm512_castps_si512(_mm512_cvtph_ps(half));
    ordered[i] = _mm512_setzero_si512();
  }
  AddInScoreOrder(natural, ordered);  // to integer zeros: moves bits
  for (int i = 0; i < 4; ++i) out[i] = _mm512_castsi512_ps(ordered[i]);
}

}  // namespace

bool AddSignScoresAvx512(const TurboTiles& tile, const TurboSigns& signs, const TurboQuery* projected, uint32_t rows,
                         float* added) {
  TileScales scales;
  ReadTileScales(tile, 0, scales);
  if (signs.norms != nullptr) {
    __m512 norms[4];
    LoadNorms(signs.norms, norms);
    for (int i = 0; i < 4; ++i) scales.key[i] = _mm512_mul_ps(scales.key[i], norms[i]);
  }
  const CodePlanesAt at = {{signs.plane}};
  const TileSide side = {tile.head_dim, &kSignTable, at, at};
  TurboRowState nobody[kRowsTogether];
  int beyond = 0;
  for (uint32_t row = 0; row < rows; row += kRowsTogether) {
    const uint32_t left = rows - row < kRowsTogether ? rows - row : kRowsTogether;
    RowBlock block;
    block.Load(projected + row, nobody, left, tile.head_dim);
    alignas(64) RowScores scores[kRowsTogether];
    block.Score(CodeKind::kTurbo1, side, scores);
    for (uint32_t r = 0; r < left; ++r) {
      const __m512 unit = _mm512_set1_ps(projected[row + r].scale);
      for (int i = 0; i < 4; ++i) {
        float* sum = added + kTileTokens * (row + r) + 16 * i;
        const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(scores[r][i]), scales.key[i]);
        const __m512 logits = _mm512_fmadd_ps(product, unit, _mm512_loadu_ps(sum));
        _mm512_storeu_ps(sum, logits);
        beyond |= _mm512_cmp_ps_mask(_mm512_abs_ps(logits), _mm512_set1_ps(kLargestAddedLogit), _CMP_NLE_UQ);
      }
    }
  }
  return beyond == 0;
}

void TurboAttendAvx512(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                       TurboRowState* states, uint32_t rows, const TurboExtras* extras) {
  constexpr uint32_t kRowsAtOnce = kBlocksTogether * kRowsTogether;
  for (uint32_t row = 0; row < rows; row += kRowsAtOnce) {
    TurboExtras of_rows;
    if (extras != nullptr) of_rows = extras->From(0, row);
    const uint32_t left = rows - row < kRowsAtOnce ? rows - row : kRowsAtOnce;
    TileWalk(reader, tiles, queries + row, states + row, left, extras != nullptr ? &of_rows : nullptr).Run(states + row);
  }
}

}  // namespace polarkv::cpu
