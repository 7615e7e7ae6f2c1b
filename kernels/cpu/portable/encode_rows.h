// Rows of a tensor as the encoders' rotated integers (FORMAT.md, "Rotated vectors"), and the scales of their images.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_ENCODE_ROWS_H_
#define POLARKV_KERNELS_CPU_PORTABLE_ENCODE_ROWS_H_

#include <math.h>

#include "codec/block_format.h"
#include "kernels/cpu/portable/fused_sums.h"
#include "kernels/cpu/portable/hadamard_row.h"
#include "kernels/cpu/turbo_encode.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

inline constexpr uint32_t kMostCoordinates = 256;

// Coordinates [i, i + kWordLanes) of a row. A half that is not finite becomes some float that is not.
template <Dtype kDtype>
HWY_INLINE FloatVector LoadCoordinates(const uint8_t* row, uint32_t i) {
  if constexpr (kDtype == Dtype::kF32) {
    return hn::LoadU(kF32, reinterpret_cast<const float*>(row) + i);
  } else {
    const hn::Rebind<uint16_t, hn::ScalableTag<float>> few;
    const auto halves = hn::LoadU(few, reinterpret_cast<const uint16_t*>(row) + i);
#if HWY_TARGET == HWY_AVX2
    if constexpr (kDtype == Dtype::kF16) return FloatVector{_mm256_cvtph_ps(halves.raw)};
#endif
    const WordVector bits = hn::PromoteTo(kI32, halves);
    if constexpr (kDtype == Dtype::kBF16) return hn::BitCast(kF32, hn::ShiftLeft<16>(bits));
    // As floats of the same bits, halves are 2^112 times smaller, subnormal ones too; infinity and NaN are then large ones.
    const WordVector size = hn::ShiftLeft<13>(hn::And(bits, hn::Set(kI32, 0x7FFF)));
    const WordVector scaled = hn::BitCast(kI32, hn::Mul(hn::BitCast(kF32, size), hn::Set(kF32, 0x1p112f)));
    const WordVector infinite = hn::VecFromMask(kI32, hn::Gt(size, hn::Set(kI32, (0x7C00 << 13) - 1)));
    const WordVector magnitude = hn::Or(scaled, hn::And(infinite, hn::Set(kI32, 0x7F800000)));
    return hn::BitCast(kF32, hn::Or(magnitude, hn::ShiftLeft<16>(hn::And(bits, hn::Set(kI32, 0x8000)))));
  }
}

template <Dtype kDtype>
HWY_INLINE void LoadRow(const uint8_t* row, uint32_t dims, float* out) {
  for (uint32_t i = 0; i < dims; i += kWordLanes) hn::StoreU(LoadCoordinates<kDtype>(row, i), kF32, out + i);
}
inline void LoadAnyRow(uint32_t dtype, const uint8_t* row, uint32_t dims, float* out) {
  if (dtype == static_cast<uint32_t>(Dtype::kF32)) return LoadRow<Dtype::kF32>(row, dims, out);
  if (dtype == static_cast<uint32_t>(Dtype::kF16)) return LoadRow<Dtype::kF16>(row, dims, out);
  LoadRow<Dtype::kBF16>(row, dims, out);
}

// Partial sums of a row's squares. Those of 16-bit numbers are floats, which any addition rounds once.
template <Dtype kDtype>
HWY_INLINE void SquareRow(const uint8_t* row, uint32_t dims, FloatVector partial[kSumVectors]) {
  const auto add = [&](uint32_t i, uint32_t j) {
    const FloatVector x = LoadCoordinates<kDtype>(row, j);
    partial[i] = kDtype == Dtype::kF32 ? FusedMulAdd(x, x, partial[i]) : hn::MulAdd(x, x, partial[i]);
  };
  for (uint32_t i = 0; i < kSumVectors; ++i) partial[i] = hn::Zero(kF32);
  uint32_t first = 0;
  for (; first + kPartialSums <= dims; first += kPartialSums) {
    for (uint32_t i = 0; i < kSumVectors; ++i) add(i, first + i * kWordLanes);
  }
  for (uint32_t i = 0; first + i * kWordLanes < dims; ++i) add(i, first + i * kWordLanes);
}

