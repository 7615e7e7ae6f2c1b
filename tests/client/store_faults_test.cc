// Stores as the server sees them, and acks that are wrong, late or missing.
#include <functional>
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

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const BlockChain& Chain() {
  static const auto* chain = new BlockChain(SmallDescriptor(), 4, 3);
  return *chain;
}

v1::StoreAck Ack(const v1::BlockFrame& first_frame, v1::StoreStatus status = v1::STORE_STATUS_STORED) {
  v1::StoreAck ack;
  ack.set_block_index(first_frame.block_index());
  ack.set_key(first_frame.key());
  ack.set_status(status);
  return ack;
}

// Reads frames until the end, or until `block_count` blocks are complete; calls `on_block` with each block's first
// frame.
void ReadBlocks(StoreStream* stream, size_t block_count, const std::function<void(const v1::BlockFrame&)>& on_block) {
  v1::BlockFrame first, frame;
  for (size_t blocks = 0; blocks < block_count && stream->Read(&frame);) {
    if (frame.offset() == 0) first = frame;
    if (frame.offset() + frame.body().size() < first.total_bytes()) continue;
    on_block(first);
    ++blocks;
  }
}

void Linger(grpc::ServerContext* context) {
  while (!context->IsCancelled()) std::this_thread::sleep_for(milliseconds(2));
}

struct StoreResult {
  std::vector<StoreOutcome> outcomes = std::vector<StoreOutcome>(4, StoreOutcome::kStored);
  absl::Status status;
  int streams = 0;

  explicit StoreResult(const std::function<grpc::Status(grpc::ServerContext*, StoreStream*)>& serve,
                       milliseconds deadline = milliseconds(0)) {
    FakeBehaviour behaviour;
    std::atomic<int> calls{0};
    behaviour.store = [&](grpc::ServerContext* context, StoreStream* stream) {
      ++calls;
      return serve(context, stream);
    };
    ClientOverFake over(std::move(behaviour));
    status = over->Store(Chain().ns, Chain().Items(), outcomes, deadline);
    over.server.Stop();
    streams = calls;
  }
};

