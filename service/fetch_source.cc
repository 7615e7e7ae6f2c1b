#include "service/fetch_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/block_frame_wire.h"
#include "proto/packed_keys.h"
#include "service/request_fields.h"

namespace polarkv {
namespace {

constexpr uint32_t kLeastFrameBytes = 4096;

v1::BlockStatus ToBlockStatus(const absl::Status& status) {
  if (absl::IsNotFound(status)) return v1::BLOCK_STATUS_NOT_FOUND;
  if (absl::IsDataLoss(status)) return v1::BLOCK_STATUS_CORRUPT;
  return v1::BLOCK_STATUS_IO_ERROR;
}

// A piece of a block that holds a reference to it until the transport has sent it.
grpc::Slice Piece(const BlockBytes& block, uint64_t offset, uint64_t length) {
  const auto release = [](void* held) { delete static_cast<BlockBytes*>(held); };
  auto* begin = const_cast<uint8_t*>(block->bytes().data() + offset);  // gRPC does not write to it
  return grpc::Slice(begin, length, release, new BlockBytes(block));
}

}  // namespace

absl::StatusOr<FetchSource> FetchSource::Make(ServiceContext& context, const v1::FetchRequest& request) {
  absl::StatusOr<NamespacePtr> ns = FindNamespace(context, request.fingerprint());
  if (!ns.ok()) return ns.status();
  absl::StatusOr<std::vector<BlockKey>> keys = TakeKeys(context, request.keys());
  if (!keys.ok()) return keys.status();
  if (request.layer_end() != 0 && request.layer_begin() >= request.layer_end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer_begin: ", request.layer_begin(), " is not below layer_end, ", request.layer_end()));
  }
  FetchSource source(context, *std::move(ns), *std::move(keys));
  source.selection_.layer_begin = request.layer_begin();
  source.selection_.layer_end = request.layer_end();
  if (request.plane_mask() != 0) source.selection_.planes = request.plane_mask();
  const uint32_t wanted =
      request.frame_bytes() == 0 ? context.limits.default_frame_bytes : request.frame_bytes();
  source.frame_bytes_ = std::clamp(wanted, kLeastFrameBytes, context.limits.max_frame_bytes);
  return source;
}

FetchSource::FetchSource(ServiceContext& context, NamespacePtr ns, std::vector<BlockKey> keys)
    : context_(&context), ns_(std::move(ns)), keys_(std::move(keys)) {}

std::optional<grpc::ByteBuffer> FetchSource::Next() {
  if (block_ == nullptr) {
    if (next_key_ == keys_.size()) return std::nullopt;
    const v1::BlockStatus status = OpenBlock();
    ++next_key_;
    if (status != v1::BLOCK_STATUS_OK) {
      v1::BlockFrame frame = NewFrame();
      frame.set_status(status);
      return SerializeFrame(frame, grpc::Slice());
    }
  }
  v1::BlockFrame frame = NewFrame();
  frame.set_status(v1::BLOCK_STATUS_OK);
  if (sent_ == 0) frame.set_total_bytes(total_);
  frame.set_offset(sent_);
  const std::vector<grpc::Slice> body = TakeBody();
  for (const grpc::Slice& piece : body) sent_ += piece.size();
  context_->counters.fetched_bytes += sent_ - frame.offset();
  if (sent_ == total_) {
    ++context_->counters.fetched_blocks;
    block_ = nullptr;
  }
  return SerializeFrame(frame, std::span<const grpc::Slice>(body));
}

v1::BlockStatus FetchSource::OpenBlock() {
  absl::StatusOr<BlockBytes> block =
      std::move(context_->store.Get(ns_->id, std::span(&keys_[next_key_], 1)).front());
  if (!block.ok()) return ToBlockStatus(block.status());
  const absl::StatusOr<BlockLayout> layout = ParseBlockPrefix((*block)->bytes());
  if (!layout.ok()) return v1::BLOCK_STATUS_CORRUPT;
  absl::StatusOr<std::vector<ByteRange>> ranges = SelectionRanges(*layout, selection_);
  if (!ranges.ok()) return v1::BLOCK_STATUS_NO_SUCH_LAYER;
  block_ = *std::move(block);
  ranges_ = *std::move(ranges);
  range_ = 0;
  sent_ = total_ = 0;
  for (const ByteRange& range : ranges_) total_ += range.length;
  return v1::BLOCK_STATUS_OK;
}

// next_key_ is past the block by now.
v1::BlockFrame FetchSource::NewFrame() const {
  v1::BlockFrame frame;
  frame.set_block_index(static_cast<uint32_t>(next_key_ - 1));
  if (block_ == nullptr || sent_ == 0) frame.set_key(PackKey(keys_[next_key_ - 1]));
  return frame;
}

std::vector<grpc::Slice> FetchSource::TakeBody() {
  std::vector<grpc::Slice> body;
  uint64_t room = frame_bytes_;
  while (room > 0 && range_ < ranges_.size()) {
    ByteRange& range = ranges_[range_];
    const uint64_t length = std::min(range.length, room);
    body.push_back(Piece(block_, range.offset, length));
    range.offset += length;
    range.length -= length;
    room -= length;
    if (range.length == 0) ++range_;
  }
  return body;
}

}  // namespace polarkv
