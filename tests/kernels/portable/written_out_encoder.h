// One side of one tile as FORMAT.md has it encoded ("Rotated vectors", "Turbo codes", "Trellis codes", "Key means"), number by
// number. Plain C++, like random_tiles.h.
#ifndef POLARKV_TESTS_KERNELS_PORTABLE_WRITTEN_OUT_ENCODER_H_
#define POLARKV_TESTS_KERNELS_PORTABLE_WRITTEN_OUT_ENCODER_H_

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "codec/block_format.h"
#include "codec/code_order.h"
#include "codec/trellis_code.h"
#include "codec/trellis_search.h"
#include "codec/turbo_codebook.h"

namespace polarkv::testing {

// a * b + c, rounded once. On wasm32 neither the C library's fma does that nor a sum of 128 bits.
inline float Fused(float a, float b, float c) {
#if defined(__wasm__)
  // In doubles the product is exact, and a sum is rounded to odd: what Knuth's TwoSum says it lacks decides its last bit.
  const double product = static_cast<double>(a) * b, sum = product + c, part = sum - product;
  const double rest = (product - (sum - part)) + (static_cast<double>(c) - part);
  uint64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  if (rest != 0 && (bits & 1) == 0) bits = (rest > 0) == (sum > 0) ? bits + 1 : bits - 1;
  double odd;
  std::memcpy(&odd, &bits, sizeof odd);
  return static_cast<float>(odd);
#else
  return std::fma(a, b, c);
#endif
}

// FORMAT.md's Sum of a[j] * b[j].
inline float SumOfProducts(const float* a, const float* b, uint32_t count) {
  float partial[32] = {};
  for (uint32_t j = 0; j < count; ++j) partial[j % 32] = Fused(a[j], b[j], partial[j % 32]);
  for (uint32_t stride = 1; stride < 32; stride *= 2) {
    for (uint32_t i = 0; i < 32; i += 2 * stride) partial[i] += partial[i + stride];
  }
  return partial[0];
}

struct WrittenOutTile {
  std::vector<uint8_t> payload, refine1, refine0;
  double scale[kTileTokens] = {};
};

class WrittenOutEncoder {
 public:
  WrittenOutEncoder(bool trellis, uint32_t bits, bool keys, uint32_t head_dim, const bool* negated)
      : trellis_(trellis), keys_(keys), bits_(bits), d_(head_dim), negated_(negated) {}

  // rows: [tokens][head_dim]
  WrittenOutTile Encode(const float* rows, uint32_t tokens, uint64_t counted) {
    WrittenOutTile out;
    const bool one_in_base = bits_ == 5 || bits_ == 1 || trellis_;
    out.payload.assign(size_t{8} * d_ * (trellis_ ? bits_ : bits_ == 1 ? 1 : bits_ == 5 ? 3 : 2), 0);
    if (!trellis_ && bits_ >= 3) out.refine1.assign(size_t{8} * d_, 0);
    if (!trellis_ && bits_ >= 4) out.refine0.assign(size_t{8} * d_, 0);
    third_ = one_in_base ? out.payload.data() + (bits_ == 1 ? 0 : 16 * d_) : out.refine1.data();
    fourth_ = bits_ == 5 ? out.refine1.data() : out.refine0.data();
    fifth_ = out.refine0.data();
    y_.assign(kTileTokens, {});
    image_.assign(kTileTokens, {});
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      counts_[t] = t < tokens && (counted >> t & 1) != 0;
      norm_[t] = 0;
      if (counts_[t]) Rotate(rows + t * d_, t);
    }
    trellis_ ? FindRings(out) : Quantize(out);
    for (uint32_t t = 0; t < tokens; ++t) out.scale[t] = Scale(t);
    return out;
  }

 private:
  void Rotate(const float* row, uint32_t t) {
    float x[256], largest = 0;
    for (uint32_t j = 0; j < d_; ++j) largest = std::fmax(largest, std::fabs(row[j]));
    exponent_[t] = largest > 0 ? std::ilogb(largest) : 0;
    for (uint32_t j = 0; j < d_; ++j) x[j] = std::ldexp(row[j], -exponent_[t]);
    norm_[t] = std::sqrt(SumOfProducts(x, x, d_));
    const uint32_t block = d_ & (~d_ + 1);
    const float gain = norm_[t] > 0 ? static_cast<float>(1664 * std::sqrt(static_cast<double>(d_ / block))) / norm_[t] : 0;
    for (uint32_t j = 0; j < d_; ++j) {
      const double product = double{x[j]} * gain;  // exact
      y_[t][j] = static_cast<int>(std::nearbyint(product)) * (negated_[j] ? -1 : 1);
    }
    for (uint32_t stride = 1; stride < block; stride *= 2) {
      for (uint32_t j = 0; j < d_; ++j) {
        if ((j & stride) != 0) continue;
        const int a = y_[t][j], b = y_[t][j + stride];
        y_[t][j] = a + b;
        y_[t][j + stride] = a - b;
      }
    }
  }

