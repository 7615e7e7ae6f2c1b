// Fetches over streams that break, stall or never end; requests as the server sees them.
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/packed_keys.h"
#include "tests/client/client_over_fake.h"
#include "tests/testing/block_chain.h"

namespace polarkv::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const BlockChain& Chain() {
  static const auto* chain = new BlockChain(SmallDescriptor(), 5, 2);
  return *chain;
}

FetchBuffers Buffers(size_t count = 5) { return FetchBuffers(count, FetchBytes(Chain().ns.descriptor).value()); }

size_t ChainIndex(const BlockKey& key) {
  return static_cast<size_t>(std::find(Chain().keys.begin(), Chain().keys.end(), key) - Chain().keys.begin());
}

// Answers with the first `blocks` of the blocks asked for.
void Serve(const v1::FetchRequest& request, FrameWriter* writer, size_t blocks = 1000) {
  const std::vector<BlockKey> keys = UnpackKeys(request.keys()).value();
  for (uint32_t i = 0; i < std::min(keys.size(), blocks); ++i) {
    writer->Write(WholeFrame(i, keys[i], Chain().blocks[ChainIndex(keys[i])]));
  }
}

std::vector<size_t> KeyCounts(const Record<v1::FetchRequest>& requests) {
  std::vector<size_t> counts;
  const std::vector<v1::FetchRequest> all = requests.All();
  for (const v1::FetchRequest& request : all) counts.push_back(request.keys().size() / 32);
  return counts;
}

void ExpectAllGood(const FetchBuffers& buffers) {
  for (size_t i = 0; i < buffers.slots.size(); ++i) {
    ASSERT_EQ(buffers.slots[i].outcome, FetchOutcome::kOk) << i << ": " << buffers.slots[i].message;
    EXPECT_TRUE(SpanEquals(buffers.slots[i].view[0].bytes(), Chain().blocks[i])) << i;
  }
}

TEST(FetchRetry, AsksOnlyForWhatIsMissingAfterAStreamBroke) {
  Record<v1::FetchRequest> requests;
  FakeBehaviour behaviour;
  behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest& request, FrameWriter* writer) {
    if (requests.Add(request) >= 3) {
      Serve(request, writer);
      return grpc::Status::OK;
    }
    // One block, and half of the next one.
    Serve(request, writer, 1);
    const std::vector<BlockKey> keys = UnpackKeys(request.keys()).value();
    writer->Write(FetchFrame(1, keys[1], Chain().blocks[ChainIndex(keys[1])], 0, 5000));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down");
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers = Buffers();
  const absl::Status status = over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots);
  ASSERT_TRUE(status.ok()) << status;
  ExpectAllGood(buffers);
  EXPECT_THAT(KeyCounts(requests), ElementsAre(5, 4, 3));
}

TEST(FetchRetry, OtherErrorsAreNotTriedAgain) {
  for (const grpc::StatusCode code : {grpc::StatusCode::INTERNAL, grpc::StatusCode::DATA_LOSS,
                                      grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::UNIMPLEMENTED}) {
    Record<v1::FetchRequest> requests;
    FakeBehaviour behaviour;
    behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest& request, FrameWriter* writer) {
      requests.Add(request);
      Serve(request, writer, 2);
      return grpc::Status(code, "no");
    };
    ClientOverFake over(std::move(behaviour));
    FetchBuffers buffers = Buffers();
    const absl::Status status = over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots);
    EXPECT_EQ(static_cast<int>(status.code()), static_cast<int>(code));
    EXPECT_EQ(requests.All().size(), 1u);
    EXPECT_EQ(buffers.Views().size(), 2u);
    EXPECT_EQ(buffers.slots[2].outcome, FetchOutcome::kNotReceived);
  }
}

TEST(FetchRetry, OpensTheNamespaceAgainWhenTheServerLostIt) {
  Record<v1::FetchRequest> requests;
  FakeBehaviour behaviour;
  behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest& request, FrameWriter* writer) {
    if (requests.Add(request) == 2) return grpc::Status(grpc::StatusCode::NOT_FOUND, "namespace is not open");
    Serve(request, writer);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  for (int i = 0; i < 2; ++i) {
    FetchBuffers buffers = Buffers();
    const absl::Status status = over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots);
    ASSERT_TRUE(status.ok()) << status;
    ExpectAllGood(buffers);
  }
  EXPECT_EQ(over.server.opens(), 2);  // before the first request, and after the refused one
}

