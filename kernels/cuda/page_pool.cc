#include "kernels/cuda/page_pool.h"

#include <algorithm>
#include <cstring>

#include "codec/key_mean_profile.h"
#include "kernels/cuda/resident_block.h"

namespace polarkv::cuda {
namespace {

constexpr size_t kSlotAlignment = 256;

size_t RoundUp(size_t bytes) { return (bytes + kSlotAlignment - 1) / kSlotAlignment * kSlotAlignment; }

size_t LayerBytes(const BlockView& block, uint32_t layer) {
  const LayerLayout& shape = block.layout().layer(layer);
  size_t bytes = 0;
  for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
    if ((block.planes() >> kind & 1) != 0) bytes += shape.segment_bytes[kind];
  }
  return bytes;
}

// The held segments of a layer stand together, in a whole block as in a fetched part of one.
const uint8_t* LayerStart(const BlockView& block, uint32_t layer) {
  return block.Segment(layer, PlaneKind::kBase).data();
}

bool HasMeansOf(const BlockView& block, uint32_t layer, const KeyMeanProfilePtr& profile) {
  if (!block.spec().HasProfile() || !block.layout().layer(layer).key_mean) return true;
  return profile != nullptr && block.profile() != nullptr && block.profile()->digest() == profile->digest();
}

}  // namespace

const char* PoolErrorText(PoolError error) {
  switch (error) {
    case PoolError::kNone:
      return "no error";
    case PoolError::kWrongOptions:
      return "a page pool needs at least one slot, layer, upload and byte";
    case PoolError::kOutOfMemory:
      return "there is not enough device memory or pinned memory for the page pool; make it smaller";
    case PoolError::kFull:
      return "the page pool is full for now; release pages, or wait for uploads";
    case PoolError::kBlockTooLarge:
      return "the block does not fit a slot of the page pool; make slots as large as PageBytes of the largest block";
    case PoolError::kStagingTooSmall:
      return "the blocks are larger than the page pool's staging memory; upload fewer at a time, or from pinned memory";
    case PoolError::kWrongShape:
      return "an upload is of layers that all of its blocks hold, and that the slots have room for";
    case PoolError::kWrongProfile:
      return "the block's key means are in a profile that the page pool was not given; make a pool with that profile";
    case PoolError::kWrongPage:
      return "the page is not taken, or has this layer already, or has other planes; or there is no such upload";
    case PoolError::kDeviceFailed:
      return "the device failed";
  }
  return "";
}

size_t PageBytes(const BlockView& block, LayerRange layers) {
  size_t bytes = 0;
  for (uint32_t layer = layers.first; layer < layers.end; ++layer) bytes += LayerBytes(block, layer);
  return bytes;
}

int32_t PagePool::SlotLine::TakeFirst() {
  const int32_t slot = at(0);
  first_ = (first_ + 1) % numbers_.size();
  --count_;
  return slot;
}

PagePool::PagePool(Device& device, const PagePoolOptions& options)
    : device_(device),
      options_(options),
      ring_(options.staging_bytes),
      slots_(options.slots),
      has_layer_(size_t{options.slots} * options.layers),
      free_(options.slots),
      released_(options.slots),
      records_(options.uploads),
      layer_events_(size_t{options.uploads} * options.layers) {}

PoolError PagePool::Create(Device& device, const PagePoolOptions& options, std::unique_ptr<PagePool>& pool) {
  pool.reset();
  if (options.slots == 0 || options.slots > 0x7FFFFFFF || options.layers == 0 || options.slot_bytes == 0 ||
      options.uploads == 0) {
    return PoolError::kWrongOptions;
  }
  PagePoolOptions rounded = options;
  rounded.slot_bytes = RoundUp(options.slot_bytes);
  std::unique_ptr<PagePool> made(new PagePool(device, rounded));
  const PoolError error = made->Make();
  if (error == PoolError::kNone) pool = std::move(made);
  return error;
}