  double Scale(uint32_t t) const {
    double sum = 0;
    for (uint32_t j = 0; j < d_; ++j) sum += (keys_ ? y_[t][j] : image_[t][j]) * image_[t][j];
    const auto rounded = static_cast<float>(sum);
    if (!counts_[t] || !(norm_[t] > 0) || !(rounded > 0)) return 0;
    const auto rotated_norm = static_cast<float>(1664 * std::sqrt(static_cast<double>(d_)));
    const float scale = keys_ ? norm_[t] * rotated_norm / rounded : norm_[t] / std::sqrt(rounded);
    return std::ldexp(double{scale}, exponent_[t]);
  }

  static void SetBits(uint8_t* plane, uint32_t word, uint32_t bits) {
    uint32_t all;
    std::memcpy(&all, plane + size_t{4} * word, 4);
    all |= bits;
    std::memcpy(plane + size_t{4} * word, &all, 4);
  }
  AtomPlace Atom(uint32_t t, uint32_t j) const { return keys_ ? KeyAtom(d_, t, j / 16) : ValueAtom(d_, j, t / 16); }

  template <uint32_t kBits>
  static int Level(int magnitude) {
    int level = 0;
    for (const int threshold : TurboThresholds<kBits>()) level += magnitude >= threshold ? 1 : 0;
    return level;
  }

