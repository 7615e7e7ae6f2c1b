// Compiled once for each instruction set that has a body of its own here; called only where the machine has it (see
// kernels/cpu/turbo_attention.h on ODR).
#include "kernels/cpu/key_mean_rows.h"

#include "kernels/cpu/portable/bodies.h"
#include "kernels/cpu/portable/encode_rows.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

// Both coordinates of the pairs from p on, of a row.
struct PairVectors {
  FloatVector first, second;
};
HWY_INLINE PairVectors LoadPairs(const float* row, uint32_t p, uint32_t distance) {
  if (p < distance) return {hn::LoadU(kF32, row + p), hn::LoadU(kF32, row + p + distance)};
  PairVectors pairs = {hn::Zero(kF32), hn::Zero(kF32)};
  hn::LoadInterleaved2(kF32, row + 2 * p, pairs.first, pairs.second);
  return pairs;
}
HWY_INLINE void StorePairs(PairVectors pairs, uint32_t p, uint32_t distance, float* row) {
  if (p >= distance) return hn::StoreInterleaved2(pairs.first, pairs.second, kF32, row + 2 * p);
  hn::StoreU(pairs.first, kF32, row + p);
  hn::StoreU(pairs.second, kF32, row + p + distance);
}

// Partial sums of the products of two rows, added to `partial`.
HWY_INLINE void AddProducts(const float* a, const float* b, uint32_t dims, FloatVector partial[kSumVectors]) {
  for (uint32_t j = 0; j < dims; j += kWordLanes) {
    FloatVector& sum = partial[j / kWordLanes % kSumVectors];
    sum = FusedMulAdd(hn::LoadU(kF32, a + j), hn::LoadU(kF32, b + j), sum);
  }
}

// The mean, turned: as TurnToPosition (codec/rope_phase.h), of means that no turn brings near the largest float.
HWY_INLINE void TurnMean(const PairNumbers& mean, const float* turn, uint32_t pairs, uint32_t distance, float* out) {
  for (uint32_t p = 0; p < pairs; p += kWordLanes) {
    const FloatVector a = hn::Load(kF32, mean.first + p), b = hn::Load(kF32, mean.second + p);
    const FloatVector cosine = hn::LoadU(kF32, turn + p), sine = hn::LoadU(kF32, turn + pairs + p);
    const PairVectors turned = {FusedMulAdd(cosine, a, hn::Neg(hn::Mul(sine, b))), FusedMulAdd(sine, a, hn::Mul(cosine, b))};
    StorePairs(turned, p, distance, out);
  }
}

}  // namespace

void KeyDirections(const uint64_t* phases, uint64_t position, uint32_t pairs, float* cosine, float* sine) {
  // The arithmetic of DirectionOfTurns (codec/rope_phase.h), from the eighths of a turn on in lanes.
  for (uint32_t p = 0; p < pairs; p += kWordLanes) {
    alignas(64) int32_t quarter[kWordLanes], rest[kWordLanes];
    for (uint32_t l = 0; l < kWordLanes; ++l) {
      const uint64_t turns = phases[p + l] * position;
      const uint64_t quarters = (turns + (uint64_t{1} << 61)) >> 62;
      quarter[l] = static_cast<int32_t>(quarters);
      rest[l] = static_cast<int32_t>(static_cast<int64_t>(turns - (quarters << 62)) >> 32);
    }
    const auto at = [](float x) { return hn::Set(kF32, x); };
    const FloatVector u = hn::Mul(hn::ConvertTo(kF32, hn::Load(kI32, rest)), at(0x1p-32f)), v = hn::Mul(u, u);
    FloatVector s = FusedMulAdd(at(-0x1.2d9b4p+6f), v, at(0x1.465ec4p+6f));
    s = FusedMulAdd(s, v, at(-0x1.4abbbap+5f));
    s = hn::Mul(u, FusedMulAdd(s, v, at(0x1.921fb6p+2f)));
    FloatVector c = FusedMulAdd(at(0x1.d9c2e8p+5f), v, at(-0x1.55c57ap+6f));
    c = FusedMulAdd(c, v, at(0x1.03c1dcp+6f));
    c = FusedMulAdd(c, v, at(-0x1.3bd3ccp+4f));
    c = FusedMulAdd(c, v, at(1.0f));
    // Quarter by quarter: (c, s), (-s, c), (-c, -s), (s, -c).
    const WordVector q = hn::Load(kI32, quarter);
    const auto odd = hn::RebindMask(kF32, hn::Ne(hn::And(q, hn::Set(kI32, 1)), hn::Zero(kI32)));
    const auto sign = [](WordVector bit1) { return hn::BitCast(kF32, hn::ShiftLeft<30>(hn::And(bit1, hn::Set(kI32, 2)))); };
    hn::StoreU(hn::Xor(hn::IfThenElse(odd, s, c), sign(hn::Xor(q, hn::Add(q, q)))), kF32, cosine + p);
    hn::StoreU(hn::Xor(hn::IfThenElse(odd, c, s), sign(q)), kF32, sine + p);
  }
}

