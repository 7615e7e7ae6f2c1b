// Byte-permute tables: from the nibbles that code_words.h assembles to the int8 images of their codes.
#ifndef POLARKV_KERNELS_CUDA_PERMUTE_TABLES_H_
#define POLARKV_KERNELS_CUDA_PERMUTE_TABLES_H_

#include <cstdint>

#include "codec/code_order.h"

namespace polarkv::cuda {

// How the codes of a side are read.
enum CodeKind : int {
  kTurbo2 = 2,  // turbo codes at 2, 3 or 4 bits, as the planes that are there allow
  kTurbo3 = 3,
  kTurbo4 = 4,
  kTrellis1 = 11,
  kTrellis2 = 12,
  kTrellis3 = 13,
  kSigns1 = 21,  // keys: the signs of 1, 2, 4 projections (sign_keys.h). As a template argument kSigns4 stands for all three
  kSigns2 = 22,
  kSigns4 = 24,
  kPolar44 = 30,   // keys: radius and angle of pairs (polar_keys.h)
  kAnyCodes = 44,  // a turbo or trellis kind: the tables say at run time which
  kNoCodes = 50    // a side that is not read
};

POLARKV_HOST_DEVICE constexpr bool IsTrellisKind(int kind) { return kind / 10 == 1; }
POLARKV_HOST_DEVICE constexpr bool IsSignKind(int kind) { return kind / 10 == 2; }
// A turbo or trellis kind that is known.
POLARKV_HOST_DEVICE constexpr bool IsCodeKind(int kind) {
  return (kind >= kTurbo2 && kind <= kTurbo4) || (kind >= kTrellis1 && kind <= kTrellis3);
}
// Whether bits beyond the second are in refinement planes.
POLARKV_HOST_DEVICE constexpr bool HasRefinement(int kind) { return kind < 10; }
POLARKV_HOST_DEVICE constexpr bool HasKeyScales(int kind) { return kind != kPolar44; }
// Bits a code in the tile: two of crumbs, then planes of one; of trellis1 and signs all of one. Of kAnyCodes the most that
// there can be.
POLARKV_HOST_DEVICE constexpr int BitsOfKind(int kind) { return kind % 10; }
// Of one side in the base plane's tile, for each coordinate.
POLARKV_HOST_DEVICE constexpr uint32_t PayloadBytesPerDim(int kind) {
  if (kind == kPolar44) return 36;
  return HasRefinement(kind) ? 16 : 8 * static_cast<uint32_t>(BitsOfKind(kind));
}
// Codes or windows of 4 bits, so that a look-up takes two permutes.
POLARKV_HOST_DEVICE constexpr bool HasSixteenEntries(int kind) { return kind == kTurbo4 || IsTrellisKind(kind); }

// Tables for one kind of codes. A permute looks up eight bytes with three selector bits, and its fourth bit replicates the
// chosen byte's sign. So 16 entries are two tables: table 0 sees the nibble, table 1 the nibble with bit 3 inverted; the
// inactive one yields 0 or -1 by its entry's sign, which the active entry makes up for. The two results add up in the
// accumulator of the MMA.
template <int kKind>
struct PermuteTables {
  static_assert(HasSixteenEntries(kKind));
  uint32_t word[4][4];  // [word kind][table 0 low, high, table 1 low, high]
};
template <>
struct PermuteTables<kTurbo3> {
  uint32_t word[2];
};
template <>
struct PermuteTables<kTurbo2> {
  uint32_t word[1];
};
// What there is to know of signs and polar keys besides the tile.
template <>
struct PermuteTables<kSigns4> {
  int kind;
};
template <>
struct PermuteTables<kPolar44> {
  int kind;
};
// As many words as the kind has.
template <>
struct PermuteTables<kAnyCodes> {
  int kind;
  uint32_t word[4][4];