// Between these the arithmetic is the same with and without taking the largest coordinate's binade off a row first: nothing
// that counts beside such a norm is subnormal, nor does anything overflow.
inline bool IsPlain(float squared_norm) { return squared_norm >= 0x1p-60f && squared_norm <= 0x1p100f; }

// A row without its largest coordinate's binade, which is returned.
inline int TakeBinade(uint32_t dtype, const uint8_t* row, uint32_t dims, float* out) {
  LoadAnyRow(dtype, row, dims, out);
  FloatVector largest = hn::Zero(kF32);
  for (uint32_t i = 0; i < dims; i += kWordLanes) largest = hn::Max(largest, hn::Abs(hn::LoadU(kF32, out + i)));
  const float top = hn::GetLane(hn::MaxOfLanes(kF32, largest));
  const int binade = top > 0 && top < HUGE_VALF ? ilogbf(top) : 0;
  // Two factors, because 2^149 is no float.
  const int lift = binade < -126 ? 64 : 0;
  const FloatVector first = hn::Set(kF32, ldexpf(1, lift != 0 ? lift : -binade));
  const FloatVector second = hn::Set(kF32, ldexpf(1, lift != 0 ? -binade - lift : 0));
  for (uint32_t i = 0; i < dims; i += kWordLanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(kF32, out + i), first), second), kF32, out + i);
  }
  return binade;
}

struct TileNorms {
  alignas(64) float norm[kTileTokens];  // of the rows times 2^-exponent; 0 for missing tokens
  alignas(64) float gain[kTileTokens];  // to the integers' norm; 0 for zero vectors
  uint64_t wide = 0;                    // rows whose binade is taken off
};

// False if a number is not finite.
template <Dtype kDtype>
bool TakeNorms(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TileNorms& out, int32_t* exponent) {
  alignas(64) float squared[kTileTokens] = {};
  for (uint32_t first = 0; first < rows.tokens; first += kWordLanes) {
    const uint32_t count = rows.tokens - first < kWordLanes ? rows.tokens - first : kWordLanes;
    FloatVector partial[kPartialSums];
    for (uint32_t t = 0; t < count; ++t) {
      SquareRow<kDtype>(rows.data + (first + t) * rows.token_bytes, shape.head_dim, partial + t * kSumVectors);
    }
    for (uint32_t i = count * kSumVectors; i < kPartialSums; ++i) partial[i] = hn::Zero(kF32);
    hn::Store(SumRows(partial), kF32, squared + first);
  }
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    exponent[t] = 0;
    if (t >= rows.tokens || IsPlain(squared[t])) continue;
    alignas(64) float row[kMostCoordinates];
    exponent[t] = TakeBinade(shape.dtype, rows.data + t * rows.token_bytes, shape.head_dim, row);
    FloatVector partial[kPartialSums];
    for (FloatVector& p : partial) p = hn::Zero(kF32);
    SquareRow<Dtype::kF32>(reinterpret_cast<const uint8_t*>(row), shape.head_dim, partial);
    squared[t] = hn::GetLane(SumRows(partial));
    if (!(squared[t] < HUGE_VALF)) return false;
    out.wide |= uint64_t{1} << t;
  }
  for (uint32_t t = 0; t < kTileTokens; t += kWordLanes) {
    const FloatVector norm = hn::Sqrt(hn::Load(kF32, squared + t));
    const FloatVector gain = hn::Div(hn::Set(kF32, shape.gain), norm);
    hn::Store(norm, kF32, out.norm + t);
    hn::Store(hn::IfThenElseZero(hn::Gt(norm, hn::Zero(kF32)), gain), kF32, out.gain + t);
  }
  return true;
}

// The lower halves of words in order, all within 16 bits.
HWY_INLINE ShortVector ToShorts(WordVector low, WordVector high) {
  const ShortVector shorts = hn::ReorderDemote2To(kI16, low, high);
#if HWY_TARGET == HWY_AVX2
  return ShortVector{_mm256_permute4x64_epi64(shorts.raw, 0xD8)};
#else
  return shorts;
#endif
}

