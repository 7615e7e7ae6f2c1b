// A side's codes of a quarter of a tile out of the planes, as packed integer images, two lanes a token (row_stage.h).
#ifndef POLARKV_KERNELS_CUDA_QUARTER_CODES_H_
#define POLARKV_KERNELS_CUDA_QUARTER_CODES_H_

#include "kernels/cuda/code_words.h"
#include "kernels/cuda/packed_rotation.h"
#include "kernels/cuda/quarter_places.h"

namespace polarkv::cuda {

// One side of one tile. Planes that the kind does not read may be null.
struct CodePlanesOfSide {
  const uint8_t* payload;
  const uint8_t* refine[2];
};

// Words that hold the codes of one atom, or of four adjacent ones.
template <class W>
struct AtomWords {
  typename W::U32 crumbs;
  typename W::U32 refinement;  // bits below, where those of a vector A lie
};

// Third and fourth bits of an atom, of which each plane's word has another atom's, too.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 OwnRefinement(typename W::Bool is_b, typename W::U32 first,
                                                    typename W::U32 second) {
  return W::Select(is_b, W::SelectBits(0x55555555u, first >> 1, second << 1),
                   W::SelectBits(0x55555555u, first, second));
}

// The nibbles of 16 bits to the lower halves of bytes.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 SpreadNibbles(typename W::U32 half) {
  const auto pairs = (half | (half << 8)) & 0x00FF00FFu;
  return (pairs | (pairs << 4)) & 0x0F0F0F0Fu;
}

// Windows of an atom as nibbles: its odd codes 15, 13, .. 1 from the low nibble up, and its even ones 14, .. 0.
template <int kKind, class W>
POLARKV_WARP_FUNCTION void WindowsOf(typename W::Bool is_b, const AtomWords<W>& atom, typename W::U32& odd,
                                     typename W::U32& even) {
  using U32 = typename W::U32;
  const U32 x = atom.crumbs, p = atom.refinement;
  if constexpr (kKind == kTrellis1) {
    U32 windows[4];  // of every fourth code: number 4 k + s, counted from the low end, has nibble k
    POLARKV_UNROLL
    for (int s = 0; s < 4; ++s) {
      const U32 turned = s == 0 ? x : RotateRight<W>(x, s);
      windows[s] = SpreadNibbles<W>(W::Select(is_b, turned & 0xFFFFu, turned >> 16));
    }
    odd = windows[0] | (windows[2] << 4);
    even = windows[1] | (windows[3] << 4);
  } else if constexpr (kKind == kTrellis2) {
    odd = x;
    even = RotateRight<W>(x, 2);
  } else {
    static_assert(kKind == kTrellis3);
    const U32 a = W::SelectBits(0x33333333u, x, p), b = W::SelectBits(0xCCCCCCCCu, x, p);
    const U32 a_odd = (a & 0x88888888u) | ((a & 0x33333333u) << 1) | ((a >> 2) & 0x11111111u);
    const U32 b_even = (b & 0x11111111u) | ((b >> 1) & 0x66666666u) | ((b << 2) & 0x88888888u);
    const U32 a_even = W::SelectBits(0x66666666u, RotateRight<W>(x, 1), RotateRight<W>(p, 3));
    const U32 b_odd = W::SelectBits(0x66666666u, RotateRight<W>(x, 31), RotateRight<W>(p, 29));
    odd = W::Select(is_b, b_odd, a_odd);
    even = W::Select(is_b, b_even, a_even);
  }
}

// The images of four lower halves' codes, and in `high` of the upper halves', as four words: packed_rotation.h. Bytes
// are looked up as addends (code_words.h); 128 makes each unsigned, so that nothing is borrowed from the upper half.
template <int kKind, class W>
POLARKV_WARP_FUNCTION void PackImages(const CodeOperand<kKind, W>& images, typename W::U32 (&words)[4]) {
  using U32 = typename W::U32;
  constexpr uint32_t kAddends = CodeOperand<kKind, W>::kAddends;
  POLARKV_UNROLL
  for (U32& word : words) word = U32(0u - kAddends * 0x00800080u);
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kAddends; ++i) {
    const U32 low = images.low[i] ^ 0x80808080u, high = images.high[i] ^ 0x80808080u;
    const U32 first = W::Permute(low, high, U32(0x5140u)), second = W::Permute(low, high, U32(0x7362u));
    words[0] = words[0] + W::Permute(first, U32(0u), U32(0x4140u));
    words[1] = words[1] + W::Permute(first, U32(0u), U32(0x4342u));
    words[2] = words[2] + W::Permute(second, U32(0u), U32(0x4140u));
    words[3] = words[3] + W::Permute(second, U32(0u), U32(0x4342u));
  }
}

