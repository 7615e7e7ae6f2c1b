#include "service/fetch_stream.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <optional>
#include <utility>

#include "proto/status_conversion.h"
#include "service/fetch_source.h"
#include "service/stream_slot.h"

namespace polarkv {
namespace {

absl::StatusOr<v1::FetchRequest> ParseRequest(const grpc::ByteBuffer& bytes) {
  grpc::ByteBuffer buffer = bytes;  // another reference, not a copy
  grpc::ProtoBufferReader reader(&buffer);
  v1::FetchRequest request;
  if (!reader.status().ok() || !request.ParseFromZeroCopyStream(&reader)) {
    return absl::InvalidArgumentError("the request is not a polarkv.v1.FetchRequest");
  }
  return request;
}

// At any time one thread works on it: a reader of the pool, or gRPC between a write's start and its end.
class FetchStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  FetchStream(ServiceContext& context, grpc::CallbackServerContext* call)
      : context_(context), call_(call), slot_(context) {}

  void Start(const grpc::ByteBuffer& bytes) {
    const absl::StatusOr<v1::FetchRequest> request = ParseRequest(bytes);
    if (!request.ok()) return End(ToGrpcStatus(request.status()));
    lease_ = request->release_lease();
    if (absl::Status s = slot_.Take(); !s.ok()) return End(ToGrpcStatus(s));
    absl::StatusOr<FetchSource> source = FetchSource::Make(context_, *request);
    if (!source.ok()) return End(ToGrpcStatus(source.status()));
    source_.emplace(*std::move(source));
    SendNext();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(grpc::Status::CANCELLED);
    SendNext();
  }

  void OnDone() override {
    GiveBack();
    delete this;
  }

 private:
  // What the stream held is free before its end goes out: a client that saw the end may count on it.
  void End(grpc::Status status) {
    GiveBack();
    Finish(std::move(status));
  }

  void GiveBack() {
    slot_.Release();
    if (lease_ != 0) context_.store.ReleaseLease(lease_);
    lease_ = 0;
  }

  void SendNext() {
    context_.readers.Submit([this] {
      if (call_->IsCancelled()) return End(grpc::Status::CANCELLED);
      std::optional<grpc::ByteBuffer> frame = source_->Next();
      if (!frame.has_value()) return End(grpc::Status::OK);
      frame_ = *std::move(frame);
      StartWrite(&frame_);
    });
  }

  ServiceContext& context_;
  grpc::CallbackServerContext* const call_;
  StreamSlot slot_;
  uint64_t lease_ = 0;
  std::optional<FetchSource> source_;
  grpc::ByteBuffer frame_;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartFetch(ServiceContext& context, grpc::CallbackServerContext* call,
                                                       const grpc::ByteBuffer& request) {
  auto* stream = new FetchStream(context, call);
  stream->Start(request);
  return stream;
}

}  // namespace polarkv
