// The client and key-mean profiles: brings its own, asks for others', believes no server, and encodes and reads with them.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "codec/reference_codec.h"
#include "proto/packed_keys.h"
#include "tests/client/client_over_fake.h"
#include "tests/codec/profile_samples.h"
#include "tests/testing/block_chain.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

KeyMeanProfilePtr ProfileOf(const NamespaceDescriptor& d, uint32_t seed = 1) {
  return MakeProfile(ProfileShapeFor(NamespaceBlockSpec(d, BlockKey{}, 0), d.kv_heads), seed);
}

NamespaceDescriptor Profiled() {
  NamespaceDescriptor d = SmallDescriptor("test/profiled");
  d.profile_digest = ProfileOf(d)->digest();
  return d;
}

std::string Text(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

struct OpenCall {
  std::string profile;
  bool wanted;
};

// A server that records what it is asked, and answers with `profile`.
struct Opener {
  Record<OpenCall> calls;
  std::string profile = Text(ProfileOf(Profiled())->bytes());
  ClientOverFake over{Behaviour()};

  FakeBehaviour Behaviour() {
    FakeBehaviour behaviour;
    behaviour.open = [this](const v1::OpenNamespaceRequest& request, v1::OpenNamespaceResponse* response) {
      calls.Add({request.profile(), request.want_profile()});
      response->set_fingerprint(PackFingerprint(NamespaceFingerprint(Profiled())));
      if (request.want_profile()) response->set_profile(profile);
      return grpc::Status::OK;
    };
    behaviour.exists = [](const v1::BatchExistsRequest&, v1::BatchExistsResponse* response) {
      response->add_exists(true);
      return grpc::Status::OK;
    };
    return behaviour;
  }
};

TEST(ClientProfile, ComesFromTheServerOnceAndThenFromMemory) {
  Opener opener;
  const NamespaceHandle ns = opener.over->OpenNamespace(Profiled()).value();
  ASSERT_NE(ns.profile, nullptr);
  EXPECT_EQ(ns.profile->digest(), Profiled().profile_digest);
  const NamespaceHandle again = opener.over->OpenNamespace(Profiled()).value();
  EXPECT_EQ(again.profile, ns.profile);
  ASSERT_EQ(opener.calls.All().size(), 2u);
  EXPECT_TRUE(opener.calls.All()[0].wanted);
  EXPECT_FALSE(opener.calls.All()[1].wanted);
  EXPECT_EQ(opener.calls.All()[1].profile, opener.profile);  // a server that lost it has it again
}

TEST(ClientProfile, ThatTheCallerBringsIsSent) {
  Opener opener;
  const KeyMeanProfilePtr profile = ProfileOf(Profiled());
  const NamespaceHandle ns = opener.over->OpenNamespace(Profiled(), {}, profile).value();
  EXPECT_EQ(ns.profile, profile);
  ASSERT_EQ(opener.calls.All().size(), 1u);
  EXPECT_EQ(opener.calls.All()[0].profile, opener.profile);
  EXPECT_FALSE(opener.calls.All()[0].wanted);
}

TEST(ClientProfile, ThatIsNotTheDescriptorsIsNotEvenSent) {
  Opener opener;
  const absl::Status status = opener.over->OpenNamespace(Profiled(), {}, ProfileOf(Profiled(), 2)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the profile given is"));
  EXPECT_TRUE(opener.calls.All().empty());
}

TEST(ClientProfile, ThatAServerMakesUpIsDataLoss) {
  const KeyMeanProfilePtr other = ProfileOf(Profiled(), 2);
  std::string flipped = Text(ProfileOf(Profiled())->bytes());
  flipped[200] = static_cast<char>(flipped[200] ^ 4);
  for (const std::string& profile : {std::string(), flipped, Text(other->bytes()), std::string("profile")}) {
    Opener opener;
    opener.profile = profile;
    const absl::Status status = opener.over->OpenNamespace(Profiled()).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("the server's key-mean profile: "));
  }
}

TEST(ClientProfile, OfAHandleMadeByHandIsFetchedOnTheWay) {
  Opener opener;
  const NamespaceHandle by_hand = {Profiled(), NamespaceFingerprint(Profiled())};
  EXPECT_TRUE(opener.over->Exists(by_hand, std::vector<BlockKey>(1)).ok());
  EXPECT_EQ(opener.calls.All().size(), 1u);
  EXPECT_TRUE(opener.calls.All()[0].wanted);
}

// A block with the profile's means, by a handle that has it and by one that does not.
TEST(ClientProfile, EncodesAndReadsBlocks) {
  Record<std::string> stored;
  std::string to_serve;
  const KeyMeanProfilePtr profile = ProfileOf(Profiled());
  FakeBehaviour behaviour;
  behaviour.open = [&](const v1::OpenNamespaceRequest& request, v1::OpenNamespaceResponse* response) {
    response->set_fingerprint(PackFingerprint(NamespaceFingerprint(Profiled())));
    if (request.want_profile()) response->set_profile(Text(profile->bytes()));
    return grpc::Status::OK;
  };
  behaviour.store = [&](grpc::ServerContext*, StoreStream* stream) {
    for (v1::BlockFrame frame; stream->Read(&frame);) {
      stored.Add(frame.body());
      v1::StoreAck ack;
      ack.set_block_index(frame.block_index());
      ack.set_key(frame.key());
      ack.set_status(v1::STORE_STATUS_STORED);
      stream->Write(ack);
    }
    return grpc::Status::OK;
  };
  const BlockKey key{{1, 2, 3}};
  behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest&, FrameWriter* writer) {
    const std::vector<uint8_t> block(to_serve.begin(), to_serve.end());
    writer->Write(WholeFrame(0, key, block));
    return grpc::Status::OK;
  };
  ClientOverFake over(behaviour);
  const NamespaceHandle with = over->OpenNamespace(Profiled()).value();
  std::vector<float> k(3 * 2 * 64 * 64), v(k.size());
  for (size_t i = 0; i < k.size(); ++i) {
    k[i] = static_cast<float>((i * 7919) % 251) / 25 - 5;
    v[i] = static_cast<float>((i * 104729) % 241) / 24 - 5;
  }
  const TensorView kt = TensorView::Contiguous(k.data(), Dtype::kF32, {3, 2, 64, 64});
  const TensorView vt = TensorView::Contiguous(v.data(), Dtype::kF32, {3, 2, 64, 64});
  EncodeOptions options;
  options.profile = profile.get();
  const std::vector<uint8_t> expected =
      reference::EncodeBlock(NamespaceBlockSpec(Profiled(), key, 0), kt, vt, options).value();
  std::vector<StoreOutcome> outcomes(1);
  const NamespaceHandle by_hand = {Profiled(), NamespaceFingerprint(Profiled())};
  ClientOverFake fresh(behaviour);
  ASSERT_TRUE(over->StoreTensors(with, {&key, 1}, {}, 0, kt, vt, outcomes).ok());
  ASSERT_TRUE(fresh->StoreTensors(by_hand, {&key, 1}, {}, 0, kt, vt, outcomes).ok());
  for (const std::string& bytes : stored.All()) EXPECT_EQ(bytes, Text(expected));
  ASSERT_EQ(stored.All().size(), 2u);

  to_serve = Text(expected);
  FetchBuffers buffers(1, FetchBytes(Profiled()).value());
  {
    ClientOverFake reader(behaviour);
    const absl::Status status = reader->Fetch(by_hand, {&key, 1}, {}, buffers.slots);
    ASSERT_TRUE(status.ok()) << status;
  }
  // The client is gone, the view has what it needs.
  ASSERT_EQ(buffers.slots[0].outcome, FetchOutcome::kOk) << buffers.slots[0].message;
  std::vector<float> k_read(k.size()), v_read(v.size());
  EXPECT_TRUE(reference::DecodeBlock(buffers.slots[0].view[0], k_read, v_read).ok());
}

}  // namespace
}  // namespace polarkv::testing
