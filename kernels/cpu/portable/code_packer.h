// Rows of turbo codes, one byte each, into the bit planes of codec/code_order.h.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_CODE_PACKER_H_
#define POLARKV_KERNELS_CPU_PORTABLE_CODE_PACKER_H_

#include "codec/block_format.h"
#include "kernels/cpu/portable/target_vectors.h"
#include "kernels/cpu/turbo_encode.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

// Codes are read up to so many bytes beyond the last.
inline constexpr uint32_t kCodesReadPast = 16;

// Where the planes of one side of a tile begin; codes of one bit have `third` alone.
struct PackedPlanes {
  uint8_t* crumbs;
  uint8_t* third;
  uint8_t* fourth;
  uint8_t* fifth;
};
inline PackedPlanes PlanesToPack(uint32_t bits, uint32_t head_dim, const TurboEncodedTile& tile) {
  if (bits == 1) return {nullptr, tile.crumbs, nullptr, nullptr};
  if (bits == 5) return {tile.crumbs, tile.crumbs + 16 * head_dim, tile.refine1, tile.refine0};
  return {tile.crumbs, tile.refine1, tile.refine0, nullptr};
}

// Of each byte the bits from kFrom on that `mask` has, moved down to bit 0; kFrom of -1 moves them up.
template <int kFrom, class Tag, class Bytes>
HWY_INLINE Bytes BitsFrom(Tag tag, Bytes x, uint8_t mask) {
  const hn::Repartition<uint16_t, Tag> shorts;
  const auto bits = hn::Set(tag, mask);
  if constexpr (kFrom == 0) return hn::And(x, bits);
  if constexpr (kFrom < 0) return hn::And(hn::BitCast(tag, hn::ShiftLeft<1>(hn::BitCast(shorts, x))), bits);
  if constexpr (kFrom > 0) return hn::And(hn::BitCast(tag, hn::ShiftRight<kFrom>(hn::BitCast(shorts, x))), bits);
}

// What two bits of a word are: of codes of kBits the upper two; or, in planes that A and B share, one of A's and one of B's.
template <uint32_t kBits, class Tag, class Bytes>
HWY_INLINE Bytes Crumbs(Tag tag, Bytes code) {
  return BitsFrom<static_cast<int>(kBits) - 2>(tag, code, 3);
}
template <int kBit, class Tag, class Bytes>
HWY_INLINE Bytes SharedBits(Tag tag, Bytes lower, Bytes upper) {
  return hn::Or(BitsFrom<kBit>(tag, lower, 1), BitsFrom<kBit - 1>(tag, upper, 2));
}

// The planes that have something for codes of kBits: what to put there of codes of A and B.
enum class Plane { kCrumbsA, kCrumbsB, kThird, kFourth, kFifth };
template <uint32_t kBits>
constexpr bool HasPlane(Plane plane) {
  if (plane == Plane::kThird) return kBits != 2;
  return kBits >= (plane == Plane::kFourth ? 4 : plane == Plane::kFifth ? 5 : 2);
}
template <uint32_t kBits, Plane kPlane, class Tag, class Bytes>
HWY_INLINE Bytes TwoBits(Tag tag, [[maybe_unused]] Bytes a, [[maybe_unused]] Bytes b) {
  constexpr int kThirdBit = kBits == 1 ? 0 : static_cast<int>(kBits) - 3;
  if constexpr (kPlane == Plane::kCrumbsA) return Crumbs<kBits>(tag, a);
  if constexpr (kPlane == Plane::kCrumbsB) return Crumbs<kBits>(tag, b);
  if constexpr (kPlane == Plane::kThird) return SharedBits<kThirdBit>(tag, a, b);
  if constexpr (kPlane == Plane::kFourth) return SharedBits<kThirdBit - 1>(tag, b, a);
  if constexpr (kPlane == Plane::kFifth) return SharedBits<0>(tag, a, b);
}
constexpr bool IsCrumbs(Plane plane) { return plane == Plane::kCrumbsA || plane == Plane::kCrumbsB; }

