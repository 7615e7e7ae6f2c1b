#include "service/fetch_stream.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/packed_keys.h"
#include "tests/service/service_fixture.h"
#include "tests/testing/eventually.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

class FetchStreamTest : public ::testing::Test {
 protected:
  FetchStreamTest() {
    service_.OpenNamespace();
    service_.StoreChain(1, 3);
  }

  // The bodies of the frames of one block, put together; offsets are checked on the way.
  static std::vector<uint8_t> Join(const std::vector<v1::BlockFrame>& frames, uint32_t block_index) {
    std::vector<uint8_t> bytes;
    uint64_t total = 0;
    for (const v1::BlockFrame& frame : frames) {
      if (frame.block_index() != block_index) continue;
      EXPECT_EQ(frame.status(), v1::BLOCK_STATUS_OK);
      EXPECT_EQ(frame.offset(), bytes.size());
      if (bytes.empty()) total = frame.total_bytes();
      bytes.insert(bytes.end(), frame.body().begin(), frame.body().end());
    }
    EXPECT_EQ(bytes.size(), total);
    return bytes;
  }
  static std::vector<uint8_t> Whole(uint32_t index) {
    return SealedBlock(ServiceDescriptor(), ChainKey(1, index), index);
  }
  v1::BlockStatus OnlyStatus(const v1::FetchRequest& request) {
    grpc::Status status;
    const std::vector<v1::BlockFrame> frames = service_.Fetch(request, &status);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(frames.size(), 1u);
    EXPECT_TRUE(frames.front().body().empty());
    EXPECT_EQ(frames.front().key(), request.keys().substr(0, 32));
    return frames.front().status();
  }
  uint64_t Leases() { return service_.store().Stats().leases; }
  bool LeasesEnd() {
    return Eventually([this] { return Leases() == 0; });
  }

  ServiceFixture service_;
};

TEST_F(FetchStreamTest, SendsWholeBlocksInTheOrderOfTheKeys) {
  const std::vector<v1::BlockFrame> frames = service_.Fetch(FetchOf(1, 3));
  ASSERT_EQ(frames.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(frames[i].block_index(), i);
    EXPECT_EQ(frames[i].key(), PackKey(ChainKey(1, i)));
    EXPECT_EQ(Join(frames, i), Whole(i));
  }
}

TEST_F(FetchStreamTest, CutsBlocksIntoFramesOfTheSizeAskedFor) {
  v1::FetchRequest request = FetchOf(1, 2);
  request.set_frame_bytes(5000);
  const std::vector<v1::BlockFrame> frames = service_.Fetch(request);
  EXPECT_EQ(frames.size(), 2 * ((Whole(0).size() + 4999) / 5000));
  for (const v1::BlockFrame& frame : frames) EXPECT_LE(frame.body().size(), 5000u);
  EXPECT_EQ(Join(frames, 0), Whole(0));
  EXPECT_EQ(Join(frames, 1), Whole(1));
}

TEST_F(FetchStreamTest, SendsALayerAsAValidSelection) {
  v1::FetchRequest request = FetchOf(1, 1);
  request.set_layer_begin(1);
  request.set_layer_end(2);
  const std::vector<uint8_t> bytes = Join(service_.Fetch(request), 0);
  EXPECT_LT(bytes.size(), Whole(0).size());
  const BlockSelection selection = {.layer_begin = 1, .layer_end = 2};
  const auto part = BlockView::ParseSelection(bytes, selection, VerifyPayload::kYes);
  ASSERT_TRUE(part.ok()) << part.status();
  const std::vector<uint8_t> whole_bytes = Whole(0);
  const BlockView whole = BlockView::Parse(whole_bytes, VerifyPayload::kYes).value();
  EXPECT_TRUE(std::ranges::equal(part->Segment(1, PlaneKind::kBase), whole.Segment(1, PlaneKind::kBase)));
}

TEST_F(FetchStreamTest, SendsTheBasePlaneAloneInFramesAcrossItsPieces) {
  v1::FetchRequest request = FetchOf(1, 1);
  request.set_plane_mask(PlaneBit(PlaneKind::kBase));
  request.set_frame_bytes(4096);
  const std::vector<uint8_t> bytes = Join(service_.Fetch(request), 0);
  const BlockSelection selection = {.planes = PlaneBit(PlaneKind::kBase)};
  EXPECT_TRUE(BlockView::ParseSelection(bytes, selection, VerifyPayload::kYes).ok());
}

