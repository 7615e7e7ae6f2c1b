// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
//
// A tile's images plus 128 go through L1 as rows of bytes. A row's Hadamard transform is exact in 16-bit integers, 123 * 256
// at most, so that its steps may come in any order.
#include "kernels/cpu/turbo_decode.h"

#include <immintrin.h>

#include "codec/block_format.h"
#include "kernels/cpu/avx512_rows.h"
#include "kernels/cpu/code_lines_avx512.h"

namespace polarkv::cpu {
namespace {

// Images are stored with this added, as the unsigned operand of a multiplication of bytes.
constexpr int kImageOffset = 128;
static_assert(kImageOffset == TurboDecoderShape::kImageOffset);

alignas(64) constexpr uint16_t kUpperHalves[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                   33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};

// The images of a line: [nibble word][high nibbles], each dword four codes of one row.
template <CodeKind kKind>
[[gnu::always_inline]] inline void DecodeLine(const CodeLines<kKind>& lines, uint32_t group, uint32_t line, __m512i bytes[4][2]) {
  ForEachPair(lines, FullLine(group, line), [&](uint32_t i, __m512i a, __m512i b) __attribute__((always_inline)) {
    bytes[i / 2][i % 2] = a;
    bytes[2 + i / 2][i % 2] = b;
  });
}

// images: [64 tokens][kDim]
template <CodeKind kKind, int kDim>
void UnpackKeys(const TileSide& side, uint8_t* images) {
  const CodeLines<kKind> lines(side);
  // Bytes of a chunk as they come, codes {15,11,7,3}, {13,9,5,1}, {14,10,6,2}, {12,8,4,0}, into ascending order.
  const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(15, 7, 11, 3, 14, 6, 10, 2, 13, 5, 9, 1, 12, 4, 8, 0));
  constexpr uint32_t kGroups = kDim / 64;
  for (uint32_t group = 0; group < kGroups; ++group) {
    for (uint32_t line = 0; line < 8; ++line) {  // 4 * half of the quarters + lane quarter
      __m512i bytes[4][2];
      DecodeLine(lines, group, line, bytes);
      const uint32_t chunk = line % 4 * kGroups + group;
      for (uint32_t vector = 0; vector < 2; ++vector) {
        const __m512i w0 = bytes[2 * vector][0], w1 = bytes[2 * vector][1];
        const __m512i w2 = bytes[2 * vector + 1][0], w3 = bytes[2 * vector + 1][1];
        const __m512i low01 = _mm512_unpacklo_epi32(w0, w1), high01 = _mm512_unpackhi_epi32(w0, w1);
        const __m512i low23 = _mm512_unpacklo_epi32(w2, w3), high23 = _mm512_unpackhi_epi32(w2, w3);
        const __m512i rows[4] = {_mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
                                 _mm512_unpacklo_epi64(high01, high23), _mm512_unpackhi_epi64(high01, high23)};
        for (uint32_t r = 0; r < 4; ++r) {  // lane quad (T0, e1), row (e2, e0)
          const __m512i row = _mm512_shuffle_epi8(rows[r], order);
          const uint32_t first = 32 * (line / 4) + 8 * vector + 4 * (r >> 1) + (r & 1);
          uint8_t* out = images + first * kDim + 16 * chunk;
          _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm512_castsi512_si128(row));
          _mm_store_si128(reinterpret_cast<__m128i*>(out + 2 * kDim), _mm512_extracti32x4_epi32(row, 1));
          _mm_store_si128(reinterpret_cast<__m128i*>(out + 16 * kDim), _mm512_extracti32x4_epi32(row, 2));
          _mm_store_si128(reinterpret_cast<__m128i*>(out + 18 * kDim), _mm512_extracti32x4_epi32(row, 3));
        }
      }
    }
  }
}

// Four vectors of 16 rows x 4 tokens -> four tokens' rows of 64.
[[gnu::always_inline]] inline void SplitTokens(const __m512i in[4], __m512i out[4]) {
  alignas(64) static constexpr uint8_t kGather[64] = {
      0, 4, 8,  12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 1, 5, 9,  13, 17, 21, 25, 29, 33, 37, 41, 45, 49, 53, 57, 61,
      2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58, 62, 3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47, 51, 55, 59, 63};
  __m512i split[4];  // 128-bit lane k: 16 rows of token k
  for (int i = 0; i < 4; ++i) split[i] = _mm512_permutexvar_epi8(_mm512_load_si512(kGather), in[i]);
  TransposeLanes(split, out);
}