// Calls body.operator()<plane>(where it begins, in which B's words are that much further on in that of crumbs).
template <uint32_t kBits, class Body>
HWY_INLINE void ForPlanes(const PackedPlanes& planes, Body body) {
  if constexpr (HasPlane<kBits>(Plane::kCrumbsA)) body.template operator()<Plane::kCrumbsA>(planes.crumbs);
  if constexpr (HasPlane<kBits>(Plane::kCrumbsB)) body.template operator()<Plane::kCrumbsB>(planes.crumbs);
  if constexpr (HasPlane<kBits>(Plane::kThird)) body.template operator()<Plane::kThird>(planes.third);
  if constexpr (HasPlane<kBits>(Plane::kFourth)) body.template operator()<Plane::kFourth>(planes.fourth);
  if constexpr (HasPlane<kBits>(Plane::kFifth)) body.template operator()<Plane::kFifth>(planes.fifth);
}

// Block i of a vector of one or two.
template <class Tag, class Bytes>
HWY_INLINE void StoreBlockOf(Tag /*tag*/, Bytes x, [[maybe_unused]] uint32_t i, uint8_t* to) {
  if constexpr (hn::MaxLanes(Tag()) == 16) {
    hn::StoreU(x, kBlock, to);
  } else {
    hn::StoreU(i == 0 ? hn::LowerHalf(kBlock, x) : hn::UpperHalf(kBlock, x), kBlock, to);
  }
}

// Sixteen two-bit numbers a block, one row's -> dwords of which the lowest byte has four, the first pair's uppermost.
// kUpperFirst: of a pair the first, too, is the upper one.
template <bool kUpperFirst, class Tag, class Bytes>
HWY_INLINE auto GatherQuads(Tag /*tag*/, Bytes x) {
  const hn::Repartition<uint16_t, Tag> shorts;
  const hn::Repartition<uint32_t, Tag> words;
  const auto two = hn::BitCast(shorts, x);
  const auto four = hn::BitCast(words, kUpperFirst ? hn::Or(hn::ShiftLeft<2>(two), hn::ShiftRight<8>(two))
                                                   : hn::Or(two, hn::ShiftRight<6>(two)));
  return hn::And(hn::Or(hn::ShiftLeft<4>(four), hn::ShiftRight<16>(four)), hn::Set(words, 0xFFu));
}

// Two-bit numbers of four rows -> the rows' words.
template <bool kUpperFirst, class Tag, class Bytes>
HWY_INLINE Bytes RowWords(Tag tag, const Bytes rows[4]) {
  alignas(16) static constexpr uint8_t kOrder[16] = {12, 8, 4, 0, 13, 9, 5, 1, 14, 10, 6, 2, 15, 11, 7, 3};
  const auto low = hn::Or(GatherQuads<kUpperFirst>(tag, rows[0]), hn::ShiftLeft<8>(GatherQuads<kUpperFirst>(tag, rows[1])));
  const auto high = hn::Or(hn::ShiftLeft<16>(GatherQuads<kUpperFirst>(tag, rows[2])),
                           hn::ShiftLeft<24>(GatherQuads<kUpperFirst>(tag, rows[3])));
  return hn::TableLookupBytes(hn::BitCast(tag, hn::Or(low, high)), hn::LoadDup128(tag, kOrder));
}

