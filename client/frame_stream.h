// One streaming call with raw messages, driven from one thread: writes and reads overlap, events come one by one.
#ifndef POLARKV_CLIENT_FRAME_STREAM_H_
#define POLARKV_CLIENT_FRAME_STREAM_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "client/call_deadline.h"

namespace polarkv {

// Not thread-safe. Every operation ends by the deadline at the latest, so Next() never blocks for longer. Destroying
// the stream cancels what is still under way.
class FrameStream {
 public:
  enum class Op { kRead, kWrite, kHalfClose, kFinish };
  struct Event {
    Op op;
    bool ok;  // false: the stream is broken or, for kRead, at its end; Finish() says why
  };

  // `method` is the full name, "/package.Service/Method". The call starts with the first write.
  FrameStream(const std::shared_ptr<grpc::Channel>& channel, const char* method, const CallDeadline& deadline);
  ~FrameStream();
  FrameStream(const FrameStream&) = delete;
  FrameStream& operator=(const FrameStream&) = delete;

  // At most one write and one read at a time; the first write precedes the first read.
  void StartWrite(const grpc::ByteBuffer& message, bool last);
  void StartHalfClose();  // after the last write's event, where that write was not marked as last
  void StartRead();

  // The next operation to end, with at least one under way.
  Event Next();
  // The message of the last successful read.
  const grpc::ByteBuffer& received() const { return received_; }

  // Waits for the server's status. No read may be under way.
  absl::Status Finish();

 private:
  void* Begin(Op op);

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::ByteBuffer received_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_FRAME_STREAM_H_