void SumKeys(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t stride, const KeyPairs& pairs,
             const PairNumbers& step, PairNumbers& sum, float* energy) {
  const uint32_t d = shape.head_dim;
  const uint32_t row_bytes = d * (shape.dtype == static_cast<uint32_t>(Dtype::kF32) ? 4 : 2);
  FloatVector partial[kPartialSums];
  for (FloatVector& p : partial) p = hn::Zero(kF32);
  for (uint32_t p = 0; p < d / 2; ++p) sum.first[p] = sum.second[p] = 0;
  for (uint32_t t = (rows.tokens - 1) / stride * stride + stride; t >= stride;) {
    t -= stride;
    alignas(64) float row[kMostCoordinates] = {};
    const uint8_t* from = rows.data + t * rows.token_bytes;
    // Backwards through a tile, a part of its rows: more than the processor foresees.
    const uint8_t* next = from + kTileTokens * rows.token_bytes;
    for (uint32_t i = 0; i < row_bytes; i += 64) __builtin_prefetch(next + i);
    if ((rows.counted >> t & 1) != 0) LoadAnyRow(shape.dtype, from, d, row);
    for (uint32_t p = 0; p < d / 2; p += kWordLanes) {
      const FloatVector a = hn::Load(kF32, sum.first + p), b = hn::Load(kF32, sum.second + p);
      const FloatVector cosine = hn::Load(kF32, step.first + p), sine = hn::Load(kF32, step.second + p);
      const PairVectors x = LoadPairs(row, p, pairs.distance);
      hn::Store(FusedMulAdd(cosine, a, FusedMulAdd(sine, b, x.first)), kF32, sum.first + p);
      hn::Store(FusedMulAdd(cosine, b, FusedMulAdd(hn::Neg(sine), a, x.second)), kF32, sum.second + p);
    }
    AddProducts(row, row, d, partial);
  }
  *energy = hn::GetLane(SumRows(partial));
}

uint64_t TakeMeanOff(const TurboEncoderShape& shape, const TurboEncodeRows& rows, const KeyPairs& pairs, const PairNumbers& mean,
                     const float* turns, float half_square, float* residual) {
  const uint32_t d = shape.head_dim;
  uint64_t taken = 0;
  for (uint32_t first = 0; first < rows.tokens; first += kWordLanes) {
    const uint32_t count = rows.tokens - first < kWordLanes ? rows.tokens - first : kWordLanes;
    alignas(64) float turned[kWordLanes][kMostCoordinates], products[kWordLanes];
    FloatVector partial[kPartialSums];
    for (FloatVector& p : partial) p = hn::Zero(kF32);
    for (uint32_t t = 0; t < count; ++t) {
      float* row = residual + (first + t) * d;
      LoadAnyRow(shape.dtype, rows.data + (first + t) * rows.token_bytes, d, row);
      TurnMean(mean, turns + (first + t) * d, d / 2, pairs.distance, turned[t]);
      AddProducts(row, turned[t], d, partial + t * kSumVectors);
    }
    hn::Store(SumRows(partial), kF32, products);
    for (uint32_t t = 0; t < count; ++t) {
      if ((rows.counted >> (first + t) & 1) == 0 || !(products[t] > half_square)) continue;
      taken |= uint64_t{1} << (first + t);
      float* row = residual + (first + t) * d;
      for (uint32_t j = 0; j < d; j += kWordLanes) {
        hn::StoreU(hn::Sub(hn::LoadU(kF32, row + j), hn::Load(kF32, turned[t] + j)), kF32, row + j);
      }
    }
  }
  return taken;
}

}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();
