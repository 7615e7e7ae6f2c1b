// Namespaces that have a key-mean profile: kept beside the descriptor, within its limit, through restarts, and never wrong.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/descriptor_conversion.h"
#include "service/block_row.h"
#include "tests/codec/profile_samples.h"
#include "tests/codec/test_block.h"
#include "tests/service/service_fixture.h"
#include "tests/service/temporary_directory.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

KeyMeanProfilePtr ProfileFor(const NamespaceDescriptor& d, uint32_t seed = 1) {
  return MakeProfile(ProfileShapeFor(NamespaceBlockSpec(d, BlockKey{}, 0), d.kv_heads), seed);
}

NamespaceDescriptor Profiled(const std::string& name, uint32_t seed = 1) {
  NamespaceDescriptor d = ServiceDescriptor(name);
  d.profile_digest = ProfileFor(d, seed)->digest();
  return d;
}

uint64_t BytesOfOne() { return ProfileFor(ServiceDescriptor())->bytes().size(); }

class NamespaceProfile : public ::testing::Test {
 protected:
  NamespaceProfile() { Restart(); }
  void Restart(uint64_t max_profile_bytes = kMaxProfileBytes) {
    registry_ = nullptr;
    db_ = nullptr;
    db_ = MetadataDb::Open(directory_.path()).value();
    registry_ = NamespaceRegistry::Open(db_.get(), 10, max_profile_bytes).value();
  }
  KeyMeanProfilePtr Kept(const NamespaceDescriptor& d) {
    const absl::StatusOr<NamespacePtr> ns = registry_->Find(NamespaceFingerprint(d));
    return ns.ok() ? (*ns)->profile : nullptr;
  }

  const TemporaryDirectory directory_;
  std::unique_ptr<MetadataDb> db_;
  std::unique_ptr<NamespaceRegistry> registry_;
};

TEST_F(NamespaceProfile, IsKeptThroughARestart) {
  const NamespaceDescriptor a = Profiled("a", 1), b = Profiled("b", 2), plain = ServiceDescriptor("plain");
  EXPECT_TRUE(registry_->OpenNamespace(a, ProfileFor(a, 1))->created);
  EXPECT_TRUE(registry_->OpenNamespace(b, ProfileFor(b, 2))->created);
  EXPECT_TRUE(registry_->OpenNamespace(plain)->created);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(Kept(a)->digest(), a.profile_digest);
    EXPECT_EQ(Kept(b)->digest(), b.profile_digest);
    EXPECT_EQ(Kept(plain), nullptr);
    EXPECT_EQ(registry_->profile_bytes(), 2 * BytesOfOne());
    EXPECT_FALSE(registry_->OpenNamespace(a)->created);  // without the profile, which is known
    EXPECT_FALSE(registry_->OpenNamespace(a, ProfileFor(a, 1))->created);
    Restart();
  }
}

TEST_F(NamespaceProfile, GoesWithItsNamespace) {
  const NamespaceDescriptor a = Profiled("a");
  ASSERT_TRUE(registry_->OpenNamespace(a, ProfileFor(a)).ok());
  const NamespaceId id = registry_->Find(NamespaceFingerprint(a)).value()->id;
  ASSERT_TRUE(db_->Read(ProfileRowKey(id))->has_value());
  ASSERT_TRUE(registry_->Remove(NamespaceFingerprint(a)).ok());
  EXPECT_EQ(registry_->profile_bytes(), 0u);
  EXPECT_FALSE(db_->Read(ProfileRowKey(id))->has_value());
}

TEST_F(NamespaceProfile, IsAskedForWhereTheNodeDoesNotHaveIt) {
  const NamespaceDescriptor a = Profiled("a");
  const absl::Status status = registry_->OpenNamespace(a).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(ProfileDigestText(a.profile_digest)));
  EXPECT_THAT(std::string(status.message()), HasSubstr("open it with the profile"));
  EXPECT_EQ(registry_->size(), 0u);
}

