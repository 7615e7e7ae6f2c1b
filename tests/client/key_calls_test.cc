// Match, exists, delete and release: batches, and answers that contradict themselves.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/packed_keys.h"
#include "tests/client/client_over_fake.h"
#include "tests/testing/block_chain.h"

namespace polarkv::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

NamespaceHandle Namespace() {
  const NamespaceDescriptor descriptor = SmallDescriptor();
  return {descriptor, NamespaceFingerprint(descriptor)};
}

std::vector<BlockKey> Keys(size_t count) {
  std::vector<BlockKey> keys(count);
  for (size_t i = 0; i < count; ++i) keys[i].bytes[0] = static_cast<uint8_t>(i + 1);
  return keys;
}

// Answers as a good server that stores the first `stored` of Keys().
void AnswerMatch(const v1::MatchPrefixRequest& request, uint8_t stored, v1::MatchPrefixResponse* response) {
  response->set_stop_reason(v1::STOP_REASON_ALL_MATCHED);
  const std::vector<BlockKey> keys = UnpackKeys(request.keys()).value();
  for (const BlockKey& key : keys) {
    if (key.bytes[0] > stored) {
      response->set_stop_reason(v1::STOP_REASON_EVICTED);
      return;
    }
    response->set_matched_blocks(response->matched_blocks() + 1);
    response->add_block_bytes(1000u + key.bytes[0]);
  }
}

TEST(Match, JoinsBatchesUntilTheFirstHole) {
  for (const uint8_t stored : {0, 1, 2, 3, 4, 6, 7}) {
    FakeBehaviour behaviour;
    std::atomic<int> calls{0};
    behaviour.max_keys_per_request = 3;
    behaviour.match = [&](const v1::MatchPrefixRequest& request, v1::MatchPrefixResponse* response) {
      ++calls;
      AnswerMatch(request, stored, response);
      return grpc::Status::OK;
    };
    ClientOverFake over(std::move(behaviour));
    const absl::StatusOr<PrefixMatch> match = over->Match(Namespace(), Keys(7));
    ASSERT_TRUE(match.ok()) << match.status();
    EXPECT_EQ(match->matched_blocks, stored);
    EXPECT_EQ(match->block_bytes.size(), stored);
    EXPECT_TRUE(stored == 0 || match->block_bytes.back() == 1000u + stored);
    EXPECT_EQ(match->stop, stored == 7 ? MatchStop::kAllMatched : MatchStop::kEvicted);
    EXPECT_EQ(calls, std::min(3, stored / 3 + 1)) << int{stored};
  }
}

TEST(Match, OfNoKeysNeedsNoServer) {
  const auto client = KvClient::Create(QuickOptions("127.0.0.1:1")).value();
  EXPECT_EQ(client->Match(Namespace(), {})->stop, MatchStop::kAllMatched);
}

