// What a key mean adds to the scores of a tile: <q, R(n) m> in log2 units, for the tokens whose keys are coded without
// it.
//
// The warp turns the mean to the tile's middle, a pair a lane. Of every row and pair this leaves C = <q, m> and S = <q,
// m a quarter turn on>; they become integers of 23 bits, whose bytes are operand B of integer products with the table
// of cosines and sines (mean_table.h). Of nine products of bytes the six largest are taken.
#ifndef POLARKV_KERNELS_CUDA_MEAN_LOGITS_H_
#define POLARKV_KERNELS_CUDA_MEAN_LOGITS_H_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/mean_table.h"
#include "kernels/cuda/tile_place.h"

namespace polarkv::cuda {

// A mean's largest coordinate is scaled to this: with queries of at most 1, C and S stay below 2^22.
inline constexpr float kMeanRange = 2076180.0f;  // .99 * 2^21

// A warp's shared memory: the turned mean; then the logits.
template <int kDim>
inline constexpr uint32_t kMeanLogits = kDim * 4;
template <int kDim, int kRowGroups>
inline constexpr uint32_t kMeanScratchBytes = kMeanLogits<kDim> + kRowGroups* kMeanLogitBytes;

// A head's mean, and where a tile's tokens stand.
struct MeanPlace {
  const uint8_t* record = nullptr;  // null: the page has no means
  uint64_t position = 0;            // of the tile's first token
};

POLARKV_HOST_DEVICE inline MeanPlace FindMean(const AttentionArgs& args, const UnitCursor& at) {
  const PageLayer& page = FindPage(args, at);
  if (page.means == nullptr) return {};
  return {page.means + uint64_t{at.kv_head} * (sizeof(VectorRecordHead) + 2 * args.head_dim),
          page.first_position + 64 * (at.tile % args.batch.tiles_per_page)};
}

struct MeanInputs {
  const uint8_t* table;          // mean_table.h
  const float *queries, *units;  // of the pass
  const uint8_t* record;
  uint64_t position;
  bool interleaved;  // KeyMeanTurns
  uint32_t rope_dims;
};

// x * 2^exponent, whatever is in a record's head. x is not above 2^30.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 TimesRecordPower(const uint8_t* record, typename W::F32 x) {
  const int32_t exponent = reinterpret_cast<const VectorRecordHead*>(record)->exponent;
  const float half = static_cast<float>(exponent / 2), rest = static_cast<float>(exponent - exponent / 2);
  return W::Min(x * W::Exp2(typename W::F32(half)) * W::Exp2(typename W::F32(rest)), typename W::F32(1e30f));
}

// Leaves the mean, turned to the tile's middle, in the scratch: first coordinates of pairs, then second ones. Returns
// what a unit of the products is in the mean's.
template <class W, int kDim>
POLARKV_WARP_FUNCTION typename W::F32 TurnMean(const MeanInputs& inputs, uint8_t* scratch) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  constexpr uint32_t kPairs = kDim / 2, kPerLane = kDim / 64;
  U32 half[kPerLane][2], largest = 0u;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kPerLane; ++i) {
    const PairPlace<W> place(inputs.interleaved, inputs.rope_dims, kDim, W::Lane() + 32 * i);
    half[i][0] = W::LoadShort(inputs.record, place.first * 2u + static_cast<uint32_t>(sizeof(VectorRecordHead)));
    half[i][1] = W::LoadShort(inputs.record, place.second * 2u + static_cast<uint32_t>(sizeof(VectorRecordHead)));
    largest = W::Max(largest, W::Max(half[i][0] & 0x7FFFu, half[i][1] & 0x7FFFu));
  }
  // Bits of positive numbers are in the order of the numbers; a mean of zeros stays one.
  const F32 top = W::LowHalf(U32(static_cast<uint32_t>(W::MaxOverWarp(W::AsI32(W::Max(largest, U32(1u)))))));
  const F32 factor = W::Divide(F32(kMeanRange), top);
  const uint64_t before_middle = inputs.position + 31;
  auto* const turned = reinterpret_cast<float*>(scratch);
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kPerLane; ++i) {
    const U32 pair = W::Lane() + 32 * i;
    const U32 low = W::LoadWord(inputs.table, pair * 8u + MeanTable<kDim>::kPhases);
    const U32 high = W::LoadWord(inputs.table, pair * 8u + (MeanTable<kDim>::kPhases + 4));
    const auto turn = TurnOf<W>(UpperTurns<W>(low, high, U32(static_cast<uint32_t>(before_middle)),
                                              U32(static_cast<uint32_t>(before_middle >> 32))) +
                                (high >> 1));
    const F32 a = W::LowHalf(half[i][0]) * factor, b = W::LowHalf(half[i][1]) * factor;
    W::StoreFloat(turned, pair, W::Fma(turn.cosine, a, -(turn.sine * b)));
    W::StoreFloat(turned, pair + kPairs, W::Fma(turn.sine, a, turn.cosine * b));
  }
  W::Sync();
  return TimesRecordPower<W>(inputs.record, top * (65536.0f / (kTableUnit * kMeanRange)));
}

