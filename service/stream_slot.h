// A stream's place among those that a server runs at once.
#ifndef POLARKV_SERVICE_STREAM_SLOT_H_
#define POLARKV_SERVICE_STREAM_SLOT_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "service/service_context.h"

namespace polarkv {

// Given back before the stream's end goes out, so that a client that saw one stream end can start the next; at the latest
// when it goes away. Not thread-safe.
class StreamSlot {
 public:
  StreamSlot() = default;
  ~StreamSlot() { Release(); }
  StreamSlot(const StreamSlot&) = delete;
  StreamSlot& operator=(const StreamSlot&) = delete;

  // UNAVAILABLE: the server is shutting down. RESOURCE_EXHAUSTED: too many streams.
  absl::Status Take(ServiceContext& context) {
    if (context.draining) {
      return absl::UnavailableError("this server is shutting down; use another node or try again later");
    }
    const uint32_t limit = context.limits.max_streams;
    if (++context.streams > limit) {
      --context.streams;
      return absl::ResourceExhaustedError(
          absl::StrCat(limit, " streams are running, as many as this server runs; try again later"));
    }
    context_ = &context;
    return absl::OkStatus();
  }

  void Release() {
    if (context_ != nullptr) --context_->streams;
    context_ = nullptr;
  }

 private:
  ServiceContext* context_ = nullptr;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_STREAM_SLOT_H_
