#include "codec/namespace_descriptor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>
#include <string>

namespace polarkv {
namespace {

NamespaceDescriptor Good() {
  NamespaceDescriptor d;
  d.name = "llama-3.1-8b/prod_1";
  d.tenant = "acme";
  d.model = "meta-llama/Llama-3.1-8B";
  d.weights_digest = "sha256:aa";
  d.tokenizer_digest = "sha256:bb";
  d.layers = 32;
  d.kv_heads = 8;
  d.head_dim = 128;
  d.rope = {RopePairing::kHalf, 500000.0f, 128};
  d.rope_scaling = "llama3:8:1:4:8192";
  d.shards = 2;
  return d;
}

struct Change {
  const char* field;
  std::function<void(NamespaceDescriptor&)> apply;
};

TEST(NamespaceDescriptor, EveryFieldOutOfRangeIsNamed) {
  const Change bad[] = {
      {"name has 0", [](auto& d) { d.name = ""; }},
      {"name has 129", [](auto& d) { d.name = std::string(129, 'a'); }},
      {"name \"a b\"", [](auto& d) { d.name = "a b"; }},
      {"name \"a\\000\"", [](auto& d) { d.name = std::string("a\0", 2); }},
      {"tenant has 1025", [](auto& d) { d.tenant = std::string(1025, 'a'); }},
      {"tenant has a control", [](auto& d) { d.tenant = "a\nb"; }},
      {"model has 1025", [](auto& d) { d.model = std::string(1025, 'a'); }},
      {"model has a control", [](auto& d) { d.model = "gpt\x7f"; }},
      {"weights_digest has 1025", [](auto& d) { d.weights_digest = std::string(1025, 'a'); }},
      {"tokenizer_digest has 1025", [](auto& d) { d.tokenizer_digest = std::string(1025, 'a'); }},
      {"rope_scaling has 1025", [](auto& d) { d.rope_scaling = std::string(1025, 'a'); }},
      {"layers is 0", [](auto& d) { d.layers = 0; }},
      {"layers is 1025", [](auto& d) { d.layers = 1025; }},
      {"layers is 65568", [](auto& d) { d.layers = 65536 + 32; }},  // 32 in the header's 16 bits
      {"kv_heads is 0", [](auto& d) { d.kv_heads = 0; }},
      {"kv_heads is 1026", [](auto& d) { d.kv_heads = 1026; }},
      {"head_dim is 0", [](auto& d) { d.head_dim = 0; }},
      {"head_dim is 65600", [](auto& d) { d.head_dim = 65536 + 64; }},
      {"rope_pairing is 3", [](auto& d) { d.rope.pairing = static_cast<RopePairing>(3); }},
      {"rope_base is nan", [](auto& d) { d.rope.base = NAN; }},
      {"rope_dims is 130", [](auto& d) { d.rope.dims = 130; }},
      {"source_dtype is 0", [](auto& d) { d.source_dtype = static_cast<Dtype>(0); }},
      {"block_tokens is 0", [](auto& d) { d.block_tokens = 0; }},
      {"block_tokens is 96", [](auto& d) { d.block_tokens = 96; }},
      {"block_tokens is 65600", [](auto& d) { d.block_tokens = 65600; }},
      {"shards is 0", [](auto& d) { d.shards = 0; }},
      {"shards is 3", [](auto& d) { d.shards = 3; }},
      {"shards is 16", [](auto& d) { d.shards = 16; }},
      {"k_codec is 7", [](auto& d) { d.codec.k = static_cast<CodecId>(7); }},
      {"v_codec is 0", [](auto& d) { d.codec.v = static_cast<CodecId>(0); }},
      {"a block of 32 layers, 4 heads and 65536 tokens would have", [](auto& d) { d.block_tokens = 65536; }},
  };
  ASSERT_TRUE(ValidateNamespaceDescriptor(Good()).ok());
  std::set<std::string> messages;
  for (const Change& change : bad) {
    NamespaceDescriptor d = Good();
    change.apply(d);
    const absl::Status status = ValidateNamespaceDescriptor(d);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << change.field;
    EXPECT_EQ(std::string(status.message()).rfind(std::string("namespace descriptor: ") + change.field, 0), 0u)
        << status;
    EXPECT_TRUE(messages.insert(std::string(status.message())).second) << status;
  }
}

// One change to every field, with what FirstDifference says of it.
const std::vector<Change>& AllChanges() {
  static const auto* changes = new std::vector<Change>{
      {R"(name: "llama-3.1-8b/prod_1" here, "other" offered)", [](auto& d) { d.name = "other"; }},
      {R"(tenant: "acme" here, "" offered)", [](auto& d) { d.tenant = ""; }},
      {R"(model: "meta-llama/Llama-3.1-8B" here, "gpt" offered)", [](auto& d) { d.model = "gpt"; }},
      {R"(weights_digest: "sha256:aa" here, "sha256:ab" offered)", [](auto& d) { d.weights_digest = "sha256:ab"; }},
      {R"(tokenizer_digest: "sha256:bb" here, "" offered)", [](auto& d) { d.tokenizer_digest = ""; }},
      {"layers: 32 here, 28 offered", [](auto& d) { d.layers = 28; }},
      {"kv_heads: 8 here, 4 offered", [](auto& d) { d.kv_heads = 4; }},
      {"head_dim: 128 here, 64 offered", [](auto& d) { d.head_dim = 64; }},
      {"rope_pairing: half here, interleaved offered", [](auto& d) { d.rope.pairing = RopePairing::kInterleaved; }},
      {"rope_base: 500000 here, 500000.031 offered", [](auto& d) { d.rope.base = 500000.03125f; }},
      {"rope_dims: 128 here, 64 offered", [](auto& d) { d.rope.dims = 64; }},
      {R"(rope_scaling: "llama3:8:1:4:8192" here, "yarn" offered)", [](auto& d) { d.rope_scaling = "yarn"; }},
      {"source_dtype: BF16 here, F16 offered", [](auto& d) { d.source_dtype = Dtype::kF16; }},
      {"block_tokens: 256 here, 128 offered", [](auto& d) { d.block_tokens = 128; }},
      {"shards: 2 here, 4 offered", [](auto& d) { d.shards = 4; }},
      {"codec: turbo4 here, k=fp16,v=turbo4 offered", [](auto& d) { d.codec.k = CodecId::kFp16; }},
      {"codec: turbo4 here, k=turbo4,v=fp16 offered", [](auto& d) { d.codec.v = CodecId::kFp16; }},
      {"rotation_seed: 8101813420450084401 here, 1 offered", [](auto& d) { d.rotation_seed = 1; }},
      {"profile_digest: 00000000000000000000000000000000 here, 000000000000000000000000000000ff offered",
       [](auto& d) { d.profile_digest[15] = 0xFF; }},
  };
  return *changes;
}

TEST(NamespaceDescriptor, FirstDifferenceNamesEveryField) {
  EXPECT_EQ(FirstDifference(Good(), Good()), "");
  for (const Change& change : AllChanges()) {
    NamespaceDescriptor d = Good();
    change.apply(d);
    EXPECT_EQ(FirstDifference(Good(), d), change.field);
  }
}

TEST(NamespaceDescriptor, FirstDifferenceIsTheFirstInCanonicalOrder) {
  NamespaceDescriptor d = Good();
  d.shards = 4;
  d.layers = 28;
  EXPECT_EQ(FirstDifference(Good(), d), "layers: 32 here, 28 offered");
}

TEST(NamespaceDescriptor, EveryFieldIsInTheFingerprint) {
  std::set<Fingerprint> fingerprints = {NamespaceFingerprint(Good())};
  for (const Change& change : AllChanges()) {
    NamespaceDescriptor d = Good();
    change.apply(d);
    EXPECT_TRUE(fingerprints.insert(NamespaceFingerprint(d)).second) << change.field;
  }
}

TEST(NamespaceDescriptor, TextsCannotRunIntoEachOther) {
  NamespaceDescriptor a = Good(), b = Good();
  a.tenant = "abcd", a.model = "ef";
  b.tenant = "ab", b.model = "cdef";
  EXPECT_NE(NamespaceFingerprint(a), NamespaceFingerprint(b));
}

BlockKey SomeKey() {
  BlockKey key;
  for (uint8_t i = 0; i < 32; ++i) key.bytes[i] = static_cast<uint8_t>(0xA0 + i);
  return key;
}

absl::Status Check(const BlockSpec& spec, const NamespaceDescriptor& d = Good()) {
  return CheckBlockBelongs(spec, d, NamespaceFingerprint(d), SomeKey());
}

TEST(NamespaceBlockSpec, BelongsToItsNamespaceAtEveryIndexAndShard) {
  for (const uint32_t shard : {0u, 1u}) {
    for (const uint64_t index : {0u, 1u, 1000u}) {
      const BlockSpec spec = NamespaceBlockSpec(Good(), SomeKey(), index, shard);
      EXPECT_TRUE(ValidateBlockSpec(spec).ok());
      EXPECT_EQ(spec.first_kv_head, 4 * shard);
      EXPECT_EQ(spec.kv_heads, 4);
      EXPECT_EQ(spec.first_position, 256 * index);
      EXPECT_TRUE(Check(spec).ok()) << Check(spec);
    }
  }
}

TEST(CheckBlockBelongs, ASeedThatCodecsDoNotUseDoesNotMatter) {
  NamespaceDescriptor d = Good();
  d.codec = {CodecId::kFp16, CodecId::kPolar44};
  d.rotation_seed = 5;
  BlockSpec spec = NamespaceBlockSpec(d, SomeKey(), 0);
  spec.rotation_seed = BlockSpec::kDefaultRotationSeed;  // as read from a header
  EXPECT_TRUE(Check(spec, d).ok()) << Check(spec, d);
}

TEST(CheckBlockBelongs, EveryFieldThatDiffersIsNamed) {
  struct BadField {
    const char* message;
    std::function<void(BlockSpec&)> apply;
  };
  const BadField bad[] = {
      {"layers is 31, expected 32", [](auto& s) { s.layers = 31; }},
      {"kv_heads is 8, expected 4", [](auto& s) { s.kv_heads = 8; }},
      {"first_kv_head is 2, expected a multiple of 4 below 8", [](auto& s) { s.first_kv_head = 2; }},
      {"first_kv_head is 8, expected a multiple of 4 below 8", [](auto& s) { s.first_kv_head = 8; }},
      {"head_dim is 64, expected 128", [](auto& s) { s.head_dim = 64; }},
      {"tokens is 255, expected 256", [](auto& s) { s.tokens = 255; }},
      {"first_position is 100, expected a multiple of 256", [](auto& s) { s.first_position = 100; }},
      {"codec is k=turbo3,v=turbo4, expected turbo4", [](auto& s) { s.codec.k = CodecId::kTurbo3; }},
      {"codec is k=turbo4,v=turbo2, expected turbo4", [](auto& s) { s.codec.v = CodecId::kTurbo2; }},
      {"source_dtype is F32, expected BF16", [](auto& s) { s.source_dtype = Dtype::kF32; }},
      {"rope_pairing is interleaved, expected half", [](auto& s) { s.rope.pairing = RopePairing::kInterleaved; }},
      {"rope_base is 10000, expected 500000", [](auto& s) { s.rope.base = 10000; }},
      {"rope_dims is 64, expected 128", [](auto& s) { s.rope.dims = 64; }},
      {"rotation_seed is 1, expected 8101813420450084401", [](auto& s) { s.rotation_seed = 1; }},
      {"profile_digest is 01000000000000000000000000000000, expected 00000000000000000000000000000000",
       [](auto& s) { s.profile_digest[0] = 1; }},
      {"namespace_tag is 00000000000000000000000000000000, expected ", [](auto& s) { s.namespace_tag = {}; }},
      {"key_tag is 0000000000000000, expected a0a1a2a3a4a5a6a7", [](auto& s) { s.key_tag = {}; }},
  };
  std::set<std::string> messages;
  for (const BadField& field : bad) {
    BlockSpec spec = NamespaceBlockSpec(Good(), SomeKey(), 3);
    field.apply(spec);
    const absl::Status status = Check(spec);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << field.message;
    EXPECT_NE(std::string(status.message()).find(std::string("namespace and key: ") + field.message), std::string::npos)
        << status;
    EXPECT_TRUE(messages.insert(std::string(status.message())).second);
  }
}

}  // namespace
}  // namespace polarkv
