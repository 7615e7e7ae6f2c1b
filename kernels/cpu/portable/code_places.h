// Images out of the bit planes of one side of a tile, a vector's width of words at a time (codec/code_order.h).
//
// A *place* is that many words of a vector A, those in the same place of vector B, and their refinement words. Places are
// numbered in the order of their addresses: those of full groups of 64 coordinates, [group][line][part of a line], then
// those of a last group of 16 or 32.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_CODE_PLACES_H_
#define POLARKV_KERNELS_CPU_PORTABLE_CODE_PLACES_H_

#include "kernels/cpu/portable/target_vectors.h"
#include "kernels/cpu/turbo_table.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

inline constexpr uint32_t kLineBytes = 64;  // 16 rows
inline constexpr uint32_t kLines = 8;       // of a full group's vector
inline constexpr uint32_t kParts = kLineBytes / kVectorBytes;
inline constexpr uint32_t kMaxPlaces = 4 * kLines * kParts;  // head_dim 256
// Of a place, each four codes of a row: A's at kDwordFirstCode [0][0], [0][1], [1][0], [1][1], then B's.
inline constexpr uint32_t kDwords = 8;

// Where head_dim coordinates are.
struct PlaceCount {
  explicit PlaceCount(uint32_t head_dim) : groups(head_dim / 64), tail_width(head_dim / 16 % 4) {}

  uint32_t full() const { return groups * kLines * kParts; }
  uint32_t tail() const { return tail_width * 2 * kParts; }
  uint32_t all() const { return full() + tail(); }

  uint32_t groups;      // full ones
  uint32_t tail_width;  // words a lane of the last group: 0, 1 or 2
};

// Where the planes of one side of a tile are: crumbs, unless codes are of one bit, then refinement words.
struct CodePlanes {
  const uint8_t* plane[4];
};

// One side of one tile.
struct TileSide {
  PlaceCount count;
  const TurboTable* table;
  uint8_t change;             // to the table's entries, modulo 256
  CodePlanes at, ahead;       // `ahead`: what to prefetch meanwhile
  const ByteVector* decoded;  // [place][dword], for DecodedPlaces
};

constexpr bool HasCrumbs(CodeKind kind) { return kind != CodeKind::kTurbo1 && kind != CodeKind::kTrellis1; }
constexpr uint32_t RefinePlanes(CodeKind kind) {
  if (kind == CodeKind::kTurbo2 || kind == CodeKind::kTrellis2) return 0;
  return kind == CodeKind::kTurbo5 ? 3 : kind == CodeKind::kTurbo4 ? 2 : 1;
}

template <CodeKind kKind>
class CodePlaces {
 public:
  explicit CodePlaces(const TileSide& side) : count_(side.count), at_(side.at), ahead_(side.ahead) {
    const auto change = hn::Set(kU8, side.change);
    for (uint32_t i = 0; i < kNibbleWords; ++i) {
      table_[i] = hn::Add(LoadBlocks(side.table->entry[i]), change);
      if (kKind == CodeKind::kTurbo5) upper_table_[i] = hn::Add(LoadBlocks(side.table->entry[i] + 16), change);
    }
  }

  HWY_INLINE void Full(uint32_t group, uint32_t line, uint32_t part, ByteVector out[kDwords]) const {
    const uint32_t place = (group * kLines + line) * kParts + part;
    Decode(place * kVectorBytes + group * kLines * kLineBytes, kLines * kLineBytes, place * kVectorBytes, out);
  }
  HWY_INLINE void Tail(uint32_t i, ByteVector out[kDwords]) const {
    Decode(2 * count_.groups * kLines * kLineBytes + i * kVectorBytes, count_.tail() * kVectorBytes,
           (count_.full() + i) * kVectorBytes, out);
  }

 private:
  // crumbs: where A's are; B's are `b_after` later.
  HWY_INLINE void Decode(uint32_t crumbs, uint32_t b_after, uint32_t refine, ByteVector out[kDwords]) const {
    if constexpr (kKind == CodeKind::kTrellis1) return DecodeWindows(Load(0, refine), out);
    ByteVector u[kNibbleWords], fifth = hn::Zero(kU8);
    if constexpr (kKind == CodeKind::kTurbo1) {
      u[0] = u[1] = u[2] = u[3] = Load(0, refine);
    } else {
      const ByteVector a = Load(0, crumbs), b = Load(0, crumbs + b_after);
      if constexpr (kKind == CodeKind::kTurbo2) {
        u[0] = u[1] = a;
        u[2] = u[3] = b;
      } else if constexpr (kKind == CodeKind::kTrellis2) {
        u[0] = a;
        u[1] = RotateWords<2>(a);
        u[2] = b;
        u[3] = RotateWords<2>(b);
      } else if constexpr (kKind == CodeKind::kTrellis3) {
        const ByteVector p = Load(1, refine);
        u[0] = Mix(0x33, a, p);
        u[1] = Mix(0x66, RotateWords<1>(a), RotateWords<3>(p));
        u[2] = Mix(0x66, RotateWords<31>(b), RotateWords<29>(p));
        u[3] = Mix(0x33, p, b);
      } else {
        ByteVector za = Load(1, refine), zb = za;
        if constexpr (kKind != CodeKind::kTurbo3) Swap(hn::Set(kU8, uint8_t{0x55}), za, Load(2, refine), za, zb);
        Swap(hn::Set(kU8, uint8_t{0x33}), a, za, u[0], u[1]);
        Swap(hn::Set(kU8, uint8_t{0x33}), b, zb, u[2], u[3]);
        if constexpr (kKind == CodeKind::kTurbo5) fifth = Load(3, refine);
      }
    }
    LookUp<0, 2>(u[0], fifth, out);
    LookUp<1, 0>(u[1], fifth, out);
    LookUp<2, 3>(u[2], fifth, out);
    LookUp<3, 1>(u[3], fifth, out);
  }