template <CodeKind kKind, int kDim>
void UnpackValues(const TileSide& side, uint8_t* images) {
  const CodeLines<kKind> lines(side);
  for (uint32_t group = 0; group < kDim / 64; ++group) {
    for (uint32_t quarter = 0; quarter < 4; ++quarter) {
      __m512i bytes[2][4][2];
      DecodeLine(lines, group, quarter, bytes[0]);
      DecodeLine(lines, group, 4 + quarter, bytes[1]);
      for (uint32_t dword = 0; dword < 4; ++dword) {
        const uint32_t w = dword / 2, high = dword % 2;
        const __m512i in[4] = {bytes[0][w][high], bytes[1][w][high], bytes[0][2 + w][high], bytes[1][2 + w][high]};
        __m512i rows[4];
        SplitTokens(in, rows);
        const uint32_t first = 16 * quarter + kDwordFirstCode[w][high];
        for (uint32_t b = 0; b < 4; ++b) _mm512_store_si512(images + (first - 4 * b) * kDim + 64 * group, rows[b]);
      }
    }
  }
}

// Where HadamardInside leaves a coordinate of 64: bit 4 of its number says in which register.
constexpr uint32_t TransformedPlace(uint32_t coordinate) {
  const auto bit = [coordinate](uint32_t i) { return coordinate >> i & 1; };
  return bit(5) << 4 | bit(1) << 3 | bit(0) << 2 | bit(3) << 1 | bit(2);
}

// Hadamard transforms of a row of images plus 128. x[2 i] and x[2 i + 1]: coordinates 64 i .. 64 i + 63 in the order of
// TransformedPlace. Pairs of neighbours are added as bytes.
template <int kDim>
[[gnu::always_inline]] inline void TransformRow(const uint8_t* images, __m512i* x) {
  constexpr int kParts = kDim / 64, kBlock = (kDim & -kDim) / 64;
  const __m512i both = _mm512_set1_epi8(1), difference = _mm512_set1_epi16(static_cast<short>(0xFF01));
  for (int i = 0; i < kParts; ++i) {
    const __m512i row = _mm512_load_si512(images + 64 * i);
    x[2 * i] = _mm512_sub_epi16(_mm512_maddubs_epi16(row, both), _mm512_set1_epi16(2 * kImageOffset));
    x[2 * i + 1] = _mm512_maddubs_epi16(row, difference);
  }
  for (int stride = 2; stride < 2 * kBlock; stride *= 2) HadamardAcross<2 * kParts>(x, stride);
  HadamardInside<2 * kParts>(x);
}

// Thirty-two numbers times a token's factor: those of even and of odd words. Plain factors may be multiplied by 2^-16, which
// saves bringing the numbers down.
struct Products {
  __m512 even, odd;
};

template <bool kPlain>
[[gnu::always_inline]] inline Products Multiply(__m512i words, __m512 factor) {
  __m512i even = _mm512_slli_epi32(words, 16);
  __m512i odd = _mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xFFFF0000)));
  if constexpr (!kPlain) {
    even = _mm512_srai_epi32(even, 16);
    odd = _mm512_srai_epi32(odd, 16);
  }
  return {_mm512_mul_ps(_mm512_cvtepi32_ps(even), factor), _mm512_mul_ps(_mm512_cvtepi32_ps(odd), factor)};
}

template <Dtype kDtype>
constexpr float kLargest = kDtype == Dtype::kF32 ? 0x1.fffffep127f : kDtype == Dtype::kF16 ? 65504.0f : 0x1.fep127f;

// Factors with which no product is subnormal nor exceeds the dtype's largest number: sums of at most 256 images are below 2^15.
template <Dtype kDtype>
[[gnu::always_inline]] inline bool IsPlain(float factor) {
  constexpr float kMost = kDtype == Dtype::kF16 ? 0x1p0f : 0x1p112f;
  return factor == 0 || (factor >= 0x1p-110f && factor <= kMost);
}

template <Dtype kDtype>
[[gnu::always_inline]] inline __m512 Limit(__m512 x) {
  constexpr int kLesserMagnitude = 0x02;  // the sign of x, the minimum of magnitudes
  return _mm512_range_ps(x, _mm512_set1_ps(kLargest<kDtype>), kLesserMagnitude);
}

// To nearest even, in the upper half of each lane.
[[gnu::always_inline]] inline __m512i RoundToBFloat16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
}

// Sixteen-bit numbers, those of `low` in the lower half. kConverts: the machine has AVX512_BF16, whose conversion takes
// subnormal numbers for 0; the instruction is written out because this file is compiled for machines without.
template <Dtype kDtype, bool kConverts>
[[gnu::always_inline]] inline __m512i Narrow(__m512 low, __m512 high) {
  if constexpr (kDtype == Dtype::kF16) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtps_ph(low, kNearest)), _mm512_cvtps_ph(high, kNearest), 1);
  } else if constexpr (kConverts) {
    __m512i out;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(out) : "v"(low), "v"(high));
    return out;
  } else {
    const __m512i upper = _mm512_load_si512(kUpperHalves);
    return _mm512_permutex2var_epi16(RoundToBFloat16(low), upper, RoundToBFloat16(high));
  }
}

