#include "service/store_stream.h"

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "proto/status_conversion.h"
#include "service/block_receiver.h"
#include "service/stream_slot.h"

namespace polarkv {
namespace {

// Acks that a client has not taken yet, beyond which no more of its frames are read.
constexpr size_t kMaxAcksWaiting = 64;

grpc::ByteBuffer Serialize(const v1::StoreAck& ack) {
  const grpc::Slice slice(ack.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status ShuttingDown() {
  return absl::UnavailableError("this server is shutting down; store on another node or try again later");
}

}  // namespace

// Reading, working on a frame and writing acks overlap. mu_ guards the state, and every operation is started under it:
// so nothing is started after Finish. gRPC reports completions on its own threads, never from inside these calls.
class StoreStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                          public std::enable_shared_from_this<StoreStream> {
 public:
  StoreStream(ServiceContext& context, StoreStreams& home)
      : context_(context), home_(home), slot_(context), receiver_(context) {}

  void Begin() {
    const std::lock_guard lock(mu_);
    absl::Status slot = slot_.Take();
    if (!slot.ok()) EndLocked(std::move(slot));
    AdvanceLocked();
  }

  void OnReadDone(bool ok) override {
    const std::shared_ptr<StoreStream> self = shared_from_this();
    const std::lock_guard lock(mu_);
    reading_ = false;
    last_frame_ = std::chrono::steady_clock::now();
    if (finished_) return;
    working_ = true;
    context_.writers.Submit([self, ok] { self->Work(ok); });
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mu_);
    writing_ = false;
    if (!ok) {
      acks_.clear();
      EndLocked(absl::CancelledError("the client is gone"));
    }
    AdvanceLocked();
  }

  void OnDone() override { home_.Forget(this); }

  void Drain() {
    const std::lock_guard lock(mu_);
    if (!working_ && receiver_.idle()) EndLocked(ShuttingDown());
    AdvanceLocked();
  }

  void EndIfStalled(std::chrono::steady_clock::time_point now) {
    const std::lock_guard lock(mu_);
    if (working_ || !reading_ || receiver_.idle() || now - last_frame_ < context_.limits.stalled_after) return;
    EndLocked(absl::DeadlineExceededError("no frame came for too long in the middle of a block"));
    AdvanceLocked();
  }

 private:
  // On a thread of the pool.
  void Work(bool ok) {
    BlockReceiver::Acks acks;
    absl::Status status;
    if (ok) {
      const absl::StatusOr<ReceivedFrame> frame = ReceivedFrame::Parse(frame_);
      frame_.Clear();
      status = frame.ok() ? receiver_.Receive(*frame, acks) : absl::InvalidArgumentError(frame.status().message());
    } else {
      receiver_.End(acks);
    }
    const std::lock_guard lock(mu_);
    working_ = false;
    for (const v1::StoreAck& ack : acks) acks_.push_back(Serialize(ack));
    if (!ok || !status.ok()) {
      EndLocked(std::move(status));
    } else if (context_.draining && receiver_.idle()) {
      EndLocked(ShuttingDown());
    }
    AdvanceLocked();
  }

  // The first end counts.
  void EndLocked(absl::Status status) {
    if (!end_.has_value()) end_ = std::move(status);
  }

  // Starts whatever can be started now.
  void AdvanceLocked() {
    if (finished_) return;
    if (!writing_ && !acks_.empty()) {
      ack_ = std::move(acks_.front());
      acks_.pop_front();
      writing_ = true;
      StartWrite(&ack_);
    }
    if (end_.has_value()) {
      if (working_ || writing_) return;
      finished_ = true;
      slot_.Release();
      Finish(ToGrpcStatus(*end_));
    } else if (!reading_ && !working_ && acks_.size() < kMaxAcksWaiting) {
      reading_ = true;
      StartRead(&frame_);
    }
  }

  ServiceContext& context_;
  StoreStreams& home_;
  std::mutex mu_;
  StreamSlot slot_;
  BlockReceiver receiver_;  // used by Work; by others only while it does not run
  grpc::ByteBuffer frame_, ack_;
  std::deque<grpc::ByteBuffer> acks_;
  bool reading_ = false, working_ = false, writing_ = false, finished_ = false;
  std::optional<absl::Status> end_;
  std::chrono::steady_clock::time_point last_frame_ = std::chrono::steady_clock::now();
};

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StoreStreams::Start() {
  auto stream = std::make_shared<StoreStream>(context_, *this);
  {
    const std::lock_guard lock(mu_);
    running_.insert(stream);
  }
  stream->Begin();
  return stream.get();
}

void StoreStreams::Drain() {
  std::vector<std::shared_ptr<StoreStream>> streams;
  {
    const std::lock_guard lock(mu_);
    streams.assign(running_.begin(), running_.end());
  }
  for (const auto& stream : streams) stream->Drain();
}

void StoreStreams::EndStalled(std::chrono::steady_clock::time_point now) {
  std::vector<std::shared_ptr<StoreStream>> streams;
  {
    const std::lock_guard lock(mu_);
    streams.assign(running_.begin(), running_.end());
  }
  for (const auto& stream : streams) stream->EndIfStalled(now);
}

void StoreStreams::Forget(StoreStream* stream) {
  std::shared_ptr<StoreStream> last;  // destroyed after the lock is released
  const std::lock_guard lock(mu_);
  const auto found = running_.find(stream->shared_from_this());
  last = *found;
  running_.erase(found);
}

}  // namespace polarkv
