#include "service/store_stream.h"

#include <cstring>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/packed_keys.h"
#include "tests/codec/test_block.h"
#include "tests/service/service_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<uint8_t> Bytes(uint32_t chain, uint32_t index) {
  return SealedBlock(ServiceDescriptor(), ChainKey(chain, index), index);
}

class StoreStreamTest : public ::testing::Test {
 protected:
  StoreStreamTest() { service_.OpenNamespace(); }

  v1::StoreAck StoreOne(const std::vector<v1::BlockFrame>& frames) {
    const std::vector<v1::StoreAck> acks = service_.Store(frames);
    EXPECT_EQ(acks.size(), 1u);
    return acks.empty() ? v1::StoreAck() : acks.front();
  }
  v1::StoreAck StoreBytes(const BlockKey& key, const std::vector<uint8_t>& bytes) {
    return StoreOne(Frames(key, bytes, 1 << 20));
  }
  grpc::Status StreamStatus(const std::vector<v1::BlockFrame>& frames) {
    grpc::Status status;
    service_.Store(frames, &status);
    return status;
  }
  bool Exists(uint32_t chain, uint32_t index) { return service_.Match(chain, index + 1).matched_blocks() > index; }
  // Nothing is being received and no stream runs.
  bool ComesToRest() {
    for (int i = 0; i < 500; ++i) {
      if (service_.context().streams == 0 && service_.context().receiving->used() == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  ServiceLimits limits_ = [] {
    ServiceLimits limits;
    limits.max_block_bytes = 100000;
    limits.max_receiving_bytes = 40000;
    limits.max_streams = 4;
    limits.stalled_after = std::chrono::milliseconds(200);
    return limits;
  }();
  ServiceFixture service_{limits_};
};

TEST_F(StoreStreamTest, StoresBlocksOfManyFramesOneAfterTheOther) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0, 1000);
  for (const v1::BlockFrame& frame : ChainFrames(1, 1, 7777)) frames.push_back(frame);
  const std::vector<v1::StoreAck> acks = service_.Store(frames);
  ASSERT_EQ(acks.size(), 2u);
  for (uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(acks[i].status(), v1::STORE_STATUS_STORED) << acks[i].message();
    EXPECT_EQ(acks[i].block_index(), i);
    EXPECT_EQ(acks[i].key(), PackKey(ChainKey(1, i)));
    EXPECT_THAT(acks[i].message(), IsEmpty());
  }
  EXPECT_TRUE(Exists(1, 1));
  EXPECT_TRUE(ComesToRest());
}

TEST_F(StoreStreamTest, TheKeyMayBeOnEveryFrame) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0, 5000);
  for (v1::BlockFrame& frame : frames) frame.set_key(PackKey(ChainKey(1, 0)));
  EXPECT_EQ(StoreOne(frames).status(), v1::STORE_STATUS_STORED);
}

TEST_F(StoreStreamTest, TheSameBytesAreADuplicateAndOthersAConflict) {
  ASSERT_EQ(StoreBytes(ChainKey(1, 0), Bytes(1, 0)).status(), v1::STORE_STATUS_STORED);
  EXPECT_EQ(StoreBytes(ChainKey(1, 0), Bytes(1, 0)).status(), v1::STORE_STATUS_DUPLICATE);
  const v1::StoreAck ack = StoreBytes(ChainKey(1, 0), SealedBlock(ServiceDescriptor(), ChainKey(1, 0), 0, 77));
  EXPECT_EQ(ack.status(), v1::STORE_STATUS_CONFLICT);
  EXPECT_THAT(ack.message(), HasSubstr("other bytes are stored under this key"));
}

TEST_F(StoreStreamTest, AFlippedBitAnywhereIsABadChecksum) {
  const std::vector<uint8_t> good = Bytes(1, 0);
  for (const size_t position : {size_t{30}, size_t{140}, size_t{1000}, good.size() - 1}) {
    std::vector<uint8_t> bad = good;
    bad[position] ^= 4;
    EXPECT_EQ(StoreBytes(ChainKey(1, 0), bad).status(), v1::STORE_STATUS_BAD_CHECKSUM) << position;
  }
  EXPECT_FALSE(Exists(1, 0));
}

TEST_F(StoreStreamTest, ATruncatedBlockIsABadChecksum) {
  std::vector<uint8_t> bytes = Bytes(1, 0);
  bytes.resize(bytes.size() - 64);
  EXPECT_EQ(StoreBytes(ChainKey(1, 0), bytes).status(), v1::STORE_STATUS_BAD_CHECKSUM);
  bytes.resize(5);
  EXPECT_EQ(StoreBytes(ChainKey(1, 0), bytes).status(), v1::STORE_STATUS_BAD_CHECKSUM);
}

