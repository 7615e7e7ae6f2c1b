// Device memory for encoded blocks in slots of one size, and the way into it: blocks are copied from host memory on a queue
// of the pool's own, layer by layer, so that attention on one layer runs while the next ones arrive.
//
//   pool->Take(pages, 0);                                     // slots; kFull: come again later
//   pool->Upload(blocks, pages, {0, layers}, HostMemory::kPinned, upload);
//   for each layer l:
//     pool->WaitForLayer(upload, l, stream);                  // the stream waits, the host does not
//     LaunchAttention(.., page_table of `pages`, pages = pool->pages() + l, page_stride = pool->page_stride(), stream)
//   pool->Release(pages, stream);                             // free again when the stream has passed this point
//
// A page is a slot's number, as it stands in page tables. Memory, queue and events are made by Create and freed by the
// destructor; no other call allocates, or waits for the device, but for WaitForProgress. No exceptions. Thread-safe.
#ifndef POLARKV_KERNELS_CUDA_PAGE_POOL_H_
#define POLARKV_KERNELS_CUDA_PAGE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "codec/block_view.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/staging_ring.h"

namespace polarkv::cuda {

enum class PoolError {
  kNone,
  kWrongOptions,     // no slots, layers, slot bytes or uploads
  kOutOfMemory,      // the device's, or pinned memory
  kFull,             // for now: too few slots are free, or too many uploads are under way, or staging memory is in use
  kBlockTooLarge,    // the block's layers and planes do not fit a slot
  kStagingTooSmall,  // pageable blocks of one call are larger than all staging memory
  kWrongShape,       // no blocks or layers, layers that a block does not hold, or that the slots have no room for
  kWrongPage,        // a page that is not taken, or has the layer already, or other planes; an upload that there is not
  kDeviceFailed      // from now on for every call
};
const char* PoolErrorText(PoolError error);

struct PagePoolOptions {
  uint32_t slots = 0;
  uint32_t layers = 0;       // of a block that a slot has room for
  size_t slot_bytes = 0;     // PageBytes of the largest block
  uint32_t uploads = 64;     // under way at a time
  size_t staging_bytes = 0;  // pinned memory through which pageable blocks go; 0: blocks are in pinned memory
};

// Where blocks are. Of pinned ones (cudaMallocHost, cudaHostRegister) the bytes must stay as they are until the upload is
// done; those of pageable ones are copied before Upload returns.
enum class HostMemory { kPinned, kPageable };

struct LayerRange {
  uint32_t first = 0, end = 0;
};

// Bytes that these layers of the block take in a slot, with the planes that the view holds.
size_t PageBytes(const BlockView& block, LayerRange layers);

class PagePool {
 public:
  // The device outlives the pool. kWrongOptions, kOutOfMemory, kDeviceFailed leave `pool` null.
  static PoolError Create(Device& device, const PagePoolOptions& options, std::unique_ptr<PagePool>& pool);
  // Waits for copies under way and for the last use of released pages. Nobody may still use pages that were not released.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // As many pages as the span is long, or none. They have room for layers [first_layer, first_layer + options.layers) of
  // a block. Slots whose last use is over come first; into others the copies wait for that, on the device. kFull.
  PoolError Take(std::span<int32_t> pages, uint32_t first_layer);

  // Copies these layers of blocks[i] to pages[i]: layer by layer, each of all blocks before the next. A page may get its
  // layers in several calls; of one block, with the same planes. Planes that a view does not hold are not copied.
  // `upload` is the number to wait for. All or nothing, unless kDeviceFailed.
  PoolError Upload(std::span<const BlockView> blocks, std::span<const int32_t> pages, LayerRange layers,
                   HostMemory memory, uint64_t& upload);
  // What `queue` is given from now on is done after layer `layer` of the upload, and all layers below it, has arrived.
  PoolError WaitForLayer(uint64_t upload, uint32_t layer, Queue queue);
  // Whether all of it has arrived: the caller's pinned memory is free again. False after a failure, too.
  bool IsDone(uint64_t upload);

  // The caller is done with the pages when `queue` has done what it was given until now. Several queues that read a page:
  // release it on one that waits for the others.
  PoolError Release(std::span<const int32_t> pages, Queue queue);

  // After kFull: the host waits until the oldest upload under way is done, or, without one, the oldest release. kFull
  // when there is nothing to wait for: all pages are taken.
  PoolError WaitForProgress();

  // In device memory: [page * page_stride() + layer - first layer of the page].
  const PageLayer* pages() const { return pages_; }
  uint32_t page_stride() const { return options_.layers; }
  const PagePoolOptions& options() const { return options_; }
  // Pages that Take would give.
  uint32_t available();

 private:
  enum class SlotState : uint8_t { kFree, kTaken, kReleased };
  struct Slot {
    SlotState state = SlotState::kFree;
    bool copy_waits = false;  // its next copy is to wait for its last use
    uint32_t first_layer = 0;
    PlaneMask planes = 0;  // 0: nothing was uploaded yet
    uint64_t last_upload = 0;
    uint8_t* next_layer = nullptr;  // while an upload is enqueued: where its next layer goes
    Event released = nullptr;
  };
  struct UploadRecord {
    LayerRange layers;
    uint64_t staged = 0;  // StagingRing::mark
  };
  // Numbers of slots in order; as many as there are slots fit.
  class SlotLine {
   public:
    explicit SlotLine(uint32_t slots) : numbers_(slots) {}
    void Append(int32_t slot) { numbers_[(first_ + count_++) % numbers_.size()] = slot; }
    int32_t TakeFirst();
    int32_t at(size_t i) const { return numbers_[(first_ + i) % numbers_.size()]; }
    size_t size() const { return count_; }

   private:
    std::vector<int32_t> numbers_;
    size_t first_ = 0, count_ = 0;
  };

  PagePool(Device& device, const PagePoolOptions& options);
  PoolError Make();
  void Poll();
  uint32_t UsableReleased() const;
  PoolError CheckUpload(std::span<const BlockView> blocks, std::span<const int32_t> pages, LayerRange layers) const;
  bool Enqueue(std::span<const BlockView> blocks, std::span<const int32_t> pages, LayerRange layers, uint8_t* staged);
  bool EnqueuePage(const BlockView& block, int32_t page, LayerRange layers);
  bool CopyLayer(const BlockView& block, uint32_t layer, int32_t page, uint8_t*& staged);
  Event EventOf(uint64_t upload, uint32_t layer) const {
    const uint64_t record = upload % options_.uploads;
    return layer_events_[record * options_.layers + layer - records_[record].layers.first];
  }
  Event LastEventOf(uint64_t upload) const {
    return EventOf(upload, records_[upload % options_.uploads].layers.end - 1);
  }

  Device& device_;
  const PagePoolOptions options_;
  std::mutex mutex_;
  bool failed_ = false;
  Queue copies_ = nullptr;
  uint8_t* memory_ = nullptr;         // [slot][slot_bytes]
  PageLayer* pages_ = nullptr;        // in device memory, [slot][layer]
  PageLayer* host_pages_ = nullptr;   // pinned, likewise: what is being copied there
  uint8_t* staging_ = nullptr;        // pinned
  StagingRing ring_;
  std::vector<Slot> slots_;
  std::vector<bool> has_layer_;       // [slot][layer]
  SlotLine free_, released_;
  std::vector<UploadRecord> records_;  // of upload n: n % uploads
  std::vector<Event> layer_events_;    // likewise, [upload][layer]
  uint64_t last_upload_ = 0, done_uploads_ = 0;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_PAGE_POOL_H_
