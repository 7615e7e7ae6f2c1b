#include "kernels/cuda/device_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "codec/attention_state.h"
#include "codec/key_mean_profile.h"
#include "codec/reference_codec.h"

namespace polarkv::cuda {
namespace {

constexpr uint32_t kQueriesOfALaunch = 16;
constexpr size_t kMostStaging = size_t{64} << 20;

// Results of a group's sequence, [query head][query], to the whole's.
void Merge(const float* o, const float* lse, uint32_t sequence, uint32_t sequences, uint32_t q_heads, uint32_t queries,
           uint32_t head_dim, std::span<float> whole_o, std::span<float> whole_lse) {
  const size_t rows = size_t{q_heads} * queries;
  for (uint32_t head = 0; head < q_heads; ++head) {
    for (uint32_t query = 0; query < queries; ++query) {
      // A launch has [sequence][query][query head], of so many queries at a time.
      const uint32_t first = query / kQueriesOfALaunch * kQueriesOfALaunch;
      const uint32_t count = std::min(kQueriesOfALaunch, queries - first);
      const size_t at = size_t{sequences} * first * q_heads + (size_t{sequence} * count + query - first) * q_heads + head;
      const size_t row = size_t{head} * queries + query;
      MergeAttention(&whole_o[row * head_dim], &whole_lse[row], o + (sequence * rows + row) * head_dim, lse[at], head_dim);
    }
  }
}

bool AllFinite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float x) { return std::isfinite(x); });
}

// Of the first block that has one. Blocks of one sequence are of one namespace, which has one.
KeyMeanProfilePtr ProfileOf(const BlockLayer& layer) {
  for (const BlockView& block : layer.blocks) {
    if (block.profile() != nullptr) return block.profile();
  }
  return nullptr;
}

bool IsSame(const KeyMeanProfilePtr& a, const KeyMeanProfilePtr& b) {
  return a != nullptr && b != nullptr && a->digest() == b->digest();
}

// Kernels clamp scales and logits at 1e25 and more: tiles that were would all count alike. -inf says that there is no token.
bool AreOrdinary(std::span<const float> lse) {
  return std::ranges::all_of(lse, [](float x) { return std::fabs(x) < 1e20f; });
}

// Whether fp32 holds what scores are multiplied with, by far (kernels/cpu/logit_range.h). Kernels take no negative scale.
bool IsInRange(std::span<const float> q, float scale) {
  if (scale == 0) return true;
  if (!(scale >= 0x1p-80f && scale <= 0x1p80f)) return false;
  return std::ranges::all_of(q, [&](float x) { return std::fabs(x) <= 0x1p80f / scale; });
}

absl::Status BeyondKernels() {
  return absl::OutOfRangeError("a softmax scale below 0, or logits or values near the ends of fp32: CUDA kernels take neither");
}

size_t SequenceCount(std::span<const LaunchGroup> groups) {
  size_t count = 0;
  for (const LaunchGroup& group : groups) count += group.sequences.size();
  return count;
}

}  // namespace

uint32_t DeviceAttention::Rows::Chunks() const { return (queries + kQueriesOfALaunch - 1) / kQueriesOfALaunch; }

DeviceAttention::DeviceAttention(Device& device)
    : device_(device),
      queue_(device),
      tables_(device),
      lengths_(device),
      q_(device),
      o_(device),
      lse_(device),
      workspace_(device) {}

// The queue's work uses buffers and pool; these go before it, so it ends first.
DeviceAttention::~DeviceAttention() {
  if (queue_.get() != nullptr) static_cast<void>(device_.Finish(queue_.get()));
}

absl::Status DeviceAttention::PoolStatus(PoolError error) {
  if (error == PoolError::kNone) return absl::OkStatus();
  if (error == PoolError::kDeviceFailed) return DeviceFailure(device_);
  if (error == PoolError::kWrongProfile) return absl::FailedPreconditionError(PoolErrorText(error));
  if (error == PoolError::kOutOfMemory || error == PoolError::kFull) {
    return absl::ResourceExhaustedError(PoolErrorText(error));
  }
  return absl::InternalError(PoolErrorText(error));
}

