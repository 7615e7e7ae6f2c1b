// Compiled once for each instruction set that has a body of its own here; called only where the machine has it (see
// kernels/cpu/turbo_attention.h on ODR).
#include "kernels/cpu/turbo_decode.h"

#include "kernels/cpu/portable/bodies.h"
#include "kernels/cpu/portable/hadamard_row.h"
#include "kernels/cpu/portable/image_rows.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

constexpr uint32_t kMostDims = 256;

using DecodeBody = void (*)(const TileSide&, ByteVector*);
constexpr DecodeBody kDecodeBodies[kCodeKinds] = {
    nullptr,
    DecodePlaces<CodeKind::kTurbo1>, DecodePlaces<CodeKind::kTurbo2>, DecodePlaces<CodeKind::kTurbo3>,
    DecodePlaces<CodeKind::kTurbo4>, DecodePlaces<CodeKind::kTurbo5>, DecodePlaces<CodeKind::kTrellis1>,
    DecodePlaces<CodeKind::kTrellis2>, DecodePlaces<CodeKind::kTrellis3>};

template <Dtype kDtype>
HWY_INLINE FloatVector Limit(FloatVector x) {
  constexpr float kLargest = kDtype == Dtype::kF32 ? 0x1.fffffep127f : kDtype == Dtype::kF16 ? 65504.0f : 0x1.fep127f;
  return hn::Min(hn::Max(x, hn::Set(kF32, -kLargest)), hn::Set(kF32, kLargest));
}

using HalfWords = hn::Vec<hn::Rebind<uint16_t, hn::ScalableTag<float>>>;
constexpr hn::Rebind<uint16_t, hn::ScalableTag<float>> kHalfWords;

// The lower halves of lanes.
HWY_INLINE HalfWords LowerHalves(WordVector x) { return hn::TruncateTo(kHalfWords, hn::BitCast(hn::RebindToUnsigned<decltype(kI32)>(), x)); }

// Magnitudes within the dtype's, to nearest even.
HWY_INLINE HalfWords ToBFloat16(FloatVector x) {
  const WordVector bits = hn::BitCast(kI32, x);
  const WordVector odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(kI32, 1));
  return LowerHalves(hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(kI32, 0x7FFF)), odd)));
}
HWY_INLINE HalfWords ToHalf(FloatVector x) {
  const WordVector bits = hn::BitCast(kI32, x);
  const WordVector sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(kI32, 0x8000));
  const FloatVector size = hn::Abs(x);
  const WordVector size_bits = hn::BitCast(kI32, size);
  // Below 2^-14 steps are of 2^-24: adding 1/2 leaves their number in the low bits.
  const WordVector subnormal = hn::Sub(hn::BitCast(kI32, hn::Add(size, hn::Set(kF32, 0.5f))), hn::Set(kI32, 0x3F000000));
  const WordVector odd = hn::And(hn::ShiftRight<13>(size_bits), hn::Set(kI32, 1));
  const WordVector rounded = hn::Add(hn::Add(size_bits, hn::Set(kI32, 0xFFF - (112 << 23))), odd);
  const auto is_subnormal = hn::RebindMask(kI32, hn::Lt(size, hn::Set(kF32, 0x1p-14f)));
  return LowerHalves(hn::Or(sign, hn::IfThenElse(is_subnormal, subnormal, hn::ShiftRight<13>(rounded))));
}

// The row's numbers times its factor; signs: bits to be flipped, or null.
template <Dtype kDtype>
void WriteNumbers(const int16_t* row, uint32_t dims, float factor, const uint32_t* signs, uint8_t* out) {
  const hn::Rebind<int16_t, hn::ScalableTag<int32_t>> few;
  for (uint32_t i = 0; i < dims; i += kWordLanes) {
    const FloatVector number = hn::ConvertTo(kF32, hn::PromoteTo(kI32, hn::LoadU(few, row + i)));
    FloatVector x = Limit<kDtype>(hn::Mul(number, hn::Set(kF32, factor)));
    if (signs != nullptr) x = hn::Xor(x, hn::BitCast(kF32, hn::LoadU(kI32, reinterpret_cast<const int32_t*>(signs) + i)));
    if constexpr (kDtype == Dtype::kF32) {
      hn::StoreU(x, kF32, reinterpret_cast<float*>(out) + i);
    } else if constexpr (kDtype == Dtype::kF16) {
      hn::StoreU(ToHalf(x), kHalfWords, reinterpret_cast<uint16_t*>(out) + i);
    } else {
      hn::StoreU(ToBFloat16(x), kHalfWords, reinterpret_cast<uint16_t*>(out) + i);
    }
  }
}

template <Dtype kDtype>
void WriteRows(const TurboDecoderShape& shape, const TurboDecodeTile& tile, const uint8_t* images) {
  const uint32_t d = shape.head_dim, block = d & -d;
  const uint64_t bytes = uint64_t{d} * (kDtype == Dtype::kF32 ? 4 : 2);
  alignas(64) int16_t row[kMostDims];
  for (uint32_t t = 0; t < tile.tokens; ++t) {
    const hn::Rebind<int8_t, hn::ScalableTag<int16_t>> few;
    for (uint32_t i = 0; i < d; i += kShortLanes) {
      hn::StoreU(hn::PromoteTo(kI16, hn::LoadU(few, reinterpret_cast<const int8_t*>(images) + t * d + i)), kI16, row + i);
    }
    if (!shape.rotated) HadamardRow(row, d, block);
    WriteNumbers<kDtype>(row, d, tile.factor[t], shape.rotated ? nullptr : shape.sign_bits32, tile.rows + t * bytes);
  }
}

}  // namespace

void TurboDecode(const TurboDecoderShape& shape, const TurboDecodeTile& tile) {
  alignas(64) ByteVector decoded[kMaxPlaces * kDwords];
  alignas(64) uint8_t images[kTileTokens * kMostDims];
  const PlaceCount count(shape.head_dim);
  const CodePlanes at = {{tile.plane[0], tile.plane[1], tile.plane[2], tile.plane[3]}};
  const TileSide side = {count, &shape.table, static_cast<uint8_t>(-TurboDecoderShape::kImageOffset), at, at, nullptr};
  kDecodeBodies[static_cast<uint32_t>(shape.kind)](side, decoded);
  (shape.keys ? WriteKeyRows : WriteValueRows)(decoded, count, shape.head_dim, images);
  const auto dtype = static_cast<Dtype>(shape.dtype);
  if (dtype == Dtype::kF32) return WriteRows<Dtype::kF32>(shape, tile, images);
  if (dtype == Dtype::kF16) return WriteRows<Dtype::kF16>(shape, tile, images);
  WriteRows<Dtype::kBF16>(shape, tile, images);
}

}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();
