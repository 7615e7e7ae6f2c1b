#include "kernels/cpu/turbo_table.h"

#include "codec/turbo_codebook.h"

namespace polarkv::cpu {

TurboTable MakeTurboTable(const TurboCodebook& book, int offset) {
  TurboTable table;
  for (uint32_t word = 0; word < kNibbleWords; ++word) {
    for (uint32_t i = 0; i < 64; ++i) {
      const bool crumb_is_high = word % 2 == 1;
      const uint32_t crumb = crumb_is_high ? i >> 2 & 3 : i & 3;
      const uint32_t refine = crumb_is_high ? i & 3 : i >> 2 & 3;
      const bool first_is_high = (word == 2 || word == 3);
      const uint32_t p1 = first_is_high ? refine >> 1 : refine & 1;
      const uint32_t p0 = first_is_high ? refine & 1 : refine >> 1;
      const uint32_t code = book.bits == 2 ? crumb : book.bits == 3 ? crumb << 1 | p1 : crumb << 2 | p1 << 1 | p0;
      table.entry[word][i] = static_cast<int8_t>(book.image[code] + offset);
    }
  }
  return table;
}

}  // namespace polarkv::cpu
