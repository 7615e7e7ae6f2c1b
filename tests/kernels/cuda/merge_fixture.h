// What a merge of two attention results must leave, whoever computes it: MergeAttention's numbers, rounded to the type, and
// nothing else of the memory changed.
#ifndef POLARKV_TESTS_KERNELS_CUDA_MERGE_FIXTURE_H_
#define POLARKV_TESTS_KERNELS_CUDA_MERGE_FIXTURE_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "codec/attention_state.h"
#include "codec/half_float.h"
#include "gtest/gtest.h"
#include "kernels/cuda/merge.h"

namespace polarkv::cuda {

inline constexpr float kNoTokens = -std::numeric_limits<float>::infinity();

struct MergeShape {
  uint32_t sequences = 3, queries = 2, heads = 5, head_dim = 128;
  ElementType into = ElementType::kF32, more = ElementType::kF32;
};

// One side in host memory: rows with gaps between them, sequences in descending order, log-sum-exps by heads or by queries.
struct MergeSide {
  struct alignas(16) Vector {
    uint8_t bytes[16];
  };

  MergeSide(const MergeShape& shape, ElementType type, bool by_head) {
    const int64_t rows = int64_t{shape.sequences} * shape.queries * shape.heads;
    const int64_t row = shape.head_dim + 16, token = row * shape.heads + 8, sequence = token * shape.queries + 24;
    o.resize(static_cast<size_t>(sequence * shape.sequences) * ElementBytes(type) / 16);
    std::memset(o.data(), 0xFF, o.size() * 16);  // NaN
    lse.assign(static_cast<size_t>(rows), NAN);
    result.type = type;
    result.o = reinterpret_cast<uint8_t*>(o.data()) + sequence * (shape.sequences - 1) * ElementBytes(type);
    result.lse = lse.data();
    const int64_t o_stride[3] = {-sequence, token, row};
    const int64_t by_query_stride[3] = {int64_t{shape.queries} * shape.heads, shape.heads, 1};
    const int64_t by_head_stride[3] = {int64_t{shape.queries} * shape.heads, 1, shape.queries};
    std::copy_n(o_stride, 3, result.o_stride);
    std::copy_n(by_head ? by_head_stride : by_query_stride, 3, result.lse_stride);
  }
  MergeSide(const MergeSide&) = delete;
  MergeSide& operator=(const MergeSide&) = delete;

  float& Lse(uint32_t s, uint32_t q, uint32_t h) { return result.lse[At(result.lse_stride, s, q, h)]; }
  float Output(uint32_t s, uint32_t q, uint32_t h, uint32_t i) const {
    const auto at = At(result.o_stride, s, q, h) + i;
    if (result.type == ElementType::kF32) return static_cast<const float*>(result.o)[at];
    const uint16_t bits = static_cast<const uint16_t*>(result.o)[at];
    return result.type == ElementType::kF16 ? HalfToFloat(bits) : BFloat16ToFloat(bits);
  }
  void SetOutput(uint32_t s, uint32_t q, uint32_t h, uint32_t i, float x) {
    const auto at = At(result.o_stride, s, q, h) + i;
    if (result.type == ElementType::kF32) static_cast<float*>(result.o)[at] = x;
    if (result.type == ElementType::kF16) static_cast<uint16_t*>(result.o)[at] = FloatToHalf(x);
    if (result.type == ElementType::kBF16) {
      static_cast<uint16_t*>(result.o)[at] = static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16);
    }
  }
  // Whether the memory is as it was but for rows.
  bool HasSameGaps(const MergeShape& shape) const {
    size_t poison = 0;
    for (const Vector& vector : o) poison += std::ranges::all_of(vector.bytes, [](uint8_t x) { return x == 0xFF; });
    const size_t of_rows = size_t{shape.sequences} * shape.queries * shape.heads * shape.head_dim;
    return poison == o.size() - of_rows * ElementBytes(result.type) / 16;
  }

  std::vector<Vector> o;
  std::vector<float> lse;
  AttentionResult result;

 private:
  static int64_t At(const int64_t (&stride)[3], uint32_t s, uint32_t q, uint32_t h) {
    return s * stride[0] + q * stride[1] + h * stride[2];
  }
};

// The relative error of rounding to the type.
inline float UnitOf(ElementType type) {
  return type == ElementType::kF32 ? 0x1p-24f : type == ElementType::kF16 ? 0x1p-11f : 0x1p-8f;
}

// Backend::Merge(batch, into, more): the launch over the sides' memory.
template <class Backend>
class MergeFixture {
 public:
  // Of a row: its log-sum-exps, and one coordinate of its outputs.
  using Lse = std::function<std::pair<float, float>(uint32_t row)>;
  using Output = std::function<std::pair<float, float>(uint32_t row, uint32_t i)>;

  MergeFixture(const MergeShape& shape, const Lse& lse, const Output& output)
      : shape_(shape), into_(shape, shape.into, false), more_(shape, shape.more, true) {
    ForRows([&](uint32_t row, uint32_t s, uint32_t q, uint32_t h) {
      std::tie(into_.Lse(s, q, h), more_.Lse(s, q, h)) = lse(row);
      for (uint32_t i = 0; i < shape_.head_dim; ++i) {
        const auto [a, b] = output(row, i);
        into_.SetOutput(s, q, h, i, a);
        more_.SetOutput(s, q, h, i, b);
      }
    });
  }