TEST(FetchRetry, GivesUpOnAServerThatForgetsTheNamespaceAtOnce) {
  FakeBehaviour behaviour;
  behaviour.fetch = [](grpc::ServerContext*, const v1::FetchRequest&, FrameWriter*) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "namespace is not open");
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers = Buffers();
  EXPECT_EQ(over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(over.server.opens(), 3);
}

TEST(FetchRetry, SplitsARequestAtTheServersLimitsAndReleasesTheLeaseWithTheLast) {
  Record<v1::FetchRequest> requests;
  FakeBehaviour behaviour;
  behaviour.max_keys_per_request = 2;
  behaviour.max_frame_bytes = 12345;
  behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest& request, FrameWriter* writer) {
    requests.Add(request);
    Serve(request, writer);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers = Buffers();
  const absl::Status status = over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots, /*lease_id=*/42);
  ASSERT_TRUE(status.ok()) << status;
  ExpectAllGood(buffers);
  EXPECT_THAT(KeyCounts(requests), ElementsAre(2, 2, 1));
  EXPECT_EQ(requests.All()[0].release_lease(), 0u);
  EXPECT_EQ(requests.All()[1].release_lease(), 0u);
  EXPECT_EQ(requests.All()[2].release_lease(), 42u);
  EXPECT_EQ(requests.All()[0].frame_bytes(), 12345u);
}

TEST(FetchRetry, SendsTheSelectionAsTheWireMeansIt) {
  Record<v1::FetchRequest> requests;
  FakeBehaviour behaviour;
  behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest& request, FrameWriter*) {
    requests.Add(request);
    return grpc::Status(grpc::StatusCode::INTERNAL, "seen");
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers = Buffers();
  // No planes named: the base plane alone, which must not become the wire's 0, "all planes".
  EXPECT_FALSE(
      over->Fetch(Chain().ns, Chain().keys, {.layer_begin = 1, .layer_end = 2, .planes = 0}, buffers.slots).ok());
  EXPECT_FALSE(over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots).ok());
  ASSERT_EQ(requests.All().size(), 2u);
  EXPECT_EQ(requests.All()[0].plane_mask(), 1u);
  EXPECT_EQ(requests.All()[0].layer_begin(), 1u);
  EXPECT_EQ(requests.All()[0].layer_end(), 2u);
  EXPECT_EQ(requests.All()[1].plane_mask(), kAllPlanes);
  EXPECT_EQ(requests.All()[1].layer_end(), 0u);
}

TEST(FetchRetry, BlocksThatDoNotFitTheirBuffersSayWhatTheyNeed) {
  Record<v1::FetchRequest> requests;
  FakeBehaviour behaviour;
  behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest& request, FrameWriter* writer) {
    requests.Add(request);
    Serve(request, writer);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers = Buffers();
  buffers.slots[1].buffer = buffers.slots[1].buffer.first(64);
  buffers.slots[3].buffer = {};
  const absl::Status status = over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(buffers.slots[1].outcome, FetchOutcome::kBufferTooSmall);
  EXPECT_EQ(buffers.slots[1].bytes, Chain().blocks[1].size());
  EXPECT_EQ(buffers.slots[3].outcome, FetchOutcome::kBufferTooSmall);
  EXPECT_EQ(buffers.slots[3].bytes, Chain().blocks[3].size());
  EXPECT_EQ(buffers.Views().size(), 3u);
  EXPECT_THAT(KeyCounts(requests), ElementsAre(5));
}

TEST(FetchRetry, RefusesSlotsThatDoNotMatchTheKeys) {
  ClientOverFake over{FakeBehaviour()};
  FetchBuffers buffers = Buffers(4);
  EXPECT_EQ(over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots).code(), absl::StatusCode::kInvalidArgument);
  FetchBuffers unaligned = Buffers();
  unaligned.slots[2].buffer = unaligned.slots[2].buffer.subspan(8);
  const absl::Status status = over->Fetch(Chain().ns, Chain().keys, {}, unaligned.slots);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("slot 2"));
}

