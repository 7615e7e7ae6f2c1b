#include "kernels/cpu/turbo_table.h"

#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"

namespace polarkv::cpu {
namespace {

// The code that index i of a nibble word stands for.
uint32_t TurboCode(uint32_t bits, uint32_t word, uint32_t i) {
  constexpr uint32_t kOnlyBit[kNibbleWords] = {2, 0, 3, 1};
  if (bits == 1) return i >> kOnlyBit[word] & 1;
  const bool crumb_is_high = word % 2 == 1;
  const uint32_t crumb = crumb_is_high ? i >> 2 & 3 : i & 3;
  const uint32_t refine = crumb_is_high ? i & 3 : i >> 2 & 3;
  const bool first_is_high = (word == 2 || word == 3);
  const uint32_t p1 = first_is_high ? refine >> 1 : refine & 1;
  const uint32_t p0 = first_is_high ? refine & 1 : refine >> 1;
  const uint32_t whole = crumb << 3 | p1 << 2 | p0 << 1 | (i >> 4 & 1);  // as if of five bits
  return whole >> (5 - bits);
}

// Rotated words have windows as they are; the unrotated ones of three bits have a symbol's parts apart.
uint32_t TrellisWindow(uint32_t bits, uint32_t word, uint32_t i) {
  const uint32_t b0 = i & 1, b1 = i >> 1 & 1, b2 = i >> 2 & 1, b3 = i >> 3 & 1;
  if (bits == 3 && word == 0) return b3 << 3 | b1 << 2 | b0 << 1 | b2;  // low bit before, own low bit, crumb
  if (bits == 3 && word == 3) return b1 << 3 | b3 << 2 | b2 << 1 | b0;  // crumb, low bit before, own low bit
  return i & 15;
}

}  // namespace

TurboTable MakeTurboTable(const TurboCodebook& book, int offset) {
  TurboTable table;
  for (uint32_t word = 0; word < kNibbleWords; ++word) {
    for (uint32_t i = 0; i < 64; ++i) {
      table.entry[word][i] = static_cast<int8_t>(book.image[TurboCode(book.bits, word, i)] + offset);
    }
  }
  return table;
}

TurboTable MakeTrellisTable(const TrellisCodebook& book, uint32_t bits, int offset) {
  TurboTable table;
  for (uint32_t word = 0; word < kNibbleWords; ++word) {
    for (uint32_t i = 0; i < 64; ++i) {
      table.entry[word][i] = static_cast<int8_t>(book.image[TrellisWindow(bits, word, i)] + offset);
    }
  }
  return table;
}

}  // namespace polarkv::cpu
