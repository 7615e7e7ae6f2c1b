#include "client/store_progress.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "proto/block_frame_wire.h"
#include "proto/packed_keys.h"

namespace polarkv {
namespace {

std::optional<StoreOutcome> OutcomeFromProto(v1::StoreStatus status) {
  switch (status) {
    case v1::STORE_STATUS_STORED:
      return StoreOutcome::kStored;
    case v1::STORE_STATUS_DUPLICATE:
      return StoreOutcome::kDuplicate;
    case v1::STORE_STATUS_CONFLICT:
      return StoreOutcome::kConflict;
    case v1::STORE_STATUS_BAD_CHECKSUM:
      return StoreOutcome::kBadChecksum;
    case v1::STORE_STATUS_UNSUPPORTED:
      return StoreOutcome::kUnsupported;
    case v1::STORE_STATUS_MISMATCH:
      return StoreOutcome::kMismatch;
    case v1::STORE_STATUS_NO_SPACE:
      return StoreOutcome::kNoSpace;
    case v1::STORE_STATUS_TOO_LARGE:
      return StoreOutcome::kTooLarge;
    case v1::STORE_STATUS_BAD_FRAME:  // this client sends none: the frames were damaged on the way
    case v1::STORE_STATUS_IO_ERROR:
      return StoreOutcome::kIoError;
    default:
      return std::nullopt;
  }
}

}  // namespace

grpc::ByteBuffer StoreFrames::Next() {
  const StoreItem& item = items_[wanted_[next_]];
  v1::BlockFrame head;
  if (next_ == 0 && offset_ == 0) head.set_fingerprint(PackFingerprint(fingerprint_));
  if (offset_ == 0) {
    head.set_key(PackKey(item.key));
    if (item.parent != BlockKey{}) head.set_parent_key(PackKey(item.parent));
    head.set_total_bytes(item.block.size());
  }
  head.set_block_index(static_cast<uint32_t>(next_));
  head.set_offset(offset_);
  const uint64_t length = std::min<uint64_t>(frame_bytes_, item.block.size() - offset_);
  grpc::ByteBuffer frame = SerializeFrameCopy(head, item.block.subspan(offset_, length));
  offset_ += length;
  if (offset_ == item.block.size()) {
    ++next_;
    offset_ = 0;
  }
  return frame;
}

absl::Status StoreAcks::OnAck(const v1::StoreAck& ack, size_t begun) {
  const uint32_t index = ack.block_index();
  if (index >= begun) {
    return absl::DataLossError(absl::StrCat("the server acknowledged block ", index, ", which was not sent"));
  }
  if (seen_[index]) return absl::DataLossError(absl::StrCat("the server acknowledged block ", index, " twice"));
  if (ack.key() != PackKey(items_[wanted_[index]].key)) {
    return absl::DataLossError(absl::StrCat("the server acknowledged block ", index, " under another key"));
  }
  const std::optional<StoreOutcome> outcome = OutcomeFromProto(ack.status());
  if (!outcome) {
    return absl::UnknownError(absl::StrCat("the server acknowledged block ", index, " with status ", ack.status(),
                                           ", unknown to this client"));
  }
  outcomes_[wanted_[index]] = *outcome;
  seen_[index] = true;
  ++count_;
  return absl::OkStatus();
}

}  // namespace polarkv
