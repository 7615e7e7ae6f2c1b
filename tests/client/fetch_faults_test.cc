// What a server may do wrong while it streams blocks, and what the client makes of it.
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/client_over_fake.h"
#include "tests/testing/block_chain.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

const BlockChain& Chain() {
  static const auto* chain = new BlockChain(SmallDescriptor(), 3, 1);
  return *chain;
}

// Fetches the chain's three blocks from a server that sends these frames and then ends the stream.
struct FramesResult {
  FetchBuffers buffers{3, FetchBytes(Chain().ns.descriptor).value()};
  absl::Status status;
  int fetches = 0;

  explicit FramesResult(const std::vector<v1::BlockFrame>& frames, grpc::Status end = grpc::Status::OK) {
    FakeBehaviour behaviour;
    std::atomic<int> calls{0};
    behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest&, FrameWriter* writer) {
      ++calls;
      for (const v1::BlockFrame& frame : frames) writer->Write(frame);
      return end;
    };
    ClientOverFake over(std::move(behaviour));
    status = over->Fetch(Chain().ns, Chain().keys, {}, buffers.slots);
    over.server.Stop();
    fetches = calls;
  }
  FetchOutcome outcome(size_t i) const { return buffers.slots[i].outcome; }
};

std::vector<v1::BlockFrame> GoodFrames() {
  std::vector<v1::BlockFrame> frames;
  for (uint32_t i = 0; i < 3; ++i) {
    const std::vector<uint8_t>& block = Chain().blocks[i];
    for (uint64_t offset = 0; offset < block.size(); offset += 10000) {
      frames.push_back(FetchFrame(i, Chain().keys[i], block, offset, std::min<uint64_t>(10000, block.size() - offset)));
    }
  }
  return frames;
}

std::vector<v1::BlockFrame> WholeFrames(const std::function<void(std::vector<uint8_t>&)>& spoil_the_second) {
  std::vector<v1::BlockFrame> frames;
  for (uint32_t i = 0; i < 3; ++i) {
    std::vector<uint8_t> block = Chain().blocks[i];
    if (i == 1) spoil_the_second(block);
    frames.push_back(WholeFrame(i, Chain().keys[i], block));
  }
  return frames;
}

TEST(FetchBytes, KnowsTheLargestNamespacesToo) {
  NamespaceDescriptor descriptor = SmallDescriptor();
  descriptor.codec = {CodecId::kTurbo4, CodecId::kTurbo4};
  descriptor.head_dim = 128;
  descriptor.rope.dims = 128;
  descriptor.layers = 1;
  descriptor.kv_heads = 125;
  descriptor.shards = 1;
  descriptor.block_tokens = kMaxBlockTokens;
  const absl::StatusOr<uint64_t> bytes = FetchBytes(descriptor);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GE(*bytes, BlockLayout::Make(NamespaceBlockSpec(descriptor, BlockKey{}, 0)).value().total_bytes());
  EXPECT_LE(*bytes, kMaxBlockBytes);
}

TEST(FetchFaults, IntactFramesGiveTheBlocksBytes) {
  const FramesResult result(GoodFrames());
  ASSERT_TRUE(result.status.ok()) << result.status;
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(result.outcome(i), FetchOutcome::kOk) << result.buffers.slots[i].message;
    EXPECT_TRUE(SpanEquals(result.buffers.slots[i].view[0].bytes(), Chain().blocks[i]));
    EXPECT_EQ(result.buffers.slots[i].bytes, Chain().blocks[i].size());
  }
}

// Bytes that differ from the stored block's in one bit anywhere are never handed out.
class FlippedBit : public ::testing::TestWithParam<size_t> {};

TEST_P(FlippedBit, MakesThatBlockCorruptAndNoOther) {
  const size_t at = std::min(GetParam(), Chain().blocks[1].size() - 1);
  const FramesResult result(WholeFrames([&](std::vector<uint8_t>& block) { block[at] ^= 0x10; }));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.outcome(0), FetchOutcome::kOk);
  EXPECT_EQ(result.outcome(1), FetchOutcome::kCorrupt);
  EXPECT_EQ(result.outcome(2), FetchOutcome::kOk);
  EXPECT_TRUE(result.buffers.slots[1].view.empty());
  EXPECT_FALSE(result.buffers.slots[1].message.empty());
  EXPECT_EQ(result.buffers.slots[1].bytes, 0u);
}