PoolError PagePool::Make() {
  const size_t entries = size_t{options_.slots} * options_.layers;
  memory_ = static_cast<uint8_t*>(device_.Allocate(options_.slots * options_.slot_bytes));
  pages_ = static_cast<PageLayer*>(device_.Allocate(entries * sizeof(PageLayer)));
  host_pages_ = static_cast<PageLayer*>(device_.AllocatePinned(entries * sizeof(PageLayer)));
  if (options_.staging_bytes > 0) staging_ = static_cast<uint8_t*>(device_.AllocatePinned(options_.staging_bytes));
  if (options_.profile != nullptr) profile_ = static_cast<uint8_t*>(device_.Allocate(options_.profile->bytes().size()));
  if (memory_ == nullptr || pages_ == nullptr || host_pages_ == nullptr ||
      (options_.staging_bytes > 0 && staging_ == nullptr) || (options_.profile != nullptr && profile_ == nullptr)) {
    return PoolError::kOutOfMemory;
  }
  std::uninitialized_default_construct_n(host_pages_, entries);
  copies_ = device_.MakeQueue();
  for (Event& event : layer_events_) event = device_.MakeEvent();
  for (uint32_t i = 0; i < options_.slots; ++i) {
    slots_[i].released = device_.MakeEvent();
    free_.Append(static_cast<int32_t>(i));
  }
  const bool made = copies_ != nullptr && std::ranges::count(layer_events_, nullptr) == 0 &&
                    std::ranges::none_of(slots_, [](const Slot& slot) { return slot.released == nullptr; });
  if (!made) return PoolError::kDeviceFailed;
  if (profile_ == nullptr) return PoolError::kNone;
  const auto bytes = options_.profile->bytes();
  const bool copied = device_.CopyIn(profile_, bytes.data(), bytes.size(), copies_) && device_.Finish(copies_);
  return copied ? PoolError::kNone : PoolError::kDeviceFailed;
}

PagePool::~PagePool() {
  // A device that failed does no more work; what was asked of it may go.
  if (copies_ != nullptr) static_cast<void>(device_.Finish(copies_));
  for (size_t i = 0; i < released_.size(); ++i) {
    static_cast<void>(device_.FinishEvent(slots_[static_cast<size_t>(released_.at(i))].released));
  }
  // The last use of a page that was taken again and got nothing since is not in the line any more.
  for (const Slot& slot : slots_) {
    if (slot.copy_waits) static_cast<void>(device_.FinishEvent(slot.released));
  }
  for (const Slot& slot : slots_) device_.FreeEvent(slot.released);
  for (const Event event : layer_events_) device_.FreeEvent(event);
  device_.FreeQueue(copies_);
  device_.FreePinned(staging_);
  device_.FreePinned(host_pages_);
  device_.Free(pages_);
  device_.Free(profile_);
  device_.Free(memory_);
}

// What the device has done since.
void PagePool::Poll() {
  while (!failed_ && done_uploads_ < last_upload_) {
    const uint64_t next = done_uploads_ + 1;
    const EventState state = device_.StateOf(LastEventOf(next));
    failed_ = state == EventState::kFailed;
    if (state != EventState::kReached) break;
    done_uploads_ = next;
    ring_.Free(records_[next % options_.uploads].staged);
  }
  while (!failed_ && released_.size() > 0) {
    Slot& slot = slots_[static_cast<size_t>(released_.at(0))];
    if (slot.last_upload > done_uploads_) break;
    const EventState state = device_.StateOf(slot.released);
    failed_ = state == EventState::kFailed;
    if (state != EventState::kReached) break;
    slot.state = SlotState::kFree;
    free_.Append(released_.TakeFirst());
  }
}

// Of released slots, those in front whose copies are all done: of the others, host_pages_ is still being read.
uint32_t PagePool::UsableReleased() const {
  uint32_t count = 0;
  while (count < released_.size() &&
         slots_[static_cast<size_t>(released_.at(count))].last_upload <= done_uploads_) {
    ++count;
  }
  return count;
}

uint32_t PagePool::available() {
  const std::lock_guard lock(mutex_);
  Poll();
  return failed_ ? 0 : static_cast<uint32_t>(free_.size()) + UsableReleased();
}

PoolError PagePool::Take(std::span<int32_t> pages, uint32_t first_layer) {
  const std::lock_guard lock(mutex_);
  Poll();
  if (failed_) return PoolError::kDeviceFailed;
  if (pages.size() > free_.size() + UsableReleased()) return PoolError::kFull;
  for (int32_t& page : pages) {
    const bool over = free_.size() > 0;
    page = over ? free_.TakeFirst() : released_.TakeFirst();
    Slot& slot = slots_[static_cast<size_t>(page)];
    slot.state = SlotState::kTaken;
    slot.copy_waits = !over;
    slot.first_layer = first_layer;
    slot.planes = 0;
    std::fill_n(has_layer_.begin() + int64_t{page} * options_.layers, options_.layers, false);
  }
  return PoolError::kNone;
}

