#include "service/block_receiver.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "codec/block_view.h"
#include "proto/packed_keys.h"

namespace polarkv {
namespace {

v1::StoreStatus ToStoreStatus(PutOutcome outcome) {
  switch (outcome) {
    case PutOutcome::kStored:
      return v1::STORE_STATUS_STORED;
    case PutOutcome::kDuplicate:
      return v1::STORE_STATUS_DUPLICATE;
    case PutOutcome::kConflict:
      return v1::STORE_STATUS_CONFLICT;
    case PutOutcome::kMismatch:
      return v1::STORE_STATUS_MISMATCH;
    case PutOutcome::kNoSpace:
      return v1::STORE_STATUS_NO_SPACE;
    case PutOutcome::kIoError:
      return v1::STORE_STATUS_IO_ERROR;
  }
  return v1::STORE_STATUS_UNSPECIFIED;
}

}  // namespace

BlockReceiver::~BlockReceiver() { DropBuffer(); }

absl::Status BlockReceiver::Receive(const ReceivedFrame& frame, Acks& acks) {
  const v1::BlockFrame& head = frame.head();
  if (absl::Status s = CheckNamespace(head); !s.ok()) return s;
  if (head.key().empty()) {
    if (!key_.has_value()) return absl::InvalidArgumentError("key: missing on the first frame of a block");
  } else {
    const absl::StatusOr<BlockKey> key = UnpackKey(head.key(), "key");
    if (!key.ok()) return key.status();
    const bool continues = key_ == *key && head.offset() > 0;
    if (!continues) {
      End(acks);
      if (absl::Status s = BeginBlock(head, *key, acks); !s.ok()) return s;
    }
  }
  if (complete_) return absl::InvalidArgumentError("offset: a frame beyond the end of its block");
  if (buffer_ != nullptr) AcceptBody(frame, acks);
  return absl::OkStatus();
}

absl::Status BlockReceiver::CheckNamespace(const v1::BlockFrame& head) {
  if (head.fingerprint().empty() && ns_ != nullptr) return absl::OkStatus();
  const absl::StatusOr<Fingerprint> fingerprint = UnpackFingerprint(head.fingerprint());
  if (!fingerprint.ok()) return fingerprint.status();
  if (ns_ != nullptr) {
    if (*fingerprint == ns_->fingerprint) return absl::OkStatus();
    return absl::InvalidArgumentError("fingerprint: a stream stores into one namespace, this is a second one");
  }
  absl::StatusOr<NamespacePtr> ns = context_.namespaces.Find(*fingerprint);
  if (!ns.ok()) return ns.status();
  ns_ = *std::move(ns);
  return absl::OkStatus();
}

absl::Status BlockReceiver::BeginBlock(const v1::BlockFrame& head, const BlockKey& key, Acks& acks) {
  key_ = key;
  parent_.reset();
  block_index_ = head.block_index();
  received_ = 0;
  complete_ = false;
  if (!head.parent_key().empty()) {
    const absl::StatusOr<BlockKey> parent = UnpackKey(head.parent_key(), "parent_key");
    if (!parent.ok()) return parent.status();
    parent_ = *parent;
  }
  const uint64_t total = head.total_bytes();
  const uint64_t limit = context_.limits.max_block_bytes;
  if (total == 0) {
    Decide(v1::STORE_STATUS_BAD_FRAME, "total_bytes is missing on the first frame of the block", acks);
  } else if (total > limit) {
    Decide(v1::STORE_STATUS_TOO_LARGE,
           absl::StrCat("a block of ", total, " bytes is over this server's limit of ", limit, " bytes"), acks);
  } else if (total > ns_->largest_block_bytes) {
    Decide(v1::STORE_STATUS_MISMATCH,
           absl::StrCat("a block of ", total, " bytes; a block of this namespace has at most ", ns_->largest_block_bytes), acks);
  } else if (!context_.receiving->TryCharge(total)) {
    Decide(v1::STORE_STATUS_NO_SPACE,
           absl::StrCat("blocks of ", context_.receiving->used(), " bytes are being received, with ", total,
                        " more it would be over this server's limit of ", context_.receiving->limit(),
                        "; try again later"),
           acks);
  } else if (absl::StatusOr<std::shared_ptr<BlockBuffer>> buffer = context_.store.Allocate(total); buffer.ok()) {
    buffer_ = *std::move(buffer);
  } else {
    context_.receiving->Release(total);
    Decide(v1::STORE_STATUS_NO_SPACE, std::string(buffer.status().message()), acks);
  }
  return absl::OkStatus();
}

void BlockReceiver::AcceptBody(const ReceivedFrame& frame, Acks& acks) {
  const uint64_t offset = frame.head().offset();
  if (offset != received_) {
    Decide(v1::STORE_STATUS_BAD_FRAME,
           absl::StrCat("a frame at offset ", offset, ", expected ", received_, ": frames come in order, without gaps"),
           acks);
  } else if (frame.body_bytes() > buffer_->size() - received_) {
    Decide(v1::STORE_STATUS_BAD_FRAME,
           absl::StrCat("a frame of ", frame.body_bytes(), " bytes at offset ", offset, " goes beyond total_bytes, ",
                        buffer_->size()),
           acks);
  } else {
    if (frame.body_bytes() > 0) frame.CopyBodyTo(buffer_->writable().data() + received_);
    received_ += frame.body_bytes();
    if (received_ == buffer_->size()) Finish(acks);
  }
}

void BlockReceiver::Finish(Acks& acks) {
  complete_ = true;
  const absl::StatusOr<BlockView> view = BlockView::Parse(buffer_->bytes(), VerifyPayload::kYes);
  if (!view.ok()) {
    const bool unsupported = absl::IsFailedPrecondition(view.status());
    Decide(unsupported ? v1::STORE_STATUS_UNSUPPORTED : v1::STORE_STATUS_BAD_CHECKSUM,
           std::string(view.status().message()), acks);
    return;
  }
  if (absl::Status s = CheckBlockBelongs(view->spec(), ns_->descriptor, ns_->fingerprint, *key_); !s.ok()) {
    Decide(v1::STORE_STATUS_MISMATCH, std::string(s.message()), acks);
    return;
  }
  const PutItem item = Item(view->spec().first_position / ns_->descriptor.block_tokens);
  const PutResult result = context_.store.Put(ns_->id, std::span(&item, 1)).front();
  ServiceCounters& counters = context_.counters;
  if (result.outcome == PutOutcome::kStored) {
    ++counters.stored_blocks;
    counters.stored_bytes += item.bytes->size();
  }
  if (result.outcome == PutOutcome::kDuplicate) ++counters.duplicate_blocks;
  Decide(ToStoreStatus(result.outcome), result.message, acks);
}

PutItem BlockReceiver::Item(uint64_t block_index) const { return {*key_, parent_, block_index, buffer_}; }

void BlockReceiver::End(Acks& acks) {
  if (buffer_ == nullptr) return;
  Decide(v1::STORE_STATUS_BAD_FRAME,
         absl::StrCat("the block ended after ", received_, " of ", buffer_->size(), " bytes"), acks);
}

void BlockReceiver::Decide(v1::StoreStatus status, std::string message, Acks& acks) {
  if (status != v1::STORE_STATUS_STORED && status != v1::STORE_STATUS_DUPLICATE) ++context_.counters.rejected_blocks;
  v1::StoreAck& ack = acks.emplace_back();
  ack.set_block_index(block_index_);
  ack.set_key(PackKey(*key_));
  ack.set_status(status);
  ack.set_message(std::move(message));
  DropBuffer();
}

void BlockReceiver::DropBuffer() {
  if (buffer_ == nullptr) return;
  context_.receiving->Release(buffer_->size());
  buffer_ = nullptr;
}

}  // namespace polarkv
