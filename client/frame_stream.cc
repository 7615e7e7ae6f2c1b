#include "client/frame_stream.h"

#include "proto/status_conversion.h"

namespace polarkv {

FrameStream::FrameStream(const std::shared_ptr<grpc::Channel>& channel, const char* method,
                         const CallDeadline& deadline) {
  context_.set_deadline(deadline.ForGrpc());
  // The call's head travels with the first message.
  context_.set_initial_metadata_corked(true);
  grpc::GenericStub stub(channel);
  call_ = stub.PrepareCall(&context_, method, &queue_);
  call_->StartCall(nullptr);  // corked: no event comes of it
}

FrameStream::~FrameStream() {
  context_.TryCancel();
  queue_.Shutdown();
  void* tag;
  bool ok;
  // gRPC may write to received_ and the like until each operation was reported.
  while (queue_.Next(&tag, &ok)) {
  }
}

void* FrameStream::Begin(Op op) { return reinterpret_cast<void*>(static_cast<intptr_t>(op)); }

void FrameStream::StartWrite(const grpc::ByteBuffer& message, bool last) {
  grpc::WriteOptions options;
  if (last) options.set_last_message();
  call_->Write(message, options, Begin(Op::kWrite));
}

void FrameStream::StartHalfClose() { call_->WritesDone(Begin(Op::kHalfClose)); }

void FrameStream::StartRead() { call_->Read(&received_, Begin(Op::kRead)); }

FrameStream::Event FrameStream::Next() {
  void* tag = nullptr;
  bool ok = false;
  queue_.Next(&tag, &ok);
  return {static_cast<Op>(reinterpret_cast<intptr_t>(tag)), ok};
}

absl::Status FrameStream::Finish() {
  grpc::Status status;
  call_->Finish(&status, Begin(Op::kFinish));
  while (Next().op != Op::kFinish) {
  }
  return FromGrpcStatus(status);
}

}  // namespace polarkv