INSTANTIATE_TEST_SUITE_P(Places, FlippedBit,
                         ::testing::Values(0, 5, 8, 17, 25, 40, 80, 96, 104, 112, 127, 128, 140, 300, 1000, 4097, 20000,
                                           1u << 30));

TEST(FetchFaults, ABlockOfAnotherKeyIsCorrupt) {
  const FramesResult result(WholeFrames([](std::vector<uint8_t>& block) { block = Chain().blocks[2]; }));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.outcome(1), FetchOutcome::kCorrupt);
  EXPECT_THAT(result.buffers.slots[1].message, HasSubstr("key"));
}

TEST(FetchFaults, ABlockOfAnotherNamespaceIsCorrupt) {
  const FramesResult result(WholeFrames([](std::vector<uint8_t>& block) {
    std::array<uint8_t, 16> tag;
    tag.fill(0x77);
    TagBlock(block, tag, std::span<const uint8_t, 8>(Chain().keys[1].bytes.data(), 8));
  }));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.outcome(1), FetchOutcome::kCorrupt);
}

TEST(FetchFaults, ATruncatedBlockIsCorrupt) {
  const FramesResult result(WholeFrames([](std::vector<uint8_t>& block) { block.resize(block.size() - 64); }));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.outcome(1), FetchOutcome::kCorrupt);
}

TEST(FetchFaults, ABlockLargerThanItsBufferDoesNotOverrunIt) {
  const uint64_t room = FetchBytes(Chain().ns.descriptor).value();
  const FramesResult result(WholeFrames([room](std::vector<uint8_t>& block) { block.resize(room + 64); }));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.outcome(1), FetchOutcome::kBufferTooSmall);
  EXPECT_EQ(result.outcome(2), FetchOutcome::kOk);
}

// Frames that cannot be what was asked for: the stream is given up, and what was verified before stays good.
struct BadStream {
  const char* name;
  const char* message;
  std::function<void(std::vector<v1::BlockFrame>&)> spoil;  // frames 0..2 are block 0, 3..5 block 1
  FetchOutcome second = FetchOutcome::kCorrupt;
};

class BadFrames : public ::testing::TestWithParam<BadStream> {};

TEST_P(BadFrames, GiveDataLossAndKeepWhatWasVerified) {
  std::vector<v1::BlockFrame> frames = GoodFrames();
  GetParam().spoil(frames);
  const FramesResult result(frames);
  EXPECT_EQ(result.status.code(), absl::StatusCode::kDataLoss) << result.status;
  EXPECT_THAT(std::string(result.status.message()), HasSubstr(GetParam().message));
  EXPECT_EQ(result.outcome(0), FetchOutcome::kOk);
  EXPECT_EQ(result.outcome(1), GetParam().second);
  EXPECT_EQ(result.outcome(2), FetchOutcome::kNotReceived);
  EXPECT_EQ(result.fetches, 1);
}