  // The images of a word's nibbles, low ones and high ones. kFifth: where in a nibble of the plane of fifth bits theirs are.
  template <uint32_t kWord, int kFifth>
  HWY_INLINE void LookUp(ByteVector word, ByteVector fifth, ByteVector out[kDwords]) const {
    const ByteVector low = hn::And(word, hn::Set(kU8, uint8_t{0x0F})), high = hn::ShiftRight<4>(word);
    out[2 * kWord] = hn::TableLookupBytes(table_[kWord], low);
    out[2 * kWord + 1] = hn::TableLookupBytes(table_[kWord], high);
    if constexpr (kKind == CodeKind::kTurbo5) {
      const auto choose = [&](ByteVector bits, ByteVector index, ByteVector lower) {
        const auto upper = hn::MaskFromVec(hn::BitCast(kU8, hn::BroadcastSignBit(hn::BitCast(kI8, bits))));
        return hn::IfThenElse(upper, hn::TableLookupBytes(upper_table_[kWord], index), lower);
      };
      const auto words = hn::BitCast(kI32, fifth);
      out[2 * kWord] = choose(hn::BitCast(kU8, hn::ShiftLeft<7 - kFifth>(words)), low, out[2 * kWord]);
      out[2 * kWord + 1] = choose(hn::BitCast(kU8, hn::ShiftLeft<3 - kFifth>(words)), high, out[2 * kWord + 1]);
    }
  }

  // Windows of single bits: A's are in the words' upper halves, B's in the lower ones, each four in a row of nibbles; words
  // are rotated by 15 - the first code.
  HWY_INLINE void DecodeWindows(ByteVector word, ByteVector out[kDwords]) const {
    alignas(16) static constexpr uint8_t kUpper[16] = {2, 2, 3, 3, 6, 6, 7, 7, 10, 10, 11, 11, 14, 14, 15, 15};
    alignas(16) static constexpr uint8_t kLower[16] = {0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13};
    const ByteVector rotated[4] = {word, RotateWords<1>(word), RotateWords<2>(word), RotateWords<3>(word)};
    const ByteVector upper = LoadBlocks(kUpper), lower = LoadBlocks(kLower);
    for (uint32_t i = 0; i < kDwords; ++i) {
      const uint32_t rotation = 2 * (i % 2) + i / 2 % 2;
      const auto twice = hn::BitCast(kU16, hn::TableLookupBytes(rotated[rotation], i < 4 ? upper : lower));
      const auto index = hn::Or(hn::And(twice, hn::Set(kU16, uint16_t{0x000F})),
                                hn::And(hn::ShiftRight<4>(twice), hn::Set(kU16, uint16_t{0x0F00})));
      out[i] = hn::TableLookupBytes(table_[0], hn::BitCast(kU8, index));
    }
  }

  HWY_INLINE ByteVector Load(uint32_t plane, uint32_t offset) const {
    __builtin_prefetch(ahead_.plane[plane] + offset, 0, 2);
    return hn::LoadU(kU8, at_.plane[plane] + offset);
  }

  ByteVector table_[kNibbleWords], upper_table_[kNibbleWords];
  PlaceCount count_;
  CodePlanes at_, ahead_;
};

// All places, to memory.
template <CodeKind kKind>
void DecodePlaces(const TileSide& side, ByteVector* out) {
  const CodePlaces<kKind> places(side);
  const PlaceCount count = side.count;
  for (uint32_t place = 0; place < count.full(); ++place) {
    places.Full(place / (kLines * kParts), place / kParts % kLines, place % kParts, out + kDwords * place);
  }
  for (uint32_t i = 0; i < count.tail(); ++i) places.Tail(i, out + kDwords * (count.full() + i));
}

// The same places, decoded already: for more rows than the registers hold.
class DecodedPlaces {
 public:
  explicit DecodedPlaces(const TileSide& side) : full_(side.count.full()), bytes_(side.decoded) {}

  HWY_INLINE void Full(uint32_t group, uint32_t line, uint32_t part, ByteVector out[kDwords]) const {
    Copy((group * kLines + line) * kParts + part, out);
  }
  HWY_INLINE void Tail(uint32_t i, ByteVector out[kDwords]) const { Copy(full_ + i, out); }

 private:
  HWY_INLINE void Copy(uint32_t place, ByteVector out[kDwords]) const {
    for (uint32_t i = 0; i < kDwords; ++i) out[i] = bytes_[kDwords * place + i];
  }

  uint32_t full_;
  const ByteVector* bytes_;
};

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_CODE_PLACES_H_
