// The unary rpcs.
#include "service/kv_service.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "tests/service/service_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class KvServiceTest : public ::testing::Test {
 protected:
  grpc::Status Open(const v1::NamespaceDescriptor& descriptor, v1::OpenNamespaceResponse* response) {
    grpc::ClientContext call;
    v1::OpenNamespaceRequest request;
    *request.mutable_namespace_descriptor() = descriptor;
    return service_.stub().OpenNamespace(&call, request, response);
  }
  grpc::Status Match(const v1::MatchPrefixRequest& request) {
    grpc::ClientContext call;
    v1::MatchPrefixResponse response;
    return service_.stub().MatchPrefix(&call, request, &response);
  }
  grpc::Status Exists(const v1::BatchExistsRequest& request, v1::BatchExistsResponse* response) {
    grpc::ClientContext call;
    return service_.stub().BatchExists(&call, request, response);
  }
  grpc::Status Delete(const v1::DeleteRequest& request, v1::DeleteResponse* response) {
    grpc::ClientContext call;
    return service_.stub().Delete(&call, request, response);
  }
  v1::StatsResponse Stats() {
    grpc::ClientContext call;
    v1::StatsResponse response;
    EXPECT_TRUE(service_.stub().Stats(&call, {}, &response).ok());
    return response;
  }

  ServiceLimits limits_ = [] {
    ServiceLimits limits;
    limits.max_keys_per_request = 100;
    limits.max_block_bytes = 1 << 20;
    return limits;
  }();
  ServiceFixture service_{limits_};
};

TEST_F(KvServiceTest, OpensANamespaceOnceAndConfirmsIt) {
  const v1::NamespaceDescriptor descriptor = DescriptorToProto(ServiceDescriptor()).value();
  v1::OpenNamespaceResponse response;
  ASSERT_TRUE(Open(descriptor, &response).ok());
  EXPECT_TRUE(response.created());
  EXPECT_EQ(response.fingerprint(), ServiceFingerprint());
  EXPECT_EQ(response.max_block_bytes(), limits_.max_block_bytes);
  EXPECT_EQ(response.max_keys_per_request(), 100u);
  EXPECT_GT(response.max_frame_bytes(), 0u);
  ASSERT_TRUE(Open(descriptor, &response).ok());
  EXPECT_FALSE(response.created());
}

TEST_F(KvServiceTest, NamesTheFieldInWhichADescriptorDiffers) {
  v1::OpenNamespaceResponse response;
  v1::NamespaceDescriptor descriptor = DescriptorToProto(ServiceDescriptor()).value();
  ASSERT_TRUE(Open(descriptor, &response).ok());
  descriptor.set_layers(3);
  const grpc::Status status = Open(descriptor, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("layers: 2 here, 3 offered"));
}

