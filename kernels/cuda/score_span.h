// Scores alone: one warp's share of a launch, a span of units (attention_plan.h), tile after tile through a ring of stages
// that hold keys only; and the scores of tokens whose keys stand raw in escape records.
#ifndef POLARKV_KERNELS_CUDA_SCORE_SPAN_H_
#define POLARKV_KERNELS_CUDA_SCORE_SPAN_H_

#include "kernels/cuda/attend_span.h"
#include "kernels/cuda/raw_tokens.h"

namespace polarkv::cuda {

// Where the scores of columns 2t, 2t + 1 of eight rows go: of token 0.
template <class W>
struct ScoreRows {
  typename W::Bool valid[2];
  typename W::I64 element[2];

  // `first`: of the eight rows, among those of the KV head.
  POLARKV_WARP_FUNCTION void Find(const ScoresArgs& args, uint32_t sequence, uint32_t kv_head, uint32_t first) {
    using U32 = typename W::U32;
    const AttentionBatch& batch = args.attention.batch;
    const auto& stride = args.target.stride;
    POLARKV_UNROLL
    for (uint32_t column = 0; column < 2; ++column) {
      const U32 row = (W::Lane() & 3u) * 2u + (first + column);
      const U32 query = row / batch.group;
      const U32 head = (row - query * batch.group) + kv_head * batch.group;
      valid[column] = U32(args.attention.rows) > row;
      element[column] = W::Wide(query) * stride[1] + W::Wide(head) * stride[2] + int64_t{sequence} * stride[0];
    }
  }
};

// Adds what key means add to the scores of slots 2 * pair and 2 * pair + 1, of column c: where StoreMeanLogits left it.
template <class W>
POLARKV_WARP_FUNCTION void AddMeanLogitsOfPair(const uint8_t* logits, int pair, int c, typename W::F32 (&x)[2]) {
  const Words4<W> words = W::LoadVector(logits, W::Lane() * 16u + static_cast<uint32_t>(512 * pair));
  POLARKV_UNROLL
  for (int i = 0; i < 2; ++i) x[i] = x[i] + W::FloatOfBits(words.w[2 * i + c]);
}

// Writes the scores of one tile's coded tokens of eight rows. `first_token`: of the tile, in the sequence.
template <class W, class Source, class Score>
POLARKV_WARP_FUNCTION void StoreScores(const ScoresArgs& args, const Source& tile, const TileFacts<W>& facts,
                                       const ScoreRows<W>& rows, const typename W::F32 (&query_scale)[2],
                                       const Score (&scores)[4][4], uint32_t first_token, const uint8_t* mean_logits) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  POLARKV_UNROLL
  for (int pair = 0; pair < 4; ++pair) {
    F32 key_scale[2];
    RelativeScales<W>(tile.KeyScales(pair), facts.key.step, key_scale);
    const U32 token = SlotToken<W>(W::Lane(), 2 * pair);
    const auto place = W::Wide(token) + int64_t{first_token};
    POLARKV_UNROLL
    for (int c = 0; c < 2; ++c) {
      const F32 unit = query_scale[c] * facts.key.factor;
      F32 x[2];
      POLARKV_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int slot = 2 * pair + i;
        x[i] = UnbiasedScore<W>(scores[slot % 4][slot / 4 * 2 + c]) * key_scale[i] * unit;
      }
      if (facts.has_means) AddMeanLogitsOfPair<W>(mean_logits, pair, c, x);
      if (facts.tokens == 64) {
        W::StorePairIf(rows.valid[c], args.target.scores, rows.element[c] + place, x[0], x[1]);
      } else {
        POLARKV_UNROLL
        for (uint32_t i = 0; i < 2; ++i) {
          W::template StoreElement<ElementType::kF32>(W::And(rows.valid[c], U32(facts.tokens) > token + i),
                                                      args.target.scores, rows.element[c] + place + int64_t{i}, x[i]);
        }
      }
    }
  }
}

