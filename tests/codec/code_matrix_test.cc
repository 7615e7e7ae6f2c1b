#include "codec/code_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::SeedText;

struct Planes {
  std::vector<uint8_t> crumbs, third, fourth, fifth;
  explicit Planes(uint32_t codes) : crumbs(codes / 4), third(codes / 8), fourth(codes / 8), fifth(codes / 8) {}
  CodePlanes<uint8_t> Writable() { return {crumbs.data(), third.data(), fourth.data(), fifth.data()}; }
  CodePlanes<const uint8_t> Readable() const { return {crumbs.data(), third.data(), fourth.data(), fifth.data()}; }
};

class CodeMatrixOf : public ::testing::TestWithParam<std::tuple<KvSide, uint32_t>> {
 protected:
  CodeMatrix matrix_{std::get<0>(GetParam()), std::get<1>(GetParam())};
};

AtomPlace PlaceOf(const CodeMatrix& matrix, uint32_t row, uint32_t column) {
  return matrix.side() == KvSide::kKey ? KeyAtom(matrix.head_dim(), row, column / 16)
                                       : ValueAtom(matrix.head_dim(), row, column / 16);
}

TEST_P(CodeMatrixOf, EveryBitOfEveryCodeHasItsOwnBitAndThePlanesAreFull) {
  std::vector<int> crumbs(2 * matrix_.size()), refine1(matrix_.size()), refine0(matrix_.size());  // uses of each bit
  for (uint32_t column = 0; column < matrix_.columns(); ++column) {
    for (uint32_t row = 0; row < matrix_.rows(); ++row) {
      const AtomPlace place = PlaceOf(matrix_, row, column);
      const uint32_t c = column % 16;
      ++crumbs.at(32 * place.base_word + CrumbShift(c));
      ++crumbs.at(32 * place.base_word + CrumbShift(c) + 1);
      ++refine1.at(32 * place.refine_word + FirstRefineShift(place.vector, c));
      ++refine0.at(32 * place.refine_word + SecondRefineShift(place.vector, c));
    }
  }
  EXPECT_THAT(crumbs, ::testing::Each(1));
  EXPECT_THAT(refine1, ::testing::Each(1));
  EXPECT_THAT(refine0, ::testing::Each(1));
}

TEST_P(CodeMatrixOf, CodesLieWhereTheCodeOrderSays) {
  const uint32_t seed = 5;
  SCOPED_TRACE(SeedText(seed));
  std::mt19937 random(seed);
  std::vector<uint8_t> codes(matrix_.size());
  for (uint8_t& code : codes) code = random() % 32;
  Planes planes(matrix_.size());
  matrix_.Pack(5, codes.data(), planes.Writable());
  const auto bits = [](const std::vector<uint8_t>& plane, uint32_t word, uint32_t shift, uint32_t mask) {
    uint32_t value;
    std::memcpy(&value, plane.data() + 4 * word, 4);
    return value >> shift & mask;
  };
  for (uint32_t column = 0; column < matrix_.columns(); ++column) {
    for (uint32_t row = 0; row < matrix_.rows(); ++row) {
      const AtomPlace place = PlaceOf(matrix_, row, column);
      const uint32_t c = column % 16, first = FirstRefineShift(place.vector, c);
      const uint32_t code = bits(planes.crumbs, place.base_word, CrumbShift(c), 3) << 3 |
                            bits(planes.third, place.refine_word, first, 1) << 2 |
                            bits(planes.fourth, place.refine_word, SecondRefineShift(place.vector, c), 1) << 1 |
                            bits(planes.fifth, place.refine_word, first, 1);
      ASSERT_EQ(code, codes[column * matrix_.rows() + row]) << "column " << column << " row " << row;
    }
  }
}

TEST_P(CodeMatrixOf, CodesComeBackAndFewerPlanesGiveTheirUpperBits) {
  const uint32_t seed = 6;
  SCOPED_TRACE(SeedText(seed));
  std::mt19937 random(seed);
  for (uint32_t written = 1; written <= 5; ++written) {
    std::vector<uint8_t> codes(matrix_.size()), read(matrix_.size());
    for (uint8_t& code : codes) code = random() % (1u << written);
    Planes planes(matrix_.size());
    CodePlanes<uint8_t> writable = planes.Writable();
    if (written < 5) writable.fifth = nullptr;
    if (written < 4) writable.fourth = nullptr;
    if (written == 2) writable.third = nullptr;
    if (written == 1) writable.crumbs = nullptr;
    matrix_.Pack(written, codes.data(), writable);
    for (uint32_t bits = written == 1 ? 1 : 2; bits <= written; ++bits) {
      CodePlanes<const uint8_t> readable = planes.Readable();
      if (bits < 5) readable.fifth = nullptr;
      if (bits < 4) readable.fourth = nullptr;
      if (bits == 2) readable.third = nullptr;
      if (bits == 1) readable.crumbs = nullptr;
      matrix_.Unpack(bits, readable, read.data());
      for (uint32_t i = 0; i < matrix_.size(); ++i) ASSERT_EQ(read[i], codes[i] >> (written - bits)) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(SidesAndHeadDims, CodeMatrixOf,
                         ::testing::Combine(::testing::Values(KvSide::kKey, KvSide::kValue),
                                            ::testing::ValuesIn(kHeadDims)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) == KvSide::kKey ? "Keys" : "Values") +
                                  std::to_string(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace polarkv