// Four atoms of keys of vector A and the four in the same places of B, in each of a vector's blocks. Word numbers of
// `base`: A's by block, B's `b_after` further on; of `refine` likewise.
template <uint32_t kBits, class Tag>
HWY_INLINE void PackKeyAtoms(Tag tag, const uint8_t* const a[4], const uint8_t* const b[4], const uint32_t* base, uint32_t b_after,
                             const uint32_t* refine, const PackedPlanes& planes) {
  using Bytes = hn::Vec<Tag>;
  Bytes code_a[4], code_b[4];
  for (uint32_t r = 0; r < 4; ++r) {
    code_a[r] = hn::LoadU(tag, a[r]);
    code_b[r] = hn::LoadU(tag, b[r]);
  }
  ForPlanes<kBits>(planes, [&]<Plane kPlane>(uint8_t* plane) HWY_ATTR {
    Bytes rows[4];
    for (uint32_t r = 0; r < 4; ++r) rows[r] = TwoBits<kBits, kPlane>(tag, code_a[r], code_b[r]);
    const Bytes words = RowWords<IsCrumbs(kPlane)>(tag, rows);
    for (uint32_t i = 0; i < hn::MaxLanes(tag) / 16; ++i) {
      const uint32_t word = IsCrumbs(kPlane) ? base[i] + (kPlane == Plane::kCrumbsB ? b_after : 0) : refine[i];
      StoreBlockOf(tag, words, i, plane + 4 * word);
    }
  });
}

// codes: [64][head_dim]
template <uint32_t kBits>
void PackKeys(const uint8_t* codes, uint32_t head_dim, const PackedPlanes& planes) {
  const uint32_t groups = head_dim / 64, width = head_dim / 16 % 4;
  constexpr uint32_t kBlocks = kVectorBytes / 16;
  for (uint32_t g = 0; g < 8; ++g) {
    // Tokens 0, 1, 4 and 5 beyond this are A's next words, those 8 further on B's.
    const uint8_t* row = codes + (16 * (g / 2) + 2 * (g % 2)) * head_dim;
    for (uint32_t chunk = 0; chunk < 4 * groups; chunk += kBlocks) {
      const uint8_t *a[4], *b[4];
      for (uint32_t r = 0; r < 4; ++r) {
        a[r] = row + (4 * (r / 2) + r % 2) * head_dim + 16 * chunk;
        b[r] = a[r] + 8 * head_dim;
      }
      uint32_t base[kBlocks], refine[kBlocks];
      for (uint32_t i = 0; i < kBlocks; ++i) {
        const uint32_t group = (chunk + i) % groups, lane = 16 * (g / 4) + 4 * ((chunk + i) / groups) + g % 4;
        base[i] = 256 * group + 4 * lane;
        refine[i] = 128 * group + 4 * lane;
      }
      PackKeyAtoms<kBits>(kU8, a, b, base, 128, refine, planes);
    }
  }
  // The last group, of one or two words a token.
  for (uint32_t word = 0; word < 32 * width; word += 4) {
    const uint8_t *a[4], *b[4];
    for (uint32_t r = 0; r < 4; ++r) {
      a[r] = codes + (word + r) / width * head_dim + 64 * groups + 16 * ((word + r) % width);
      b[r] = a[r] + 32 * head_dim;
    }
    const uint32_t base = 256 * groups + word, refine = 128 * groups + word;
    PackKeyAtoms<kBits>(kBlock, a, b, &base, 32 * width, &refine, planes);
  }
}

// Two-bit numbers of four tokens -> bytes that have all four, the first token's uppermost; kUpperFirst as above.
template <bool kUpperFirst, class Tag, class Bytes>
HWY_INLINE Bytes TokenQuad(Tag tag, const Bytes tokens[4]) {
  const hn::Repartition<uint16_t, Tag> shorts;
  const auto at = [&](uint32_t i) { return hn::BitCast(shorts, tokens[kUpperFirst ? i : i ^ 1]); };
  const auto high = hn::Or(hn::ShiftLeft<6>(at(0)), hn::ShiftLeft<4>(at(1)));
  return hn::BitCast(tag, hn::Or(high, hn::Or(hn::ShiftLeft<2>(at(2)), at(3))));
}

