// BlockFrame as bytes on the wire, with its body moved by reference or copied once: stock protobuf would copy it three
// times. Both forms are plain protobuf, readable and writable by any implementation.
#ifndef POLARKV_PROTO_BLOCK_FRAME_WIRE_H_
#define POLARKV_PROTO_BLOCK_FRAME_WIRE_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "polarkv/v1/kv_store.pb.h"

namespace polarkv {

// A frame with the fields of `head`, whose own body must be empty, and `body` by reference: gRPC holds a reference to
// the slice until the bytes are sent. An empty body is left out.
grpc::ByteBuffer SerializeFrame(const v1::BlockFrame& head, const grpc::Slice& body);
// The body in several pieces, back to back.
grpc::ByteBuffer SerializeFrame(const v1::BlockFrame& head, std::span<const grpc::Slice> body);

// The same with a body that the caller may change or free as soon as this returns (one copy).
grpc::ByteBuffer SerializeFrameCopy(const v1::BlockFrame& head, std::span<const uint8_t> body);

// A frame as received. Its body stays in the transport's buffers until it is copied out.
class ReceivedFrame {
 public:
  // DATA_LOSS: the bytes are not a BlockFrame.
  static absl::StatusOr<ReceivedFrame> Parse(const grpc::ByteBuffer& buffer);

  // Every field but the body.
  const v1::BlockFrame& head() const { return head_; }
  uint64_t body_bytes() const { return body_bytes_; }
  // `destination` holds body_bytes() bytes.
  void CopyBodyTo(uint8_t* destination) const;

 private:
  v1::BlockFrame head_;
  std::vector<grpc::Slice> slices_;  // the body: body_bytes_ bytes from body_offset_ on
  std::string unordered_body_;       // instead of slices_ when the sender did not put the body last
  uint64_t body_offset_ = 0;
  uint64_t body_bytes_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_PROTO_BLOCK_FRAME_WIRE_H_
