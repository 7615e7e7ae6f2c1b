#include "proto/block_frame_wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <cstring>

namespace polarkv {
namespace {

using google::protobuf::internal::WireFormatLite;

constexpr uint32_t kBodyTag =
    WireFormatLite::MakeTag(v1::BlockFrame::kBodyFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);

struct BodyPlace {
  uint64_t head_bytes = 0;  // before the body's tag
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// Finds a body that is the last field; false for every other legal or illegal arrangement.
bool FindTrailingBody(grpc::ByteBuffer& buffer, BodyPlace& place) {
  grpc::ProtoBufferReader reader(&buffer);
  google::protobuf::io::CodedInputStream input(&reader);
  for (;;) {
    place.head_bytes = static_cast<uint64_t>(input.CurrentPosition());
    const uint32_t tag = input.ReadTag();
    if (tag == 0) return false;
    if (tag == kBodyTag) break;
    if (!WireFormatLite::SkipField(&input, tag)) return false;
  }
  if (!input.ReadVarint64(&place.bytes)) return false;
  place.offset = static_cast<uint64_t>(input.CurrentPosition());
  return place.offset + place.bytes == buffer.Length();
}

// Calls `visit` with each run of bytes [offset, offset + length) of the slices.
template <typename Visit>
void ForEachRun(const std::vector<grpc::Slice>& slices, uint64_t offset, uint64_t length, Visit visit) {
  for (const grpc::Slice& slice : slices) {
    if (length == 0) return;
    if (offset >= slice.size()) {
      offset -= slice.size();
      continue;
    }
    const uint64_t run = std::min<uint64_t>(slice.size() - offset, length);
    visit(slice.begin() + offset, run);
    offset = 0;
    length -= run;
  }
}

std::string BodyPrefix(const v1::BlockFrame& head, uint64_t body_bytes) {
  std::string bytes = head.SerializeAsString();
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream output(&stream);
  output.WriteTag(kBodyTag);
  output.WriteVarint64(body_bytes);
  output.Trim();
  return bytes;
}

}  // namespace

grpc::ByteBuffer SerializeFrame(const v1::BlockFrame& head, const grpc::Slice& body) {
  return SerializeFrame(head, std::span(&body, 1));
}

grpc::ByteBuffer SerializeFrame(const v1::BlockFrame& head, std::span<const grpc::Slice> body) {
  uint64_t body_bytes = 0;
  for (const grpc::Slice& piece : body) body_bytes += piece.size();
  if (body_bytes == 0) {
    const grpc::Slice slice(head.SerializeAsString());
    return grpc::ByteBuffer(&slice, 1);
  }
  std::vector<grpc::Slice> slices;
  slices.reserve(body.size() + 1);
  slices.emplace_back(BodyPrefix(head, body_bytes));
  slices.insert(slices.end(), body.begin(), body.end());
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::ByteBuffer SerializeFrameCopy(const v1::BlockFrame& head, std::span<const uint8_t> body) {
  return SerializeFrame(head, grpc::Slice(body.data(), body.size()));
}

absl::StatusOr<ReceivedFrame> ReceivedFrame::Parse(const grpc::ByteBuffer& buffer) {
  ReceivedFrame frame;
  grpc::ByteBuffer bytes = buffer;  // another reference, not a copy
  if (BodyPlace place; FindTrailingBody(bytes, place)) {
    if (!bytes.Dump(&frame.slices_).ok()) return absl::DataLossError("a frame could not be read");
    std::string head;
    ForEachRun(frame.slices_, 0, place.head_bytes,
               [&](const uint8_t* run, uint64_t length) { head.append(reinterpret_cast<const char*>(run), length); });
    if (!frame.head_.ParseFromString(head)) return absl::DataLossError("a frame is not a polarkv.v1.BlockFrame");
    frame.body_offset_ = place.offset;
    frame.body_bytes_ = place.bytes;
    return frame;
  }
  grpc::ProtoBufferReader reader(&bytes);
  if (!reader.status().ok() || !frame.head_.ParseFromZeroCopyStream(&reader)) {
    return absl::DataLossError("a frame is not a polarkv.v1.BlockFrame");
  }
  // Protobuf's rule: of a field given twice the last one counts.
  frame.unordered_body_ = std::move(*frame.head_.mutable_body());
  frame.head_.clear_body();
  frame.body_bytes_ = frame.unordered_body_.size();
  return frame;
}

void ReceivedFrame::CopyBodyTo(uint8_t* destination) const {
  if (slices_.empty()) {
    std::memcpy(destination, unordered_body_.data(), unordered_body_.size());
    return;
  }
  ForEachRun(slices_, body_offset_, body_bytes_, [&](const uint8_t* run, uint64_t length) {
    std::memcpy(destination, run, length);
    destination += length;
  });
}

}  // namespace polarkv