TEST(Match, LeasesOfAllBatchesEndTogether) {
  Record<uint64_t> released;
  std::atomic<uint64_t> next_lease{10};
  FakeBehaviour behaviour;
  behaviour.max_keys_per_request = 3;
  behaviour.match = [&](const v1::MatchPrefixRequest& request, v1::MatchPrefixResponse* response) {
    AnswerMatch(request, 7, response);
    response->set_lease_id(next_lease++);
    response->set_lease_ms(response->lease_id() == 11 ? 2000 : request.lease_ms());
    return grpc::Status::OK;
  };
  behaviour.release = [&](const v1::ReleaseLeaseRequest& request) {
    released.Add(request.lease_id());
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  const absl::StatusOr<PrefixMatch> match = over->Match(Namespace(), Keys(7), milliseconds(5000));
  ASSERT_TRUE(match.ok()) << match.status();
  EXPECT_EQ(match->lease_id, 10u);
  EXPECT_EQ(match->lease, milliseconds(2000));  // the shortest
  EXPECT_TRUE(over->ReleaseLease(match->lease_id).ok());
  EXPECT_TRUE(over->ReleaseLease(0).ok());  // reaches no server
  EXPECT_THAT(released.All(), UnorderedElementsAre(10, 11, 12));
}

TEST(Match, NeverReportsALeaseLongerThanAskedFor) {
  FakeBehaviour behaviour;
  behaviour.match = [](const v1::MatchPrefixRequest& request, v1::MatchPrefixResponse* response) {
    AnswerMatch(request, 7, response);
    response->set_lease_id(1);
    response->set_lease_ms(0xFFFFFFFF);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  EXPECT_EQ(over->Match(Namespace(), Keys(2), milliseconds(100))->lease, milliseconds(100));
}

TEST(Match, AFetchThatFailsReleasesTheLease) {
  Record<uint64_t> released;
  FakeBehaviour behaviour;
  behaviour.fetch = [](grpc::ServerContext*, const v1::FetchRequest&, FrameWriter*) {
    return grpc::Status(grpc::StatusCode::INTERNAL, "no");
  };
  behaviour.release = [&](const v1::ReleaseLeaseRequest& request) {
    released.Add(request.lease_id());
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers(1, FetchBytes(SmallDescriptor()).value());
  EXPECT_FALSE(over->Fetch(Namespace(), Keys(1), {}, buffers.slots, 77).ok());
  EXPECT_THAT(released.All(), ElementsAre(77));
}

TEST(Match, StartsAgainFromTheFirstKeyAfterABrokenConnection) {
  // Matched before a restart of the node says nothing about after it.
  std::atomic<int> calls{0};
  FakeBehaviour behaviour;
  behaviour.max_keys_per_request = 3;
  behaviour.match = [&](const v1::MatchPrefixRequest& request, v1::MatchPrefixResponse* response) {
    const int call = ++calls;
    if (call == 2) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
    AnswerMatch(request, call == 1 ? 7 : 1, response);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  const absl::StatusOr<PrefixMatch> match = over->Match(Namespace(), Keys(7));
  ASSERT_TRUE(match.ok()) << match.status();
  EXPECT_EQ(match->matched_blocks, 1u);
}

struct BadMatch {
  const char* name;
  std::function<void(v1::MatchPrefixResponse*)> answer;  // to three keys
};

class BadMatches : public ::testing::TestWithParam<BadMatch> {};

TEST_P(BadMatches, AreDataLoss) {
  FakeBehaviour behaviour;
  behaviour.match = [](const v1::MatchPrefixRequest& request, v1::MatchPrefixResponse* response) {
    AnswerMatch(request, 2, response);
    GetParam().answer(response);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  EXPECT_EQ(over->Match(Namespace(), Keys(3)).status().code(), absl::StatusCode::kDataLoss);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadMatches,
    ::testing::Values(BadMatch{"MoreThanAsked", [](auto* r) { r->set_matched_blocks(4); }},
                      BadMatch{"FarMoreThanAsked", [](auto* r) { r->set_matched_blocks(0xFFFFFFFF); }},
                      BadMatch{"SizesMissing", [](auto* r) { r->clear_block_bytes(); }},
                      BadMatch{"TooManySizes", [](auto* r) { r->add_block_bytes(1); }},
                      BadMatch{"AllMatchedButNotAll", [](auto* r) { r->set_stop_reason(v1::STOP_REASON_ALL_MATCHED); }},
                      BadMatch{"AllButAReasonToStop",
                               [](auto* r) {
                                 r->set_matched_blocks(3);
                                 r->add_block_bytes(1);
                               }}),
    [](const auto& match) { return std::string(match.param.name); });

TEST(Match, StopReasonsBecomeStops) {
  const std::vector<std::pair<int, MatchStop>> pairs = {{v1::STOP_REASON_UNSPECIFIED, MatchStop::kUnknown},
                                                        {v1::STOP_REASON_NOT_STORED, MatchStop::kNotStored},
                                                        {v1::STOP_REASON_EVICTED, MatchStop::kEvicted},
                                                        {v1::STOP_REASON_DELETED, MatchStop::kDeleted},
                                                        {v1::STOP_REASON_CORRUPT, MatchStop::kCorrupt},
                                                        {v1::STOP_REASON_LOST_AT_RESTART, MatchStop::kLostAtRestart},
                                                        {99, MatchStop::kUnknown}};
  for (const auto& [wire, stop] : pairs) {
    FakeBehaviour behaviour;
    behaviour.match = [wire = wire](const v1::MatchPrefixRequest&, v1::MatchPrefixResponse* response) {
      response->set_stop_reason(static_cast<v1::StopReason>(wire));
      return grpc::Status::OK;
    };
    ClientOverFake over(std::move(behaviour));
    const absl::StatusOr<PrefixMatch> match = over->Match(Namespace(), Keys(1));
    ASSERT_TRUE(match.ok()) << match.status();
    EXPECT_EQ(match->stop, stop) << wire;
  }
}

TEST(Exists, JoinsBatchesAndGoesOnWhereItWasAfterABreak) {
  std::atomic<int> calls{0};
  FakeBehaviour behaviour;
  behaviour.max_keys_per_request = 2;
  behaviour.exists = [&](const v1::BatchExistsRequest& request, v1::BatchExistsResponse* response) {
    if (++calls == 2) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
    const std::vector<BlockKey> keys = UnpackKeys(request.keys()).value();
    for (const BlockKey& key : keys) response->add_exists(key.bytes[0] % 2 == 0);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  const absl::StatusOr<std::vector<bool>> exists = over->Exists(Namespace(), Keys(5));
  ASSERT_TRUE(exists.ok()) << exists.status();
  EXPECT_THAT(*exists, ElementsAre(false, true, false, true, false));
  EXPECT_EQ(calls, 4);
}

TEST(Exists, AnotherNumberOfAnswersIsDataLoss) {
  for (const int answers : {0, 2, 4}) {
    FakeBehaviour behaviour;
    behaviour.exists = [answers](const v1::BatchExistsRequest&, v1::BatchExistsResponse* response) {
      for (int i = 0; i < answers; ++i) response->add_exists(true);
      return grpc::Status::OK;
    };
    ClientOverFake over(std::move(behaviour));
    EXPECT_EQ(over->Exists(Namespace(), Keys(3)).status().code(), absl::StatusCode::kDataLoss) << answers;
  }
}

TEST(Delete, CountsOverBatches) {
  FakeBehaviour behaviour;
  behaviour.max_keys_per_request = 2;
  behaviour.drop = [](const v1::DeleteRequest& request, v1::DeleteResponse* response) {
    EXPECT_FALSE(request.whole_namespace());
    response->set_deleted_blocks(request.keys().size() / 32);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  EXPECT_EQ(over->Delete(Namespace(), Keys(5)).value(), 5u);
}

TEST(Delete, NoKeysNeverBecomeTheWholeNamespace) {
  ClientOverFake over{FakeBehaviour()};  // a request would be UNIMPLEMENTED
  EXPECT_EQ(over->Delete(Namespace(), {}).value(), 0u);
}

TEST(Delete, OfANamespaceThatTheServerDoesNotKnowDoesNotCreateIt) {
  FakeBehaviour behaviour;
  behaviour.drop = [](const v1::DeleteRequest& request, v1::DeleteResponse*) {
    EXPECT_TRUE(request.whole_namespace());
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "namespace is not open");
  };
  ClientOverFake over(std::move(behaviour));
  EXPECT_EQ(over->DeleteNamespace(Namespace()).value(), 0u);
  EXPECT_EQ(over.server.opens(), 0);
}

}  // namespace
}  // namespace polarkv::testing