// Digits of C (part 0) or S (part 1) of 16 pairs of each row: lane (g, t) has row g, pairs 4t to 4t + 3; [digit] of
// operand B. `queries`, `turned`: from those pairs on. With the query's coordinates (a, b) and the mean's (c, d), C =
// ac + bd, S = bc - ad.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void MeanDigits(const uint8_t* queries, const uint8_t* turned, uint32_t part,
                                      typename W::U32 (&digit)[3]) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const U32 at = W::Lane() * 16u, mean_at = (W::Lane() & 3u) * 16u;
  const Words4<W> qa = W::LoadVector(queries, at), qb = W::LoadVector(queries, at + 512u);
  const Words4<W> with_a = W::LoadVector(turned + part * (2 * kDim), mean_at);
  const Words4<W> with_b = W::LoadVector(turned + (1 - part) * (2 * kDim), mean_at);
  const uint32_t sign = part << 31;
  U32 x[4];
  POLARKV_UNROLL
  for (int i = 0; i < 4; ++i) {
    const F32 second = W::Fma(W::FloatOfBits(qb.w[i]), W::FloatOfBits(with_b.w[i]), F32(kMeanDigitBias));
    x[i] = W::AsU32(W::Fma(W::FloatOfBits(qa.w[i] ^ sign), W::FloatOfBits(with_a.w[i]), second));
  }
  const U32 low[2] = {W::Permute(x[0], x[1], 0x5140u), W::Permute(x[2], x[3], 0x5140u)};
  digit[0] = W::Permute(low[0], low[1], 0x5410u);
  digit[1] = W::Permute(low[0], low[1], 0x7632u);
  digit[2] = W::Permute(W::Permute(x[0], x[1], 0x0062u), W::Permute(x[2], x[3], 0x0062u), 0x5410u);
}

// Sums over pairs of C cos (part 0) or S sin (part 1) for slots 0 to 3, columns 2t and 2t + 1; in the unit of TurnMean.
template <class W, int kDim, int kUnroll>
POLARKV_WARP_FUNCTION void MeanProduct(const uint8_t* table, const uint8_t* queries, const uint8_t* turned,
                                       uint32_t part, typename W::F32 (&product)[4][2]) {
  using U32 = typename W::U32;
  using I32 = typename W::I32;
  using Table = MeanTable<kDim>;
  I32 high[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}}, middle[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}},
      low[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
  POLARKV_UNROLL_BY(kUnroll)
  for (uint32_t step = 0; step < Table::kSteps; ++step) {
    U32 b[2][3];
    MeanDigits<W, kDim>(queries + step * 2048, turned + step * 128, part, b[0]);
    MeanDigits<W, kDim>(queries + step * 2048 + 1024, turned + step * 128 + 64, part, b[1]);
    const uint8_t* const rows = table + Table::Digit(part, step, 0, 0);
    POLARKV_UNROLL
    for (uint32_t sixteen = 0; sixteen < 2; ++sixteen) {
      const auto multiply = [&](I32(&acc)[4], const Words4<W>& a, int digit) {
        W::MmaU8(acc, a.w[0], a.w[1], a.w[2], a.w[3], b[0][digit], b[1][digit]);
      };
      const U32 at = W::Lane() * 16u + Table::Digit(0, 0, sixteen, 0);
      const Words4<W> a2 = W::LoadVector(rows, at + Table::Digit(0, 0, 0, 2));
      multiply(high[sixteen], a2, 2);
      multiply(middle[sixteen], a2, 1);
      multiply(low[sixteen], a2, 0);
      const Words4<W> a1 = W::LoadVector(rows, at + Table::Digit(0, 0, 0, 1));
      multiply(middle[sixteen], a1, 2);
      multiply(low[sixteen], a1, 1);
      const Words4<W> a0 = W::LoadVector(rows, at);
      multiply(low[sixteen], a0, 2);
    }
  }
  const uint8_t* const biases = table + Table::Bias(part, 0);
  const U32 bias_at = (W::Lane() >> 2) * 16u;
  const Words4<W> bias = W::LoadVector(biases, bias_at);
  const Words4<W> low_bias = W::LoadVector(biases, bias_at + (Table::Bias(0, 1) - Table::Bias(0, 0)));
  POLARKV_UNROLL
  for (int i = 0; i < 8; ++i) {
    const I32 upper = (high[i / 4][i % 4] << 8) + middle[i / 4][i % 4] + W::AsI32(bias.w[i / 2]);
    const I32 lower = low[i / 4][i % 4] + W::AsI32(low_bias.w[i / 2]);
    product[i / 2][i % 2] = W::Fma(W::ToFloat(upper), typename W::F32(256.0f), W::ToFloat(lower));
  }
}

