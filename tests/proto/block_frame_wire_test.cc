#include "proto/block_frame_wire.h"

#include <numeric>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv {
namespace {

v1::BlockFrame FullHead() {
  v1::BlockFrame head;
  head.set_fingerprint(std::string(32, 'f'));
  head.set_key(std::string(32, 'k'));
  head.set_parent_key(std::string(32, 'p'));
  head.set_block_index(300);
  head.set_status(v1::BLOCK_STATUS_CORRUPT);
  head.set_total_bytes(uint64_t{1} << 40);
  head.set_offset(12345);
  return head;
}

std::vector<uint8_t> CountingBody(size_t size) {
  std::vector<uint8_t> body(size);
  std::iota(body.begin(), body.end(), uint8_t{1});
  return body;
}

std::string Flat(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  EXPECT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
  return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

// As the transport may deliver it: in slices of any size.
grpc::ByteBuffer InSlices(const std::string& bytes, size_t slice_bytes) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < bytes.size(); i += slice_bytes) slices.emplace_back(bytes.substr(i, slice_bytes));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::vector<uint8_t> BodyOf(const ReceivedFrame& frame) {
  std::vector<uint8_t> body(frame.body_bytes());
  frame.CopyBodyTo(body.data());
  return body;
}

TEST(BlockFrameWire, StockProtobufReadsWhatWeWrite) {
  for (const size_t size : {0, 1, 127, 128, 100000}) {
    const std::vector<uint8_t> body = CountingBody(size);
    v1::BlockFrame read;
    ASSERT_TRUE(read.ParseFromString(Flat(SerializeFrameCopy(FullHead(), body))));
    EXPECT_EQ(read.body(), std::string(body.begin(), body.end()));
    read.clear_body();
    EXPECT_EQ(read.SerializeAsString(), FullHead().SerializeAsString());
  }
}

TEST(BlockFrameWire, SendsTheBodyByReference) {
  const grpc::Slice body(std::string(5000, 'b'));
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(SerializeFrame(FullHead(), body).Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[1].begin(), body.begin());
}

TEST(BlockFrameWire, WeReadWhatStockProtobufWritesInSlicesOfAnySize) {
  v1::BlockFrame stock = FullHead();
  const std::vector<uint8_t> body = CountingBody(1000);
  stock.set_body(body.data(), body.size());
  const std::string bytes = stock.SerializeAsString();
  for (const size_t slice_bytes : {1, 2, 7, 63, 140, 500, 5000}) {
    const absl::StatusOr<ReceivedFrame> frame = ReceivedFrame::Parse(InSlices(bytes, slice_bytes));
    ASSERT_TRUE(frame.ok()) << slice_bytes;
    EXPECT_EQ(frame->head().SerializeAsString(), FullHead().SerializeAsString()) << slice_bytes;
    EXPECT_EQ(BodyOf(*frame), body) << slice_bytes;
  }
}

TEST(BlockFrameWire, ReadsAFrameWithoutFields) {
  const absl::StatusOr<ReceivedFrame> frame = ReceivedFrame::Parse(grpc::ByteBuffer(nullptr, 0));
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->body_bytes(), 0u);
  EXPECT_EQ(frame->head().ByteSizeLong(), 0u);
}

TEST(BlockFrameWire, ReadsABodyThatIsNotLast) {
  v1::BlockFrame only_body;
  only_body.set_body("body");
  const std::string bytes = only_body.SerializeAsString() + FullHead().SerializeAsString();
  const absl::StatusOr<ReceivedFrame> frame = ReceivedFrame::Parse(InSlices(bytes, 11));
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->head().SerializeAsString(), FullHead().SerializeAsString());
  EXPECT_EQ(BodyOf(*frame), std::vector<uint8_t>({'b', 'o', 'd', 'y'}));
}

TEST(BlockFrameWire, TheLastOfTwoBodiesCounts) {
  v1::BlockFrame first, second;
  first.set_body("first");
  second.set_body("second");
  const std::string bytes = first.SerializeAsString() + second.SerializeAsString();
  const absl::StatusOr<ReceivedFrame> frame = ReceivedFrame::Parse(InSlices(bytes, 4));
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(BodyOf(*frame), std::vector<uint8_t>({'s', 'e', 'c', 'o', 'n', 'd'}));
}

TEST(BlockFrameWire, IgnoresFieldsThatItDoesNotKnow) {
  v1::BlockFrame body;
  body.set_body("xyz");
  const std::string field_15("\x7A\x02hi", 4);
  const std::string bytes = field_15 + FullHead().SerializeAsString() + body.SerializeAsString();
  const absl::StatusOr<ReceivedFrame> frame = ReceivedFrame::Parse(InSlices(bytes, 3));
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->head().block_index(), 300u);
  EXPECT_EQ(BodyOf(*frame), std::vector<uint8_t>({'x', 'y', 'z'}));
}

TEST(BlockFrameWire, RejectsBytesThatAreNoFrame) {
  const std::string whole = Flat(SerializeFrameCopy(FullHead(), CountingBody(50)));
  for (size_t length = whole.size() - 52; length < whole.size(); ++length) {
    EXPECT_EQ(ReceivedFrame::Parse(InSlices(whole.substr(0, length), 16)).status().code(), absl::StatusCode::kDataLoss)
        << "cut to " << length;
  }
  EXPECT_EQ(ReceivedFrame::Parse(InSlices(whole + "\x07", 16)).status().code(), absl::StatusCode::kDataLoss);
  // A body length near 2^64 must not wrap around to one that fits.
  std::string wrapped = FullHead().SerializeAsString() + "\xC2\x3E";
  wrapped += "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01";
  EXPECT_EQ(ReceivedFrame::Parse(InSlices(wrapped, 16)).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace polarkv