TEST(StoreFaults, SendsEveryBlockInFramesWithinTheServersLimit) {
  FakeBehaviour behaviour;
  Record<v1::BlockFrame> record;
  behaviour.max_frame_bytes = 9999;
  behaviour.store = [&](grpc::ServerContext*, StoreStream* stream) {
    std::vector<v1::BlockFrame> first_frames;
    for (v1::BlockFrame frame; stream->Read(&frame);) {
      record.Add(frame);
      if (frame.offset() == 0) first_frames.push_back(frame);
    }
    for (const v1::BlockFrame& frame : first_frames) stream->Write(Ack(frame));
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  std::vector<StoreOutcome> outcomes(4);
  const absl::Status status = over->Store(Chain().ns, Chain().Items(), outcomes);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(outcomes, Each(StoreOutcome::kStored));

  const std::vector<v1::BlockFrame> frames = record.All();
  std::vector<std::vector<uint8_t>> received(4);
  EXPECT_EQ(frames[0].fingerprint(), PackFingerprint(Chain().ns.fingerprint));
  for (const v1::BlockFrame& frame : frames) {
    const uint32_t i = frame.block_index();
    ASSERT_LT(i, 4u);
    EXPECT_EQ(frame.offset(), received[i].size());
    EXPECT_LE(frame.body().size(), 9999u);
    if (frame.offset() == 0) {
      EXPECT_EQ(frame.key(), PackKey(Chain().keys[i]));
      EXPECT_EQ(frame.parent_key(), i == 0 ? "" : PackKey(Chain().keys[i - 1]));
      EXPECT_EQ(frame.total_bytes(), Chain().blocks[i].size());
    }
    received[i].insert(received[i].end(), frame.body().begin(), frame.body().end());
  }
  EXPECT_EQ(received, Chain().blocks);
}

struct AckPair {
  v1::StoreStatus wire;
  StoreOutcome outcome;
};

class AckStatuses : public ::testing::TestWithParam<AckPair> {};

TEST_P(AckStatuses, BecomeOutcomesAndTheStreamGoesOn) {
  const StoreResult result([](grpc::ServerContext*, StoreStream* stream) {
    ReadBlocks(stream, 4, [&](const v1::BlockFrame& first) {
      stream->Write(Ack(first, first.block_index() == 1 ? GetParam().wire : v1::STORE_STATUS_STORED));
    });
    return grpc::Status::OK;
  });
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(result.outcomes,
              ElementsAre(StoreOutcome::kStored, GetParam().outcome, StoreOutcome::kStored, StoreOutcome::kStored));
}

INSTANTIATE_TEST_SUITE_P(All, AckStatuses,
                         ::testing::Values(AckPair{v1::STORE_STATUS_STORED, StoreOutcome::kStored},
                                           AckPair{v1::STORE_STATUS_DUPLICATE, StoreOutcome::kDuplicate},
                                           AckPair{v1::STORE_STATUS_CONFLICT, StoreOutcome::kConflict},
                                           AckPair{v1::STORE_STATUS_BAD_CHECKSUM, StoreOutcome::kBadChecksum},
                                           AckPair{v1::STORE_STATUS_UNSUPPORTED, StoreOutcome::kUnsupported},
                                           AckPair{v1::STORE_STATUS_MISMATCH, StoreOutcome::kMismatch},
                                           AckPair{v1::STORE_STATUS_NO_SPACE, StoreOutcome::kNoSpace},
                                           AckPair{v1::STORE_STATUS_TOO_LARGE, StoreOutcome::kTooLarge},
                                           AckPair{v1::STORE_STATUS_BAD_FRAME, StoreOutcome::kIoError},
                                           AckPair{v1::STORE_STATUS_IO_ERROR, StoreOutcome::kIoError}));

// Acks for three blocks of which the second is spoiled: no block is called stored that was not acknowledged.
struct BadAck {
  const char* name;
  absl::StatusCode code;
  const char* message;
  std::function<void(v1::StoreAck&)> spoil;
};

class BadAcks : public ::testing::TestWithParam<BadAck> {};

TEST_P(BadAcks, AreNotTakenForSuccess) {
  const StoreResult result([](grpc::ServerContext*, StoreStream* stream) {
    ReadBlocks(stream, 4, [&](const v1::BlockFrame& first) {
      v1::StoreAck ack = Ack(first);
      if (first.block_index() == 1) GetParam().spoil(ack);
      stream->Write(ack);
    });
    return grpc::Status::OK;
  });
  EXPECT_EQ(result.status.code(), GetParam().code) << result.status;
  EXPECT_THAT(std::string(result.status.message()), HasSubstr(GetParam().message));
  EXPECT_THAT(result.outcomes, ElementsAre(StoreOutcome::kStored, StoreOutcome::kNotAcknowledged,
                                           StoreOutcome::kNotAcknowledged, StoreOutcome::kNotAcknowledged));
  EXPECT_EQ(result.streams, 1);
}

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
INSTANTIATE_TEST_SUITE_P(
    All, BadAcks,
    ::testing::Values(BadAck{"Twice", kDataLoss, "block 0 twice", [](auto& a) { a.set_block_index(0); }},
                      BadAck{"IndexOutOfRange", kDataLoss, "not sent", [](auto& a) { a.set_block_index(4); }},
                      BadAck{"HugeIndex", kDataLoss, "not sent", [](auto& a) { a.set_block_index(0xFFFFFFFF); }},
                      BadAck{"OtherKey", kDataLoss, "another key",
                             [](auto& a) { a.set_key(PackKey(Chain().keys[2])); }},
                      BadAck{"NoKey", kDataLoss, "another key", [](auto& a) { a.clear_key(); }},
                      BadAck{"NoStatus", absl::StatusCode::kUnknown, "status 0", [](auto& a) { a.clear_status(); }},
                      BadAck{"UnknownStatus", absl::StatusCode::kUnknown, "status 99",
                             [](auto& a) { a.set_status(static_cast<v1::StoreStatus>(99)); }}),
    [](const auto& ack) { return std::string(ack.param.name); });

TEST(StoreFaults, AnAckBeforeItsBlockIsNotBelieved) {
  FakeBehaviour behaviour;
  behaviour.store = [](grpc::ServerContext* context, StoreStream* stream) {
    v1::BlockFrame second;
    second.set_block_index(1);
    second.set_key(PackKey(Chain().keys[1]));
    stream->Write(Ack(second));
    Linger(context);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  // As the server reads nothing, flow control holds the client within the first block.
  const std::vector<uint8_t> large(32 * 1024 * 1024);
  const std::vector<StoreItem> items = {{Chain().keys[0], {}, large}, {Chain().keys[1], {}, large}};
  std::vector<StoreOutcome> outcomes(2);
  const absl::Status status = over->Store(Chain().ns, items, outcomes);
  EXPECT_EQ(status.code(), kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not sent"));
  EXPECT_THAT(outcomes, Each(StoreOutcome::kNotAcknowledged));
}

TEST(StoreFaults, AStreamThatEndsEarlyGivesDataLoss) {
  const StoreResult result([](grpc::ServerContext*, StoreStream* stream) {
    ReadBlocks(stream, 2, [&](const v1::BlockFrame& first) { stream->Write(Ack(first)); });
    return grpc::Status::OK;
  });
  EXPECT_EQ(result.status.code(), kDataLoss) << result.status;
  EXPECT_THAT(result.outcomes, ElementsAre(StoreOutcome::kStored, StoreOutcome::kStored, StoreOutcome::kNotAcknowledged,
                                           StoreOutcome::kNotAcknowledged));
}

TEST(StoreFaults, SendsOnlyWhatIsUnacknowledgedAfterAStreamBroke) {
  std::atomic<int> streams{0};
  Record<BlockKey> second_stream;
  const StoreResult result([&](grpc::ServerContext*, StoreStream* stream) {
    const bool first_stream = ++streams == 1;
    ReadBlocks(stream, first_stream ? 2 : 4, [&](const v1::BlockFrame& first) {
      if (!first_stream) second_stream.Add(UnpackKey(first.key(), "key").value());
      stream->Write(Ack(first));
    });
    return first_stream ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down") : grpc::Status::OK;
  });
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(result.outcomes, Each(StoreOutcome::kStored));
  EXPECT_EQ(streams, 2);
  EXPECT_THAT(second_stream.All(), ElementsAre(Chain().keys[2], Chain().keys[3]));
}

TEST(StoreFaults, OpensTheNamespaceAgainWhenTheServerLostIt) {
  std::atomic<int> streams{0};
  const StoreResult result([&](grpc::ServerContext*, StoreStream* stream) {
    if (++streams == 1) return grpc::Status(grpc::StatusCode::NOT_FOUND, "namespace is not open");
    ReadBlocks(stream, 4, [&](const v1::BlockFrame& first) { stream->Write(Ack(first)); });
    return grpc::Status::OK;
  });
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(result.outcomes, Each(StoreOutcome::kStored));
}

TEST(StoreFaults, AServerThatNeverReadsMeetsTheDeadline) {
  // Far more than flow control lets through to a server that does not read.
  std::vector<uint8_t> large(32 * 1024 * 1024);
  FakeBehaviour behaviour;
  behaviour.store = [](grpc::ServerContext* context, StoreStream*) {
    Linger(context);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  const std::vector<StoreItem> items = {{Chain().keys[0], {}, large}};
  std::vector<StoreOutcome> outcomes(1);
  const Stopwatch stopwatch;
  EXPECT_EQ(over->Store(Chain().ns, items, outcomes, milliseconds(400)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(stopwatch.Elapsed(), kBounded);
  EXPECT_THAT(outcomes, ElementsAre(StoreOutcome::kNotAcknowledged));
}

TEST(StoreFaults, AServerThatNeverAcksMeetsTheDeadline) {
  const Stopwatch stopwatch;
  const StoreResult result(
      [](grpc::ServerContext* context, StoreStream* stream) {
        ReadBlocks(stream, 4, [](const v1::BlockFrame&) {});
        Linger(context);
        return grpc::Status::OK;
      },
      milliseconds(400));
  EXPECT_EQ(result.status.code(), absl::StatusCode::kDeadlineExceeded) << result.status;
  EXPECT_LT(stopwatch.Elapsed(), kBounded);
  EXPECT_THAT(result.outcomes, Each(StoreOutcome::kNotAcknowledged));
}

TEST(StoreFaults, DoesNotWaitForAStreamThatAcksForEver) {
  const Stopwatch stopwatch;
  const StoreResult result([](grpc::ServerContext* context, StoreStream* stream) {
    v1::BlockFrame last;
    ReadBlocks(stream, 4, [&](const v1::BlockFrame& first) {
      last = first;
      stream->Write(Ack(first));
    });
    while (!context->IsCancelled()) stream->Write(Ack(last));
    return grpc::Status::OK;
  });
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_LT(stopwatch.Elapsed(), kBounded);
  EXPECT_THAT(result.outcomes, Each(StoreOutcome::kStored));
}

TEST(StoreFaults, DoesNotSendBlocksOverTheServersLimit) {
  FakeBehaviour behaviour;
  behaviour.max_block_bytes = 1000;
  ClientOverFake over(std::move(behaviour));  // a stream would be UNIMPLEMENTED
  std::vector<StoreOutcome> outcomes(4);
  const absl::Status status = over->Store(Chain().ns, Chain().Items(), outcomes);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(outcomes, Each(StoreOutcome::kTooLarge));
}

TEST(StoreFaults, RefusesItemsThatCannotBeSent) {
  ClientOverFake over{FakeBehaviour()};
  std::vector<StoreOutcome> outcomes(3);
  EXPECT_EQ(over->Store(Chain().ns, Chain().Items(), outcomes).code(), absl::StatusCode::kInvalidArgument);
  std::vector<StoreItem> items = Chain().Items();
  items[2].block = {};
  outcomes.resize(4);
  const absl::Status status = over->Store(Chain().ns, items, outcomes);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("block 2 is empty"));
  EXPECT_THAT(outcomes, Each(StoreOutcome::kNotAcknowledged));
}

}  // namespace
}  // namespace polarkv::testing
