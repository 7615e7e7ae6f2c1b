// Store: one stream of frames out, one stream of acks back, at the same time.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/frame_stream.h"
#include "client/kv_client_impl.h"
#include "client/store_progress.h"

namespace polarkv {
namespace {

constexpr char kStoreMethod[] = "/polarkv.v1.KvStore/Store";

absl::Status CheckItems(std::span<const StoreItem> items, std::span<const StoreOutcome> outcomes) {
  if (items.size() != outcomes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("store: ", items.size(), " items, ", outcomes.size(), " outcomes"));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].block.empty()) return absl::InvalidArgumentError(absl::StrCat("store: block ", i, " is empty"));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::StoreAck> ParseAck(const grpc::ByteBuffer& buffer) {
  v1::StoreAck ack;
  grpc::Slice bytes;
  if (!buffer.DumpToSingleSlice(&bytes).ok() || !ack.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("an answer of the server is not a polarkv.v1.StoreAck");
  }
  return ack;
}

// One stream; OK when every block was acknowledged.
absl::Status RunStream(NodeConnection& node, const CallDeadline& deadline, StoreFrames& frames, StoreAcks& acks) {
  FrameStream stream(node.NextChannel(), kStoreMethod, deadline);
  const auto write_next = [&] {
    grpc::ByteBuffer frame = frames.Next();  // decides done()
    stream.StartWrite(frame, /*last=*/frames.done());
  };
  write_next();
  stream.StartRead();
  for (;;) {
    const FrameStream::Event event = stream.Next();
    if (event.op == FrameStream::Op::kWrite) {
      // A failed write means a dead stream: the read under way will tell.
      if (event.ok && !frames.done()) write_next();
      continue;
    }
    if (!event.ok) break;
    if (acks.complete()) return absl::OkStatus();  // what comes after the last ack is nobody's concern
    absl::StatusOr<v1::StoreAck> ack = ParseAck(stream.received());
    absl::Status status = ack.ok() ? acks.OnAck(*ack, frames.begun()) : ack.status();
    if (!status.ok()) return status;
    stream.StartRead();
  }
  const absl::Status status = stream.Finish();
  if (acks.complete()) return absl::OkStatus();
  if (!status.ok()) return status;
  return absl::DataLossError(
      absl::StrCat("the server ended the stream after ", acks.count(), " acks, before the last one"));
}

std::vector<uint32_t> Unacknowledged(std::span<const StoreOutcome> outcomes) {
  std::vector<uint32_t> indices;
  for (uint32_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i] == StoreOutcome::kNotAcknowledged) indices.push_back(i);
  }
  return indices;
}

}  // namespace

absl::Status KvClient::Store(const NamespaceHandle& ns, std::span<const StoreItem> items,
                             std::span<StoreOutcome> outcomes, Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  std::fill(outcomes.begin(), outcomes.end(), StoreOutcome::kNotAcknowledged);
  if (absl::Status status = CheckItems(items, outcomes); !status.ok()) return status;
  if (items.empty()) return absl::OkStatus();
  return impl_->InNamespace("store", ns, call_deadline, [&](const NodeLimits& limits) -> absl::Status {
    for (size_t i = 0; i < items.size(); ++i) {
      if (items[i].block.size() > limits.block_bytes) outcomes[i] = StoreOutcome::kTooLarge;
    }
    const std::vector<uint32_t> wanted = Unacknowledged(outcomes);
    if (wanted.empty()) return absl::OkStatus();
    StoreFrames frames(ns.fingerprint, items, wanted, limits.frame_bytes);
    StoreAcks acks(items, outcomes, wanted);
    return RunStream(impl_->node, call_deadline, frames, acks);
  });
}

}  // namespace polarkv
