// Fetch: streams of frames, until every slot has its outcome.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/fetch_assembler.h"
#include "client/frame_stream.h"
#include "client/kv_client_impl.h"
#include "proto/packed_keys.h"

namespace polarkv {
namespace {

constexpr char kFetchMethod[] = "/polarkv.v1.KvStore/Fetch";

absl::Status CheckSlots(std::span<const BlockKey> keys, std::span<const FetchSlot> slots) {
  if (keys.size() != slots.size()) {
    return absl::InvalidArgumentError(absl::StrCat("fetch: ", keys.size(), " keys, ", slots.size(), " slots"));
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (reinterpret_cast<uintptr_t>(slots[i].buffer.data()) % kSegmentAlignment != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("fetch: the buffer of slot ", i, " is not aligned to ", kSegmentAlignment, " bytes"));
    }
  }
  return absl::OkStatus();
}

v1::FetchRequest MakeRequest(const NamespaceHandle& ns, std::span<const BlockKey> keys, const BlockSelection& selection,
                             std::span<const uint32_t> wanted) {
  v1::FetchRequest request;
  request.set_fingerprint(PackFingerprint(ns.fingerprint));
  for (const uint32_t i : wanted) request.mutable_keys()->append(PackKey(keys[i]));
  request.set_layer_begin(selection.layer_begin);
  request.set_layer_end(selection.layer_end);
  // An empty mask would mean all planes on the wire, and the base plane alone to the caller.
  request.set_plane_mask((selection.planes & kAllPlanes) | PlaneBit(PlaneKind::kBase));
  return request;
}

// One stream; OK when every slot that was asked for has its outcome.
absl::Status RunStream(NodeConnection& node, const v1::FetchRequest& request, const CallDeadline& deadline,
                       FetchAssembler& assembler) {
  FrameStream stream(node.NextChannel(), kFetchMethod, deadline);
  const grpc::Slice message(request.SerializeAsString());
  stream.StartWrite(grpc::ByteBuffer(&message, 1), /*last=*/true);
  stream.StartRead();
  for (;;) {
    const FrameStream::Event event = stream.Next();
    if (event.op != FrameStream::Op::kRead) continue;  // a request that failed shows in the read
    if (!event.ok) break;
    // What comes after the last block is nobody's concern.
    if (assembler.complete()) return absl::OkStatus();
    absl::StatusOr<ReceivedFrame> frame = ReceivedFrame::Parse(stream.received());
    absl::Status status = frame.ok() ? assembler.OnFrame(*frame) : frame.status();
    if (!status.ok()) return status;
    stream.StartRead();
  }
  const absl::Status status = stream.Finish();
  if (assembler.complete()) return absl::OkStatus();
  if (!status.ok()) return status;
  return absl::DataLossError(
      absl::StrCat("the server ended the stream after ", assembler.completed(), " blocks, before the last one"));
}

std::vector<uint32_t> Missing(std::span<const FetchSlot> slots) {
  std::vector<uint32_t> missing;
  for (uint32_t i = 0; i < slots.size(); ++i) {
    if (slots[i].outcome == FetchOutcome::kNotReceived) missing.push_back(i);
  }
  return missing;
}

// What encoders usually add to a block: a mean of each head's keys, the first four tokens raw, and one token in each tile.
BlockSpec UsualBlock(const NamespaceDescriptor& descriptor) {
  constexpr uint32_t kFirstTokens = 4;
  BlockSpec spec = NamespaceBlockSpec(descriptor, BlockKey{}, 0);
  const uint32_t sides = (TraitsOf(spec.codec.k).has_scales ? 1 : 0) + (TraitsOf(spec.codec.v).has_scales ? 1 : 0);
  if (sides == 0) return spec;
  const LayerPart part = {spec.codec, TraitsOf(spec.codec.k).has_scales,
                          sides * spec.kv_heads * (kFirstTokens + spec.tiles())};
  spec.layer_parts.assign(spec.layers, part);
  spec.phases.assign(spec.rope.dims / 2, 0);
  return spec;
}

}  // namespace

absl::StatusOr<uint64_t> FetchBytes(const NamespaceDescriptor& descriptor, const BlockSelection& selection) {
  if (absl::Status status = ValidateNamespaceDescriptor(descriptor); !status.ok()) return status;
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(UsualBlock(descriptor));
  // Close to the limit of a block's size only those with less than usual exist.
  if (!layout.ok()) layout = BlockLayout::Make(NamespaceBlockSpec(descriptor, BlockKey{}, 0));
  if (!layout.ok()) return layout.status();
  absl::StatusOr<std::vector<ByteRange>> ranges = SelectionRanges(*layout, selection);
  if (!ranges.ok()) return ranges.status();
  uint64_t bytes = 0;
  for (const ByteRange& range : *ranges) bytes += range.length;
  return bytes;
}

absl::Status KvClient::Fetch(const NamespaceHandle& ns, std::span<const BlockKey> keys, const BlockSelection& selection,
                             std::span<FetchSlot> slots, uint64_t lease_id, Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  for (FetchSlot& slot : slots) slot = FetchSlot{.buffer = slot.buffer};
  if (absl::Status status = CheckSlots(keys, slots); !status.ok()) return status;
  bool lease_travels = false;
  absl::Status status = absl::OkStatus();
  if (!Missing(slots).empty()) {
    status = impl_->InNamespace("fetch", ns, call_deadline, [&](const NodeLimits& limits) -> absl::Status {
      const std::vector<uint32_t> missing = Missing(slots);
      for (size_t begin = 0; begin < missing.size(); begin += limits.keys_per_request) {
        const size_t count = std::min<size_t>(limits.keys_per_request, missing.size() - begin);
        const std::span<const uint32_t> wanted(missing.data() + begin, count);
        v1::FetchRequest request = MakeRequest(ns, keys, selection, wanted);
        request.set_frame_bytes(limits.frame_bytes);
        // The last stream takes the lease along: it then ends with it even if this worker dies on the way.
        if (begin + count == missing.size()) request.set_release_lease(lease_id);
        FetchAssembler assembler(ns, impl_->ProfileOf(ns), keys, selection, slots, wanted);
        if (absl::Status run = RunStream(impl_->node, request, call_deadline, assembler); !run.ok()) return run;
      }
      lease_travels = true;
      return absl::OkStatus();
    });
  }
  // Best effort: a lease that cannot be released now ends by itself.
  std::vector<uint64_t> leases = impl_->leases.TakeOthers(lease_id);
  if (lease_id != 0 && !lease_travels) leases.push_back(lease_id);
  impl_->ReleaseLeases(leases, call_deadline).IgnoreError();
  return status;
}

}  // namespace polarkv