TEST_F(KvServiceTest, RefusesAMalformedDescriptor) {
  v1::OpenNamespaceResponse response;
  v1::NamespaceDescriptor descriptor = DescriptorToProto(ServiceDescriptor()).value();
  descriptor.set_codec("zip");
  EXPECT_EQ(Open(descriptor, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Open({}, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(KvServiceTest, RefusesANamespaceWhoseBlocksAreTooLarge) {
  v1::OpenNamespaceResponse response;
  NamespaceDescriptor descriptor = ServiceDescriptor();
  descriptor.block_tokens = 4096;
  descriptor.layers = 8;
  const grpc::Status status = Open(DescriptorToProto(descriptor).value(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("--max-block-bytes"));
}

TEST_F(KvServiceTest, LimitsTheNumberOfNamespaces) {
  v1::OpenNamespaceResponse response;
  for (const char* name : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(Open(DescriptorToProto(ServiceDescriptor(name)).value(), &response).ok());
  }
  const grpc::Status status = Open(DescriptorToProto(ServiceDescriptor("e")).value(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(KvServiceTest, ListsNamespacesWithWhatTheyHold) {
  service_.OpenNamespace();
  service_.StoreChain(1, 3);
  grpc::ClientContext call;
  v1::ListNamespacesResponse response;
  ASSERT_TRUE(service_.stub().ListNamespaces(&call, {}, &response).ok());
  ASSERT_EQ(response.namespaces_size(), 1);
  EXPECT_EQ(DescriptorFromProto(response.namespaces(0).namespace_descriptor()).value(), ServiceDescriptor());
  EXPECT_EQ(response.namespaces(0).blocks(), 3u);
  EXPECT_GT(response.namespaces(0).bytes(), 3u * 10000);
  EXPECT_EQ(response.namespaces(0).fingerprint(), ServiceFingerprint());
}

TEST_F(KvServiceTest, AnUnknownNamespaceIsNotFoundAndTheMessageSaysWhatToDo) {
  v1::MatchPrefixRequest match;
  match.set_fingerprint(std::string(32, 'x'));
  grpc::Status status = Match(match);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("call OpenNamespace"));
  v1::BatchExistsRequest exists;
  exists.set_fingerprint(std::string(32, 'x'));
  v1::BatchExistsResponse exists_response;
  EXPECT_EQ(Exists(exists, &exists_response).error_code(), grpc::StatusCode::NOT_FOUND);
  v1::DeleteRequest drop;
  drop.set_fingerprint(std::string(32, 'x'));
  v1::DeleteResponse drop_response;
  EXPECT_EQ(Delete(drop, &drop_response).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(KvServiceTest, RefusesKeysAndFingerprintsOfTheWrongLength) {
  service_.OpenNamespace();
  v1::MatchPrefixRequest request;
  request.set_fingerprint("short");
  EXPECT_EQ(Match(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.set_fingerprint(ServiceFingerprint());
  request.set_keys(std::string(33, 'k'));
  const grpc::Status status = Match(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("keys"));
}

TEST_F(KvServiceTest, LimitsTheKeysOfARequest) {
  service_.OpenNamespace();
  v1::MatchPrefixRequest request;
  request.set_fingerprint(ServiceFingerprint());
  request.set_keys(std::string(32 * 100, 'k'));
  EXPECT_TRUE(Match(request).ok());
  request.set_keys(std::string(32 * 101, 'k'));
  EXPECT_EQ(Match(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(KvServiceTest, MatchesWithALeaseThatCanBeReleased) {
  service_.OpenNamespace();
  service_.StoreChain(1, 3);
  const v1::MatchPrefixResponse match = service_.Match(1, 5, 10000);
  EXPECT_EQ(match.matched_blocks(), 3u);
  EXPECT_EQ(match.block_bytes_size(), 3);
  EXPECT_EQ(match.stop_reason(), v1::STOP_REASON_NOT_STORED);
  EXPECT_EQ(match.lease_ms(), 10000u);
  EXPECT_NE(match.lease_id(), 0u);
  EXPECT_EQ(Stats().leases(), 1u);
  grpc::ClientContext call;
  v1::ReleaseLeaseRequest release;
  release.set_lease_id(match.lease_id());
  v1::ReleaseLeaseResponse response;
  EXPECT_TRUE(service_.stub().ReleaseLease(&call, release, &response).ok());
  EXPECT_EQ(Stats().leases(), 0u);
  grpc::ClientContext again;
  EXPECT_TRUE(service_.stub().ReleaseLease(&again, release, &response).ok());
}

TEST_F(KvServiceTest, ReportsWhichKeysExist) {
  service_.OpenNamespace();
  service_.StoreChain(1, 2);
  v1::BatchExistsRequest request;
  request.set_fingerprint(ServiceFingerprint());
  request.set_keys(PackKeys(std::vector{ChainKey(1, 1), ChainKey(9, 0), ChainKey(1, 0)}));
  v1::BatchExistsResponse response;
  ASSERT_TRUE(Exists(request, &response).ok());
  EXPECT_THAT(response.exists(), ElementsAre(true, false, true));
}

TEST_F(KvServiceTest, DeletesBlocks) {
  service_.OpenNamespace();
  service_.StoreChain(1, 3);
  v1::DeleteRequest request;
  request.set_fingerprint(ServiceFingerprint());
  request.set_keys(PackKeys(std::vector{ChainKey(1, 2), ChainKey(9, 0)}));
  v1::DeleteResponse response;
  ASSERT_TRUE(Delete(request, &response).ok());
  EXPECT_EQ(response.deleted_blocks(), 1u);
  EXPECT_EQ(service_.Match(1, 3).stop_reason(), v1::STOP_REASON_DELETED);
}

TEST_F(KvServiceTest, DeletesAWholeNamespaceOnlyWithoutKeys) {
  service_.OpenNamespace();
  service_.StoreChain(1, 3);
  v1::DeleteRequest request;
  request.set_fingerprint(ServiceFingerprint());
  request.set_whole_namespace(true);
  request.set_keys(PackKey(ChainKey(1, 0)));
  v1::DeleteResponse response;
  EXPECT_EQ(Delete(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.clear_keys();
  ASSERT_TRUE(Delete(request, &response).ok());
  EXPECT_EQ(response.deleted_blocks(), 3u);
  EXPECT_EQ(Delete(request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Stats().namespaces(), 0u);
  service_.OpenNamespace();
  EXPECT_EQ(service_.Match(1, 3).matched_blocks(), 0u);
}

TEST_F(KvServiceTest, CountsWhatItDid) {
  service_.OpenNamespace();
  service_.StoreChain(1, 3);
  EXPECT_EQ(service_.Store(ChainFrames(1, 0)).front().status(), v1::STORE_STATUS_DUPLICATE);
  service_.Match(1, 3);
  service_.Fetch(FetchOf(1, 2));
  const v1::StatsResponse stats = Stats();
  EXPECT_EQ(stats.stored_blocks(), 3u);
  EXPECT_EQ(stats.duplicate_blocks(), 1u);
  EXPECT_EQ(stats.match_requests(), 1u);
  EXPECT_EQ(stats.matched_blocks(), 3u);
  EXPECT_EQ(stats.fetched_blocks(), 2u);
  EXPECT_EQ(stats.fetched_bytes() * 3, stats.stored_bytes() * 2);
  EXPECT_EQ(stats.memory_blocks(), 3u);
  EXPECT_EQ(stats.namespaces(), 1u);
  EXPECT_EQ(stats.version(), POLARKV_VERSION);
}

}  // namespace
}  // namespace polarkv::testing
