#include "codec/trellis_matrix.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "codec/trellis_search.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Gaussian;

uint32_t WordAt(const uint8_t* plane, uint32_t index) {
  uint32_t word;
  std::memcpy(&word, plane + 4 * index, 4);
  return word;
}

class TrellisMatrixOf : public ::testing::TestWithParam<std::tuple<KvSide, uint32_t, uint32_t>> {
 protected:
  KvSide side_ = std::get<0>(GetParam());
  uint32_t head_dim_ = std::get<1>(GetParam());
  uint32_t bits_ = std::get<2>(GetParam());
  TrellisMatrix matrix_{side_, head_dim_, bits_};

  AtomPlace Place(uint32_t row, uint32_t atom) const {
    return side_ == KvSide::kKey ? KeyAtom(head_dim_, row, atom) : ValueAtom(head_dim_, row, atom);
  }
  // Window of code c of an atom, from the words of nibbles that FORMAT.md gives.
  uint32_t NibbleWindow(const uint8_t* payload, const AtomPlace& place, uint32_t c) const {
    const uint32_t n = 15 - c;
    if (bits_ == 1) {
      const uint32_t number = n + (place.vector == 0 ? 16 : 0);
      return std::rotr(WordAt(payload, place.refine_word), static_cast<int>(number % 4)) >> 4 * (number / 4) & 15;
    }
    const uint32_t x = WordAt(payload, place.base_word);
    if (bits_ == 2) return (c % 2 == 1 ? x : std::rotr(x, 2)) >> 4 * (n / 2) & 15;
    const uint32_t p = WordAt(payload + 16 * head_dim_, place.refine_word);
    const bool in_place = c % 2 == (place.vector == 0 ? 1u : 0u);
    const int turn = place.vector == 0 ? 1 : -1;
    if (!in_place) {
      const uint32_t word = (std::rotr(x, turn) & 0x66666666) | (std::rotr(p, 3 * turn) & 0x99999999);
      return word >> 4 * (n / 2) & 15;
    }
    const uint32_t mask = place.vector == 0 ? 0x33333333 : 0xCCCCCCCC;
    const uint32_t nibble = ((x & mask) | (p & ~mask)) >> 4 * (n / 2) & 15;
    const auto bit = [nibble](uint32_t i) { return nibble >> i & 1; };
    return place.vector == 0 ? bit(3) << 3 | bit(1) << 2 | bit(0) << 1 | bit(2)
                             : bit(1) << 3 | bit(3) << 2 | bit(2) << 1 | bit(0);
  }
};

TEST_P(TrellisMatrixOf, WindowsAreNibblesOfAFewWords) {
  const std::vector<float> x = Gaussian(matrix_.rows() * matrix_.columns(), 40);
  std::vector<uint8_t> payload(bits_ * 8 * head_dim_, 0xFF);
  std::vector<float> images(x.size());
  matrix_.Encode(x.data(), ~uint64_t{0}, payload.data());
  matrix_.ReadImages(payload.data(), images.data());
  for (uint32_t column = 0; column < matrix_.columns(); ++column) {
    for (uint32_t row = 0; row < matrix_.rows(); ++row) {
      const uint32_t window = NibbleWindow(payload.data(), Place(row, column / 16), column % 16);
      ASSERT_EQ(images[column * matrix_.rows() + row], TrellisCodebookFor(bits_).image[window]) << column << " " << row;
    }
  }
}

TEST_P(TrellisMatrixOf, ImagesErrAsTheSearchSays) {
  const std::vector<float> x = Gaussian(matrix_.rows() * matrix_.columns(), 41);
  std::vector<uint8_t> payload(bits_ * 8 * head_dim_);
  std::vector<float> images(x.size());
  matrix_.Encode(x.data(), ~uint64_t{0}, payload.data());
  matrix_.ReadImages(payload.data(), images.data());
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double difference = double{x[i]} - double{images[i]} * TrellisCodebookFor(bits_).unit;
    error += difference * difference;
  }
  const double expected = bits_ == 1 ? .3031 : bits_ == 2 ? .0893 : .0274;
  EXPECT_NEAR(error / static_cast<double>(x.size()) / expected, 1, .12);  // six deviations of 4096 coordinates
}

TEST_P(TrellisMatrixOf, TokensThatDoNotCountLeaveNoTrace) {
  std::vector<float> x = Gaussian(matrix_.rows() * matrix_.columns(), 42), y = x;
  const uint64_t counted = 0x00FF'F0F0'1234'5678;
  for (uint32_t i = 0; i < x.size(); ++i) {
    const uint32_t token = side_ == KvSide::kKey ? i % kTileTokens : i / head_dim_;
    if ((counted >> token & 1) == 0) y[i] = 1000;
  }
  std::vector<uint8_t> payload(bits_ * 8 * head_dim_), other(payload.size(), 1);
  matrix_.Encode(x.data(), counted, payload.data());
  matrix_.Encode(y.data(), counted, other.data());
  EXPECT_EQ(payload, other);
  matrix_.Encode(x.data(), 0, payload.data());
  EXPECT_EQ(payload, std::vector<uint8_t>(payload.size()));
}

INSTANTIATE_TEST_SUITE_P(All, TrellisMatrixOf,
                         ::testing::Combine(::testing::Values(KvSide::kKey, KvSide::kValue),
                                            ::testing::Values(64, 80, 96, 128, 192, 256), ::testing::Values(1, 2, 3)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) == KvSide::kKey ? "Keys" : "Values") +
                                  std::to_string(std::get<1>(test.param)) + "Bits" +
                                  std::to_string(std::get<2>(test.param));
                         });

TEST(TrellisLowBits, OfTwoAtomsFillAWord) {
  uint32_t used = 0;
  for (uint32_t vector : {0u, 1u}) {
    for (uint32_t c = 0; c < 16; ++c) {
      EXPECT_EQ(used >> TrellisLowShift(vector, c) & 1, 0u);
      used |= 1u << TrellisLowShift(vector, c);
    }
  }
  EXPECT_EQ(used, ~0u);
}

}  // namespace
}  // namespace polarkv