absl::Status DeviceAttention::Attend(const BlockLayer& now, uint32_t q_heads, uint32_t queries,
                                     std::span<const float> q, float scale, std::span<float> o, std::span<float> lse,
                                     const BlockLayer* next) {
  if (absl::Status s = reference::CheckAttend(now.blocks, now.layer, q_heads, queries, q, scale, o, lse); !s.ok()) {
    return s;
  }
  if (now.blocks.empty() || lse.empty()) {  // nothing that a device would be asked for
    const std::lock_guard lock(mutex_);
    if (absl::Status s = DropAhead(); !s.ok()) return s;
    return reference::Attend(now.blocks, now.layer, q_heads, queries, q, scale, o, lse);
  }
  const absl::StatusOr<std::vector<LaunchGroup>> groups = GroupBlocks(now.blocks, now.layer);
  const BlockSpec& spec = now.blocks[0].spec();
  const Rows rows{q_heads, queries, spec.kv_heads, spec.head_dim};
  const bool in_range = IsInRange(q, scale);
  Parts parts;
  {
    const std::lock_guard lock(mutex_);
    if (!groups.ok() || !in_range) {
      absl::Status dropped = DropAhead();
      if (!groups.ok()) return groups.status();
      return dropped.ok() ? BeyondKernels() : dropped;
    }
    if (absl::Status s = TakeTurn(*groups, now, rows, q, scale, next, parts); !s.ok()) return s;
  }
  MergeParts(*groups, rows, parts, o, lse);
  if (AllFinite(o) && AreOrdinary(lse)) return absl::OkStatus();
  return BeyondKernels();
}

absl::Status DeviceAttention::TakeTurn(std::span<const LaunchGroup> groups, const BlockLayer& now, const Rows& rows,
                                       std::span<const float> q, float scale, const BlockLayer* next, Parts& parts) {
  if (queue_.get() == nullptr) return DeviceFailure(device_);
  const absl::Status computed = Compute(groups, now, rows, q, scale, next, parts);
  if (!computed.ok()) {
    // Nothing of the caller's may still be read, nor be taken for what it was by a later call.
    static_cast<void>(device_.Finish(queue_.get()));
    static_cast<void>(DropAhead());
    // A pool that has met a failure takes no more work; the device may.
    if (absl::IsInternal(computed)) pool_.reset();
  }
  return computed;
}

absl::Status DeviceAttention::Compute(std::span<const LaunchGroup> groups, const BlockLayer& now, const Rows& rows,
                                      std::span<const float> q, float scale, const BlockLayer* next, Parts& parts) {
  const absl::StatusOr<Resident> resident = Bring(now);
  if (!resident.ok()) return resident.status();
  const absl::Status launched = LaunchAll(groups, now, *resident, rows, q, scale);
  const absl::Status released = PoolStatus(pool_->Release(resident->pages, queue_.get()));
  if (!launched.ok() || !released.ok()) return launched.ok() ? released : launched;
  // While the device attends to this layer. That the next one does not fit is for its own call to say.
  if (next != nullptr && !next->blocks.empty() &&
      std::ranges::all_of(next->blocks, [&](const BlockView& block) { return block.HasLayer(next->layer); })) {
    if (absl::StatusOr<Resident> ahead = Bring(*next); ahead.ok()) ahead_ = *std::move(ahead);
  }
  return Collect(groups, rows, parts);
}

absl::Status DeviceAttention::LaunchAll(std::span<const LaunchGroup> groups, const BlockLayer& now,
                                        const Resident& resident, const Rows& rows, std::span<const float> q,
                                        float scale) {
  const size_t sequences = SequenceCount(groups), values = rows.count() * rows.head_dim;
  if (absl::Status s = q_.Reserve(q.size_bytes()); !s.ok()) return s;
  if (absl::Status s = o_.Reserve(sequences * values * sizeof(float)); !s.ok()) return s;
  if (absl::Status s = lse_.Reserve(sequences * rows.count() * sizeof(float)); !s.ok()) return s;
  if (absl::Status s = PrepareTables(groups, now, resident); !s.ok()) return s;
  if (!device_.CopyIn(q_.As<void>(), q.data(), q.size_bytes(), queue_.get())) return DeviceFailure(device_);
  if (absl::Status s = PoolStatus(pool_->WaitForLayer(resident.upload, now.layer, queue_.get())); !s.ok()) return s;
  size_t first = 0;
  for (const LaunchGroup& group : groups) {
    if (absl::Status s = Launch(group, first, rows, scale); !s.ok()) return s;
    first += group.sequences.size();
  }
  return absl::OkStatus();
}

// Waits for the launches and copies what they left.
absl::Status DeviceAttention::Collect(std::span<const LaunchGroup> groups, const Rows& rows, Parts& parts) {
  const size_t sequences = SequenceCount(groups);
  parts.o.resize(sequences * rows.count() * rows.head_dim);
  parts.lse.resize(sequences * rows.count());
  const bool copied =
      device_.CopyOut(parts.o.data(), o_.As<void>(), parts.o.size() * sizeof(float), queue_.get()) &&
      device_.CopyOut(parts.lse.data(), lse_.As<void>(), parts.lse.size() * sizeof(float), queue_.get()) &&
      device_.Finish(queue_.get());
  if (!copied) {
    static_cast<void>(device_.Finish(queue_.get()));  // before the memory goes that it copies to
    return DeviceFailure(device_);
  }
  return absl::OkStatus();
}

