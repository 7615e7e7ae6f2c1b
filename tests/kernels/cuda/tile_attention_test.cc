// The tile body on 32 emulated lanes against an fp64 computation that knows the code order only through
// codec/code_order.h: permutes, fragments, transposes and addressing are exact, so a misplaced code cannot hide.
#include "kernels/cuda/tile_attention.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "codec/code_order.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/host_warp.h"

namespace polarkv::cuda {
namespace {

constexpr int8_t kImage4[16] = {-123, -93, -73, -57, -43, -30, -18, -6, 6, 18, 30, 43, 57, 73, 93, 123};
constexpr int8_t kImage3[8] = {-101, -63, -36, -12, 12, 36, 63, 101};
constexpr int8_t kImage2[4] = {-72, -22, 22, 72};

template <int kBits>
int ImageOf(int code) {
  return kBits == 4 ? kImage4[code] : kBits == 3 ? kImage3[code] : kImage2[code];
}

template <int kBits>
PermuteTables<kBits> MakeTables() {
  if constexpr (kBits == 4) {
    return MakePermuteTables16<kTurbo4>(kImage4);
  } else if constexpr (kBits == 3) {
    return MakePermuteTables3(kImage3);
  } else {
    return MakePermuteTables2(kImage2);
  }
}

// One tensor's half of a tile: codes of bits() in [row][16-code chunk] atoms, packed into planes.
struct PackedCodes {
  std::vector<uint32_t> base, refine1, refine0;
  explicit PackedCodes(uint32_t dim) : base(64 * dim / 16), refine1(base.size() / 2), refine0(base.size() / 2) {}

  void Put(const AtomPlace& place, uint32_t c, int bits, uint32_t code) {
    base[place.base_word] |= (code >> (bits - 2)) << CrumbShift(c);
    if (bits >= 3) refine1[place.refine_word] |= (code >> (bits - 3) & 1) << FirstRefineShift(place.vector, c);
    if (bits >= 4) refine0[place.refine_word] |= (code & 1) << SecondRefineShift(place.vector, c);
  }
};

// 64 tokens of random codes, padding included, written at `written_bits` and meant to be read at fewer or as many.
struct Tile {
  Tile(uint32_t dim, int key_bits, int value_bits, int written_bits, uint32_t tokens_in, std::mt19937& random)
      : tokens(tokens_in), k(dim), v(dim), k_codes(64 * dim), v_codes(64 * dim) {
    for (uint32_t token = 0; token < 64; ++token) {
      for (uint32_t j = 0; j < dim; ++j) {
        const uint32_t key = random() % (1u << written_bits), value = random() % (1u << written_bits);
        k_codes[token * dim + j] = static_cast<int>(key >> (written_bits - key_bits));
        v_codes[token * dim + j] = static_cast<int>(value >> (written_bits - value_bits));
        k.Put(KeyAtom(dim, token, j / 16), j % 16, written_bits, key);
        v.Put(ValueAtom(dim, j, token / 16), token % 16, written_bits, value);
      }
      const bool padding = token >= tokens;
      // Down to three quarters of an octave below the tile's largest, some zero; large where nothing may look.
      k_scale[token] = static_cast<uint8_t>(padding ? 255 : random() % 9 == 0 ? 0 : 255 - random() % 48);
      v_scale[token] = static_cast<uint8_t>(padding ? 255 : random() % 9 == 0 ? 0 : 255 - random() % 48);
    }
  }
  uint32_t tokens;
  PackedCodes k, v;
  std::vector<int> k_codes, v_codes;  // [token][dim]
  uint8_t k_scale[64], v_scale[64];
};

// The tile as lanes load it: lane 4g + t reads vector TileVector(lane).
class HostTileSource {
 public:
  using U32 = HostWarp::U32;
  explicit HostTileSource(const Tile& tile) : tile_(tile) {}
  Words4<HostWarp> KeyBase(int group, int vector) const { return Load(tile_.k.base, 2 * group + vector); }
  Words4<HostWarp> KeyRefine(int plane, int group) const {
    return Load(plane == 1 ? tile_.k.refine1 : tile_.k.refine0, group);
  }
  Words4<HostWarp> ValueBase(int group, int vector) const { return Load(tile_.v.base, 2 * group + vector); }
  Words4<HostWarp> ValueRefine(int plane, int group) const {
    return Load(plane == 1 ? tile_.v.refine1 : tile_.v.refine0, group);
  }
  U32 KeyScales(int pair) const { return Scales(tile_.k_scale, pair); }
  U32 ValueScales(int pair) const { return Scales(tile_.v_scale, pair); }