TEST_F(FetchStreamTest, AnAbsentBlockIsAFrameWithItsStatusBetweenTheOthers) {
  v1::FetchRequest request = FetchOf(1, 1);
  request.mutable_keys()->append(PackKey(ChainKey(9, 0))).append(PackKey(ChainKey(1, 1)));
  const std::vector<v1::BlockFrame> frames = service_.Fetch(request);
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[1].status(), v1::BLOCK_STATUS_NOT_FOUND);
  EXPECT_EQ(Join(frames, 2), Whole(1));
}

TEST_F(FetchStreamTest, AbsentLayersAreNamedSo) {
  v1::FetchRequest request = FetchOf(1, 1);
  request.set_layer_begin(1);
  request.set_layer_end(3);
  EXPECT_EQ(OnlyStatus(request), v1::BLOCK_STATUS_NO_SUCH_LAYER);
  request.set_layer_begin(7);
  request.set_layer_end(0);
  EXPECT_EQ(OnlyStatus(request), v1::BLOCK_STATUS_NO_SUCH_LAYER);
}

TEST_F(FetchStreamTest, ReportsBlocksThatCannotBeRead) {
  service_.store().corrupt_get = true;
  EXPECT_EQ(OnlyStatus(FetchOf(1, 1)), v1::BLOCK_STATUS_CORRUPT);
  service_.store().corrupt_get = false;
  service_.store().fail_get = true;
  EXPECT_EQ(OnlyStatus(FetchOf(1, 1)), v1::BLOCK_STATUS_IO_ERROR);
}

TEST_F(FetchStreamTest, NoKeysAreNoFrames) {
  grpc::Status status;
  EXPECT_TRUE(service_.Fetch(FetchOf(1, 0), &status).empty());
  EXPECT_TRUE(status.ok());
}

TEST_F(FetchStreamTest, RefusesMalformedRequests) {
  grpc::Status status;
  v1::FetchRequest request = FetchOf(1, 1);
  request.set_layer_begin(2);
  request.set_layer_end(1);
  service_.Fetch(request, &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("layer_begin"));
  request = FetchOf(1, 1);
  request.mutable_keys()->pop_back();
  service_.Fetch(request, &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request = FetchOf(1, 1);
  request.set_fingerprint(std::string(32, 'x'));
  service_.Fetch(request, &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(FetchStreamTest, ALeaseEndsWithTheStreamThatNamesIt) {
  v1::FetchRequest request = FetchOf(1, 3);
  request.set_release_lease(service_.Match(1, 3, 60000).lease_id());
  service_.Fetch(request);
  EXPECT_TRUE(LeasesEnd());
}

TEST_F(FetchStreamTest, ALeaseEndsEvenWhenTheRequestIsRefused) {
  v1::FetchRequest request = FetchOf(1, 3);
  request.set_release_lease(service_.Match(1, 3, 60000).lease_id());
  request.set_keys("short");
  service_.Fetch(request);
  EXPECT_TRUE(LeasesEnd());
}

TEST_F(FetchStreamTest, ALeaseEndsWhenTheClientGoesAway) {
  std::vector<BlockKey> many(10000, ChainKey(1, 0));  // far more than the connection takes without a reader
  v1::FetchRequest request = FetchOf(1, 0);
  request.set_keys(PackKeys(many));
  request.set_release_lease(service_.Match(1, 3, 60000).lease_id());
  grpc::ClientContext call;
  const auto stream = service_.stub().Fetch(&call, request);
  v1::BlockFrame frame;
  ASSERT_TRUE(stream->Read(&frame));
  EXPECT_EQ(Leases(), 1u);
  call.TryCancel();
  stream->Finish();
  EXPECT_TRUE(LeasesEnd());
}

TEST_F(FetchStreamTest, StopsAtTheDeadlineOfAClientThatDoesNotRead) {
  std::vector<BlockKey> many(10000, ChainKey(1, 0));
  v1::FetchRequest request = FetchOf(1, 0);
  request.set_keys(PackKeys(many));
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1500));
  const auto stream = service_.stub().Fetch(&call, request);
  v1::BlockFrame frame;
  ASSERT_TRUE(stream->Read(&frame));
  EXPECT_TRUE(Eventually([this] { return service_.context().open_streams == 0; }));
  while (stream->Read(&frame)) continue;
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

}  // namespace
}  // namespace polarkv::testing