using Frames = std::vector<v1::BlockFrame>;
INSTANTIATE_TEST_SUITE_P(
    All, BadFrames,
    ::testing::Values(
        BadStream{"WrongIndex", "block 2 where block 1", [](Frames& f) { f[3].set_block_index(2); }},
        BadStream{"BlockSentTwice", "block 0 where block 1", [](Frames& f) { f[3] = f[0]; }},
        BadStream{"IndexOutOfRange", "block 4294967295", [](Frames& f) { f[3].set_block_index(0xFFFFFFFF); }},
        BadStream{"OtherKey", "another key", [](Frames& f) { f[3].set_key(f[0].key()); }},
        BadStream{"NoKey", "another key", [](Frames& f) { f[3].clear_key(); }},
        BadStream{"ShortKey", "another key", [](Frames& f) { f[3].mutable_key()->resize(31); }},
        BadStream{"OtherKeyInTheMiddle", "another key", [](Frames& f) { f[4].set_key(f[0].key()); }},
        BadStream{"Gap", "offset 20000 where offset 10000", [](Frames& f) { f.erase(f.begin() + 4); }},
        BadStream{"Overlap", "offset 10000 where offset 20000", [](Frames& f) { f[5].set_offset(10000); }},
        BadStream{"OffsetOnFirstFrame", "offset 64 where", [](Frames& f) { f[3].set_offset(64); }},
        BadStream{"HugeOffset", "offset 18446744073709551615", [](Frames& f) { f[4].set_offset(~uint64_t{0}); }},
        BadStream{"FramesSwapped", "where offset", [](Frames& f) { std::swap(f[4], f[5]); }},
        BadStream{"MoreBytesThanAnnounced", "were left", [](Frames& f) { f[5].mutable_body()->append("more"); }},
        BadStream{"MoreBytesThanAnnouncedInOneFrame", "were left", [](Frames& f) { f[3].set_total_bytes(200); }},
        BadStream{"EmptyBody", "no body", [](Frames& f) { f[4].clear_body(); }},
        BadStream{"EmptyBodyOnFirstFrame", "no body", [](Frames& f) { f[3].clear_body(); }},
        BadStream{"NoTotal", "a block of 0 bytes", [](Frames& f) { f[3].clear_total_bytes(); }},
        BadStream{"HugeTotal", "a block of 18446744073709551615",
                  [](Frames& f) { f[3].set_total_bytes(~uint64_t{0}); }},
        BadStream{"TotalChanges", "now has", [](Frames& f) { f[4].set_total_bytes(5); }},
        BadStream{"StatusWithBody", "together with a body",
                  [](Frames& f) { f[3].set_status(v1::BLOCK_STATUS_NOT_FOUND); }},
        BadStream{"EndsBetweenBlocks", "ended the stream after 1 blocks", [](Frames& f) { f.resize(3); },
                  FetchOutcome::kNotReceived},
        BadStream{"EndsInTheMiddle", "ended the stream after 1 blocks", [](Frames& f) { f.resize(4); },
                  FetchOutcome::kNotReceived}),
    [](const auto& stream) { return std::string(stream.param.name); });

TEST(FetchFaults, NoFramesAtAllGiveDataLoss) {
  const FramesResult result({});
  EXPECT_EQ(result.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(result.outcome(0), FetchOutcome::kNotReceived);
}

TEST(FetchFaults, FramesAfterTheLastBlockAreIgnored) {
  std::vector<v1::BlockFrame> frames = GoodFrames();
  frames.push_back(frames[0]);
  const FramesResult result(frames);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.buffers.Views().size(), 3u);
}

TEST(FetchFaults, AnErrorAfterTheLastBlockIsIgnored) {
  const FramesResult result(GoodFrames(), {grpc::StatusCode::INTERNAL, "too late"});
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.buffers.Views().size(), 3u);
}

struct StatusPair {
  int wire;
  FetchOutcome outcome;
};

class BlockStatuses : public ::testing::TestWithParam<StatusPair> {};

TEST_P(BlockStatuses, BecomeOutcomesAndTheStreamGoesOn) {
  std::vector<v1::BlockFrame> frames = WholeFrames([](auto&) {});
  frames[1].clear_body();
  frames[1].clear_total_bytes();
  frames[1].set_status(static_cast<v1::BlockStatus>(GetParam().wire));
  const FramesResult result(frames);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.outcome(0), FetchOutcome::kOk);
  EXPECT_EQ(result.outcome(1), GetParam().outcome);
  EXPECT_EQ(result.outcome(2), FetchOutcome::kOk);
}

INSTANTIATE_TEST_SUITE_P(All, BlockStatuses,
                         ::testing::Values(StatusPair{v1::BLOCK_STATUS_NOT_FOUND, FetchOutcome::kNotFound},
                                           StatusPair{v1::BLOCK_STATUS_CORRUPT, FetchOutcome::kCorrupt},
                                           StatusPair{v1::BLOCK_STATUS_NO_SUCH_LAYER, FetchOutcome::kNoSuchLayer},
                                           StatusPair{v1::BLOCK_STATUS_IO_ERROR, FetchOutcome::kIoError},
                                           // A later server's word.
                                           StatusPair{77, FetchOutcome::kIoError},
                                           StatusPair{-1, FetchOutcome::kIoError}));

TEST(FetchFaults, AStatusInTheMiddleOfABlockEndsIt) {
  std::vector<v1::BlockFrame> frames = GoodFrames();
  frames[4].clear_body();
  frames[4].set_status(v1::BLOCK_STATUS_IO_ERROR);
  frames.erase(frames.begin() + 5);
  const FramesResult result(frames);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.outcome(1), FetchOutcome::kIoError);
  EXPECT_EQ(result.outcome(2), FetchOutcome::kOk);
}

}  // namespace
}  // namespace polarkv::testing
