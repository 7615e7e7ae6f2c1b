// The running Store rpcs.
#ifndef POLARKV_SERVICE_STORE_STREAM_H_
#define POLARKV_SERVICE_STORE_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "absl/status/status.h"
#include "service/service_context.h"

namespace polarkv {

class StoreStream;

// Thread-safe.
class StoreStreams {
 public:
  explicit StoreStreams(ServiceContext& context) : context_(context) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start();
  // Ends every stream with UNAVAILABLE as soon as it is between two blocks; those that come later at once.
  void Drain();
  // Ends the streams that stopped sending in the middle of a block.
  void EndStalled(std::chrono::steady_clock::time_point now);

 private:
  friend class StoreStream;
  void Forget(StoreStream* stream);

  ServiceContext& context_;
  std::mutex mu_;
  std::unordered_set<std::shared_ptr<StoreStream>> running_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_STORE_STREAM_H_