TEST_F(NamespaceProfile, OfAnotherDigestOrModelIsRefused) {
  const auto message = [this](const NamespaceDescriptor& d, const KeyMeanProfilePtr& profile) {
    const absl::Status status = registry_->OpenNamespace(d, profile).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  NamespaceDescriptor a = Profiled("a", 1);
  EXPECT_THAT(message(a, ProfileFor(a, 2)), HasSubstr(ProfileDigestText(a.profile_digest) + ", the profile given is "));
  EXPECT_THAT(message(ServiceDescriptor("plain"), ProfileFor(a, 1)), HasSubstr("profile_digest is 0000"));
  // The right digest of what does not fit.
  const BlockSpec spec = NamespaceBlockSpec(a, BlockKey{}, 0);
  const KeyMeanProfilePtr more_heads = MakeProfile(ProfileShapeFor(spec, a.kv_heads + 1), 1);
  a.profile_digest = more_heads->digest();
  EXPECT_THAT(message(a, more_heads), HasSubstr("kv_heads is 2, the profile is of a model with 3"));
  ProfileShape shape = ProfileShapeFor(spec, a.kv_heads);
  shape.layers = 7;
  const KeyMeanProfilePtr more_layers = MakeProfile(shape, 1);
  a.profile_digest = more_layers->digest();
  EXPECT_THAT(message(a, more_layers), HasSubstr("layers is 7, the block's 2"));
  EXPECT_EQ(registry_->size(), 0u);
}

TEST_F(NamespaceProfile, AnotherOneMakesAnotherNamespace) {
  const NamespaceDescriptor first = Profiled("a", 1), second = Profiled("a", 2);
  EXPECT_NE(NamespaceFingerprint(first), NamespaceFingerprint(second));
  ASSERT_TRUE(registry_->OpenNamespace(first, ProfileFor(first, 1)).ok());
  const absl::Status status = registry_->OpenNamespace(second, ProfileFor(second, 2)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("profile_digest: " + ProfileDigestText(first.profile_digest)));
}

TEST_F(NamespaceProfile, IsLimitedInItsBytesTogetherWithTheOthers) {
  Restart(2 * BytesOfOne() + 10);
  for (const char* name : {"a", "b"}) ASSERT_TRUE(registry_->OpenNamespace(Profiled(name), ProfileFor(Profiled(name))).ok());
  const absl::Status status = registry_->OpenNamespace(Profiled("c"), ProfileFor(Profiled("c"))).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(registry_->OpenNamespace(ServiceDescriptor("plain")).ok());
  ASSERT_TRUE(registry_->Remove(NamespaceFingerprint(Profiled("a"))).ok());
  EXPECT_TRUE(registry_->OpenNamespace(Profiled("c"), ProfileFor(Profiled("c"))).ok());
}

TEST_F(NamespaceProfile, ThatWasDamagedOnDiskHasToComeAgain) {
  const NamespaceDescriptor a = Profiled("a");
  ASSERT_TRUE(registry_->OpenNamespace(a, ProfileFor(a)).ok());
  const NamespaceId id = registry_->Find(NamespaceFingerprint(a)).value()->id;
  const std::string good = db_->Read(ProfileRowKey(id))->value();
  std::string flipped = good;
  flipped[100] = static_cast<char>(flipped[100] ^ 1);
  const KeyMeanProfilePtr other = ProfileFor(a, 9);
  const std::string of_another(other->bytes().begin(), other->bytes().end());
  for (const std::optional<std::string>& bad : {std::optional(flipped), std::optional(of_another), std::optional<std::string>()}) {
    const MetadataDb::Change changes[] = {{ProfileRowKey(id), bad}};
    ASSERT_TRUE(db_->Write(changes, MetadataDb::Survives::kProcess).ok());
    Restart();
    EXPECT_EQ(Kept(a), nullptr);
    EXPECT_EQ(registry_->profile_bytes(), 0u);
    EXPECT_TRUE(absl::IsFailedPrecondition(registry_->OpenNamespace(a).status()));
    EXPECT_FALSE(registry_->OpenNamespace(a, ProfileFor(a))->created);
    EXPECT_EQ(Kept(a)->digest(), a.profile_digest);
    EXPECT_EQ(registry_->Find(NamespaceFingerprint(a)).value()->id, id);  // its blocks are still its own
    EXPECT_EQ(db_->Read(ProfileRowKey(id))->value(), good);
  }
}

class ServedProfile : public ::testing::Test {
 protected:
  grpc::Status Open(const NamespaceDescriptor& d, std::span<const uint8_t> profile, bool want) {
    grpc::ClientContext call;
    v1::OpenNamespaceRequest request;
    *request.mutable_namespace_descriptor() = DescriptorToProto(d).value();
    request.set_profile(profile.data(), profile.size());
    request.set_want_profile(want);
    response_.Clear();
    return service_.stub().OpenNamespace(&call, request, &response_);
  }

  ServiceFixture service_;
  v1::OpenNamespaceResponse response_;
};

TEST_F(ServedProfile, IsGivenToWhoeverAsksForIt) {
  const NamespaceDescriptor a = Profiled("a");
  const KeyMeanProfilePtr profile = ProfileFor(a);
  EXPECT_EQ(Open(a, {}, true).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(Open(a, profile->bytes(), false).ok());
  EXPECT_EQ(response_.profile(), "");
  ASSERT_TRUE(Open(a, {}, true).ok());
  EXPECT_EQ(response_.profile(), std::string(profile->bytes().begin(), profile->bytes().end()));
  ASSERT_TRUE(Open(ServiceDescriptor("plain"), {}, true).ok());
  EXPECT_EQ(response_.profile(), "");
  grpc::ClientContext call;
  v1::StatsResponse stats;
  ASSERT_TRUE(service_.stub().Stats(&call, {}, &stats).ok());
  EXPECT_EQ(stats.profile_bytes(), profile->bytes().size());
}

TEST_F(ServedProfile, ThatIsDamagedIsRefusedWithItsDefect) {
  const NamespaceDescriptor a = Profiled("a");
  for (const ProfileDefect& defect : AllProfileDefects()) {
    if (defect.bytes.empty()) continue;  // on the wire, none
    const grpc::Status status = Open(a, defect.bytes, true);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << defect.name;
    EXPECT_EQ(status.error_message(), "profile: " + defect.message) << defect.name;
  }
}

TEST_F(ServedProfile, BlocksThatNameAnotherOneDoNotBelong) {
  const NamespaceDescriptor a = Profiled("a", 1);
  ASSERT_TRUE(Open(a, ProfileFor(a, 1)->bytes(), false).ok());
  const auto store = [&](const NamespaceDescriptor& of) {
    const BlockKey key = ChainKey(1, 0);
    BlockSpec spec = NamespaceBlockSpec(of, key, 0);
    const Fingerprint fingerprint = NamespaceFingerprint(a);
    std::copy_n(fingerprint.begin(), spec.namespace_tag.size(), spec.namespace_tag.begin());
    spec.layer_parts.assign(spec.layers, {spec.codec, of.profile_digest != ProfileDigest{}, 0});
    std::vector<v1::BlockFrame> frames = Frames(key, MakeBlock(spec), uint64_t{1} << 20);
    frames[0].set_fingerprint(fingerprint.data(), fingerprint.size());
    return service_.Store(frames).at(0);
  };
  const v1::StoreAck other = store(Profiled("a", 2)), none = store(ServiceDescriptor("a"));
  EXPECT_EQ(other.status(), v1::STORE_STATUS_MISMATCH);
  EXPECT_THAT(other.message(), HasSubstr("profile_digest is "));
  EXPECT_EQ(none.status(), v1::STORE_STATUS_MISMATCH);
  EXPECT_EQ(store(a).status(), v1::STORE_STATUS_STORED);
}

}  // namespace
}  // namespace polarkv::testing