void DeviceAttention::MergeParts(std::span<const LaunchGroup> groups, const Rows& rows, const Parts& parts,
                                 std::span<float> o, std::span<float> lse) {
  std::ranges::fill(o, 0.0f);
  std::ranges::fill(lse, -std::numeric_limits<float>::infinity());
  size_t first = 0;
  for (const LaunchGroup& group : groups) {
    const auto count = static_cast<uint32_t>(group.sequences.size());
    for (uint32_t s = 0; s < count; ++s) {
      Merge(&parts.o[first * o.size()], &parts.lse[first * lse.size()], s, count, rows.q_heads, rows.queries,
            rows.head_dim, o, lse);
    }
    first += count;
  }
}

bool DeviceAttention::IsResident(const BlockLayer& layer) const {
  return ahead_.has_value() && ahead_->layer == layer.layer &&
         std::ranges::equal(ahead_->blocks, layer.blocks, [](const HostBlock& a, const BlockView& b) {
           return a.bytes == b.bytes().data() && a.planes == b.planes() && a.layer_begin == b.layer_begin();
         });
}

// The layer in the pool: it was brought ahead, or is brought now.
absl::StatusOr<DeviceAttention::Resident> DeviceAttention::Bring(const BlockLayer& layer) {
  if (IsResident(layer)) return std::exchange(ahead_, std::nullopt).value();
  if (absl::Status s = DropAhead(); !s.ok()) return s;
  if (absl::Status s = MakeRoom(layer); !s.ok()) return s;
  Resident resident{{}, layer.layer, std::vector<int32_t>(layer.blocks.size()), 0};
  for (const BlockView& block : layer.blocks) {
    resident.blocks.push_back({block.bytes().data(), block.planes(), block.layer_begin()});
  }
  PoolError taken = PoolError::kFull;
  while (taken == PoolError::kFull) {
    taken = pool_->Take(resident.pages, layer.layer);
    if (taken != PoolError::kFull) break;
    if (absl::Status s = PoolStatus(pool_->WaitForProgress()); !s.ok()) return s;
  }
  if (absl::Status s = PoolStatus(taken); !s.ok()) return s;
  if (absl::Status s = Upload(layer, resident); !s.ok()) {
    static_cast<void>(pool_->Release(resident.pages, queue_.get()));
    return s;
  }
  return resident;
}

absl::Status DeviceAttention::DropAhead() {
  if (!ahead_.has_value()) return absl::OkStatus();
  const Resident unused = std::exchange(ahead_, std::nullopt).value();
  return PoolStatus(pool_->Release(unused.pages, queue_.get()));
}

// A pool with room for this layer twice over: for one that is attended to and one that arrives.
absl::Status DeviceAttention::MakeRoom(const BlockLayer& layer) {
  size_t slot_bytes = 0;
  for (const BlockView& block : layer.blocks) {
    slot_bytes = std::max(slot_bytes, PageBytes(block, {layer.layer, layer.layer + 1}));
  }
  auto slots = static_cast<uint32_t>(2 * layer.blocks.size());
  const KeyMeanProfilePtr profile = ProfileOf(layer);
  const bool has_profile = pool_ != nullptr && (profile == nullptr || IsSame(profile, pool_->options().profile));
  if (has_profile && pool_->options().slots >= slots && pool_->options().slot_bytes >= slot_bytes) {
    return absl::OkStatus();
  }
  if (pool_ != nullptr) {
    slots = std::max(slots, pool_->options().slots);
    slot_bytes = std::max(slot_bytes, pool_->options().slot_bytes);
    if (!device_.Finish(queue_.get())) return DeviceFailure(device_);
    pool_.reset();
  }
  const size_t staging = std::max(2 * slot_bytes, std::min(kMostStaging, slots * slot_bytes));
  return PoolStatus(PagePool::Create(
      device_, {.slots = slots, .layers = 1, .slot_bytes = slot_bytes, .uploads = 16, .staging_bytes = staging, .profile = profile},
      pool_));
}

