// What one Store stream sends and what the acks say about it.
#ifndef POLARKV_CLIENT_STORE_PROGRESS_H_
#define POLARKV_CLIENT_STORE_PROGRESS_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "client/kv_client.h"
#include "polarkv/v1/kv_store.pb.h"

namespace polarkv {

// The frames of items[wanted[0]], items[wanted[1]], ... in order. Not thread-safe; everything given must outlive it.
class StoreFrames {
 public:
  StoreFrames(const Fingerprint& fingerprint, std::span<const StoreItem> items, std::span<const uint32_t> wanted,
              uint32_t frame_bytes)
      : fingerprint_(fingerprint), items_(items), wanted_(wanted), frame_bytes_(frame_bytes) {}

  bool done() const { return next_ == wanted_.size(); }
  // The next frame; the block's bytes are copied into it.
  grpc::ByteBuffer Next();
  // Blocks of which at least one frame was handed out.
  size_t begun() const { return next_ + (offset_ > 0 ? 1 : 0); }

 private:
  const Fingerprint& fingerprint_;
  const std::span<const StoreItem> items_;
  const std::span<const uint32_t> wanted_;
  const uint32_t frame_bytes_;
  size_t next_ = 0;
  uint64_t offset_ = 0;  // in the block under way
};

// Turns acks into outcomes[wanted[0]], outcomes[wanted[1]], ...
class StoreAcks {
 public:
  StoreAcks(std::span<const StoreItem> items, std::span<StoreOutcome> outcomes, std::span<const uint32_t> wanted)
      : items_(items), outcomes_(outcomes), wanted_(wanted), seen_(wanted.size(), false) {}

  // DATA_LOSS: an ack for a block that was not sent (`begun` were), was acknowledged before, or has another key.
  // UNKNOWN: a status that this client does not know; the block stays kNotAcknowledged.
  absl::Status OnAck(const v1::StoreAck& ack, size_t begun);
  bool complete() const { return count_ == wanted_.size(); }
  size_t count() const { return count_; }

 private:
  const std::span<const StoreItem> items_;
  const std::span<StoreOutcome> outcomes_;
  const std::span<const uint32_t> wanted_;
  std::vector<bool> seen_;
  size_t count_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_STORE_PROGRESS_H_
