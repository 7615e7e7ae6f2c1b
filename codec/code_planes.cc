#include "codec/code_planes.h"

#include <cstring>

#include "codec/code_order.h"
#include "codec/fma_target.h"

namespace polarkv {
namespace {

constexpr uint32_t kAtomCodes = 16;

uint32_t LoadWord(const uint8_t* plane, uint32_t index) {
  uint32_t word;
  std::memcpy(&word, plane + 4 * index, 4);
  return word;
}

void OrWord(uint8_t* plane, uint32_t index, uint32_t bits) {
  const uint32_t word = LoadWord(plane, index) | bits;
  std::memcpy(plane + 4 * index, &word, 4);
}

AtomPlace PlaceOf(KvSide side, uint32_t head_dim, uint32_t row, uint32_t atom) {
  return side == KvSide::kKey ? KeyAtom(head_dim, row, atom) : ValueAtom(head_dim, row, atom);
}

// Where the bits of an atom's codes go in its three words, for the A or the B vector.
struct AtomShifts {
  uint32_t crumb[kAtomCodes];
  uint32_t refine1[kAtomCodes];
  uint32_t refine0[kAtomCodes];
};

constexpr AtomShifts ShiftsOf(uint32_t vector) {
  AtomShifts shifts{};
  for (uint32_t c = 0; c < kAtomCodes; ++c) {
    shifts.crumb[c] = CrumbShift(c);
    shifts.refine1[c] = FirstRefineShift(vector, c);
    shifts.refine0[c] = SecondRefineShift(vector, c);
  }
  return shifts;
}

constexpr AtomShifts kShifts[2] = {ShiftsOf(0), ShiftsOf(1)};

[[gnu::always_inline]] inline void UnpackBody(KvSide side, uint32_t head_dim, uint32_t bits,
                                              const CodePlanes<const uint8_t>& planes, uint8_t* codes) {
  const uint32_t rows = CodeRows(side, head_dim);
  const uint32_t atoms = CodeColumns(side, head_dim) / kAtomCodes;
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t atom = 0; atom < atoms; ++atom, codes += kAtomCodes) {
      const AtomPlace place = PlaceOf(side, head_dim, row, atom);
      const AtomShifts& shifts = kShifts[place.vector];
      const uint32_t crumbs = LoadWord(planes.crumbs, place.base_word);
      uint32_t code[kAtomCodes];
      for (uint32_t c = 0; c < kAtomCodes; ++c) code[c] = crumbs >> shifts.crumb[c] & 3;
      if (bits >= 3) {
        const uint32_t word = LoadWord(planes.refine1, place.refine_word);
        for (uint32_t c = 0; c < kAtomCodes; ++c) code[c] = code[c] << 1 | (word >> shifts.refine1[c] & 1);
      }
      if (bits == 4) {
        const uint32_t word = LoadWord(planes.refine0, place.refine_word);
        for (uint32_t c = 0; c < kAtomCodes; ++c) code[c] = code[c] << 1 | (word >> shifts.refine0[c] & 1);
      }
      for (uint32_t c = 0; c < kAtomCodes; ++c) codes[c] = static_cast<uint8_t>(code[c]);
    }
  }
}

POLARKV_FMA_TARGET void UnpackFast(KvSide side, uint32_t head_dim, uint32_t bits,
                                   const CodePlanes<const uint8_t>& planes, uint8_t* codes) {
  UnpackBody(side, head_dim, bits, planes, codes);
}

[[gnu::always_inline]] inline void PackBody(KvSide side, uint32_t head_dim, uint32_t bits, const uint8_t* codes,
                                            const CodePlanes<uint8_t>& planes) {
  const uint32_t rows = CodeRows(side, head_dim);
  const uint32_t atoms = CodeColumns(side, head_dim) / kAtomCodes;
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t atom = 0; atom < atoms; ++atom, codes += kAtomCodes) {
      const AtomPlace place = PlaceOf(side, head_dim, row, atom);
      const AtomShifts& shifts = kShifts[place.vector];
      uint32_t crumbs = 0, refine1 = 0, refine0 = 0;
      for (uint32_t c = 0; c < kAtomCodes; ++c) {
        const uint32_t code = uint32_t{codes[c]} << (4 - bits);  // upper bits first, as if of four
        crumbs |= (code >> 2) << shifts.crumb[c];
        refine1 |= (code >> 1 & 1) << shifts.refine1[c];
        refine0 |= (code & 1) << shifts.refine0[c];
      }
      OrWord(planes.crumbs, place.base_word, crumbs);
      if (bits >= 3) OrWord(planes.refine1, place.refine_word, refine1);
      if (bits == 4) OrWord(planes.refine0, place.refine_word, refine0);
    }
  }
}

POLARKV_FMA_TARGET void PackFast(KvSide side, uint32_t head_dim, uint32_t bits, const uint8_t* codes,
                                 const CodePlanes<uint8_t>& planes) {
  PackBody(side, head_dim, bits, codes, planes);
}

}  // namespace

void PackCodes(KvSide side, uint32_t head_dim, uint32_t bits, const uint8_t* codes, const CodePlanes<uint8_t>& planes) {
  (HasHardwareFma() ? PackFast : PackBody)(side, head_dim, bits, codes, planes);
}

void UnpackCodes(KvSide side, uint32_t head_dim, uint32_t bits, const CodePlanes<const uint8_t>& planes,
                 uint8_t* codes) {
  (HasHardwareFma() ? UnpackFast : UnpackBody)(side, head_dim, bits, planes, codes);
}

}  // namespace polarkv