// In parts of half the staging memory: one is filled while the other is copied from.
absl::Status DeviceAttention::Upload(const BlockLayer& layer, Resident& resident) {
  const LayerRange layers{layer.layer, layer.layer + 1};
  for (size_t first = 0; first < layer.blocks.size();) {
    size_t end = first, bytes = 0;
    while (end < layer.blocks.size()) {
      bytes += PageBytes(layer.blocks[end], layers);
      if (end > first && bytes > pool_->options().staging_bytes / 2) break;
      ++end;
    }
    PoolError error = PoolError::kFull;
    while (error == PoolError::kFull) {
      error = pool_->Upload(layer.blocks.subspan(first, end - first), std::span(resident.pages).subspan(first, end - first),
                            layers, HostMemory::kPageable, resident.upload);
      if (error == PoolError::kFull) {
        if (absl::Status s = PoolStatus(pool_->WaitForProgress()); !s.ok()) return s;
      }
    }
    if (error != PoolError::kNone) return PoolStatus(error);
    first = end;
  }
  return absl::OkStatus();
}

absl::Status DeviceAttention::PrepareTables(std::span<const LaunchGroup> groups, const BlockLayer& now,
                                            const Resident& resident) {
  host_tables_.clear();
  host_lengths_.clear();
  for (const LaunchGroup& group : groups) {
    for (const std::vector<uint32_t>& sequence : group.sequences) {
      const size_t end = host_tables_.size() + now.blocks.size();
      uint32_t tokens = 0;
      for (const uint32_t i : sequence) {
        host_tables_.push_back(resident.pages[i]);
        tokens += now.blocks[i].spec().tokens;
      }
      host_tables_.resize(end, -1);
      host_lengths_.push_back(tokens);
    }
  }
  const size_t table_bytes = host_tables_.size() * sizeof(int32_t), length_bytes = host_lengths_.size() * sizeof(uint32_t);
  if (absl::Status s = tables_.Reserve(table_bytes); !s.ok()) return s;
  if (absl::Status s = lengths_.Reserve(length_bytes); !s.ok()) return s;
  const bool copied = device_.CopyIn(tables_.As<void>(), host_tables_.data(), table_bytes, queue_.get()) &&
                      device_.CopyIn(lengths_.As<void>(), host_lengths_.data(), length_bytes, queue_.get());
  return copied ? absl::OkStatus() : DeviceFailure(device_);
}

absl::Status DeviceAttention::Launch(const LaunchGroup& group, size_t first_sequence, const Rows& rows, float scale) {
  const auto blocks = static_cast<uint32_t>(host_tables_.size() / host_lengths_.size());
  const auto sequences = static_cast<uint32_t>(group.sequences.size());
  const uint32_t warps = device_.AttentionWarps(rows.head_dim);
  for (uint32_t chunk = 0; chunk < rows.Chunks(); ++chunk) {
    const uint32_t first = chunk * kQueriesOfALaunch;
    AttentionBatch batch;
    batch.sequences = sequences;
    batch.kv_heads = rows.kv_heads;
    batch.group = rows.q_heads / rows.kv_heads;
    batch.queries = std::min(kQueriesOfALaunch, rows.queries - first);
    batch.page_table = tables_.As<int32_t>() + first_sequence * blocks;
    batch.page_table_stride = blocks;
    batch.tokens = lengths_.As<uint32_t>() + first_sequence;
    batch.tiles_per_page = group.tiles_per_page;
    batch.pages = pool_->pages();
    batch.page_stride = pool_->page_stride();
    batch.q = q_.As<float>() + size_t{first} * rows.head_dim;
    batch.o = o_.As<float>() + (first_sequence * rows.count() + first) * rows.head_dim;
    batch.type = ElementType::kF32;
    // Queries are the same for all sequences; rows stand as [query head][query].
    const int64_t row = rows.head_dim, head = row * rows.queries;
    batch.q_stride[1] = batch.o_stride[1] = row;
    batch.q_stride[2] = batch.o_stride[2] = head;
    batch.o_stride[0] = head * rows.q_heads;
    batch.lse = lse_.As<float>() + first_sequence * rows.count() + size_t{sequences} * first * rows.q_heads;
    batch.scale = scale;
    const size_t bytes = AttentionWorkspaceBytes(group.codec, batch, warps);
    // Launches in one queue share a workspace; before it grows, they must be over.
    if (bytes > workspace_.bytes() && !device_.Finish(queue_.get())) return DeviceFailure(device_);
    if (absl::Status s = workspace_.Reserve(bytes); !s.ok()) return s;
    const LaunchError error = device_.Attend(group.codec, batch, warps, workspace_.As<void>(), bytes, queue_.get());
    if (error != LaunchError::kNone) return LaunchStatus(error, device_);
  }
  return absl::OkStatus();
}

}  // namespace polarkv::cuda
