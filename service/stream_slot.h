// A stream's place among those that a server runs at once, and its part in what a stopping server waits for.
#ifndef POLARKV_SERVICE_STREAM_SLOT_H_
#define POLARKV_SERVICE_STREAM_SLOT_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "service/service_context.h"

namespace polarkv {

// The place is given back before the stream's end goes out, so that a client that saw one stream end can start the next; at
// the latest when the slot goes away. It must go away no earlier than gRPC is done with the stream: until then the stream
// counts as open. Not thread-safe.
class StreamSlot {
 public:
  explicit StreamSlot(ServiceContext& context) : context_(context) { ++context_.open_streams; }
  ~StreamSlot() {
    Release();
    --context_.open_streams;
  }
  StreamSlot(const StreamSlot&) = delete;
  StreamSlot& operator=(const StreamSlot&) = delete;

  // UNAVAILABLE: the server is shutting down. RESOURCE_EXHAUSTED: too many streams.
  absl::Status Take() {
    if (context_.draining) {
      return absl::UnavailableError("this server is shutting down; use another node or try again later");
    }
    const uint32_t limit = context_.limits.max_streams;
    if (++context_.streams > limit) {
      --context_.streams;
      return absl::ResourceExhaustedError(
          absl::StrCat(limit, " streams are running, as many as this server runs; try again later"));
    }
    taken_ = true;
    return absl::OkStatus();
  }

  void Release() {
    if (taken_) --context_.streams;
    taken_ = false;
  }

 private:
  ServiceContext& context_;
  bool taken_ = false;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_STREAM_SLOT_H_
