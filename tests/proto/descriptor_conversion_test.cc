#include "proto/descriptor_conversion.h"

#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv {
namespace {

using ::testing::HasSubstr;

NamespaceDescriptor FullDescriptor() {
  NamespaceDescriptor descriptor;
  descriptor.name = "team/model-a";
  descriptor.tenant = "tenant";
  descriptor.model = "Modèle 7B";
  descriptor.weights_digest = "sha256:aa";
  descriptor.tokenizer_digest = "sha256:bb";
  descriptor.layers = 32;
  descriptor.kv_heads = 8;
  descriptor.head_dim = 128;
  descriptor.rope = {RopePairing::kInterleaved, 500000.0f, 64};
  descriptor.rope_scaling = "llama3:8:1:4:8192";
  descriptor.source_dtype = Dtype::kF16;
  descriptor.block_tokens = 128;
  descriptor.shards = 4;
  descriptor.codec = {CodecId::kTurbo3, CodecId::kTurbo2};
  descriptor.rotation_seed = 99;
  descriptor.profile_digest.fill(7);
  return descriptor;
}

TEST(DescriptorConversion, EveryFieldSurvivesTheRoundTrip) {
  const v1::NamespaceDescriptor wire = DescriptorToProto(FullDescriptor()).value();
  EXPECT_EQ(DescriptorFromProto(wire).value(), FullDescriptor());
  // A field of the message that the conversion forgot would hold its default.
  for (int i = 0; i < wire.GetDescriptor()->field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = wire.GetDescriptor()->field(i);
    EXPECT_TRUE(wire.GetReflection()->HasField(wire, field)) << field->name();
  }
}

TEST(DescriptorConversion, SurvivesProtobufsOwnEncoding) {
  v1::NamespaceDescriptor read;
  ASSERT_TRUE(read.ParseFromString(DescriptorToProto(FullDescriptor())->SerializeAsString()));
  EXPECT_EQ(NamespaceFingerprint(DescriptorFromProto(read).value()), NamespaceFingerprint(FullDescriptor()));
}

TEST(DescriptorConversion, EveryEnumValueSurvives) {
  for (const Rope rope : {Rope{}, Rope{RopePairing::kHalf, 1e4f, 128}, Rope{RopePairing::kInterleaved, 1e4f, 32}}) {
    for (const Dtype dtype : {Dtype::kF16, Dtype::kBF16, Dtype::kF32}) {
      NamespaceDescriptor descriptor = FullDescriptor();
      descriptor.rope = rope;
      descriptor.source_dtype = dtype;
      EXPECT_EQ(DescriptorFromProto(DescriptorToProto(descriptor).value()).value(), descriptor);
    }
  }
}

TEST(DescriptorConversion, FillsInTheDefaultsOfTheWire) {
  v1::NamespaceDescriptor wire = DescriptorToProto(FullDescriptor()).value();
  wire.clear_shards();
  wire.clear_rotation_seed();
  NamespaceDescriptor expected = FullDescriptor();
  expected.shards = 1;
  expected.rotation_seed = BlockSpec::kDefaultRotationSeed;
  EXPECT_EQ(DescriptorFromProto(wire).value(), expected);
}

struct BadWire {
  const char* field;
  std::function<void(v1::NamespaceDescriptor&)> spoil;
};

class BadProtoDescriptor : public ::testing::TestWithParam<BadWire> {};

TEST_P(BadProtoDescriptor, IsRejectedByFieldName) {
  v1::NamespaceDescriptor wire = DescriptorToProto(FullDescriptor()).value();
  GetParam().spoil(wire);
  const absl::Status status = DescriptorFromProto(wire).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadProtoDescriptor,
    ::testing::Values(
        BadWire{"name", [](auto& d) { d.clear_name(); }}, BadWire{"name", [](auto& d) { d.set_name("a b"); }},
        BadWire{"layers", [](auto& d) { d.set_layers(0); }}, BadWire{"layers", [](auto& d) { d.set_layers(65537); }},
        BadWire{"kv_heads", [](auto& d) { d.set_kv_heads(65537); }},
        BadWire{"head_dim", [](auto& d) { d.set_head_dim(65536 + 128); }},
        BadWire{"rope_pairing", [](auto& d) { d.set_rope_pairing(static_cast<v1::RopePairing>(3)); }},
        BadWire{"rope_base", [](auto& d) { d.set_rope_base(std::numeric_limits<float>::quiet_NaN()); }},
        BadWire{"rope_dims", [](auto& d) { d.set_rope_dims(65536 + 64); }},
        BadWire{"source_dtype", [](auto& d) { d.clear_source_dtype(); }},
        BadWire{"source_dtype", [](auto& d) { d.set_source_dtype(static_cast<v1::Dtype>(9)); }},
        BadWire{"block_tokens", [](auto& d) { d.set_block_tokens(100); }},
        BadWire{"shards", [](auto& d) { d.set_shards(3); }}, BadWire{"codec", [](auto& d) { d.clear_codec(); }},
        BadWire{"codec", [](auto& d) { d.set_codec("turbo6"); }},
        BadWire{"profile_digest", [](auto& d) { d.set_profile_digest(std::string(15, 'p')); }},
        // Must reach the check of the descriptor, not be dropped on the way.
        BadWire{"profile_digest", [](auto& d) { d.set_profile_digest(std::string(17, 'p')); }}));

struct BadOwn {
  const char* field;
  std::function<void(NamespaceDescriptor&)> spoil;
};

class BadOwnDescriptor : public ::testing::TestWithParam<BadOwn> {};

TEST_P(BadOwnDescriptor, IsNotSent) {
  NamespaceDescriptor descriptor = FullDescriptor();
  GetParam().spoil(descriptor);
  const absl::Status status = DescriptorToProto(descriptor).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadOwnDescriptor,
    ::testing::Values(BadOwn{"layers", [](auto& d) { d.layers = 0; }},
                      BadOwn{"rotation_seed", [](auto& d) { d.rotation_seed = 0; }},
                      BadOwn{"model", [](auto& d) { d.model = "\xC0\xAF"; }},                // overlong
                      BadOwn{"model", [](auto& d) { d.model = "\xE0\x80\xAF"; }},            // overlong
                      BadOwn{"model", [](auto& d) { d.model = "\xED\xA0\x80"; }},            // surrogate
                      BadOwn{"model", [](auto& d) { d.model = "\xF4\x90\x80\x80"; }},        // beyond U+10FFFF
                      BadOwn{"tenant", [](auto& d) { d.tenant = "abc\xE2\x82"; }},           // cut short
                      BadOwn{"tenant", [](auto& d) { d.tenant = "\xE2(\xA1"; }},             // no continuation
                      BadOwn{"weights_digest", [](auto& d) { d.weights_digest = "\x80"; }},  // stray continuation
                      BadOwn{"tokenizer_digest", [](auto& d) { d.tokenizer_digest = "\xFF"; }},
                      BadOwn{"rope_scaling", [](auto& d) { d.rope_scaling = "\xC3"; }}));

}  // namespace
}  // namespace polarkv