// Sixteen tokens of the coordinates in a vector's lanes; B's are `b_after` coordinates further on. Of each block of 16
// coordinates the first 4 * kQuads are stored, at `base` and `refine` by block.
template <uint32_t kBits, uint32_t kQuads, class Tag>
HWY_INLINE void PackValueAtoms(Tag tag, const uint8_t* codes, uint32_t head_dim, uint32_t b_after, const uint32_t* base,
                               uint32_t b_words_after, const uint32_t* refine, const PackedPlanes& planes) {
  using Bytes = hn::Vec<Tag>;
  const hn::Repartition<uint16_t, Tag> shorts;
  ForPlanes<kBits>(planes, [&]<Plane kPlane>(uint8_t* plane) HWY_ATTR {
    Bytes bytes[4];  // of words, the lowest first, which has the last tokens
    for (uint32_t k = 0; k < 4; ++k) {
      Bytes tokens[4];
      for (uint32_t i = 0; i < 4; ++i) {
        const uint8_t* row = codes + (12 - 4 * k + i) * head_dim;
        const Bytes a = kPlane == Plane::kCrumbsB ? hn::Zero(tag) : hn::LoadU(tag, row);
        const Bytes b = kPlane == Plane::kCrumbsA ? hn::Zero(tag) : hn::LoadU(tag, row + b_after);
        tokens[i] = TwoBits<kBits, kPlane>(tag, a, b);
      }
      bytes[k] = TokenQuad<IsCrumbs(kPlane)>(tag, tokens);
    }
    const auto low01 = hn::BitCast(shorts, hn::InterleaveLower(tag, bytes[0], bytes[1]));
    const auto low23 = hn::BitCast(shorts, hn::InterleaveLower(tag, bytes[2], bytes[3]));
    const auto high01 = hn::BitCast(shorts, hn::InterleaveUpper(tag, bytes[0], bytes[1]));
    const auto high23 = hn::BitCast(shorts, hn::InterleaveUpper(tag, bytes[2], bytes[3]));
    const Bytes quads[4] = {hn::BitCast(tag, hn::InterleaveLower(shorts, low01, low23)),
                            hn::BitCast(tag, hn::InterleaveUpper(shorts, low01, low23)),
                            hn::BitCast(tag, hn::InterleaveLower(shorts, high01, high23)),
                            hn::BitCast(tag, hn::InterleaveUpper(shorts, high01, high23))};
    for (uint32_t i = 0; i < hn::MaxLanes(tag) / 16; ++i) {
      const uint32_t word = IsCrumbs(kPlane) ? base[i] + (kPlane == Plane::kCrumbsB ? b_words_after : 0) : refine[i];
      for (uint32_t quad = 0; quad < kQuads; ++quad) StoreBlockOf(tag, quads[quad], i, plane + 4 * (word + 4 * quad));
    }
  });
}

template <uint32_t kBits>
void PackValues(const uint8_t* codes, uint32_t head_dim, const PackedPlanes& planes) {
  const uint32_t groups = head_dim / 64, width = head_dim / 16 % 4;
  constexpr uint32_t kBlocks = kVectorBytes / 16;
  for (uint32_t quarter = 0; quarter < 4; ++quarter) {
    const uint8_t* rows = codes + 16 * quarter * head_dim;
    for (uint32_t group = 0; group < groups; ++group) {
      for (uint32_t first = 0; first < 32; first += kVectorBytes) {
        uint32_t base[kBlocks], refine[kBlocks];
        for (uint32_t i = 0; i < kBlocks; ++i) {
          refine[i] = 128 * group + 4 * (first + 16 * i) + 16 * quarter;
          base[i] = refine[i] + 128 * group;
        }
        PackValueAtoms<kBits, 4>(kU8, rows + 64 * group + first, head_dim, 32, base, 128, refine, planes);
      }
    }
    const uint32_t refine = 128 * groups + 8 * width * quarter, base = refine + 128 * groups;
    const uint8_t* last = rows + 64 * groups;
    if (width == 1) PackValueAtoms<kBits, 2>(kBlock, last, head_dim, 8, &base, 32, &refine, planes);
    if (width == 2) PackValueAtoms<kBits, 4>(kBlock, last, head_dim, 16, &base, 64, &refine, planes);
  }
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_CODE_PACKER_H_