 private:
  static Words4<HostWarp> Load(const std::vector<uint32_t>& words, int vector) {
    Words4<HostWarp> loaded;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t w = 0; w < 4; ++w)
        loaded.w[w][lane] = words[static_cast<size_t>(vector) * 128 + 4 * TileVector(lane) + w];
    }
    return loaded;
  }
  static U32 Scales(const uint8_t (&scales)[64], int pair) {
    const U32 token = SlotToken<HostWarp>(HostWarp::Lane(), 2 * pair);
    return EachLane<uint32_t>(
        [&](size_t lane) { return scales[token[lane]] | uint32_t{scales[token[lane] + 1]} << 8; });
  }
  const Tile& tile_;
};

// int8 query rows [row][dim] as fragments of one group of 8 rows.
template <int kDim>
QueryOperand<HostWarp, kDim> PackQueries(const std::vector<int>& rows, int first, const std::vector<float>& scales) {
  QueryOperand<HostWarp, kDim> packed{};
  constexpr int kGroups = kDim / 64;
  for (size_t lane = 0; lane < 32; ++lane) {
    const int g = static_cast<int>(lane / 4), t = static_cast<int>(lane % 4);
    for (int group = 0; group < kGroups; ++group) {
      for (int code = 0; code < 16; ++code) {
        const int value = rows[static_cast<size_t>((first + g) * kDim + 16 * (t * kGroups + group) + code)];
        const int nibble = (15 - code) / 2;
        packed.group[group].b[(15 - code) % 2][nibble / 4][lane] |= static_cast<uint32_t>(value & 0xFF)
                                                                    << (8 * (nibble % 4));
      }
    }
    for (int c = 0; c < 2; ++c) packed.scale[c][lane] = scales[static_cast<size_t>(first + 2 * t + c)];
  }
  return packed;
}

template <int kDim, int kKeyKind, int kValueKind, int kRowGroups>
void CheckAgainstFp64(const std::vector<uint32_t>& tile_tokens, uint32_t seed,
                      int written_bits = std::max(kKeyKind, kValueKind)) {
  std::mt19937 random(seed);
  constexpr int kRows = 8 * kRowGroups;
  std::vector<Tile> tiles;
  for (const uint32_t tokens : tile_tokens)
    tiles.emplace_back(kDim, kKeyKind, kValueKind, written_bits, tokens, random);
  std::vector<int> rows(kRows * kDim);
  for (int& q : rows) q = static_cast<int>(random() % 255) - 127;
  for (int j = 0; j < kDim; ++j) rows[static_cast<size_t>(kRows / 2) * kDim + j] = 0;  // an unused row
  std::vector<float> scales(kRows);
  for (int row = 0; row < kRows; ++row) scales[row] = 3.0f * static_cast<float>(row % 5 + 1) / (127.0f * 127.0f * 8.0f);
  // Scales of 2^(code / 32) x 2^-8 and, coarser, 2^(code / 16) x 2^-16.
  constexpr int kKeyBase = -256, kValueBase = -256;
  constexpr uint32_t kKeyShift = 0, kValueShift = 1;
  const auto scale_of = [](uint8_t code, int base, uint32_t shift) {
    return code == 0 ? 0.0 : std::exp2((base + code) * std::ldexp(1.0, static_cast<int>(shift)) / kScaleStepsPerOctave);
  };

  QueryOperand<HostWarp, kDim> queries[kRowGroups];
  OutputState<HostWarp, kDim> state[kRowGroups];
  for (int n = 0; n < kRowGroups; ++n) {
    queries[n] = PackQueries<kDim>(rows, 8 * n, scales);
    state[n].Clear();
  }
  for (const Tile& tile : tiles) {
    const TileFacts<HostWarp> facts{MakeScaleFacts<HostWarp>(kKeyBase, kKeyShift),
                                    MakeScaleFacts<HostWarp>(kValueBase, kValueShift), tile.tokens, 0};
    AttendTile<HostWarp, kDim, kKeyKind, kValueKind, kRowGroups>(HostTileSource(tile), facts, MakeTables<kKeyKind>(),
                                                                 MakeTables<kValueKind>(), queries, state);
  }

  for (int row = 0; row < kRows; ++row) {
    std::vector<std::vector<double>> logits;
    double top = -INFINITY;
    for (const Tile& tile : tiles) {
      logits.emplace_back();
      for (uint32_t token = 0; token < tile.tokens; ++token) {
        double dot = 0;
        for (int j = 0; j < kDim; ++j) dot += rows[row * kDim + j] * ImageOf<kKeyKind>(tile.k_codes[token * kDim + j]);
        logits.back().push_back(dot * scale_of(tile.k_scale[token], kKeyBase, kKeyShift) * scales[row]);
        top = std::max(top, logits.back().back());
      }
    }
    std::vector<double> output(kDim), tolerance(kDim);
    double sum = 0;
    for (size_t i = 0; i < tiles.size(); ++i) {
      const Tile& tile = tiles[i];
      const double tile_top = *std::max_element(logits[i].begin(), logits[i].end());
      for (uint32_t token = 0; token < tile.tokens; ++token) {
        const double p = std::exp2(logits[i][token] - top);
        sum += p;
        for (int j = 0; j < kDim; ++j) {
          const double unit = ImageOf<kValueKind>(tile.v_codes[token * kDim + j]);
          const double value_scale = scale_of(tile.v_scale[token], kValueBase, kValueShift);
          output[j] += p * value_scale * unit;
          // P16 rounds p * scale, relative to the tile's largest p and scale, to 1/65535; fp32 logits, weights and sums
          // add a relative error of a few 2^-23 times the logit.
          tolerance[j] += std::fabs(unit) * (0.51 / 65535 * scale_of(255, kValueBase, kValueShift) *
                                                 std::exp2(tile_top - top) +
                                             p * value_scale * 1e-6 * (1 + std::fabs(top)));
        }
      }
    }
    // Where the fragment layout says this row's results are.
    const int n = row / 8, column = row % 8;
    const size_t t = static_cast<size_t>(column / 2);
    const int c = column % 2;
    float got_sum = 0;
    for (size_t g = 0; g < 8; ++g) got_sum += state[n].sum[c][4 * g + t];
    const double lse = state[n].reference[c][t] + std::log2(static_cast<double>(got_sum));
    // fp32 logits of size x have rounding errors of about x * 2^-23.
    EXPECT_NEAR(lse, top + std::log2(sum), 2e-6 * (1 + std::fabs(top))) << "row " << row;
    for (int j = 0; j < kDim; ++j) {
      const int x = j % 64;
      const size_t g = static_cast<size_t>(x % 32 / 4);
      const float got = state[n].o[j / 64][x % 4][2 * (x / 32) + c][4 * g + t] / got_sum;
      EXPECT_NEAR(got, output[j] / sum, tolerance[j] / sum) << "row " << row << " dim " << j;
    }
  }
}

