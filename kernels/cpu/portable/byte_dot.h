// Dot products of four bytes, added to 32-bit lanes, with the instruction that a target has for them. All are exact.
//
// A *word* is four bytes of a query or four weights, the same for all lanes; Prepare turns `count` (a multiple of 4) words
// into what Add wants of each, once for all tokens or coordinates that they meet.
//
//   Keys:    image (-127..127) times query (-127..127)
//   Values:  image (-127..127) times weight (0..255); accumulators start at -kImageOffset times the sum of the weights
//
// Sums are in units of kUnit.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_BYTE_DOT_H_
#define POLARKV_KERNELS_CPU_PORTABLE_BYTE_DOT_H_

#include "kernels/cpu/portable/target_vectors.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

// Words as a dot product wants them.
struct Operand {
  WordVector first, second;
};

// Pairs of 16-bit products: images are shifted to the upper halves of 16-bit lanes, which costs nothing but a mask or a shift.
// Sums stay below 2^31: 127 * 256 * 127 * 256 coordinates, 127 * 256 * 255 * 64 tokens.
struct PairDot {
  static constexpr float kUnit = 1.0f / 256;
  static constexpr int32_t kImageOffset = 0;

  static void Add(WordVector& sum, ByteVector images, Operand word) {
    const auto shorts = hn::BitCast(kI16, images);
    sum = AddPairs(sum, hn::ShiftLeft<8>(shorts), hn::BitCast(kI16, word.first));
    sum = AddPairs(sum, hn::And(shorts, hn::Set(kI16, static_cast<int16_t>(0xFF00))), hn::BitCast(kI16, word.second));
  }
};

// Bytes 0 and 2, and bytes 1 and 3, as 16-bit numbers.
struct PairValues : PairDot {
  static void Prepare(const int32_t* words, uint32_t count, int32_t* first, int32_t* second) {
    for (uint32_t i = 0; i < count; i += kWordLanes) {
      const auto word = hn::BitCast(kU16, hn::LoadU(kI32, words + i));
      hn::StoreU(hn::BitCast(kI32, hn::And(word, hn::Set(kU16, uint16_t{0xFF}))), kI32, first + i);
      hn::StoreU(hn::BitCast(kI32, hn::ShiftRight<8>(word)), kI32, second + i);
    }
  }
};
struct PairKeys : PairDot {
  static void Prepare(const int32_t* words, uint32_t count, int32_t* first, int32_t* second) {
    for (uint32_t i = 0; i < count; i += kWordLanes) {
      const auto word = hn::BitCast(kI16, hn::LoadU(kI32, words + i));
      hn::StoreU(hn::BitCast(kI32, hn::ShiftRight<8>(hn::ShiftLeft<8>(word))), kI32, first + i);
      hn::StoreU(hn::BitCast(kI32, hn::ShiftRight<8>(word)), kI32, second + i);
    }
  }
};

#if POLARKV_X86_VECTORS

// |query| times an image with the query's sign: no sum of two exceeds 2 * 127 * 127, which a saturating one of 16 bits holds.
struct SignKeys {
  static constexpr float kUnit = 1;

  static void Prepare(const int32_t* words, uint32_t count, int32_t* first, int32_t* second) {
    for (uint32_t i = 0; i < count; i += kWordLanes) {
      const WordVector word = hn::LoadU(kI32, words + i);
      hn::StoreU(hn::BitCast(kI32, hn::Abs(hn::BitCast(kI8, word))), kI32, first + i);
      hn::StoreU(word, kI32, second + i);
    }
  }
  static void Add(WordVector& sum, ByteVector images, Operand word) {
    const auto ones = hn::Set(kI16, int16_t{1});
#if HWY_TARGET == HWY_AVX2
    const auto pairs = _mm256_maddubs_epi16(word.first.raw, _mm256_sign_epi8(images.raw, word.second.raw));
#else
    const auto pairs = _mm_maddubs_epi16(word.first.raw, _mm_sign_epi8(images.raw, word.second.raw));
#endif
    sum = AddPairs(sum, decltype(ones){pairs}, ones);
  }
};
using KeyDot = SignKeys;
using ValueDot = PairValues;

#elif HWY_TARGET == HWY_NEON && defined(__ARM_FEATURE_DOTPROD)

struct DotKeys {
  static constexpr float kUnit = 1;

  static void Prepare(const int32_t* words, uint32_t count, int32_t* first, int32_t* second) {
    for (uint32_t i = 0; i < count; ++i) first[i] = second[i] = words[i];
  }
  static void Add(WordVector& sum, ByteVector images, Operand word) {
    sum.raw = vdotq_s32(sum.raw, vreinterpretq_s8_u8(images.raw), vreinterpretq_s8_s32(word.first.raw));
  }
};
// Unsigned images, 128 above the signed ones.
struct DotValues {
  static constexpr float kUnit = 1;
  static constexpr int32_t kImageOffset = 128;

  static void Prepare(const int32_t* words, uint32_t count, int32_t* first, int32_t* second) {
    DotKeys::Prepare(words, count, first, second);
  }
  static void Add(WordVector& sum, ByteVector images, Operand word) {
    const uint8x16_t weights = vreinterpretq_u8_s32(word.first.raw);
    sum.raw = vreinterpretq_s32_u32(vdotq_u32(vreinterpretq_u32_s32(sum.raw), images.raw, weights));
  }
};
using KeyDot = DotKeys;
using ValueDot = DotValues;

#elif HWY_TARGET == HWY_NEON

// Products of 16 bits, of which two never exceed 2 * 127 * 127.
struct WideKeys {
  static constexpr float kUnit = 1;

  static void Prepare(const int32_t* words, uint32_t count, int32_t* first, int32_t* second) {
    for (uint32_t i = 0; i < count; ++i) first[i] = second[i] = words[i];
  }
  static void Add(WordVector& sum, ByteVector images, Operand word) {
    const int8x16_t image = vreinterpretq_s8_u8(images.raw), query = vreinterpretq_s8_s32(word.first.raw);
    const int16x8_t low = vmull_s8(vget_low_s8(image), vget_low_s8(query));
    sum.raw = vpadalq_s16(sum.raw, vpaddq_s16(low, vmull_high_s8(image, query)));
  }
};
using KeyDot = WideKeys;
using ValueDot = PairValues;

#else

using KeyDot = PairKeys;
using ValueDot = PairValues;

#endif

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_BYTE_DOT_H_