  void Quantize(WrittenOutTile& out) {
    constexpr CodecId kIds[] = {CodecId::kTurbo1, CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTurbo5};
    const TurboCodebook& book = TurboCodebookFor(kIds[bits_ - 1], bits_);
    const int half = 1 << (bits_ - 1);
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      for (uint32_t j = 0; j < d_ && counts_[t]; ++j) {
        const int y = y_[t][j], m = y < 0 ? -1 - y : y;
        const int level = bits_ == 1 ? 0 : bits_ == 2 ? Level<2>(m) : bits_ == 3 ? Level<3>(m) : bits_ == 4 ? Level<4>(m) : Level<5>(m);
        const auto code = static_cast<uint32_t>(y < 0 ? half - 1 - level : half + level);
        image_[t][j] = book.image[code];
        const AtomPlace atom = Atom(t, j);
        const uint32_t c = (keys_ ? j : t) % 16;
        const uint32_t first = FirstRefineShift(atom.vector, c), second = SecondRefineShift(atom.vector, c);
        if (bits_ == 1) {
          SetBits(third_, atom.refine_word, code << first);
          continue;
        }
        const auto bit = [&](uint32_t from_top) { return code >> (bits_ - from_top) & 1; };
        SetBits(out.payload.data(), atom.base_word, (code >> (bits_ - 2)) << CrumbShift(c));
        if (bits_ >= 3) SetBits(third_, atom.refine_word, bit(3) << first);
        if (bits_ >= 4) SetBits(fourth_, atom.refine_word, bit(4) << second);
        if (bits_ == 5) SetBits(fifth_, atom.refine_word, bit(5) << first);
      }
    }
  }

  // Ring by ring, alone in its lane.
  void FindRings(WrittenOutTile& out) {
    const uint32_t rows = keys_ ? kTileTokens : d_, columns = keys_ ? d_ : kTileTokens, ring = TrellisRing(bits_);
    const TrellisCodebook& book = TrellisCodebookFor(bits_);
    std::array<float, kTrellisWindows> table;
    for (uint32_t w = 0; w < kTrellisWindows; ++w) table[w] = static_cast<float>(book.image[w]) * book.unit;
    TrellisTargets targets = {};
    std::vector<std::array<uint32_t, 3>> lanes;  // row, the row in vector B, first column
    const auto flush = [&] {
      TrellisRings rings;
      SearchTrellis(bits_, ring, table, targets, rings);
      for (uint32_t l = 0; l < lanes.size(); ++l) Place(lanes[l], rings.upper[l], rings.lower[l], book, out);
      lanes.clear();
    };
    for (uint32_t column = 0; column < columns; column += 16) {
      for (uint32_t row = 0; row < rows; ++row) {
        const AtomPlace atom = keys_ ? KeyAtom(d_, row, column / 16) : ValueAtom(d_, row, column / 16);
        uint32_t other = row;
        if (bits_ == 1) {
          if (atom.vector == 1) continue;
          for (uint32_t r = 0; r < rows; ++r) {
            const AtomPlace b = keys_ ? KeyAtom(d_, r, column / 16) : ValueAtom(d_, r, column / 16);
            if (b.vector == 1 && b.refine_word == atom.refine_word) other = r;
          }
        }
        const auto lane = static_cast<uint32_t>(lanes.size());
        for (uint32_t i = 0; i < ring; ++i) {
          const uint32_t r = i < 16 ? row : other, c = column + i % 16, t = keys_ ? r : c, j = keys_ ? c : r;
          targets.x[i][lane] = static_cast<float>(y_[t][j]) * (1.0f / 1664);
          targets.weight[i][lane] = counts_[t] ? 1 : 0;
        }
        lanes.push_back({row, other, column});
        if (lanes.size() == kQuantizerLanes) flush();
      }
    }
    if (!lanes.empty()) flush();
  }

  void Place(const std::array<uint32_t, 3>& at, uint32_t upper, uint32_t lower, const TrellisCodebook& book, WrittenOutTile& out) {
    const uint32_t ring = TrellisRing(bits_);
    const auto symbol = [&](uint32_t i) {
      if (bits_ == 1) return upper >> (31 - i) & 1;
      const uint32_t crumb = upper >> 2 * (15 - i) & 3;
      return bits_ == 2 ? crumb : crumb << 1 | (lower >> (15 - i) & 1);
    };
    const AtomPlace atom = keys_ ? KeyAtom(d_, at[0], at[2] / 16) : ValueAtom(d_, at[0], at[2] / 16);
    SetBits(out.payload.data(), bits_ == 1 ? atom.refine_word : atom.base_word, upper);
    for (uint32_t i = 0; i < ring; ++i) {
      if (bits_ == 3) SetBits(third_, atom.refine_word, (symbol(i) & 1) << TrellisLowShift(atom.vector, i));
      uint32_t window = 0;
      for (uint32_t back = 4; back-- > 0;) window = (window << bits_ | symbol((i + ring - back) % ring)) & 15;
      const uint32_t r = i < 16 ? at[0] : at[1], c = at[2] + i % 16;
      image_[keys_ ? r : c][keys_ ? c : r] = book.image[window];
    }
  }

  bool trellis_, keys_;
  uint32_t bits_, d_;
  const bool* negated_;
  uint8_t *third_ = nullptr, *fourth_ = nullptr, *fifth_ = nullptr;
  bool counts_[kTileTokens];
  float norm_[kTileTokens];
  int exponent_[kTileTokens];
  using Numbers = std::vector<std::array<int, 256>>;
  Numbers y_{kTileTokens}, image_{kTileTokens};
};

// Cosine and sine of turns * 2^-64 turns ("RoPE phases").
inline void DirectionOf(uint64_t turns, float& cosine, float& sine) {
  const uint64_t quarter = (turns + (uint64_t{1} << 61)) >> 62;
  const auto rest = static_cast<int32_t>(static_cast<int64_t>(turns - (quarter << 62)) >> 32);
  const float u = static_cast<float>(rest) * 0x1p-32f, v = u * u;
  const float s = u * Fused(Fused(Fused(-0x1.2d9b4p+6f, v, 0x1.465ec4p+6f), v, -0x1.4abbbap+5f), v, 0x1.921fb6p+2f);
  const float c =
      Fused(Fused(Fused(Fused(0x1.d9c2e8p+5f, v, -0x1.55c57ap+6f), v, 0x1.03c1dcp+6f), v, -0x1.3bd3ccp+4f), v, 1.0f);
  const float cosines[4] = {c, -s, -c, s}, sines[4] = {s, c, -s, -c};
  cosine = cosines[quarter & 3];
  sine = sines[quarter & 3];
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_PORTABLE_WRITTEN_OUT_ENCODER_H_