PoolError PagePool::CheckUpload(std::span<const BlockView> blocks, std::span<const int32_t> pages,
                                LayerRange layers) const {
  if (blocks.empty() || blocks.size() != pages.size() || layers.first >= layers.end) return PoolError::kWrongShape;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const BlockView& block = blocks[i];
    if (layers.first < block.layer_begin() || layers.end > block.layer_end()) return PoolError::kWrongShape;
    for (uint32_t layer = layers.first; layer < layers.end; ++layer) {
      if (!HasMeansOf(block, layer, options_.profile)) return PoolError::kWrongProfile;
    }
    if (pages[i] < 0 || static_cast<uint32_t>(pages[i]) >= options_.slots) return PoolError::kWrongPage;
    const Slot& slot = slots_[static_cast<size_t>(pages[i])];
    if (slot.state != SlotState::kTaken) return PoolError::kWrongPage;
    if (layers.first < slot.first_layer || layers.end - slot.first_layer > options_.layers) {
      return PoolError::kWrongShape;
    }
    if (slot.planes != 0 && slot.planes != block.planes()) return PoolError::kWrongPage;
    if (PageBytes(block, {slot.first_layer, layers.end}) > options_.slot_bytes) return PoolError::kBlockTooLarge;
    const auto entry = has_layer_.begin() + int64_t{pages[i]} * options_.layers + (layers.first - slot.first_layer);
    if (std::count(entry, entry + (layers.end - layers.first), true) != 0) return PoolError::kWrongPage;
    if (std::ranges::count(pages, pages[i]) != 1) return PoolError::kWrongPage;
  }
  return PoolError::kNone;
}

PoolError PagePool::Upload(std::span<const BlockView> blocks, std::span<const int32_t> pages, LayerRange layers,
                           HostMemory memory, uint64_t& upload) {
  const std::lock_guard lock(mutex_);
  Poll();
  if (failed_) return PoolError::kDeviceFailed;
  if (const PoolError error = CheckUpload(blocks, pages, layers); error != PoolError::kNone) return error;
  size_t staged_bytes = 0;
  if (memory == HostMemory::kPageable) {
    for (const BlockView& block : blocks) staged_bytes += PageBytes(block, layers);
    if (staged_bytes > ring_.bytes()) return PoolError::kStagingTooSmall;
    if (!ring_.HasRoom(staged_bytes)) return PoolError::kFull;
  }
  if (last_upload_ - done_uploads_ >= options_.uploads) return PoolError::kFull;
  uint8_t* const staged = memory == HostMemory::kPageable ? staging_ + ring_.Take(staged_bytes) : nullptr;

  ++last_upload_;
  records_[last_upload_ % options_.uploads] = {layers, ring_.mark()};
  for (size_t i = 0; i < blocks.size(); ++i) {
    Slot& slot = slots_[static_cast<size_t>(pages[i])];
    slot.planes = blocks[i].planes();
    slot.last_upload = last_upload_;
    std::fill_n(has_layer_.begin() + int64_t{pages[i]} * options_.layers + (layers.first - slot.first_layer),
                layers.end - layers.first, true);
  }
  if (!Enqueue(blocks, pages, layers, staged)) {
    failed_ = true;
    return PoolError::kDeviceFailed;
  }
  upload = last_upload_;
  return PoolError::kNone;
}

bool PagePool::Enqueue(std::span<const BlockView> blocks, std::span<const int32_t> pages, LayerRange layers,
                       uint8_t* staged) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!EnqueuePage(blocks[i], pages[i], layers)) return false;
  }
  for (uint32_t layer = layers.first; layer < layers.end; ++layer) {
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (!CopyLayer(blocks[i], layer, pages[i], staged)) return false;
    }
    if (!device_.Record(EventOf(last_upload_, layer), copies_)) return false;
  }
  return true;
}