// Logits of one group of 8 rows, of the tokens in `tokens`; the others get 0.
template <class W, int kDim, int kUnroll>
POLARKV_WARP_FUNCTION void StoreMeanLogits(const MeanInputs& inputs, uint32_t n, uint64_t tokens,
                                           typename W::F32 mean_unit, const uint8_t* turned, uint8_t* logits) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const auto* const queries = reinterpret_cast<const uint8_t*>(inputs.queries + n * (8 * kDim));
  // The first four slots are the lane's own tokens, the others are those of lane ^ 28. Lanes from 16 on have tokens
  // after the middle, those below it tokens before.
  F32 own[4][2], mirrored[4][2];
  POLARKV_UNROLL
  for (int i = 0; i < 8; ++i) own[i / 2][i % 2] = mirrored[i / 2][i % 2] = 0.0f;
  POLARKV_UNROLL_BY(kUnroll)
  for (uint32_t part = 0; part < 2; ++part) {
    F32 product[4][2];
    MeanProduct<W, kDim, kUnroll>(inputs.table, queries, turned, part, product);
    const F32 sign = W::Select(W::Lane() > U32(15u), F32(1.0f), part == 0 ? F32(1.0f) : F32(-1.0f));
    const F32 mirrored_sign = part == 0 ? sign : -sign;
    POLARKV_UNROLL
    for (int i = 0; i < 8; ++i) {
      own[i / 2][i % 2] = W::Fma(product[i / 2][i % 2], sign, own[i / 2][i % 2]);
      mirrored[i / 2][i % 2] = W::Fma(product[i / 2][i % 2], mirrored_sign, mirrored[i / 2][i % 2]);
    }
  }
  F32 logit[8][2];
  POLARKV_UNROLL
  for (uint32_t c = 0; c < 2; ++c) {
    const F32 row_unit = W::LoadFloat(inputs.units + 8 * n, (W::Lane() & 3u) * 2u + c);
    const F32 unit = W::Min(row_unit * mean_unit, F32(1e25f));
    POLARKV_UNROLL
    for (int slot = 0; slot < 4; ++slot) {
      logit[slot][c] = own[slot][c] * unit;
      logit[7 - slot][c] = W::ShuffleXor(mirrored[slot][c], 28) * unit;
    }
  }
  if (tokens != ~uint64_t{0}) {
    POLARKV_UNROLL
    for (int slot = 0; slot < 8; ++slot) {
      const U32 token = SlotToken<W>(W::Lane(), slot);
      const U32 half =
          W::Select(token > U32(31u), U32(static_cast<uint32_t>(tokens >> 32)), U32(static_cast<uint32_t>(tokens)));
      const auto with_mean = (W::ShiftRight(half, token & 31u) & 1u) > U32(0u);
      POLARKV_UNROLL
      for (auto& x : logit[slot]) x = W::Select(with_mean, x, F32(0.0f));
    }
  }
  POLARKV_UNROLL
  for (uint32_t v = 0; v < 4; ++v) {
    const Words4<W> words = {{W::AsU32(logit[2 * v][0]), W::AsU32(logit[2 * v][1]), W::AsU32(logit[2 * v + 1][0]),
                              W::AsU32(logit[2 * v + 1][1])}};
    W::StoreVectorIf(true, logits, W::Lane() * 16u + 512 * v, words);
  }
}

// Of all rows of a pass. False: the page has no means. Each lane reads its own logits back.
template <class W, int kDim, int kRowGroups>
POLARKV_WARP_FUNCTION bool MeanLogitsOfTile(const AttentionArgs& args, const UnitCursor& at, uint64_t first_row,
                                            uint64_t tokens, uint8_t* scratch_memory) {
  uint8_t* const scratch = W::Shared(scratch_memory);
  const MeanPlace mean = FindMean(args, at);
  if (mean.record == nullptr) return false;
  const MeanInputs inputs = {W::Global(args.mean_table),
                             W::Global(args.mean_queries) + first_row * kDim,
                             W::Global(args.mean_units) + first_row,
                             W::Global(mean.record),
                             mean.position,
                             args.interleaved,
                             args.rope_dims};
  const typename W::F32 mean_unit = TurnMean<W, kDim>(inputs, scratch);
  uint8_t* const logits = scratch + kMeanLogits<kDim>;
  // With two groups of rows, or those of 256 coordinates, registers are scarcer than instructions.
  constexpr int kUnroll = kRowGroups == 1 && kDim < 256 ? 2 : 1;
  POLARKV_UNROLL_BY(1)
  for (uint32_t n = 0; n < kRowGroups; ++n) {
    StoreMeanLogits<W, kDim, kUnroll>(inputs, n, tokens, mean_unit, scratch, logits + n * kMeanLogitBytes);
  }
  return true;
}

// A function of its own, so that tiles without means keep their registers where two groups of rows take nearly all.
template <class W, int kDim, int kRowGroups>
POLARKV_COLD_WARP_FUNCTION bool CallMeanLogits(const AttentionArgs& args, UnitCursor at, uint64_t first_row,
                                               uint64_t tokens, uint8_t* scratch) {
  return MeanLogitsOfTile<W, kDim, kRowGroups>(args, at, first_row, tokens, scratch);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MEAN_LOGITS_H_