// Ring: as AttendSpan's.
template <class W, int kDim, int kKeyKind, int kRowGroups, class Ring>
POLARKV_WARP_FUNCTION void ScoreSpan(const ScoresArgs& scores_args, const PermuteTables<kKeyKind>& tables, uint32_t warp,
                                     Ring& ring) {
  const AttentionArgs& args = scores_args.attention;
  const uint64_t units = UnitCount(args);
  if (warp >= BusyWarps(args, units)) return;
  const uint64_t end = FirstUnitOfWarp(args, units, warp + 1);
  uint64_t unit = FirstUnitOfWarp(args, units, warp);
  UnitCursor cursor = UnitCursor::At(args, unit);
  TilesAhead<Ring> ahead(args, ring, cursor, unit, end);

  KeyQueries<W, kDim, kKeyKind> queries[kRowGroups];
  ScoreRows<W> places[kRowGroups];
  bool begun = false;
  for (;; cursor.Advance(args)) {
    if (!begun || cursor.tile == 0) {
      const uint64_t row = FirstRowOf<kRowGroups>(args, cursor);
      POLARKV_UNROLL
      for (uint32_t n = 0; n < kRowGroups; ++n) {
        LoadQueries<W, kDim>(args, row + 8 * n, queries[n]);
        places[n].Find(scores_args, cursor.sequence, cursor.kv_head, (cursor.pass * kRowGroups + n) * 8);
      }
      begun = true;
    }
    ahead.Fill();
    const uint32_t stage = ahead.Wait(unit);
    const StagedTile<W, kDim, kKeyKind, kNoCodes> tile(ring.Bytes(stage));
    TileFacts<W> facts = tile.Facts(ahead.tokens(stage));
    if (args.mean_table != nullptr && tile.Head().k_mean != 0) {
      // Tokens whose value is raw are scored here; raw keys and padding may get anything.
      const uint64_t any = tile.Head().k_escapes | (facts.tokens < 64 ? ~uint64_t{0} << facts.tokens : 0);
      FindMeanLogits<W, kDim, kRowGroups>(args, cursor, tile.Head().k_mean | any, ring.Scratch(), facts);
    }
    KeyScore<W, kKeyKind> scores[kRowGroups][4][4];
    ScoreTile<W, kDim>(tile, tables, queries, scores);
    POLARKV_UNROLL
    for (int n = 0; n < kRowGroups; ++n) {
      StoreScores<W>(scores_args, tile, facts, places[n], queries[n].scale, scores[n], 64 * cursor.tile,
                     facts.mean_logits + n * kMeanLogitBytes);
    }
    ring.Release();
    if (++unit == end) return;
  }
}

// The raw keys of eight rows' sequence, over what ScoreSpan wrote for them. Pages without escape records cost a look at the
// page table.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void ScoreRawKeys(const ScoresArgs& scores_args, uint32_t index) {
  const AttentionArgs& args = scores_args.attention;
  const RowsOfHead rows = RowsOfHead::At(args, index);
  const uint64_t first_row = rows.FirstRow(args);
  ScoreRows<W> places;
  places.Find(scores_args, rows.sequence, rows.kv_head, 8 * rows.eight);
  EscapedPages<W> pages(args, rows.sequence);
  UnitCursor at{rows.sequence, rows.kv_head, rows.eight / args.row_groups, 0, args.SequenceTiles(rows.sequence)};
  for (at.tile = pages.NextTile(0); at.tile < at.tiles; at.tile = pages.NextTile(at.tile + 1)) {
    const TilePlace place = FindTile(args, at);
    const auto& head = *reinterpret_cast<const TileHead*>(place.address.base);
    const RawTokenReader<W, kDim> reader(args, place.address, FindPage(args, at));
    for (uint32_t token = 0; token < place.tokens; ++token) {
      if ((head.k_escapes >> token & 1) == 0) continue;
      RowFragment<W, kDim> key;
      reader.ReadKey(token, key);
      POLARKV_UNROLL
      for (uint32_t column = 0; column < 2; ++column) {
        const auto scale = W::LoadFloat(args.query_scales + first_row, (W::Lane() & 3u) * 2u + column);
        const auto score = RawLogit<W, kDim>(args, first_row, column, key, scale);
        // The lanes of a column have the same.
        W::template StoreElement<ElementType::kF32>(
            W::And(places.valid[column], typename W::U32(4u) > W::Lane()), scores_args.target.scores,
            places.element[column] + static_cast<int64_t>(64 * uint64_t{at.tile} + token), score);
      }
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_SCORE_SPAN_H_
