#include "codec/block_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>

#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using testing::SmallSpec;

struct BadField {
  const char* field;
  std::function<void(BlockSpec&)> change;
};

TEST(BlockSpec, EveryFieldOutOfRangeIsNamed) {
  const BadField bad[] = {
      {"layers", [](BlockSpec& s) { s.layers = 0; }},
      {"layers", [](BlockSpec& s) { s.layers = 1025; }},
      {"kv_heads", [](BlockSpec& s) { s.kv_heads = 0; }},
      {"kv_heads", [](BlockSpec& s) { s.kv_heads = 1025; }},
      {"first_kv_head", [](BlockSpec& s) { s.first_kv_head = 1023; }},
      {"head_dim", [](BlockSpec& s) { s.head_dim = 112; }},
      {"tokens", [](BlockSpec& s) { s.tokens = 0; }},
      {"tokens", [](BlockSpec& s) { s.tokens = 65537; }},
      {"first_position", [](BlockSpec& s) { s.first_position = kMaxPosition - s.tokens + 1; }},
      {"first_position", [](BlockSpec& s) { s.first_position = std::numeric_limits<uint64_t>::max(); }},
      {"k_codec", [](BlockSpec& s) { s.codec.k = static_cast<CodecId>(0); }},
      {"v_codec", [](BlockSpec& s) { s.codec.v = static_cast<CodecId>(255); }},
      {"source_dtype", [](BlockSpec& s) { s.source_dtype = static_cast<Dtype>(0); }},
      {"source_dtype", [](BlockSpec& s) { s.source_dtype = static_cast<Dtype>(4); }},
      {"rope_pairing", [](BlockSpec& s) { s.rope.pairing = static_cast<RopePairing>(3); }},
      {"rope_base", [](BlockSpec& s) { s.rope.base = 0; }},
      {"rope_base", [](BlockSpec& s) { s.rope.base = -1; }},
      {"rope_base", [](BlockSpec& s) { s.rope.base = INFINITY; }},
      {"rope_base", [](BlockSpec& s) { s.rope.base = NAN; }},
      {"rope_base",
       [](BlockSpec& s) {
         s.rope = {RopePairing::kNone, -0.0f, 0};
       }},
      {"rope_dims", [](BlockSpec& s) { s.rope.dims = 0; }},
      {"rope_dims", [](BlockSpec& s) { s.rope.dims = 31; }},
      {"rope_dims", [](BlockSpec& s) { s.rope.dims = 66; }},
      {"rope_dims",
       [](BlockSpec& s) {
         s.rope = {RopePairing::kNone, 0, 2};
       }},
  };
  std::set<std::string> messages;
  for (const BadField& field : bad) {
    BlockSpec spec = SmallSpec();
    field.change(spec);
    const absl::Status status = ValidateBlockSpec(spec);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << field.field;
    EXPECT_EQ(std::string(status.message()).rfind(field.field, 0), 0u) << status;
    EXPECT_TRUE(messages.insert(std::string(status.message())).second) << status;
  }
}

TEST(BlockSpec, LimitsThemselvesAreValid) {
  BlockSpec spec = SmallSpec();
  spec.layers = kMaxLayers;
  spec.kv_heads = 1;
  spec.first_kv_head = kMaxKvHeads - 1;
  spec.first_position = kMaxPosition - spec.tokens;
  EXPECT_TRUE(ValidateBlockSpec(spec).ok());
  spec.tokens = kMaxBlockTokens;
  spec.first_position = 0;
  spec.rope = {RopePairing::kNone, 0, 0};
  EXPECT_TRUE(ValidateBlockSpec(spec).ok());
  spec.rope = {RopePairing::kInterleaved, 500000.0f, 2};
  EXPECT_TRUE(ValidateBlockSpec(spec).ok());
}

TEST(BlockSpec, RotationBlockIsTheLargestPowerOfTwoInTheHeadDim) {
  const std::pair<uint32_t, uint32_t> expected[] = {{64, 64}, {80, 16}, {96, 32}, {128, 128}, {192, 64}, {256, 256}};
  for (const auto& [head_dim, block] : expected) EXPECT_EQ(RotationBlock(head_dim), block);
}

TEST(BlockSpec, TilesAreRoundedUp) {
  BlockSpec spec;
  for (const auto& [tokens, tiles] : {std::pair{1u, 1u}, {63u, 1u}, {64u, 1u}, {65u, 2u}, {65536u, 1024u}}) {
    spec.tokens = tokens;
    EXPECT_EQ(spec.tiles(), tiles);
  }
}

}  // namespace
}  // namespace polarkv