// Keys: atoms are 16 coordinates of the lane's token. visit(chunk, first, step, images): those of words first, first +
// step, .. of the chunk (packed_rotation.h), four in all.
template <class W, int kDim, int kKind, class Visitor>
POLARKV_WARP_FUNCTION void VisitKeyImages(const CodePlanesOfSide& planes, const PermuteTables<kKind>& tables,
                                          uint32_t quarter, const Visitor& visit) {
  using U32 = typename W::U32;
  const KeyPlaces<W, kDim> places(quarter);
  POLARKV_UNROLL
  for (uint32_t i = 0; i < PackedRow<W, kDim>::kChunks; ++i) {
    AtomWords<W> atom{U32(0u), U32(0u)};
    atom.crumbs = W::LoadWord(planes.payload, kKind == kTrellis1 ? places.Refine(i) : places.Base(i));
    if constexpr (kKind == kTrellis3) atom.refinement = W::LoadWord(planes.payload + 16 * kDim, places.Refine(i));
    if constexpr (kKind == kTurbo3 || kKind == kTurbo4) {
      const U32 first = W::LoadWord(planes.refine[0], places.Refine(i));
      const U32 second = kKind == kTurbo4 ? W::LoadWord(planes.refine[1], places.Refine(i)) : U32(0u);
      atom.refinement = OwnRefinement<W>(places.is_b, first, second);
    }
    U32 odd, even;
    constexpr int kOddWord = IsTrellisKind(kKind) ? 1 : 0;  // trellis windows are in the order of word kind 1 all
    if constexpr (IsTrellisKind(kKind)) {
      WindowsOf<kKind, W>(places.is_b, atom, odd, even);
    } else {
      U32 nibbles[4];
      AssembleNibbles<kKind, W>(atom.crumbs, atom.crumbs, atom.refinement, atom.refinement, nibbles);
      odd = nibbles[0];
      even = nibbles[1];
    }
    visit(i, 7, -2, LookUp<kKind, kOddWord, W>(tables, odd));
    visit(i, 6, -2, LookUp<kKind, 1, W>(tables, even));
  }
}

// Values: atoms are 16 tokens of a coordinate; a lane takes four coordinates' atoms apart.
template <class W, int kDim, int kKind, ElementType kType>
class ValueImages {
 public:
  using U32 = typename W::U32;
  static constexpr uint32_t kStride = RowStage<kDim, kType>::kStride;