  void Run() {
    MakeExpected();
    const std::vector<MergeSide::Vector> more_o = more_.o;
    const std::vector<float> more_lse = more_.lse;
    MergeBatch batch{shape_.sequences, shape_.queries, shape_.heads, shape_.head_dim, into_.result, more_.result};
    Backend::Merge(batch, into_, more_);
    EXPECT_EQ(std::memcmp(more_o.data(), more_.o.data(), more_o.size() * 16), 0);
    EXPECT_EQ(std::memcmp(more_lse.data(), more_.lse.data(), more_lse.size() * sizeof(float)), 0);
    Compare();
  }
  const MergeSide& into() const { return into_; }

 private:
  void ForRows(const std::function<void(uint32_t, uint32_t, uint32_t, uint32_t)>& visit) const {
    for (uint32_t row = 0, s = 0; s < shape_.sequences; ++s) {
      for (uint32_t q = 0; q < shape_.queries; ++q) {
        for (uint32_t h = 0; h < shape_.heads; ++h) visit(row++, s, q, h);
      }
    }
  }

  struct Expected {
    std::vector<float> o, error;  // of each coordinate
    float lse;
    bool exact;  // a side is empty
  };
  void MakeExpected() {
    ForRows([&](uint32_t, uint32_t s, uint32_t q, uint32_t h) {
      const float lse_a = into_.Lse(s, q, h), lse_b = more_.Lse(s, q, h);
      const bool empty_a = lse_a == kNoTokens, empty_b = lse_b == kNoTokens;
      Expected row{std::vector<float>(shape_.head_dim), std::vector<float>(shape_.head_dim), lse_a, empty_a || empty_b};
      std::vector<float> other(shape_.head_dim);
      for (uint32_t i = 0; i < shape_.head_dim; ++i) {
        row.o[i] = empty_a ? 0.0f : into_.Output(s, q, h, i);
        other[i] = empty_b ? 0.0f : more_.Output(s, q, h, i);
        row.error[i] = 1e-6f * std::max(std::fabs(row.o[i]), std::fabs(other[i]));
      }
      MergeAttention(row.o.data(), &row.lse, other.data(), lse_b, shape_.head_dim);
      expected_.push_back(std::move(row));
    });
  }

  void Compare() {
    EXPECT_TRUE(into_.HasSameGaps(shape_));
    const float unit = UnitOf(shape_.into), least = shape_.into == ElementType::kF16 ? 0x1p-25f : 1e-38f;
    ForRows([&](uint32_t number, uint32_t s, uint32_t q, uint32_t h) {
      const Expected& row = expected_[number];
      const float lse = into_.Lse(s, q, h);
      if (row.exact || std::fabs(row.lse) > 1e30f) {
        EXPECT_EQ(lse, row.lse) << "row " << number;
      } else {
        EXPECT_NEAR(lse, row.lse, 1e-6f * (1 + std::fabs(row.lse))) << "row " << number;
      }
      for (uint32_t i = 0; i < shape_.head_dim; ++i) {
        const float got = into_.Output(s, q, h, i);
        const float allowed = unit * std::fabs(row.o[i]) + least + (row.exact ? 0 : row.error[i]);
        ASSERT_LE(std::fabs(got - row.o[i]), allowed) << "row " << number << " coordinate " << i << " of " << row.o[i];
      }
    });
  }

  const MergeShape shape_;
  MergeSide into_, more_;
  std::vector<Expected> expected_;
};

// Rows of all kinds one after the other: like sums, the same, far apart, one side or both empty.
template <class Backend>
void RunMixedMerge(const MergeShape& shape, uint32_t seed, float magnitude = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const auto lse = [&](uint32_t row) -> std::pair<float, float> {
    const float a = 10 * normal(random), far = row % 2 == 0 ? 1e4f : 3e38f;
    switch (row % 8) {
      case 0: return {a, a + normal(random)};
      case 1: return {a, a};
      case 2: return {a, a - 5 * normal(random)};
      case 3: return {a, kNoTokens};
      case 4: return {kNoTokens, a};
      case 5: return {kNoTokens, kNoTokens};
      case 6: return {a, far};
      default: return {far, a};
    }
  };
  const auto output = [&](uint32_t row, uint32_t i) -> std::pair<float, float> {
    const float a = magnitude * normal(random), b = i % 3 == 0 ? -a : magnitude * normal(random);
    // What stands where there are no tokens is never looked at.
    return {row % 8 == 4 || row % 8 == 5 ? NAN : a, row % 8 == 3 || row % 8 == 5 ? NAN : b};
  };
  MergeFixture<Backend>(shape, lse, output).Run();
}

// The smallest grid of all that the kernel does: every pair of types, head dims whose rows fill a warp or not.
template <class Backend>
void RunMergeGrid() {
  constexpr ElementType kTypes[] = {ElementType::kF16, ElementType::kBF16, ElementType::kF32};
  for (const ElementType into : kTypes) {
    for (const ElementType more : kTypes) {
      for (const uint32_t dim : {8u, 24u, 64u, 80u, 128u, 136u, 192u, 256u}) {
        SCOPED_TRACE(dim * 100 + static_cast<uint32_t>(into) * 10 + static_cast<uint32_t>(more));
        RunMixedMerge<Backend>({3, 2, 5, dim, into, more}, dim);
        RunMixedMerge<Backend>({1, 1, 1, dim, into, more}, dim + 1);
      }
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_MERGE_FIXTURE_H_
