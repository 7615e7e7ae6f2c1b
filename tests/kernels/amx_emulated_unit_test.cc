// Emulated tile registers against sums written out, and what they refuse.
#include "kernels/cpu/amx_emulated_unit.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace polarkv::cpu {
namespace {

// Registers 0 (sum), 1 (A) and 2 (B) for m x k bytes times k x n numbers.
AmxTileConfig Config(uint32_t m, uint32_t k, uint32_t n) {
  AmxTileConfig config;
  config.rows[0] = config.rows[1] = static_cast<uint8_t>(m);
  config.rows[2] = static_cast<uint8_t>(k / 4);
  config.row_bytes[0] = config.row_bytes[2] = static_cast<uint16_t>(4 * n);
  config.row_bytes[1] = static_cast<uint16_t>(k);
  return config;
}

std::vector<uint8_t> RandomBytes(size_t count, std::mt19937& random) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

struct Shape {
  uint32_t m, k, n;
};
constexpr Shape kShapes[] = {{16, 64, 16}, {1, 4, 1}, {5, 64, 16}, {16, 12, 7}, {9, 20, 3}};

TEST(EmulatedAmxUnit, MultipliesBytes) {
  std::mt19937 random(std::random_device{}());
  for (const auto [m, k, n] : kShapes) {
    for (const bool is_signed : {false, true}) {
      const auto a = RandomBytes(16 * 80, random), b = RandomBytes(16 * 64, random);  // rows 80 and 64 bytes apart
      std::vector<int32_t> sum(16 * 16, 0x7FFFFFFF), before = sum;
      EmulatedAmxUnit unit;
      unit.Configure(Config(m, k, n));
      unit.Load(0, sum.data(), 64);
      unit.Load(1, a.data(), 80);
      unit.Load(2, b.data(), 64);
      is_signed ? unit.DotS8S8(0, 1, 2) : unit.DotU8S8(0, 1, 2);
      unit.Store(0, sum.data(), 64);
      for (uint32_t row = 0; row < 16; ++row) {
        for (uint32_t column = 0; column < 16; ++column) {
          int64_t expected = before[16 * row + column];
          for (uint32_t i = 0; i < k && row < m && column < n; ++i) {
            const int x = is_signed ? static_cast<int8_t>(a[80 * row + i]) : a[80 * row + i];
            expected += x * static_cast<int8_t>(b[64 * (i / 4) + 4 * column + i % 4]);
          }
          ASSERT_EQ(sum[16 * row + column], static_cast<int32_t>(expected)) << row << ", " << column;  // wraps, never saturates
        }
      }
    }
  }
}

TEST(EmulatedAmxUnit, MultipliesBf16) {
  std::mt19937 random(std::random_device{}());
  std::normal_distribution<float> normal;
  for (const auto [m, k, n] : kShapes) {
    std::vector<uint16_t> a(16 * 32), b(16 * 32);
    for (auto* values : {&a, &b}) {
      for (uint16_t& x : *values) x = static_cast<uint16_t>(std::bit_cast<uint32_t>(normal(random)) >> 16);
    }
    std::vector<float> sum(16 * 16, 1.5f);
    EmulatedAmxUnit unit;
    unit.Configure(Config(m, k, n));
    unit.Load(0, sum.data(), 64);
    unit.Load(1, a.data(), 64);
    unit.Load(2, b.data(), 64);
    unit.DotBf16(0, 1, 2);
    unit.Store(0, sum.data(), 64);
    const auto value = [](uint16_t x) { return double{std::bit_cast<float>(uint32_t{x} << 16)}; };
    for (uint32_t row = 0; row < m; ++row) {
      for (uint32_t column = 0; column < n; ++column) {
        double expected = 1.5;
        for (uint32_t i = 0; i < k / 2; ++i) expected += value(a[32 * row + i]) * value(b[32 * (i / 2) + 2 * column + i % 2]);
        ASSERT_NEAR(sum[16 * row + column], expected, 1e-5) << row << ", " << column;
      }
    }
  }
}

TEST(EmulatedAmxUnit, SubnormalsOfBf16CountAsZero) {
  EmulatedAmxUnit unit;
  unit.Configure(Config(1, 4, 1));
  const std::array<uint16_t, 2> tiny = {0x0001, 0x0080}, large = {0x7F00, 0x0080};  // a subnormal, 2^-126; 2^127, 2^-126
  float sum = 0;
  unit.Load(0, &sum, 64);
  unit.Load(1, tiny.data(), 64);
  unit.Load(2, large.data(), 64);
  unit.DotBf16(0, 1, 2);
  unit.Store(0, &sum, 64);
  EXPECT_EQ(sum, 0);
}

TEST(EmulatedAmxUnit, LoadsClearWhatTheyDoNotFill) {
  EmulatedAmxUnit unit;
  AmxTileConfig config;
  config.rows[3] = 2;
  config.row_bytes[3] = 8;
  unit.Configure(config);
  const std::array<uint8_t, 16> ones = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  std::array<uint8_t, 16> out = {};
  unit.Load(3, ones.data(), 8);
  unit.Zero(3);
  unit.Store(3, out.data(), 8);
  EXPECT_EQ(out, (std::array<uint8_t, 16>{}));
  unit.Load(3, ones.data(), 0);  // one row, twice
  unit.Store(3, out.data(), 8);
  EXPECT_EQ(out, ones);
}

TEST(EmulatedAmxUnitDeathTest, FaultsAsTheProcessorDoes) {
  const auto configure = [](void (*change)(AmxTileConfig&)) {
    AmxTileConfig config = Config(16, 64, 16);
    change(config);
    EmulatedAmxUnit unit;
    unit.Configure(config);
  };
  configure([](AmxTileConfig&) {});
  EXPECT_DEATH(configure([](AmxTileConfig& c) { c.palette = 2; }), "");
  EXPECT_DEATH(configure([](AmxTileConfig& c) { c.rows[0] = 17; }), "");
  EXPECT_DEATH(configure([](AmxTileConfig& c) { c.row_bytes[0] = 65; }), "");
  EXPECT_DEATH(configure([](AmxTileConfig& c) { c.row_bytes[0] = 0; }), "");
  EXPECT_DEATH(configure([](AmxTileConfig& c) { c.rows[8] = c.row_bytes[8] = 1; }), "");
  EXPECT_DEATH(configure([](AmxTileConfig& c) { c.reserved[0] = 1; }), "");

  const auto use = [](void (*change)(AmxTileConfig&), void (*act)(EmulatedAmxUnit&)) {
    AmxTileConfig config = Config(16, 64, 16);
    change(config);
    EmulatedAmxUnit unit;
    unit.Configure(config);
    act(unit);
  };
  const auto as_is = [](AmxTileConfig&) {};
  const auto multiply = [](EmulatedAmxUnit& unit) { unit.DotU8S8(0, 1, 2); };
  use(as_is, multiply);
  EXPECT_DEATH(use(as_is, [](EmulatedAmxUnit& unit) { unit.Zero(3); }), "");
  EXPECT_DEATH(use(as_is, [](EmulatedAmxUnit& unit) { unit.DotU8S8(0, 0, 2); }), "");
  EXPECT_DEATH(use(as_is, [](EmulatedAmxUnit& unit) { unit.DotU8S8(0, 1, 1); }), "");
  EXPECT_DEATH(use([](AmxTileConfig& c) { c.rows[0] = 15; }, multiply), "");
  EXPECT_DEATH(use([](AmxTileConfig& c) { c.rows[2] = 15; }, multiply), "");
  EXPECT_DEATH(use([](AmxTileConfig& c) { c.row_bytes[2] = 60; }, multiply), "");
  EXPECT_DEATH(use([](AmxTileConfig& c) { c.row_bytes[1] = 63; }, multiply), "");
  EXPECT_DEATH(use(as_is, [](EmulatedAmxUnit& unit) { unit.Release(); unit.Zero(0); }), "");
}

}  // namespace
}  // namespace polarkv::cpu
