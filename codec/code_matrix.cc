#include "codec/code_matrix.h"

#include <cstring>

#include "codec/fma_target.h"

namespace polarkv {
namespace {

// The shifts of an A atom serve B atoms too: one place up in the first refinement plane, one down in the second.
constexpr bool ShiftsDifferByOne() {
  for (uint32_t c = 0; c < 16; ++c) {
    if (FirstRefineShift(1, c) != FirstRefineShift(0, c) + 1) return false;
    if (SecondRefineShift(1, c) != SecondRefineShift(0, c) - 1) return false;
  }
  return true;
}
static_assert(ShiftsDifferByOne());

uint32_t LoadWord(const uint8_t* plane, uint32_t index) {
  uint32_t word;
  std::memcpy(&word, plane + 4 * index, 4);
  return word;
}

void OrWord(uint8_t* plane, uint32_t index, uint32_t bits) {
  const uint32_t word = LoadWord(plane, index) | bits;
  std::memcpy(plane + 4 * index, &word, 4);
}

}  // namespace

CodeMatrix::CodeMatrix(KvSide side, uint32_t head_dim)
    : side_(side),
      head_dim_(head_dim),
      rows_(side == KvSide::kKey ? kTileTokens : head_dim),
      columns_(side == KvSide::kKey ? head_dim : kTileTokens) {
  for (uint32_t atom = 0; atom < columns_ / kAtomCodes; ++atom) {
    for (uint32_t row = 0; row < rows_; ++row) {
      places_[atom * rows_ + row] =
          side == KvSide::kKey ? KeyAtom(head_dim, row, atom) : ValueAtom(head_dim, row, atom);
    }
  }
}

[[gnu::always_inline]] inline void CodeMatrix::PackBody(uint32_t bits, const uint8_t* codes,
                                                        const CodePlanes<uint8_t>& planes) const {
  const uint32_t lift = bits == 1 ? 2 : 5 - bits;  // as if of five bits, or a third bit alone
  for (uint32_t atom = 0; atom < columns_ / kAtomCodes; ++atom) {
    Words crumbs = {}, third = {}, fourth = {}, fifth = {};
    for (uint32_t c = 0; c < kAtomCodes; ++c, codes += rows_) {
      for (uint32_t row = 0; row < rows_; ++row) {
        const uint32_t code = uint32_t{codes[row]} << lift;
        crumbs[row] |= (code >> 3) << CrumbShift(c);
        third[row] |= (code >> 2 & 1) << FirstRefineShift(0, c);
        fourth[row] |= (code >> 1 & 1) << SecondRefineShift(0, c);
        fifth[row] |= (code & 1) << FirstRefineShift(0, c);
      }
    }
    for (uint32_t row = 0; row < rows_; ++row) {
      const AtomPlace& place = Place(atom, row);
      if (bits >= 2) OrWord(planes.crumbs, place.base_word, crumbs[row]);
      if (bits != 2) OrWord(planes.third, place.refine_word, third[row] << place.vector);
      if (bits >= 4) OrWord(planes.fourth, place.refine_word, fourth[row] >> place.vector);
      if (bits == 5) OrWord(planes.fifth, place.refine_word, fifth[row] << place.vector);
    }
  }
}

[[gnu::always_inline]] inline void CodeMatrix::UnpackBody(uint32_t bits, const CodePlanes<const uint8_t>& planes,
                                                          uint8_t* codes) const {
  const uint32_t lift = bits == 1 ? 2 : 5 - bits;
  for (uint32_t atom = 0; atom < columns_ / kAtomCodes; ++atom) {
    Words crumbs = {}, third = {}, fourth = {}, fifth = {};
    for (uint32_t row = 0; row < rows_; ++row) {
      const AtomPlace& place = Place(atom, row);
      if (bits >= 2) crumbs[row] = LoadWord(planes.crumbs, place.base_word);
      if (bits != 2) third[row] = LoadWord(planes.third, place.refine_word) >> place.vector;
      if (bits >= 4) fourth[row] = LoadWord(planes.fourth, place.refine_word) << place.vector;
      if (bits == 5) fifth[row] = LoadWord(planes.fifth, place.refine_word) >> place.vector;
    }
    for (uint32_t c = 0; c < kAtomCodes; ++c, codes += rows_) {
      for (uint32_t row = 0; row < rows_; ++row) {
        const uint32_t code =
            (crumbs[row] >> CrumbShift(c) & 3) << 3 | (third[row] >> FirstRefineShift(0, c) & 1) << 2 |
            (fourth[row] >> SecondRefineShift(0, c) & 1) << 1 | (fifth[row] >> FirstRefineShift(0, c) & 1);
        codes[row] = static_cast<uint8_t>(code >> lift);
      }
    }
  }
}

POLARKV_FMA_TARGET void CodeMatrix::PackVector(uint32_t bits, const uint8_t* codes,
                                               const CodePlanes<uint8_t>& planes) const {
  PackBody(bits, codes, planes);
}

POLARKV_FMA_TARGET void CodeMatrix::UnpackVector(uint32_t bits, const CodePlanes<const uint8_t>& planes,
                                                 uint8_t* codes) const {
  UnpackBody(bits, planes, codes);
}

void CodeMatrix::Pack(uint32_t bits, const uint8_t* codes, const CodePlanes<uint8_t>& planes) const {
  HasHardwareFma() ? PackVector(bits, codes, planes) : PackBody(bits, codes, planes);
}

void CodeMatrix::Unpack(uint32_t bits, const CodePlanes<const uint8_t>& planes, uint8_t* codes) const {
  HasHardwareFma() ? UnpackVector(bits, planes, codes) : UnpackBody(bits, planes, codes);
}

}  // namespace polarkv