template <Dtype kDtype>
HWY_INLINE void IntegerRow(const TurboEncoderShape& shape, const uint8_t* row, float gain, int16_t* out) {
  const FloatVector times = hn::Set(kF32, gain);
  const auto integers = [&](uint32_t i) {
    const WordVector sign = hn::LoadU(kI32, reinterpret_cast<const int32_t*>(shape.sign_bits32) + i);
    return RoundedProducts(hn::Xor(LoadCoordinates<kDtype>(row, i), hn::BitCast(kF32, sign)), times);
  };
  for (uint32_t i = 0; i < shape.head_dim; i += kShortLanes) hn::StoreU(ToShorts(integers(i), integers(i + kWordLanes)), kI16, out + i);
}

// Token t of the tile, at the integers' norm and rotated. Meanwhile the same token of the next tile is fetched.
template <Dtype kDtype>
void RotateRow(const TurboEncoderShape& shape, const TurboEncodeRows& rows, const TileNorms& norms, uint32_t t, int16_t* out) {
  const uint8_t* row = rows.data + t * rows.token_bytes;
  const uint8_t* next = rows.next != nullptr ? rows.next + t * rows.token_bytes : row + kTileTokens * rows.token_bytes;
  for (uint32_t i = 0; i < shape.head_dim * (kDtype == Dtype::kF32 ? 4 : 2); i += 64) __builtin_prefetch(next + i);
  if ((norms.wide >> t & 1) != 0) {
    alignas(64) float wide[kMostCoordinates];
    TakeBinade(shape.dtype, row, shape.head_dim, wide);
    IntegerRow<Dtype::kF32>(shape, reinterpret_cast<const uint8_t*>(wide), norms.gain[t], out);
  } else {
    IntegerRow<kDtype>(shape, row, norms.gain[t], out);
  }
  HadamardRow(out, shape.head_dim, shape.head_dim & (~shape.head_dim + 1));
}

// Scales of the tokens, and how much their codes err, from <y, C> and <C, C>; zeros for those that do not count.
inline void StoreTileScales(const TurboEncoderShape& shape, const TileNorms& norms, const int32_t* with_images,
                            const int32_t* images_squared, uint64_t counted, TurboEncodedTile& tile) {
  const FloatVector zero = hn::Zero(kF32), rotated_norm = hn::Set(kF32, shape.rotated_norm);
  for (uint32_t t = 0; t < kTileTokens; t += kWordLanes) {
    const FloatVector norm = hn::Load(kF32, norms.norm + t);
    const FloatVector product = hn::ConvertTo(kF32, hn::Load(kI32, with_images + t));
    const FloatVector square = hn::ConvertTo(kF32, hn::Load(kI32, images_squared + t));
    const auto nonzero = hn::And(hn::Gt(norm, zero), hn::Gt(shape.keys ? product : square, zero));
    const FloatVector scale = shape.keys ? hn::Div(hn::Mul(norm, rotated_norm), product) : hn::Div(norm, hn::Sqrt(square));
    hn::Store(hn::IfThenElseZero(nonzero, scale), kF32, tile.mantissa + t);
    // |x - s C|^2 / |x|^2 = 1 - 2 (s / n) <y, C> / |y| + (s / n)^2 <C, C>
    const FloatVector relative = hn::Div(scale, norm);
    const FloatVector twice = hn::Div(hn::Add(product, product), rotated_norm);
    const FloatVector error = hn::MulAdd(relative, hn::Sub(hn::Mul(relative, square), twice), hn::Set(kF32, 1.0f));
    hn::Store(hn::IfThenElseZero(nonzero, error), kF32, tile.error + t);
  }
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    if ((counted >> t & 1) == 0) tile.mantissa[t] = tile.error[t] = 0;
  }
}

inline uint64_t CountedTokens(const TurboEncodeRows& rows) {
  return rows.counted & (rows.tokens == kTileTokens ? ~uint64_t{0} : (uint64_t{1} << rows.tokens) - 1);
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_ENCODE_ROWS_H_