TEST_F(StoreStreamTest, ANewerVersionIsUnsupported) {
  std::vector<uint8_t> bytes = Bytes(1, 0);
  bytes[offsetof(BlockHeader, version)] = 99;
  const std::vector<uint8_t> good = Bytes(1, 0);
  TagBlock(bytes, std::span<const uint8_t, 16>(good.data() + offsetof(BlockHeader, namespace_tag), 16),
           std::span<const uint8_t, 8>(good.data() + offsetof(BlockHeader, key_tag), 8));  // a valid header checksum
  const v1::StoreAck ack = StoreBytes(ChainKey(1, 0), bytes);
  EXPECT_EQ(ack.status(), v1::STORE_STATUS_UNSUPPORTED);
  EXPECT_THAT(ack.message(), HasSubstr("version"));
}

TEST_F(StoreStreamTest, ABlockOfAnotherKeyOrNamespaceIsAMismatch) {
  const v1::StoreAck other_key = StoreBytes(ChainKey(1, 0), Bytes(2, 0));
  EXPECT_EQ(other_key.status(), v1::STORE_STATUS_MISMATCH);
  EXPECT_THAT(other_key.message(), HasSubstr("key_tag"));
  const v1::StoreAck other_namespace =
      StoreBytes(ChainKey(1, 0), SealedBlock(ServiceDescriptor("other"), ChainKey(1, 0), 0));
  EXPECT_EQ(other_namespace.status(), v1::STORE_STATUS_MISMATCH);
  EXPECT_THAT(other_namespace.message(), HasSubstr("namespace_tag"));
}

TEST_F(StoreStreamTest, APositionThatContradictsTheParentIsAMismatch) {
  service_.StoreChain(1, 1);
  std::vector<v1::BlockFrame> frames = ChainFrames(2, 3);
  frames.front().set_parent_key(PackKey(ChainKey(1, 0)));
  const v1::StoreAck ack = StoreOne(frames);
  EXPECT_EQ(ack.status(), v1::STORE_STATUS_MISMATCH);
  EXPECT_THAT(ack.message(), HasSubstr("number 3 of its chain"));
}

TEST_F(StoreStreamTest, RefusesOversizeBeforeAnythingIsAllocated) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0);
  frames.front().set_total_bytes(limits_.max_block_bytes + 1);
  EXPECT_EQ(StoreOne(frames).status(), v1::STORE_STATUS_TOO_LARGE);
  frames.front().set_total_bytes(UINT64_MAX);
  EXPECT_EQ(StoreOne(frames).status(), v1::STORE_STATUS_TOO_LARGE);
  // Within the server's limit, but more than any block of this namespace may have.
  frames.front().set_total_bytes(LargestBlockBytes(ServiceDescriptor()) + 1);
  EXPECT_EQ(StoreOne(frames).status(), v1::STORE_STATUS_MISMATCH);
}

TEST_F(StoreStreamTest, FramesOutOfOrderOverlappingOrTooLongAreBadFrames) {
  std::vector<v1::BlockFrame> gap = ChainFrames(1, 0, 5000);
  gap.erase(gap.begin() + 1);
  EXPECT_EQ(StoreOne(gap).status(), v1::STORE_STATUS_BAD_FRAME);
  std::vector<v1::BlockFrame> overlap = ChainFrames(1, 0, 5000);
  overlap.insert(overlap.begin() + 2, overlap[1]);
  EXPECT_EQ(StoreOne(overlap).status(), v1::STORE_STATUS_BAD_FRAME);
  std::vector<v1::BlockFrame> swapped = ChainFrames(1, 0, 5000);
  std::swap(swapped[1], swapped[2]);
  EXPECT_EQ(StoreOne(swapped).status(), v1::STORE_STATUS_BAD_FRAME);
  std::vector<v1::BlockFrame> beyond = ChainFrames(1, 0, 5000);
  beyond.back().mutable_body()->append("more");
  EXPECT_EQ(StoreOne(beyond).status(), v1::STORE_STATUS_BAD_FRAME);
  std::vector<v1::BlockFrame> late_start = ChainFrames(1, 0);
  late_start.front().set_offset(64);
  EXPECT_EQ(StoreOne(late_start).status(), v1::STORE_STATUS_BAD_FRAME);
  std::vector<v1::BlockFrame> no_total = ChainFrames(1, 0);
  no_total.front().clear_total_bytes();
  EXPECT_EQ(StoreOne(no_total).status(), v1::STORE_STATUS_BAD_FRAME);
  EXPECT_FALSE(Exists(1, 0));
  EXPECT_TRUE(ComesToRest());
}

