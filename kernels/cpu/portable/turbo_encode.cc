// Compiled once for each instruction set that has a body of its own here; called only where the machine has it (see
// kernels/cpu/turbo_attention.h on ODR).
#include "kernels/cpu/turbo_encode.h"

#include "codec/turbo_codebook.h"
#include "kernels/cpu/portable/bodies.h"
#include "kernels/cpu/portable/code_packer.h"
#include "kernels/cpu/portable/encode_rows.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

constexpr uint32_t kMostLevels = 16;

// Plain arrays: no function of the library is called here.
template <uint32_t kBits>
struct Levels {
  static constexpr uint32_t kCount = 1u << (kBits - 1);
  alignas(16) uint8_t image[kMostLevels] = {};  // of magnitudes
  int16_t below[kMostLevels] = {};              // magnitudes above [i] are of level i + 1 or more
};
template <uint32_t kBits>
inline constexpr Levels<kBits> kLevels = [] {
  constexpr const TurboCodebook& kBook =
      kBits == 1 ? kTurbo1 : kBits == 2 ? kTurbo2 : kBits == 3 ? kTurbo3 : kBits == 4 ? kTurbo4 : kTurbo5;
  constexpr auto kThresholds = TurboThresholds<kBits>();
  Levels<kBits> levels;
  for (uint32_t m = 0; m < levels.kCount; ++m) levels.image[m] = static_cast<uint8_t>(kBook.image[levels.kCount + m]);
  for (uint32_t i = 0; i + 1 < levels.kCount; ++i) levels.below[i] = static_cast<int16_t>(kThresholds[i] - 1);
  return levels;
}();

// Of one token: lanes whose sums are <y, C> and <C, C>.
struct ImageProducts {
  WordVector with_images, images_squared;
};

// A rotated row's codes. Images have their coordinates' signs, which therefore are in no product.
template <uint32_t kBits>
HWY_INLINE ImageProducts QuantizeRow(const int16_t* row, uint32_t dims, uint8_t* codes) {
  const hn::Rebind<uint8_t, hn::ScalableTag<int16_t>> few;
  const ByteVector images = LoadBlocks(kLevels<kBits>.image);
  const ShortVector half = hn::Set(kI16, static_cast<int16_t>(Levels<kBits>::kCount));
  const ShortVector no_upper_byte = hn::Set(kI16, static_cast<int16_t>(0x8000));
  ImageProducts out = {hn::Zero(kI32), hn::Zero(kI32)};
  for (uint32_t i = 0; i < dims; i += kShortLanes) {
    const ShortVector y = hn::LoadU(kI16, row + i);
    const ShortVector sign = hn::ShiftRight<15>(y);
    const ShortVector magnitude = hn::Xor(y, sign);  // of y below 0: -1 - y
    ShortVector level = hn::Zero(kI16);
    for (uint32_t m = 0; m + 1 < Levels<kBits>::kCount; ++m) {
      level = hn::Sub(level, hn::VecFromMask(kI16, hn::Gt(magnitude, hn::Set(kI16, kLevels<kBits>.below[m]))));
    }
    hn::StoreU(hn::DemoteTo(few, hn::Add(hn::Xor(level, sign), half)), few, codes + i);
    const ByteVector index = hn::BitCast(kU8, hn::Or(level, no_upper_byte));
    const ShortVector image = hn::BitCast(kI16, hn::TableLookupBytesOr0(images, index));
    out.with_images = AddPairs(out.with_images, hn::Sub(magnitude, sign), image);
    out.images_squared = AddPairs(out.images_squared, image, image);
  }
  return out;
}

// Saturated bytes of 16-bit numbers, in order.
HWY_INLINE ByteVector ToBytes(ShortVector low, ShortVector high) {
#if HWY_TARGET == HWY_AVX2
  return ByteVector{_mm256_permute4x64_epi64(_mm256_packs_epi16(low.raw, high.raw), 0xD8)};
#elif POLARKV_X86_VECTORS
  return ByteVector{_mm_packs_epi16(low.raw, high.raw)};
#else
  const hn::Half<hn::ScalableTag<int8_t>> half;
  return hn::BitCast(kU8, hn::Combine(kI8, hn::DemoteTo(half, high), hn::DemoteTo(half, low)));
#endif
}

// Thresholds that are multiples of 32 can be met by bytes: by y / 32, rounded down and limited to -128 .. 127.
template <uint32_t kBits>
constexpr bool BytesTell() {
  if (kBits == 1) return false;
  for (uint32_t i = 0; i + 1 < Levels<kBits>::kCount; ++i) {
    if ((kLevels<kBits>.below[i] + 1) % 32 != 0 || kLevels<kBits>.below[i] / 32 >= 127) return false;
  }
  return true;
}
static_assert(BytesTell<2>() && BytesTell<3>() && BytesTell<4>());