// Every code in every place of the four word kinds, alone: the sum of the addends is the image.
TEST(PermuteTablesTest, EveryCodeInEveryPlace) {
  const auto tables = MakeTables<4>();
  for (uint32_t code = 0; code < 16; ++code) {
    for (uint32_t c = 0; c < 16; ++c) {
      for (uint32_t vector = 0; vector < 2; ++vector) {
        const uint32_t crumb = (code >> 2) << CrumbShift(c);
        const uint32_t p1 = (code >> 1 & 1) << FirstRefineShift(vector, c), p0 = (code & 1)
                                                                                 << SecondRefineShift(vector, c);
        const auto codes =
            DecodeFragment<4, HostWarp>(tables, vector == 0 ? crumb : 0, vector == 1 ? crumb : 0, p1, p0);
        const auto& operand = (vector == 0 ? codes.a : codes.b)[(15 - c) % 2];
        const uint32_t nibble = (15 - c) / 2;
        int sum = 0;
        for (int i = 0; i < 2; ++i) {
          const uint32_t word = (nibble < 4 ? operand.low[i] : operand.high[i])[0];
          sum += static_cast<int8_t>(word >> (8 * (nibble % 4)));
        }
        EXPECT_EQ(sum, kImage4[code]) << "code " << code << " at " << c << " of vector " << vector;
      }
    }
  }
}

const std::vector<uint32_t> kLengths = {64, 63, 64, 1};

TEST(TileAttentionTest, FourBitsDim128) { CheckAgainstFp64<128, 4, 4, 1>(kLengths, 1); }
TEST(TileAttentionTest, FourBitsDim128SixteenRows) { CheckAgainstFp64<128, 4, 4, 2>(kLengths, 2); }
TEST(TileAttentionTest, FourBitKeysTwoBitValues) { CheckAgainstFp64<128, 4, 2, 1>(kLengths, 3); }
TEST(TileAttentionTest, ThreeBits) { CheckAgainstFp64<128, 3, 3, 1>(kLengths, 4); }
TEST(TileAttentionTest, ThreeBitKeysTwoBitValues) { CheckAgainstFp64<128, 3, 2, 2>(kLengths, 5); }
TEST(TileAttentionTest, TwoBits) { CheckAgainstFp64<128, 2, 2, 1>(kLengths, 6); }
TEST(TileAttentionTest, Dim64) { CheckAgainstFp64<64, 4, 4, 1>(kLengths, 7); }
TEST(TileAttentionTest, Dim192) { CheckAgainstFp64<192, 4, 4, 1>(kLengths, 8); }
TEST(TileAttentionTest, Dim256) { CheckAgainstFp64<256, 4, 4, 1>(kLengths, 9); }
TEST(TileAttentionTest, FourBitCodesReadAtThree) { CheckAgainstFp64<128, 3, 3, 1>(kLengths, 11, 4); }
TEST(TileAttentionTest, FourBitCodesReadAtTwo) { CheckAgainstFp64<128, 2, 2, 1>(kLengths, 12, 4); }
TEST(TileAttentionTest, OneToken) { CheckAgainstFp64<64, 4, 4, 1>({1}, 10); }

}  // namespace
}  // namespace polarkv::cuda