  template <int kKind>
  POLARKV_HOST_DEVICE PermuteTables<kKind> As() const {
    PermuteTables<kKind> tables;
    if constexpr (HasSixteenEntries(kKind)) {
      for (int i = 0; i < 16; ++i) tables.word[i / 4][i % 4] = word[i / 4][i % 4];
    } else {
      for (int i = 0; i < kKind - 1; ++i) tables.word[i] = word[0][i];
    }
    return tables;
  }
};

namespace permute_internal {
// Bit of the code or window that bit `bit` of a nibble of word kind `word` holds (code_words.h makes the words).
template <int kKind>
POLARKV_HOST_DEVICE constexpr int CodeBit(int word, int bit) {
  if constexpr (kKind == kTurbo4) {
    // Word 0: A's crumb below, P1 P0 above; 1: P1 P0 below, A's crumb above; 2, 3: the same with B and P0 P1.
    constexpr int kBitOf[4][4] = {{2, 3, 1, 0}, {1, 0, 2, 3}, {2, 3, 0, 1}, {0, 1, 2, 3}};
    return kBitOf[word][bit];
  } else if constexpr (kKind == kTrellis3) {
    // Word 0: A's crumb, its lowest bit, the lowest bit before; 3: B's lowest bit, the one before, its crumb.
    constexpr int kBitOf[4][4] = {{1, 2, 0, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}, {0, 3, 1, 2}};
    return kBitOf[word][bit];
  } else {
    return bit;
  }
}
template <int kKind>
POLARKV_HOST_DEVICE constexpr int CodeOfNibble(int word, int nibble) {
  int code = 0;
  for (int bit = 0; bit < 4; ++bit) code |= ((nibble >> bit) & 1) << CodeBit<kKind>(word, bit);
  return code;
}
POLARKV_HOST_DEVICE constexpr uint32_t Byte(int value, int index) {
  return static_cast<uint32_t>(value & 0xFF) << (8 * (index % 4));
}
}  // namespace permute_internal

// `image[code or window]`: every entry c needs c + 1 <= 127.
template <int kKind>
POLARKV_HOST_DEVICE constexpr PermuteTables<kKind> MakePermuteTables16(const int8_t (&image)[16]) {
  PermuteTables<kKind> tables{};
  for (int kind = 0; kind < 4; ++kind) {
    for (int i = 0; i < 8; ++i) {
      const int entry[2] = {image[permute_internal::CodeOfNibble<kKind>(kind, i)],
                            image[permute_internal::CodeOfNibble<kKind>(kind, i + 8)]};
      for (int table = 0; table < 2; ++table) {
        const int value = entry[table] + (entry[1 - table] < 0 ? 1 : 0);
        tables.word[kind][2 * table + i / 4] |= permute_internal::Byte(value, i);
      }
    }
  }
  return tables;
}

// Three bits: a nibble holds the crumb in bits 0, 1 and the refinement bit in bit 2, whatever the word kind.
POLARKV_HOST_DEVICE constexpr PermuteTables<3> MakePermuteTables3(const int8_t (&image)[8]) {
  PermuteTables<3> tables{};
  for (int i = 0; i < 8; ++i) tables.word[i / 4] |= permute_internal::Byte(image[2 * (i & 3) + (i >> 2)], i);
  return tables;
}

POLARKV_HOST_DEVICE constexpr PermuteTables<2> MakePermuteTables2(const int8_t (&image)[4]) {
  PermuteTables<2> tables{};
  for (int i = 0; i < 4; ++i) tables.word[0] |= permute_internal::Byte(image[i], i);
  return tables;
}

// `image`: as many entries as there are codes are read.
template <int kKind>
constexpr PermuteTables<kKind> MakePermuteTables(const int8_t (&image)[16]) {
  if constexpr (HasSixteenEntries(kKind)) {
    return MakePermuteTables16<kKind>(image);
  } else if constexpr (kKind == kTurbo3) {
    return MakePermuteTables3({image[0], image[1], image[2], image[3], image[4], image[5], image[6], image[7]});
  } else {
    return MakePermuteTables2({image[0], image[1], image[2], image[3]});
  }
}

// `kind` is a turbo or trellis kind.
constexpr PermuteTables<kAnyCodes> MakeAnyTables(int kind, const int8_t (&image)[16]) {
  PermuteTables<kAnyCodes> any{kind, {}};
  const auto take = [&any](const auto& tables) {
    for (int i = 0; i < 16; ++i) any.word[i / 4][i % 4] = tables.word[i / 4][i % 4];
  };
  if (kind == kTurbo2) {
    any.word[0][0] = MakePermuteTables<kTurbo2>(image).word[0];
  } else if (kind == kTurbo3) {
    for (int i = 0; i < 2; ++i) any.word[0][i] = MakePermuteTables<kTurbo3>(image).word[i];
  } else if (kind == kTurbo4) {
    take(MakePermuteTables<kTurbo4>(image));
  } else if (kind == kTrellis3) {
    take(MakePermuteTables<kTrellis3>(image));
  } else {
    take(MakePermuteTables<kTrellis2>(image));  // of trellis1 too a nibble is a window as it is
  }
  return any;
}

// What a kernel is told of its keys besides tiles.
template <int kKeyKind>
constexpr PermuteTables<kKeyKind> MakeKeyTables(int kind, const int8_t (&image)[16]) {
  if constexpr (kKeyKind == kAnyCodes) {
    return MakeAnyTables(kind, image);
  } else {
    return {kind};
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_PERMUTE_TABLES_H_
