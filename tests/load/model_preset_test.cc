#include "client/load/model_preset.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

using ::testing::HasSubstr;

TEST(ModelPresetTest, EveryPresetMakesAValidNamespaceAndHasCompute) {
  for (const ModelPreset& preset : ModelPresets()) {
    absl::StatusOr<Geometry> geometry = ScaledGeometry(preset, 1, 1);
    ASSERT_TRUE(geometry.ok());
    EXPECT_EQ(geometry->layers, preset.layers);
    EXPECT_EQ(geometry->q_heads, preset.q_heads);
    EXPECT_TRUE(LoadNamespace(preset.name, *geometry, "").ok()) << preset.name;
    const ModelCompute compute = PresetCompute(preset);
    EXPECT_GT(compute.flops_per_token, 1e9);
    EXPECT_GT(compute.flops_per_token_pair, 0);
    EXPECT_GT(compute.fp16_cache_bytes_per_token, 0);
  }
}

// 2 (K and V) x 32 layers x 8 heads x 128 x 2 bytes = 128 KiB a token, as published for Llama 3 8B.
TEST(ModelPresetTest, LlamaCacheHas128KiBPerToken) {
  EXPECT_EQ(PresetCompute(*FindModelPreset("llama-3-8b")).fp16_cache_bytes_per_token, 131072);
}

TEST(ModelPresetTest, ScalingKeepsAtLeastOneAndTheRatioOfHeads) {
  const ModelPreset preset = *FindModelPreset("llama-3-8b");
  const absl::StatusOr<Geometry> small = ScaledGeometry(preset, 0.25, 0.5);
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small->layers, 8u);
  EXPECT_EQ(small->kv_heads, 4u);
  EXPECT_EQ(small->q_heads, 16u);
  const absl::StatusOr<Geometry> least = ScaledGeometry(preset, 0.001, 0.001);
  ASSERT_TRUE(least.ok());
  EXPECT_EQ(least->layers, 1u);
  EXPECT_EQ(least->kv_heads, 1u);
  EXPECT_EQ(least->q_heads, 4u);
}

TEST(ModelPresetTest, RefusesScalesOutOfRange) {
  const ModelPreset preset = *FindModelPreset("tiny");
  for (const double fraction : {0.0, -0.5, 1.5}) {
    EXPECT_EQ(ScaledGeometry(preset, fraction, 1).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ScaledGeometry(preset, 1, fraction).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(ModelPresetTest, UnknownPresetNamesThoseThatExist) {
  EXPECT_THAT(std::string(FindModelPreset("gpt-2").status().message()), HasSubstr("llama-3-8b, llama-3-70b"));
}

TEST(ModelPresetTest, OtherGeometryOrCodecIsAnotherNamespace) {
  Geometry geometry = *ScaledGeometry(*FindModelPreset("tiny"), 1, 1);
  const std::string name = LoadNamespace("tiny", geometry, "")->name;
  geometry.codec = *ParseCodecPair("k=polar44,v=turbo3");
  EXPECT_NE(LoadNamespace("tiny", geometry, "")->name, name);
  geometry.layers = 2;
  EXPECT_NE(LoadNamespace("tiny", geometry, "")->name, name);
  EXPECT_EQ(LoadNamespace("tiny", geometry, "mine")->name, "mine");
}

TEST(ModelPresetTest, BadGeometryNamesTheField) {
  Geometry geometry = *ScaledGeometry(*FindModelPreset("tiny"), 1, 1);
  geometry.block_tokens = 100;
  EXPECT_THAT(std::string(LoadNamespace("tiny", geometry, "").status().message()), HasSubstr("block_tokens"));
}

}  // namespace
}  // namespace polarkv::load
