// Centroids out of the bit planes of one side of a tile, a vector's width of words at a time (codec/code_order.h).
//
// A *place* is that many words of a vector A, those in the same place of vector B, and their refinement words. Places are
// numbered in the order of their addresses: those of full groups of 64 coordinates, [group][line][part of a line], then
// those of a last group of 16 or 32.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_TURBO_PLACES_H_
#define POLARKV_KERNELS_CPU_PORTABLE_TURBO_PLACES_H_

#include "kernels/cpu/portable/target_vectors.h"
#include "kernels/cpu/turbo_table.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

inline constexpr uint32_t kLineBytes = 64;  // 16 rows
inline constexpr uint32_t kLines = 8;       // of a full group's vector
inline constexpr uint32_t kParts = kLineBytes / kVectorBytes;
inline constexpr uint32_t kMaxPlaces = 4 * kLines * kParts;  // head_dim 256
inline constexpr uint32_t kDwords = 8;  // of a place, each four codes of a row: A's at kDwordFirstCode [0][0], [0][1], [1][0],
                                       // [1][1], then B's

// Where head_dim coordinates are.
struct PlaceCount {
  explicit PlaceCount(uint32_t head_dim) : groups(head_dim / 64), tail_width(head_dim / 16 % 4) {}

  uint32_t full() const { return groups * kLines * kParts; }
  uint32_t tail() const { return tail_width * 2 * kParts; }
  uint32_t all() const { return full() + tail(); }

  uint32_t groups;      // full ones
  uint32_t tail_width;  // words a lane of the last group: 0, 1 or 2
};

// One side of one tile, and where the next tile's is.
template <int kBits>
class TurboPlaces {
 public:
  // The centroids get `offset` added, modulo 256; the table has kTableOffset.
  TurboPlaces(const TurboTable& table, int table_offset, PlaceCount count, const uint8_t* crumbs, const uint8_t* refine1,
              const uint8_t* refine0, uint64_t next_crumbs, uint64_t next_refine)
      : count_(count), crumbs_(crumbs), refine1_(refine1), refine0_(refine0), next_crumbs_(next_crumbs), next_refine_(next_refine) {
    const auto change = hn::Set(kU8, static_cast<uint8_t>(-table_offset));
    for (int i = 0; i < 4; ++i) table_[i] = hn::Add(LoadBlocks(table.entry[i]), change);
  }

  HWY_INLINE void Full(uint32_t group, uint32_t line, uint32_t part, ByteVector out[kDwords]) const {
    const uint32_t place = (group * kLines + line) * kParts + part;
    const uint8_t* a = crumbs_ + (place * kVectorBytes + group * kLines * kLineBytes);
    Decode(a, a + kLines * kLineBytes, place * kVectorBytes, out);
  }
  HWY_INLINE void Tail(uint32_t i, ByteVector out[kDwords]) const {
    const uint8_t* a = crumbs_ + (2 * count_.groups * kLines * kLineBytes + i * kVectorBytes);
    Decode(a, a + count_.tail() * kVectorBytes, (count_.full() + i) * kVectorBytes, out);
  }
  // All places, to memory: [place][dword].
  void DecodeAll(ByteVector* out) const {
    for (uint32_t place = 0; place < count_.full(); ++place) {
      Full(place / (kLines * kParts), place / kParts % kLines, place % kParts, out + kDwords * place);
    }
    for (uint32_t i = 0; i < count_.tail(); ++i) Tail(i, out + kDwords * (count_.full() + i));
  }

 private:
  HWY_INLINE void Decode(const uint8_t* crumbs_a, const uint8_t* crumbs_b, uint32_t refine, ByteVector out[kDwords]) const {
    ByteVector u[kNibbleWords];
    const ByteVector a = Load(crumbs_a, next_crumbs_), b = Load(crumbs_b, next_crumbs_);
    if constexpr (kBits == 2) {
      u[0] = u[1] = a;
      u[2] = u[3] = b;
    } else {
      const ByteVector p1 = Load(refine1_ + refine, next_refine_), low_crumbs = hn::Set(kU8, uint8_t{0x33});
      ByteVector za = p1, zb = p1;
      if constexpr (kBits == 4) {
        Swap(hn::Set(kU8, uint8_t{0x55}), p1, Load(refine0_ + refine, next_refine_), za, zb);
      }
      Swap(low_crumbs, a, za, u[0], u[1]);
      Swap(low_crumbs, b, zb, u[2], u[3]);
    }
    const ByteVector nibble = hn::Set(kU8, uint8_t{0x0F});
    for (uint32_t w = 0; w < kNibbleWords; ++w) {
      out[2 * w] = hn::TableLookupBytes(table_[w], hn::And(u[w], nibble));
      out[2 * w + 1] = hn::TableLookupBytes(table_[w], hn::ShiftRight<4>(u[w]));
    }
  }
  static HWY_INLINE ByteVector Load(const uint8_t* p, uint64_t next) {
    __builtin_prefetch(p + next);
    return hn::LoadU(kU8, p);
  }

  ByteVector table_[kNibbleWords];
  PlaceCount count_;
  const uint8_t* crumbs_;
  const uint8_t* refine1_;
  const uint8_t* refine0_;
  uint64_t next_crumbs_, next_refine_;  // from a tile to the next one
};

// The same places, decoded already: for more rows than the registers hold.
class DecodedPlaces {
 public:
  DecodedPlaces(PlaceCount count, const ByteVector* bytes) : count_(count), bytes_(bytes) {}

  HWY_INLINE void Full(uint32_t group, uint32_t line, uint32_t part, ByteVector out[kDwords]) const {
    Copy((group * kLines + line) * kParts + part, out);
  }
  HWY_INLINE void Tail(uint32_t i, ByteVector out[kDwords]) const { Copy(count_.full() + i, out); }

 private:
  HWY_INLINE void Copy(uint32_t place, ByteVector out[kDwords]) const {
    for (uint32_t i = 0; i < kDwords; ++i) out[i] = bytes_[kDwords * place + i];
  }

  PlaceCount count_;
  const ByteVector* bytes_;
};

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_TURBO_PLACES_H_