TEST(FetchRetry, NoKeysNeedNoServer) {
  const auto client = KvClient::Create(QuickOptions("127.0.0.1:1")).value();
  EXPECT_TRUE(client->Fetch(Chain().ns, {}, {}, {}).ok());
}

TEST(FetchRetry, AHandleWithAnotherFingerprintIsNotUsed) {
  ClientOverFake over{FakeBehaviour()};
  NamespaceHandle ns = Chain().ns;
  ns.fingerprint[0] ^= 1;
  FetchBuffers buffers = Buffers();
  EXPECT_EQ(over->Fetch(ns, Chain().keys, {}, buffers.slots).code(), absl::StatusCode::kInvalidArgument);
}

// Servers that would keep a client for ever. The deadline is 400 ms; what is verified before stays good.
class EndlessServer : public ::testing::Test {
 protected:
  void ExpectBounded(std::function<void(grpc::ServerContext*, const v1::FetchRequest&, FrameWriter*)> serve,
                     size_t good_blocks) {
    FakeBehaviour behaviour;
    behaviour.fetch = [serve](grpc::ServerContext* context, const v1::FetchRequest& request, FrameWriter* writer) {
      serve(context, request, writer);
      return grpc::Status::OK;
    };
    ClientOverFake over(std::move(behaviour));
    FetchBuffers buffers = Buffers();
    const Stopwatch stopwatch;
    const absl::Status status =
        over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots, 0, /*deadline=*/milliseconds(400));
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_LT(stopwatch.Elapsed(), milliseconds(5000));
    EXPECT_EQ(buffers.Views().size(), good_blocks);
    EXPECT_EQ(buffers.slots[good_blocks].outcome, FetchOutcome::kNotReceived);
  }
  static void Linger(grpc::ServerContext* context) {
    while (!context->IsCancelled()) std::this_thread::sleep_for(milliseconds(2));
  }
};

TEST_F(EndlessServer, ThatSaysNothingMeetsTheDeadline) {
  ExpectBounded([](auto* context, const auto&, auto*) { Linger(context); }, 0);
}

TEST_F(EndlessServer, ThatStopsInTheMiddleMeetsTheDeadline) {
  ExpectBounded(
      [](auto* context, const auto& request, auto* writer) {
        Serve(request, writer, 2);
        writer->Write(FetchFrame(2, Chain().keys[2], Chain().blocks[2], 0, 1000));
        Linger(context);
      },
      2);
}

TEST_F(EndlessServer, ThatSendsAByteAtATimeMeetsTheDeadline) {
  ExpectBounded(
      [](auto* context, const auto&, auto* writer) {
        for (uint64_t offset = 0; offset < Chain().blocks[0].size() && !context->IsCancelled(); ++offset) {
          writer->Write(FetchFrame(0, Chain().keys[0], Chain().blocks[0], offset, 1));
          std::this_thread::sleep_for(milliseconds(1));
        }
        Linger(context);
      },
      0);
}

TEST(FetchRetry, DoesNotWaitForAStreamThatGoesOnAfterTheLastBlock) {
  FakeBehaviour behaviour;
  behaviour.fetch = [](grpc::ServerContext* context, const v1::FetchRequest& request, FrameWriter* writer) {
    Serve(request, writer);
    while (!context->IsCancelled()) writer->Write(WholeFrame(0, Chain().keys[0], Chain().blocks[0]));
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers = Buffers();
  const Stopwatch stopwatch;
  const absl::Status status = over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_LT(stopwatch.Elapsed(), milliseconds(10000));
  ExpectAllGood(buffers);
}

TEST(FetchRetry, AMessageOverTheClientsLimitIsRefused) {
  FakeBehaviour behaviour;
  behaviour.fetch = [](grpc::ServerContext*, const v1::FetchRequest&, FrameWriter* writer) {
    v1::BlockFrame frame = WholeFrame(0, Chain().keys[0], Chain().blocks[0]);
    frame.mutable_body()->resize(9 * 1024 * 1024);
    writer->Write(frame);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  FetchBuffers buffers = Buffers();
  EXPECT_EQ(over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(buffers.slots[0].outcome, FetchOutcome::kNotReceived);
}

}  // namespace
}  // namespace polarkv::testing
