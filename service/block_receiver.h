// Puts blocks together from the frames of one Store stream, checks them and stores them.
#ifndef POLARKV_SERVICE_BLOCK_RECEIVER_H_
#define POLARKV_SERVICE_BLOCK_RECEIVER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "polarkv/v1/kv_store.pb.h"
#include "proto/block_frame_wire.h"
#include "service/service_context.h"

namespace polarkv {

// Used by one thread at a time.
class BlockReceiver {
 public:
  using Acks = std::vector<v1::StoreAck>;

  explicit BlockReceiver(ServiceContext& context) : context_(context) {}
  ~BlockReceiver();
  BlockReceiver(const BlockReceiver&) = delete;
  BlockReceiver& operator=(const BlockReceiver&) = delete;

  // Appends an ack for each block that this frame decides. An error ends the stream: INVALID_ARGUMENT (a field is
  // malformed), NOT_FOUND (the namespace: it is unknown, or was deleted since the stream began).
  absl::Status Receive(const ReceivedFrame& frame, Acks& acks);
  // No more frames come: an unfinished block is refused.
  void End(Acks& acks);
  // Between blocks, or dropping the rest of a refused one.
  bool idle() const { return buffer_ == nullptr; }

 private:
  absl::Status CheckNamespace(const v1::BlockFrame& head);
  absl::Status BeginBlock(const v1::BlockFrame& head, const BlockKey& key, Acks& acks);
  absl::Status AcceptBody(const ReceivedFrame& frame, Acks& acks);
  absl::Status Finish(Acks& acks);
  absl::Status StillOpen() const;
  PutItem Item(uint64_t block_index) const;
  void Decide(v1::StoreStatus status, std::string message, Acks& acks);
  void DropBuffer();

  ServiceContext& context_;
  NamespacePtr ns_;
  // The block under way: it has a buffer until it is decided.
  std::optional<BlockKey> key_;
  std::optional<BlockKey> parent_;
  uint32_t block_index_ = 0;  // in the stream
  std::shared_ptr<BlockBuffer> buffer_;
  uint64_t received_ = 0;
  bool complete_ = false;  // all its bytes came
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_RECEIVER_H_