// Where coordinate i of 32 (16-bit numbers, of two narrowed registers) or of 16 (floats, of even and odd products) comes
// from; [bit 5 of the coordinate] and, of floats, [bit 5].
struct OutputOrder {
  alignas(64) uint16_t narrow[2][32];
  alignas(64) uint32_t wide[2][16];
};
constexpr OutputOrder kOutputOrder = [] {
  OutputOrder order{};
  for (uint32_t upper = 0; upper < 2; ++upper) {
    for (uint32_t i = 0; i < 32; ++i) {
      const uint32_t place = TransformedPlace(32 * upper + i);
      const uint32_t product = place % 2 * 16 + place / 2;  // even ones first
      order.narrow[upper][i] = static_cast<uint16_t>(i / 16 * 32 + product);
      if (i < 16) order.wide[upper][i] = product;
    }
  }
  return order;
}();

template <Dtype kDtype, int kDim, bool kPlain, bool kConverts>
[[gnu::always_inline]] inline void WriteModelRow(const TurboDecoderShape& shape, const uint8_t* images, float factor, uint8_t* row) {
  __m512i x[kDim / 32];
  TransformRow<kDim>(images, x);
  const __m512 times = _mm512_set1_ps(kPlain ? factor * 0x1p-16f : factor);
  for (int part = 0; part < kDim / 64; ++part) {
    Products products[2];  // by bit 4
    for (int i = 0; i < 2; ++i) {
      products[i] = Multiply<kPlain>(x[2 * part + i], times);
      if constexpr (!kPlain) products[i] = {Limit<kDtype>(products[i].even), Limit<kDtype>(products[i].odd)};
    }
    if constexpr (kDtype == Dtype::kF32) {
      for (int quarter = 0; quarter < 4; ++quarter) {
        const Products& from = products[quarter % 2];
        const __m512i order = _mm512_load_si512(kOutputOrder.wide[quarter / 2]);
        const __m512i out = _mm512_castps_si512(_mm512_permutex2var_ps(from.even, order, from.odd));
        const __m512i signs = _mm512_load_si512(shape.sign_bits32 + 64 * part + 16 * quarter);
        _mm512_storeu_si512(row + 256 * part + 64 * quarter, _mm512_xor_si512(out, signs));
      }
    } else {
      const __m512i low = Narrow<kDtype, kConverts && kPlain>(products[0].even, products[0].odd);
      const __m512i high = Narrow<kDtype, kConverts && kPlain>(products[1].even, products[1].odd);
      for (int half = 0; half < 2; ++half) {
        const __m512i out = _mm512_permutex2var_epi16(low, _mm512_load_si512(kOutputOrder.narrow[half]), high);
        const __m512i signs = _mm512_load_si512(shape.sign_bits16 + 64 * part + 32 * half);
        _mm512_storeu_si512(row + 128 * part + 64 * half, _mm512_xor_si512(out, signs));
      }
    }
  }
}

template <Dtype kDtype, int kDim, bool kPlain, bool kConverts>
[[gnu::always_inline]] inline void WriteRotatedRow(const uint8_t* images, float factor, uint8_t* row) {
  const __m512 times = _mm512_set1_ps(factor);
  for (int i = 0; i < kDim; i += 32) {
    __m512 out[2];
    for (int half = 0; half < 2; ++half) {
      const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(images + i + 16 * half));
      const __m512i numbers = _mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(kImageOffset));
      out[half] = _mm512_mul_ps(_mm512_cvtepi32_ps(numbers), times);
      if constexpr (!kPlain) out[half] = Limit<kDtype>(out[half]);
    }
    if constexpr (kDtype == Dtype::kF32) {
      _mm512_storeu_ps(row + 4 * i, out[0]);
      _mm512_storeu_ps(row + 4 * i + 64, out[1]);
    } else {
      _mm512_storeu_si512(row + 2 * i, Narrow<kDtype, kConverts && kPlain>(out[0], out[1]));
    }
  }
}

template <Dtype kDtype, int kDim, bool kRotated, bool kPlain, bool kConverts>
[[gnu::always_inline]] inline void WriteRow(const TurboDecoderShape& shape, const uint8_t* images, float factor, uint8_t* row) {
  if constexpr (kRotated) {
    WriteRotatedRow<kDtype, kDim, kPlain, kConverts>(images, factor, row);
  } else {
    WriteModelRow<kDtype, kDim, kPlain, kConverts>(shape, images, factor, row);
  }
}