TEST_F(StoreStreamTest, ARefusedBlockDoesNotHarmTheNext) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0, 5000);
  frames.erase(frames.begin() + 1);
  for (const v1::BlockFrame& frame : ChainFrames(2, 0, 5000)) frames.push_back(frame);
  const std::vector<v1::StoreAck> acks = service_.Store(frames);
  ASSERT_EQ(acks.size(), 2u);
  EXPECT_EQ(acks[0].status(), v1::STORE_STATUS_BAD_FRAME);
  EXPECT_EQ(acks[1].status(), v1::STORE_STATUS_STORED);
}

TEST_F(StoreStreamTest, AnUnfinishedBlockIsRefusedAndTheOthersStay) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0, 5000);
  for (const v1::BlockFrame& frame : ChainFrames(1, 1, 5000)) frames.push_back(frame);
  frames.pop_back();
  grpc::Status status;
  const std::vector<v1::StoreAck> acks = service_.Store(frames, &status);
  EXPECT_TRUE(status.ok());
  ASSERT_EQ(acks.size(), 2u);
  EXPECT_EQ(acks[1].status(), v1::STORE_STATUS_BAD_FRAME);
  EXPECT_THAT(acks[1].message(), HasSubstr("ended after 15000 of"));
  EXPECT_TRUE(Exists(1, 0));
  EXPECT_FALSE(Exists(1, 1));
}

TEST_F(StoreStreamTest, AStreamCutInTheMiddleLosesTheUnfinishedBlockAlone) {
  grpc::ClientContext call;
  const StoreCall stream = service_.stub().Store(&call);
  for (const v1::BlockFrame& frame : ChainFrames(1, 0, 5000)) ASSERT_TRUE(stream->Write(frame));
  v1::StoreAck ack;
  ASSERT_TRUE(stream->Read(&ack));
  ASSERT_TRUE(stream->Write(ChainFrames(1, 1, 5000).front()));
  call.TryCancel();
  stream->Finish();
  EXPECT_TRUE(ComesToRest());
  EXPECT_TRUE(Exists(1, 0));
  EXPECT_FALSE(Exists(1, 1));
  ASSERT_EQ(StoreOne(ChainFrames(1, 1)).status(), v1::STORE_STATUS_STORED);
}

TEST_F(StoreStreamTest, MalformedFieldsEndTheStream) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0);
  frames.front().set_key("short");
  EXPECT_EQ(StreamStatus(frames).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  frames = ChainFrames(1, 0);
  frames.front().set_parent_key(std::string(31, 'p'));
  EXPECT_THAT(StreamStatus(frames).error_message(), HasSubstr("parent_key"));
  frames = ChainFrames(1, 0);
  frames.front().clear_key();
  EXPECT_THAT(StreamStatus(frames).error_message(), HasSubstr("key: missing"));
  frames = ChainFrames(1, 0);
  frames.front().clear_fingerprint();
  EXPECT_THAT(StreamStatus(frames).error_message(), HasSubstr("fingerprint"));
  frames = ChainFrames(1, 0);
  frames.push_back(ChainFrames(1, 1).front());
  frames.back().set_fingerprint(std::string(32, 'x'));
  EXPECT_THAT(StreamStatus(frames).error_message(), HasSubstr("second one"));
  frames = ChainFrames(2, 0);
  frames.emplace_back().set_body("stray");
  EXPECT_THAT(StreamStatus(frames).error_message(), HasSubstr("beyond the end"));
  EXPECT_TRUE(Exists(2, 0));
}

