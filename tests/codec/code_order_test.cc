// The properties that the fast kernels rely on; FORMAT.md, "Code order", states and derives them.
#include "codec/code_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <vector>

#include "codec/block_spec.h"

namespace polarkv {
namespace {

constexpr uint32_t kAtomCodes = 16;
constexpr uint32_t kLineWords = 16;  // 64 bytes

// An atom's row and chunk of the contraction axis, with its place.
struct Atom {
  uint32_t row, chunk;
  AtomPlace place;
};

std::vector<Atom> KeyAtoms(uint32_t head_dim) {
  std::vector<Atom> atoms;
  for (uint32_t token = 0; token < 64; ++token) {
    for (uint32_t chunk = 0; chunk < head_dim / kAtomCodes; ++chunk) {
      atoms.push_back({token, chunk, KeyAtom(head_dim, token, chunk)});
    }
  }
  return atoms;
}

std::vector<Atom> ValueAtoms(uint32_t head_dim) {
  std::vector<Atom> atoms;
  for (uint32_t dim = 0; dim < head_dim; ++dim) {
    for (uint32_t quarter = 0; quarter < 4; ++quarter) {
      atoms.push_back({dim, quarter, ValueAtom(head_dim, dim, quarter)});
    }
  }
  return atoms;
}

class CodeOrder : public ::testing::TestWithParam<uint32_t> {
 protected:
  // Runs a check on K and on V.
  template <typename Check>
  void ForBoth(Check check) {
    check(KeyAtoms(GetParam()), "K");
    check(ValueAtoms(GetParam()), "V");
  }
};

TEST_P(CodeOrder, EveryAtomHasItsOwnWordAndTheyFillThePlane) {
  ForBoth([](const std::vector<Atom>& atoms, const char* side) {
    std::set<uint32_t> words;
    for (const Atom& atom : atoms) words.insert(atom.place.base_word);
    EXPECT_EQ(words.size(), 4 * GetParam()) << side;
    EXPECT_EQ(*words.rbegin(), 4 * GetParam() - 1) << side;
  });
}

TEST_P(CodeOrder, RefinementWordsAreSharedByOneAtomOfEachVector) {
  ForBoth([](const std::vector<Atom>& atoms, const char* side) {
    std::set<std::pair<uint32_t, uint32_t>> halves;
    for (const Atom& atom : atoms) halves.insert({atom.place.refine_word, atom.place.vector});
    EXPECT_EQ(halves.size(), 4 * GetParam()) << side;
    EXPECT_EQ(halves.rbegin()->first, 2 * GetParam() - 1) << side;
  });
}

TEST_P(CodeOrder, AVectorsWordInTheSamePlaceIsTheRefinementWordsOther) {
  // A kernel finds the B word and the refinement word from the A word's index alone.
  ForBoth([](const std::vector<Atom>& atoms, const char* side) {
    const uint32_t full = GetParam() / 64;
    const uint32_t tail = GetParam() / 16 % 4;
    for (const Atom& atom : atoms) {
      const uint32_t group = atom.place.base_word / 256;
      const uint32_t width = group < full ? 4 : tail;
      const uint32_t in_vector = atom.place.base_word % 256 - atom.place.vector * 32 * width;
      EXPECT_EQ(atom.place.refine_word, group * 128 + in_vector) << side;
      EXPECT_LT(in_vector, 32 * width) << side;
    }
  });
}

TEST_P(CodeOrder, ALineOfAFullGroupIsSixteenRowsOfOneChunk) {
  ForBoth([](const std::vector<Atom>& atoms, const char* side) {
    const uint32_t full_words = GetParam() / 64 * 256;
    std::vector<std::set<uint32_t>> rows(full_words / kLineWords), chunks(full_words / kLineWords);
    for (const Atom& atom : atoms) {
      if (atom.place.base_word >= full_words) continue;
      rows[atom.place.base_word / kLineWords].insert(atom.row);
      chunks[atom.place.base_word / kLineWords].insert(atom.chunk);
    }
    for (size_t line = 0; line < rows.size(); ++line) {
      EXPECT_EQ(rows[line].size(), kLineWords) << side << " line " << line;
      EXPECT_EQ(chunks[line].size(), 1u) << side << " line " << line;
    }
  });
}

TEST_P(CodeOrder, FourLinesInARowHoldTheSameRowsInTheSameOrder) {
  ForBoth([](const std::vector<Atom>& atoms, const char* side) {
    const uint32_t full_words = GetParam() / 64 * 256;
    std::vector<uint32_t> row_of(4 * GetParam());
    for (const Atom& atom : atoms) row_of[atom.place.base_word] = atom.row;
    for (uint32_t word = 0; word < full_words; ++word) {
      EXPECT_EQ(row_of[word], row_of[word / 64 * 64 + word % 16]) << side << " word " << word;
    }
  });
}

// Position of lane (g, t) in a vector, as a kernel computes it.
uint32_t LanePosition(uint32_t g, uint32_t t) { return 16 * (g / 4) + 4 * t + g % 4; }

TEST_P(CodeOrder, LanesOfOneFragmentRowHoldTheSameRows) {
  // MMA m16n8k32, operand A: lanes (g, 0..3) hold one row's four contraction quarters.
  ForBoth([](const std::vector<Atom>& atoms, const char* side) {
    std::vector<Atom> at(4 * GetParam());
    for (const Atom& atom : atoms) at[atom.place.base_word] = atom;
    for (uint32_t vector = 0; vector < GetParam() / 64 * 2; ++vector) {
      for (uint32_t g = 0; g < 8; ++g) {
        for (uint32_t word = 0; word < 4; ++word) {
          const uint32_t row = at[vector * 128 + LanePosition(g, 0) * 4 + word].row;
          std::set<uint32_t> chunks;
          for (uint32_t t = 0; t < 4; ++t) {
            const Atom& atom = at[vector * 128 + LanePosition(g, t) * 4 + word];
            EXPECT_EQ(atom.row, row) << side;
            chunks.insert(atom.chunk);
          }
          EXPECT_EQ(chunks.size(), 4u) << side;
        }
      }
    }
  });
}

TEST_P(CodeOrder, TransposedScoresArriveWhereTheValuesNeedThem) {
  // Scores of fragment rows 2t and 2t+1 land, transposed by movmatrix, in lanes t: those must be V's tokens of quarter
  // t.
  for (const Atom& atom : KeyAtoms(GetParam())) {
    if (atom.place.base_word >= GetParam() / 64 * 256) continue;
    const uint32_t position = atom.place.base_word % 128 / 4;
    const uint32_t g = position / 16 * 4 + position % 4;
    EXPECT_EQ(g / 2, atom.row / 16);
  }
}

TEST(CodeOrderOnGpu, SixteenByteLoadsMeetAtMostTwoWayBankConflicts) {
  // Shared memory serves a 16-byte load eight lanes at a time; lane l = 4g + t, 32 banks of 4 bytes.
  for (uint32_t first = 0; first < 32; first += 8) {
    std::array<int, 8> uses{};
    for (uint32_t lane = first; lane < first + 8; ++lane) ++uses[LanePosition(lane / 4, lane % 4) % 8];
    EXPECT_LE(*std::ranges::max_element(uses), 2);
  }
}

TEST_P(CodeOrder, NibblesAssembleInSixThreeInputOperations) {
  std::mt19937 random(7);
  std::array<std::array<uint32_t, kAtomCodes>, 2> code{};  // of the A and the B word
  uint32_t base[2] = {}, p1 = 0, p0 = 0;
  for (uint32_t vector = 0; vector < 2; ++vector) {
    for (uint32_t c = 0; c < kAtomCodes; ++c) {
      code[vector][c] = random() % 16;
      base[vector] |= (code[vector][c] >> 2) << CrumbShift(c);
      p1 |= (code[vector][c] >> 1 & 1) << FirstRefineShift(vector, c);
      p0 |= (code[vector][c] & 1) << SecondRefineShift(vector, c);
    }
  }
  const auto select = [](uint32_t mask, uint32_t a, uint32_t b) { return (a & mask) | (b & ~mask); };
  const uint32_t za = select(0x55555555, p1, p0);
  const uint32_t zb = select(0x55555555, p0, p1);
  const uint32_t u[4] = {select(0x33333333, base[0], za), select(0x33333333, za, base[0]),
                         select(0x33333333, base[1], zb), select(0x33333333, zb, base[1])};
  // What a nibble of u_k means: which of its bits are crumb, first and second refinement bit.
  for (uint32_t k = 0; k < 4; ++k) {
    const bool low_crumb = k % 2 == 0;
    const uint32_t first = (low_crumb ? 2 : 0) + (k < 2 ? 0 : 1);
    const uint32_t second = (low_crumb ? 2 : 0) + (k < 2 ? 1 : 0);
    for (uint32_t n = 0; n < 8; ++n) {
      const uint32_t nibble = u[k] >> 4 * n & 15;
      const uint32_t crumb = low_crumb ? nibble & 3 : nibble >> 2;
      const uint32_t c = 15 - (2 * n + (low_crumb ? 0 : 1));
      EXPECT_EQ(crumb << 2 | (nibble >> first & 1) << 1 | (nibble >> second & 1), code[k / 2][c]);
    }
  }
}

TEST(CodeOrderWindows, NeighbouringCodesAreOneFunnelShift) {
  // A window of w codes that starts at code c, across the end of its word, is the top of two joined words.
  std::array<uint32_t, 32> code;
  for (uint32_t i = 0; i < 32; ++i) code[i] = i * 7 % 4;
  uint32_t word[2] = {};
  for (uint32_t i = 0; i < 32; ++i) word[i / 16] |= code[i] << CrumbShift(i % 16);
  const uint64_t joined = uint64_t{word[0]} << 32 | word[1];
  for (uint32_t c = 0; c <= 24; ++c) {
    uint32_t window = 0;
    for (uint32_t i = 0; i < 8; ++i) window = window << 2 | code[c + i];
    EXPECT_EQ(joined << 2 * c >> 48, window) << c;
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, CodeOrder, ::testing::ValuesIn(kHeadDims), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace polarkv
