// The frames of one Fetch, one after the other.
#ifndef POLARKV_SERVICE_FETCH_SOURCE_H_
#define POLARKV_SERVICE_FETCH_SOURCE_H_

#include <grpcpp/support/byte_buffer.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_view.h"
#include "polarkv/v1/kv_store.pb.h"
#include "service/service_context.h"

namespace polarkv {

// Used by one thread at a time.
class FetchSource {
 public:
  // INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED: as the rpc.
  static absl::StatusOr<FetchSource> Make(ServiceContext& context, const v1::FetchRequest& request);

  // The next frame; its body refers to the stored bytes and keeps them alive. May read from the disk. nullopt: all sent.
  std::optional<grpc::ByteBuffer> Next();

 private:
  FetchSource(ServiceContext& context, NamespacePtr ns, std::vector<BlockKey> keys);
  v1::BlockStatus OpenBlock();
  v1::BlockFrame NewFrame() const;
  std::vector<grpc::Slice> TakeBody();

  ServiceContext* context_;
  NamespacePtr ns_;
  std::vector<BlockKey> keys_;
  BlockSelection selection_;
  uint32_t frame_bytes_ = 0;
  size_t next_key_ = 0;
  // The block that is being sent, if any, and what is left of it.
  BlockBytes block_;
  std::vector<ByteRange> ranges_;
  size_t range_ = 0;
  uint64_t sent_ = 0, total_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_FETCH_SOURCE_H_