// As QuantizeRow, of such codes; `dims` is a multiple of kVectorBytes.
template <uint32_t kBits>
HWY_INLINE ImageProducts QuantizeRowByBytes(const int16_t* row, uint32_t dims, uint8_t* codes) {
  const hn::Rebind<uint8_t, hn::ScalableTag<int16_t>> few;
  const ByteVector images = LoadBlocks(kLevels<kBits>.image);
  const auto half = hn::Set(kI8, static_cast<int8_t>(Levels<kBits>::kCount));
  ImageProducts out = {hn::Zero(kI32), hn::Zero(kI32)};
  for (uint32_t i = 0; i < dims; i += kVectorBytes) {
    const ShortVector y[2] = {hn::LoadU(kI16, row + i), hn::LoadU(kI16, row + i + kShortLanes)};
    const auto v = hn::BitCast(kI8, ToBytes(hn::ShiftRight<5>(y[0]), hn::ShiftRight<5>(y[1])));
    const auto sign = hn::VecFromMask(kI8, hn::Lt(v, hn::Zero(kI8)));
    const auto magnitude = hn::Xor(v, sign);
    auto level = hn::Zero(kI8);
    for (uint32_t m = 0; m + 1 < Levels<kBits>::kCount; ++m) {
      const auto below = hn::Set(kI8, static_cast<int8_t>((kLevels<kBits>.below[m] + 1) / 32 - 1));
      level = hn::Sub(level, hn::VecFromMask(kI8, hn::Gt(magnitude, below)));
    }
    hn::StoreU(hn::BitCast(kU8, hn::Add(hn::Xor(level, sign), half)), kU8, codes + i);
    const ByteVector image = hn::TableLookupBytes(images, hn::BitCast(kU8, level));
    const ShortVector image0 = hn::PromoteTo(kI16, hn::LowerHalf(few, image)), image1 = hn::PromoteTo(kI16, hn::UpperHalf(few, image));
    out.with_images = AddPairs(AddPairs(out.with_images, hn::Abs(y[0]), image0), hn::Abs(y[1]), image1);
    out.images_squared = AddPairs(AddPairs(out.images_squared, image0, image0), image1, image1);
  }
  return out;
}

template <uint32_t kBits>
HWY_INLINE ImageProducts QuantizeAnyRow(const int16_t* row, uint32_t dims, uint8_t* codes) {
  if constexpr (BytesTell<kBits>()) {
    if (dims % kVectorBytes == 0) return QuantizeRowByBytes<kBits>(row, dims, codes);
  }
  return QuantizeRow<kBits>(row, dims, codes);
}

template <Dtype kDtype, uint32_t kBits>
bool EncodeTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  const uint32_t d = shape.head_dim;
  alignas(64) uint8_t codes[kTileTokens * kMostCoordinates + kCodesReadPast];
  alignas(64) int32_t with_images[kTileTokens], images_squared[kTileTokens];
  TileNorms norms;
  if (!TakeNorms<kDtype>(shape, rows, norms, tile.exponent)) return false;
  const uint64_t counted = CountedTokens(rows);
  for (uint32_t first = 0; first < kTileTokens; first += kWordLanes) {
    WordVector with[kWordLanes], squared[kWordLanes];
    for (uint32_t t = first; t < first + kWordLanes; ++t) {
      ImageProducts products = {hn::Zero(kI32), hn::Zero(kI32)};
      if ((counted >> t & 1) != 0) {
        alignas(64) int16_t row[kMostCoordinates];
        RotateRow<kDtype>(shape, rows, norms, t, row);
        products = QuantizeAnyRow<kBits>(row, d, codes + t * d);
      } else {
        __builtin_memset(codes + t * d, 0, d);
      }
      with[t - first] = products.with_images;
      squared[t - first] = products.images_squared;
    }
    hn::Store(SumLanes(with), kI32, with_images + first);
    hn::Store(SumLanes(squared), kI32, images_squared + first);
  }
  __builtin_memset(codes + kTileTokens * d, 0, kCodesReadPast);
  StoreTileScales(shape, norms, with_images, images_squared, counted, tile);
  const PackedPlanes planes = PlanesToPack(kBits, d, tile);
  shape.keys ? PackKeys<kBits>(codes, d, planes) : PackValues<kBits>(codes, d, planes);
  return true;
}

template <Dtype kDtype>
bool EncodeBits(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  if (shape.bits == 1) return EncodeTile<kDtype, 1>(shape, rows, tile);
  if (shape.bits == 2) return EncodeTile<kDtype, 2>(shape, rows, tile);
  if (shape.bits == 3) return EncodeTile<kDtype, 3>(shape, rows, tile);
  if (shape.bits == 4) return EncodeTile<kDtype, 4>(shape, rows, tile);
  return EncodeTile<kDtype, 5>(shape, rows, tile);
}

}  // namespace

bool TurboEncode(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  const auto dtype = static_cast<Dtype>(shape.dtype);
  if (dtype == Dtype::kF32) return EncodeBits<Dtype::kF32>(shape, rows, tile);
  if (dtype == Dtype::kF16) return EncodeBits<Dtype::kF16>(shape, rows, tile);
  return EncodeBits<Dtype::kBF16>(shape, rows, tile);
}

void ScaleSteps(const ScaleTables& tables, const TurboEncodedTile& tile, int32_t* steps) {
  constexpr int kStepBits = 6;
  static_assert(kScaleStepsPerOctave == 1 << kStepBits);
  for (uint32_t t = 0; t < kTileTokens; t += kWordLanes) {
    // Above 0 scales are no subnormal numbers.
    const WordVector bits = hn::BitCast(kI32, hn::Load(kF32, tile.mantissa + t));
    const WordVector one = hn::Set(kI32, 127 << 23);
    const FloatVector m = hn::BitCast(kF32, hn::Or(hn::And(bits, hn::Set(kI32, 0x007FFFFF)), one));
    const WordVector binade = hn::ShiftRight<23>(hn::Sub(bits, one));
    WordVector step = hn::ShiftLeft<kStepBits>(hn::Add(binade, hn::Load(kI32, tile.exponent + t)));
    for (uint32_t i = 0; i < kScaleStepsPerOctave; ++i) {
      const auto reached = hn::RebindMask(kI32, hn::Ge(m, hn::Set(kF32, tables.thresholds[i])));
      step = hn::Sub(step, hn::VecFromMask(kI32, reached));
    }
    hn::StoreU(hn::IfThenElse(hn::Gt(bits, hn::Zero(kI32)), step, hn::Set(kI32, kNoStep)), kI32, steps + t);
  }
}

}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();