TEST_F(StoreStreamTest, AnUnknownNamespaceEndsTheStream) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0);
  frames.front().set_fingerprint(std::string(32, 'x'));
  EXPECT_EQ(StreamStatus(frames).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(StoreStreamTest, BytesThatAreNoFrameEndTheStream) {
  grpc::ClientContext call;
  grpc::internal::RpcMethod method("/polarkv.v1.KvStore/Store", grpc::internal::RpcMethod::BIDI_STREAMING,
                                   service_.channel());
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(service_.channel().get(),
                                                                                            method, &call));
  const grpc::Slice garbage(std::string("\xFF\xFF\xFF\xFF garbage"));
  ASSERT_TRUE(stream->Write(grpc::ByteBuffer(&garbage, 1)));
  stream->WritesDone();
  grpc::ByteBuffer ignored;
  while (stream->Read(&ignored)) continue;
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(StoreStreamTest, FieldsThatAreNotKnownAreIgnored) {
  std::vector<v1::BlockFrame> frames = ChainFrames(1, 0, 5000);
  for (v1::BlockFrame& frame : frames) {
    frame.GetReflection()->MutableUnknownFields(&frame)->AddVarint(777, 42);
  }
  EXPECT_EQ(StoreOne(frames).status(), v1::STORE_STATUS_STORED);
}

TEST_F(StoreStreamTest, BlocksBeingReceivedAreLimited) {
  // Two half-sent blocks of 18 KB leave no room for a third under a limit of 40 KB.
  grpc::ClientContext calls[2];
  StoreCall streams[2];
  for (uint32_t i = 0; i < 2; ++i) {
    streams[i] = service_.stub().Store(&calls[i]);
    ASSERT_TRUE(streams[i]->Write(ChainFrames(10 + i, 0, 5000).front()));
  }
  for (int i = 0; i < 500 && service_.context().receiving->used() < 30000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const v1::StoreAck ack = StoreOne(ChainFrames(1, 0));
  EXPECT_EQ(ack.status(), v1::STORE_STATUS_NO_SPACE);
  EXPECT_THAT(ack.message(), HasSubstr("being received"));
  for (uint32_t i = 0; i < 2; ++i) {
    calls[i].TryCancel();
    streams[i]->Finish();
  }
  ASSERT_TRUE(ComesToRest());
  EXPECT_EQ(StoreOne(ChainFrames(1, 0)).status(), v1::STORE_STATUS_STORED);
}

TEST_F(StoreStreamTest, AStreamThatStopsInTheMiddleOfABlockIsEnded) {
  grpc::ClientContext call;
  const StoreCall stream = service_.stub().Store(&call);
  ASSERT_TRUE(stream->Write(ChainFrames(1, 0, 5000).front()));
  std::atomic<bool> done{false};
  std::thread watcher([&] {
    while (!done) {
      service_.service().EndStalledStreams();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  v1::StoreAck ack;
  EXPECT_FALSE(stream->Read(&ack));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  done = true;
  watcher.join();
  EXPECT_TRUE(ComesToRest());
}

TEST_F(StoreStreamTest, AnIdleStreamBetweenBlocksIsLeftAlone) {
  grpc::ClientContext call;
  const StoreCall stream = service_.stub().Store(&call);
  ASSERT_TRUE(stream->Write(ChainFrames(1, 0).front()));
  v1::StoreAck ack;
  ASSERT_TRUE(stream->Read(&ack));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  service_.service().EndStalledStreams();
  ASSERT_TRUE(stream->Write(ChainFrames(1, 1).front()));
  ASSERT_TRUE(stream->Read(&ack));
  EXPECT_EQ(ack.status(), v1::STORE_STATUS_STORED);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StoreStreamTest, StreamsAreLimited) {
  grpc::ClientContext calls[5];
  StoreCall streams[5];
  for (int i = 0; i < 4; ++i) streams[i] = service_.stub().Store(&calls[i]);
  for (int i = 0; i < 500 && service_.context().streams < 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  streams[4] = service_.stub().Store(&calls[4]);
  EXPECT_EQ(streams[4]->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  for (int i = 0; i < 4; ++i) {
    streams[i]->WritesDone();
    EXPECT_TRUE(streams[i]->Finish().ok());
  }
}

TEST_F(StoreStreamTest, ReportsAStoreThatHasNoRoomOrFails) {
  service_.store().fail_allocate = true;
  EXPECT_EQ(StoreOne(ChainFrames(1, 0)).status(), v1::STORE_STATUS_NO_SPACE);
  service_.store().fail_allocate = false;
  service_.store().fail_put = true;
  EXPECT_EQ(StoreOne(ChainFrames(1, 0)).status(), v1::STORE_STATUS_IO_ERROR);
  EXPECT_TRUE(ComesToRest());
}

TEST_F(StoreStreamTest, AClientThatTakesNoAcksIsNotReadWithoutEnd) {
  grpc::ClientContext call;
  const StoreCall stream = service_.stub().Store(&call);
  constexpr uint32_t kBlocks = 2000;
  std::thread writer([&] {
    for (uint32_t i = 0; i < kBlocks; ++i) stream->Write(ChainFrames(i % 50, 0).front());
    stream->WritesDone();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  uint32_t acks = 0;
  for (v1::StoreAck ack; stream->Read(&ack);) ++acks;
  writer.join();
  EXPECT_EQ(acks, kBlocks);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StoreStreamTest, DrainingLetsTheBlockUnderWayFinishAndRefusesTheRest) {
  grpc::ClientContext idle_call, busy_call, late_call;
  const StoreCall idle = service_.stub().Store(&idle_call);
  const StoreCall busy = service_.stub().Store(&busy_call);
  const std::vector<v1::BlockFrame> frames = ChainFrames(1, 0, 10000);
  ASSERT_TRUE(busy->Write(frames[0]));
  for (int i = 0; i < 500 && service_.context().receiving->used() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  service_.service().Drain();
  EXPECT_EQ(idle->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  const StoreCall late = service_.stub().Store(&late_call);
  EXPECT_EQ(late->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_TRUE(busy->Write(frames[1]));
  v1::StoreAck ack;
  ASSERT_TRUE(busy->Read(&ack));
  EXPECT_EQ(ack.status(), v1::STORE_STATUS_STORED);
  EXPECT_EQ(busy->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Exists(1, 0));
}

}  // namespace
}  // namespace polarkv::testing