// Where the layers of a page will be. First of all: its last use must be over.
bool PagePool::EnqueuePage(const BlockView& block, int32_t page, LayerRange layers) {
  Slot& slot = slots_[static_cast<size_t>(page)];
  if (slot.copy_waits) {
    if (!device_.Wait(slot.released, copies_)) return false;
    slot.copy_waits = false;
  }
  slot.next_layer = memory_ + size_t{static_cast<uint32_t>(page)} * options_.slot_bytes +
                    PageBytes(block, {slot.first_layer, layers.first});
  const size_t entry = size_t{static_cast<uint32_t>(page)} * options_.layers + layers.first - slot.first_layer;
  const uint8_t* place = slot.next_layer;
  for (uint32_t layer = layers.first; layer < layers.end; ++layer) {
    // Of a copy of all of the view's bytes: as if it began so far before the layer's place. CheckUpload saw to the profile.
    host_pages_[entry + layer - layers.first] =
        *PageLayerOf(block, layer, place - (LayerStart(block, layer) - block.bytes().data()), profile_);
    place += LayerBytes(block, layer);
  }
  return device_.CopyIn(pages_ + entry, host_pages_ + entry, (layers.end - layers.first) * sizeof(PageLayer), copies_);
}

bool PagePool::CopyLayer(const BlockView& block, uint32_t layer, int32_t page, uint8_t*& staged) {
  const uint8_t* from = LayerStart(block, layer);
  const size_t bytes = LayerBytes(block, layer);
  if (staged != nullptr) {
    std::memcpy(staged, from, bytes);
    from = staged;
    staged += bytes;
  }
  Slot& slot = slots_[static_cast<size_t>(page)];
  uint8_t* const to = slot.next_layer;
  slot.next_layer += bytes;
  return device_.CopyIn(to, from, bytes, copies_);
}

PoolError PagePool::WaitForLayer(uint64_t upload, uint32_t layer, Queue queue) {
  const std::lock_guard lock(mutex_);
  if (failed_) return PoolError::kDeviceFailed;
  if (upload == 0 || upload > last_upload_) return PoolError::kWrongPage;
  if (upload <= done_uploads_) return PoolError::kNone;
  const LayerRange layers = records_[upload % options_.uploads].layers;
  if (layer < layers.first || layer >= layers.end) return PoolError::kWrongShape;
  if (device_.Wait(EventOf(upload, layer), queue)) return PoolError::kNone;
  failed_ = true;
  return PoolError::kDeviceFailed;
}

bool PagePool::IsDone(uint64_t upload) {
  const std::lock_guard lock(mutex_);
  Poll();
  return !failed_ && upload <= done_uploads_;
}

PoolError PagePool::Release(std::span<const int32_t> pages, Queue queue) {
  const std::lock_guard lock(mutex_);
  if (failed_) return PoolError::kDeviceFailed;
  for (const int32_t page : pages) {
    const bool known = page >= 0 && static_cast<uint32_t>(page) < options_.slots;
    if (!known || slots_[static_cast<size_t>(page)].state != SlotState::kTaken) return PoolError::kWrongPage;
  }
  for (const int32_t page : pages) {
    Slot& slot = slots_[static_cast<size_t>(page)];
    if (slot.state == SlotState::kReleased) continue;  // named twice
    // Taken and given back unused: until its former use is over this one is not.
    const bool ordered = !slot.copy_waits || device_.Wait(slot.released, queue);
    if (!ordered || !device_.Record(slot.released, queue)) {
      failed_ = true;
      return PoolError::kDeviceFailed;
    }
    slot.copy_waits = false;
    slot.state = SlotState::kReleased;
    released_.Append(page);
  }
  return PoolError::kNone;
}

PoolError PagePool::WaitForProgress() {
  Event oldest = nullptr;
  {
    const std::lock_guard lock(mutex_);
    Poll();
    if (failed_) return PoolError::kDeviceFailed;
    if (done_uploads_ < last_upload_) {
      oldest = LastEventOf(done_uploads_ + 1);
    } else if (released_.size() > 0) {
      oldest = slots_[static_cast<size_t>(released_.at(0))].released;
    }
  }
  // An event that is recorded anew meanwhile is waited for longer than need be, never too short.
  if (oldest == nullptr) return PoolError::kFull;
  const bool reached = device_.FinishEvent(oldest);
  const std::lock_guard lock(mutex_);
  failed_ = failed_ || !reached;
  return failed_ ? PoolError::kDeviceFailed : PoolError::kNone;
}

}  // namespace polarkv::cuda
