#include "codec/trellis_matrix.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "codec/fma_target.h"
#include "codec/trellis_search.h"

namespace polarkv {
namespace {

uint32_t LoadWord(const uint8_t* plane, uint32_t index) {
  uint32_t word;
  std::memcpy(&word, plane + 4 * index, 4);
  return word;
}

void StoreWord(uint8_t* plane, uint32_t index, uint32_t word) { std::memcpy(plane + 4 * index, &word, 4); }

// Low bits of an atom's symbols, code 0's highest, to their places in the word that two atoms share.
uint32_t SpreadLowBits(uint32_t vector, uint32_t low) {
  uint32_t word = 0;
  for (uint32_t c = 0; c < 16; ++c) word |= (low >> (15 - c) & 1) << TrellisLowShift(vector, c);
  return word;
}

std::array<float, kTrellisWindows> SearchTable(const TrellisCodebook& book) {
  std::array<float, kTrellisWindows> table;
  for (uint32_t w = 0; w < kTrellisWindows; ++w) table[w] = static_cast<float>(book.image[w]) * book.unit;
  return table;
}

}  // namespace

TrellisMatrix::TrellisMatrix(KvSide side, uint32_t head_dim, uint32_t bits)
    : side_(side),
      head_dim_(head_dim),
      bits_(bits),
      rows_(side == KvSide::kKey ? kTileTokens : head_dim),
      columns_(side == KvSide::kKey ? head_dim : kTileTokens) {
  for (uint32_t atom = 0; atom < columns_ / kAtomCodes; ++atom) {
    for (uint32_t row = 0; row < rows_; ++row) {
      places_.push_back(side == KvSide::kKey ? KeyAtom(head_dim, row, atom) : ValueAtom(head_dim, row, atom));
    }
  }
}

void TrellisMatrix::Encode(const float* x, uint64_t counted, uint8_t* payload) const {
  const std::array<float, kTrellisWindows> table = SearchTable(TrellisCodebookFor(bits_));
  const auto targets = std::make_unique<TrellisTargets>();
  std::memset(payload, 0, size_t{bits_} * 8 * head_dim_);
  const auto target = [&](uint32_t i, uint32_t lane, uint32_t column, uint32_t row) {
    targets->x[i][lane] = x[column * rows_ + row];
    const uint32_t token = side_ == KvSide::kKey ? row : column;
    targets->weight[i][lane] = static_cast<float>(counted >> token & 1);
  };
  TrellisRings rings;
  for (uint32_t atom = 0; atom < columns_ / kAtomCodes; ++atom) {
    std::vector<RingRows> rows = RowsOfRings(atom);
    for (uint32_t first = 0; first < rows.size(); first += kQuantizerLanes) {
      const uint32_t lanes = std::min(kQuantizerLanes, static_cast<uint32_t>(rows.size()) - first);
      if (lanes < kQuantizerLanes) *targets = {};
      for (uint32_t l = 0; l < lanes; ++l) {
        for (uint32_t c = 0; c < kAtomCodes; ++c) {
          target(c, l, atom * kAtomCodes + c, rows[first + l].first);
          if (bits_ == 1) target(kAtomCodes + c, l, atom * kAtomCodes + c, rows[first + l].second);
        }
      }
      SearchTrellis(bits_, TrellisRing(bits_), table, *targets, rings);
      for (uint32_t l = 0; l < lanes; ++l) {
        const AtomPlace& place = Place(atom, rows[first + l].first);
        StoreWord(payload, bits_ == 1 ? place.refine_word : place.base_word, rings.upper[l]);
        if (bits_ < 3) continue;
        uint8_t* low_plane = payload + 16 * head_dim_;
        const uint32_t others = LoadWord(low_plane, place.refine_word);
        StoreWord(low_plane, place.refine_word, others | SpreadLowBits(place.vector, rings.lower[l]));
      }
    }
  }
}

[[gnu::always_inline]] inline void TrellisMatrix::ReadBody(const uint8_t* payload, float* images) const {
  std::array<float, kTrellisWindows> image;
  for (uint32_t w = 0; w < kTrellisWindows; ++w) image[w] = TrellisCodebookFor(bits_).image[w];
  for (uint32_t atom = 0; atom < columns_ / kAtomCodes; ++atom) {
    for (uint32_t row = 0; row < rows_; ++row) {
      const AtomPlace& place = Place(atom, row);
      const uint32_t word = LoadWord(payload, bits_ == 1 ? place.refine_word : place.base_word);
      const uint32_t low = bits_ == 3 ? LoadWord(payload + 16 * head_dim_, place.refine_word) : 0;
      float* out = images + atom * kAtomCodes * rows_ + row;
      for (uint32_t c = 0; c < kAtomCodes; ++c, out += rows_) {
        uint32_t window;
        if (bits_ == 3) {
          window = (low >> TrellisLowShift(place.vector, (c + 15) % 16) & 1) << 3 | (word >> CrumbShift(c) & 3) << 1 |
                   (low >> TrellisLowShift(place.vector, c) & 1);
        } else {
          const uint32_t shift = bits_ == 1 ? TrellisRingShift(place.vector, c) : CrumbShift(c);
          window = std::rotr(word, static_cast<int>(shift)) & 15;
        }
        *out = image[window];
      }
    }
  }
}

POLARKV_FMA_TARGET void TrellisMatrix::ReadVector(const uint8_t* payload, float* images) const {
  ReadBody(payload, images);
}

void TrellisMatrix::ReadImages(const uint8_t* payload, float* images) const {
  HasHardwareFma() ? ReadVector(payload, images) : ReadBody(payload, images);
}

// 1 bit: the atoms of vector A, each with the one in the same place of vector B.
std::vector<TrellisMatrix::RingRows> TrellisMatrix::RowsOfRings(uint32_t atom) const {
  std::vector<RingRows> rings;
  for (uint32_t row = 0; row < rows_; ++row) {
    if (bits_ != 1) {
      rings.push_back({row, row});
      continue;
    }
    const AtomPlace& a = Place(atom, row);
    if (a.vector != 0) continue;
    for (uint32_t other = 0; other < rows_; ++other) {
      const AtomPlace& b = Place(atom, other);
      if (b.vector == 1 && b.refine_word == a.refine_word) rings.push_back({row, other});
    }
  }
  return rings;
}

}  // namespace polarkv