  // visit: as of keys. Ends with the stage free for other use.
  template <class Visitor>
  POLARKV_WARP_FUNCTION static void Visit(const CodePlanesOfSide& planes, const PermuteTables<kKind>& tables,
                                          uint32_t quarter, uint8_t* stage, const Visitor& visit) {
    POLARKV_UNROLL
    for (uint32_t first = 0; first < kDim / 4; first += 32) Spread(planes, quarter, first, stage);
    W::Sync();
    const U32 at = QuarterToken<W>() * kStride + ChunkParity<W>() * 8u;
    POLARKV_UNROLL
    for (uint32_t i = 0; i < PackedRow<W, kDim>::kChunks; ++i) {
      POLARKV_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        visit(i, static_cast<int>(4 * half), 1,
              LookUp<kKind, 1, W>(tables, W::LoadWord(stage, at + (16 * i + 4 * half))));
      }
    }
    W::Sync();
  }

 private:
  static constexpr bool kTrellis = IsTrellisKind(kKind);

  // Nibbles 3 - j of four coordinates' words, in both halves, to words of tokens: TransposeNibbles the other way round.
  POLARKV_WARP_FUNCTION static void ToTokens(U32 (&w)[4]) {
    U32 turned[4] = {w[3], w[2], w[1], w[0]};
    TransposeNibbles<W>(turned);
    POLARKV_UNROLL
    for (int j = 0; j < 4; ++j) w[j] = turned[3 - j];
  }

  POLARKV_WARP_FUNCTION static Words4<W> LoadWords(const uint8_t* plane, U32 at) { return W::LoadVector(plane, at); }

  POLARKV_WARP_FUNCTION static void Spread(const CodePlanesOfSide& planes, uint32_t quarter, uint32_t first,
                                           uint8_t* stage) {
    const U32 lane = W::Lane() + first;
    const auto active = U32(kDim / 4) > lane;
    const U32 n = W::Select(active, lane, U32(0u));
    const ValuePlaces<W> places(n, quarter);
    const Words4<W> crumbs = LoadWords(planes.payload, kKind == kTrellis1 ? places.refine : places.base);
    Words4<W> plane1{}, plane0{};
    if constexpr (kKind == kTrellis3) plane1 = LoadWords(planes.payload + 16 * kDim, places.refine);
    if constexpr (kKind == kTurbo3 || kKind == kTurbo4) plane1 = LoadWords(planes.refine[0], places.refine);
    if constexpr (kKind == kTurbo4) plane0 = LoadWords(planes.refine[1], places.refine);
    U32 a[4], b[4];  // turbo: crumbs and bits below; trellis: windows of odd and of even tokens
    POLARKV_UNROLL
    for (int p = 0; p < 4; ++p) {
      if constexpr (kTrellis) {
        WindowsOf<kKind, W>(places.is_b, {crumbs.w[p], plane1.w[p]}, a[p], b[p]);
      } else {
        a[p] = crumbs.w[p];
        b[p] = OwnRefinement<W>(places.is_b, plane1.w[p], plane0.w[p]);
      }
    }
    ToTokens(a);
    if constexpr (kKind != kTurbo2) ToTokens(b);
    const U32 at = PieceOffset<W>(n);
    POLARKV_UNROLL
    for (uint32_t j = 0; j < 4; ++j) {
      StorePair(active, stage, at + 2 * j * kStride, EvenNibbles(a[j], b[j]));
      StorePair(active, stage, at + (2 * j + 1) * kStride, OddNibbles(a[j], b[j]));
    }
  }

  // In the order of the tables for word kind 1.
  POLARKV_WARP_FUNCTION static U32 EvenNibbles(U32 a, U32 b) {
    if constexpr (kTrellis) return b;
    if constexpr (kKind == kTurbo4) return W::SelectBits(0xCCCCCCCCu, a, b);
    if constexpr (kKind == kTurbo3) return ((a >> 2) & 0x33333333u) | ((b << 2) & 0x44444444u);
    return (a >> 2) & 0x33333333u;
  }
  POLARKV_WARP_FUNCTION static U32 OddNibbles(U32 a, U32 b) {
    if constexpr (kTrellis) return a;
    if constexpr (kKind == kTurbo4) return W::SelectBits(0xCCCCCCCCu, a << 2, b >> 2);
    if constexpr (kKind == kTurbo3) return (a & 0x33333333u) | (b & 0x44444444u);
    return a & 0x33333333u;
  }
  // Of a token in the upper half, of the one 8 further on in the lower one.
  POLARKV_WARP_FUNCTION static void StorePair(typename W::Bool active, uint8_t* stage, U32 at, U32 pair) {
    W::StoreShortIf(active, stage, at, pair >> 16);
    W::StoreShortIf(active, stage, at + 8 * kStride, pair);
  }
};

// visit(chunk, first, step, images), for all chunks of the lane's token.
template <class W, int kDim, ElementType kType, int kKind, int kSide, class Visitor>
POLARKV_WARP_FUNCTION void VisitImages(const CodePlanesOfSide& planes, const PermuteTables<kKind>& tables,
                                       uint32_t quarter, uint8_t* stage, const Visitor& visit) {
  if constexpr (kSide == 0) {
    VisitKeyImages<W, kDim, kKind>(planes, tables, quarter, visit);
  } else {
    ValueImages<W, kDim, kKind, kType>::Visit(planes, tables, quarter, stage, visit);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_QUARTER_CODES_H_