template <Dtype kDtype, int kDim, bool kRotated, bool kConverts>
void WriteRows(const TurboDecoderShape& shape, const TurboDecodeTile& tile, const uint8_t* images) {
  constexpr uint32_t kBytes = kDim * (kDtype == Dtype::kF32 ? 4 : 2);
  for (uint32_t t = 0; t < tile.tokens; ++t) {
    uint8_t* row = tile.rows + t * kBytes;
    // Lines that the next tile's rows will be stored to, of a few runs that lie apart: memory answers faster so.
    for (uint32_t i = 0; i < kBytes / 64; ++i) __builtin_prefetch(tile.rows + (kBytes + i * 64 + t) * 64, 1);
    if (IsPlain<kDtype>(tile.factor[t])) {
      WriteRow<kDtype, kDim, kRotated, true, kConverts>(shape, images + t * kDim, tile.factor[t], row);
    } else {
      WriteRow<kDtype, kDim, kRotated, false, false>(shape, images + t * kDim, tile.factor[t], row);
    }
  }
}

template <int kDim, bool kRotated>
void WriteRowsAs(const TurboDecoderShape& shape, const TurboDecodeTile& tile, const uint8_t* images) {
  const auto dtype = static_cast<Dtype>(shape.dtype);
  if (dtype == Dtype::kF32) return WriteRows<Dtype::kF32, kDim, kRotated, false>(shape, tile, images);
  if (dtype == Dtype::kF16) return WriteRows<Dtype::kF16, kDim, kRotated, false>(shape, tile, images);
  if (shape.converts_bf16) return WriteRows<Dtype::kBF16, kDim, kRotated, true>(shape, tile, images);
  WriteRows<Dtype::kBF16, kDim, kRotated, false>(shape, tile, images);
}

template <int kDim>
void UnpackTile(CodeKind kind, bool keys, const TileSide& side, uint8_t* images) {
  const auto unpack = [&]<CodeKind kKind>() { keys ? UnpackKeys<kKind, kDim>(side, images) : UnpackValues<kKind, kDim>(side, images); };
  switch (kind) {
    case CodeKind::kTurbo1:
      return unpack.template operator()<CodeKind::kTurbo1>();
    case CodeKind::kTurbo2:
      return unpack.template operator()<CodeKind::kTurbo2>();
    case CodeKind::kTurbo3:
      return unpack.template operator()<CodeKind::kTurbo3>();
    case CodeKind::kTurbo4:
      return unpack.template operator()<CodeKind::kTurbo4>();
    case CodeKind::kTurbo5:
      return unpack.template operator()<CodeKind::kTurbo5>();
    case CodeKind::kTrellis1:
      return unpack.template operator()<CodeKind::kTrellis1>();
    case CodeKind::kTrellis2:
      return unpack.template operator()<CodeKind::kTrellis2>();
    default:
      return unpack.template operator()<CodeKind::kTrellis3>();
  }
}

template <int kDim>
void DecodeTile(const TurboDecoderShape& shape, const TurboDecodeTile& tile) {
  alignas(64) uint8_t images[kTileTokens * kDim];
  TileSide side;
  side.head_dim = kDim;
  side.table = &shape.table;
  for (uint32_t i = 0; i < kMaxCodePlanes; ++i) {
    side.at.plane[i] = tile.plane[i];
    side.ahead.plane[i] = tile.plane[i] + tile.stride[i];
  }
  UnpackTile<kDim>(shape.kind, shape.keys, side, images);
  shape.rotated ? WriteRowsAs<kDim, true>(shape, tile, images) : WriteRowsAs<kDim, false>(shape, tile, images);
}

}  // namespace

void NarrowAvx512(const float* from, size_t count, uint32_t dtype, uint8_t* to) {
  const auto narrow = [&]<Dtype kDtype>() {
    for (size_t i = 0; i < count; i += 32) {
      const __m512 low = Limit<kDtype>(_mm512_loadu_ps(from + i)), high = Limit<kDtype>(_mm512_loadu_ps(from + i + 16));
      if constexpr (kDtype == Dtype::kF32) {
        _mm512_storeu_ps(to + 4 * i, low);
        _mm512_storeu_ps(to + 4 * i + 64, high);
      } else {
        _mm512_storeu_si512(to + 2 * i, Narrow<kDtype, false>(low, high));
      }
    }
  };
  if (static_cast<Dtype>(dtype) == Dtype::kF32) return narrow.template operator()<Dtype::kF32>();
  if (static_cast<Dtype>(dtype) == Dtype::kF16) return narrow.template operator()<Dtype::kF16>();
  narrow.template operator()<Dtype::kBF16>();
}

void TurboDecodeAvx512(const TurboDecoderShape& shape, const TurboDecodeTile& tile) {
  if (shape.head_dim == 64) return DecodeTile<64>(shape, tile);
  if (shape.head_dim == 128) return DecodeTile<128>(shape, tile);
  if (shape.head_dim == 192) return DecodeTile<192>(shape, tile);
  DecodeTile<256>(shape, tile);
}

}  // namespace polarkv::cpu
