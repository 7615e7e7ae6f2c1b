// Attention on blocks in host memory by a device: through a page pool, the next layer arriving while this one is attended to.
#ifndef POLARKV_KERNELS_CUDA_DEVICE_ATTENTION_H_
#define POLARKV_KERNELS_CUDA_DEVICE_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_view.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda/launch_groups.h"
#include "kernels/cuda/page_pool.h"

namespace polarkv::cuda {

// One layer of all blocks of a sequence.
struct BlockLayer {
  std::span<const BlockView> blocks;
  uint32_t layer = 0;
};

// Keeps device memory for as long as it lives: two layers of the most blocks that it was given. Thread-safe: calls take turns on
// the device, with what is copied there, but not in checking and in merging what it left.
class DeviceAttention {
 public:
  explicit DeviceAttention(Device& device);
  ~DeviceAttention();

  // As reference::Attend, its statuses too, rounded as kernels/cuda/README.md says. `next` is copied to the device
  // meanwhile; its blocks' bytes stay as they are until a call attends to it, or to another. Waits for the result. More:
  // FAILED_PRECONDITION: no kernel for the blocks or the shape. RESOURCE_EXHAUSTED: device memory. INTERNAL: it failed.
  // OUT_OF_RANGE: a scale below 0, logits or outputs near the ends of fp32, which kernels do not take; the CPU has to do it.
  absl::Status Attend(const BlockLayer& now, uint32_t q_heads, uint32_t queries, std::span<const float> q, float scale,
                      std::span<float> o, std::span<float> lse, const BlockLayer* next = nullptr);

 private:
  // A layer in the pool, or on its way there.
  struct HostBlock {
    const uint8_t* bytes;
    PlaneMask planes;
    uint32_t layer_begin;
  };
  struct Resident {
    std::vector<HostBlock> blocks;  // what was copied
    uint32_t layer = 0;
    std::vector<int32_t> pages;  // of the blocks
    uint64_t upload = 0;         // the last one
  };
  struct Rows {
    uint32_t q_heads, queries, kv_heads, head_dim;
    size_t count() const { return size_t{q_heads} * queries; }
    uint32_t Chunks() const;
  };

  // What a turn on the device leaves: groups' results, sequence after sequence.
  struct Parts {
    std::vector<float> o, lse;
  };

  absl::Status TakeTurn(std::span<const LaunchGroup> groups, const BlockLayer& now, const Rows& rows,
                        std::span<const float> q, float scale, const BlockLayer* next, Parts& parts);
  absl::Status Compute(std::span<const LaunchGroup> groups, const BlockLayer& now, const Rows& rows,
                       std::span<const float> q, float scale, const BlockLayer* next, Parts& parts);
  absl::StatusOr<Resident> Bring(const BlockLayer& layer);
  absl::Status Upload(const BlockLayer& layer, Resident& resident);
  absl::Status MakeRoom(const BlockLayer& layer);
  absl::Status DropAhead();
  bool IsResident(const BlockLayer& layer) const;
  absl::Status LaunchAll(std::span<const LaunchGroup> groups, const BlockLayer& now, const Resident& resident,
                         const Rows& rows, std::span<const float> q, float scale);
  absl::Status Collect(std::span<const LaunchGroup> groups, const Rows& rows, Parts& parts);
  static void MergeParts(std::span<const LaunchGroup> groups, const Rows& rows, const Parts& parts, std::span<float> o,
                         std::span<float> lse);
  absl::Status PrepareTables(std::span<const LaunchGroup> groups, const BlockLayer& now, const Resident& resident);
  absl::Status Launch(const LaunchGroup& group, size_t first_sequence, const Rows& rows, float scale);
  absl::Status PoolStatus(PoolError error);

  Device& device_;
  std::mutex mutex_;  // of the turns: guards all that follows
  OwnedQueue queue_;
  DeviceBuffer tables_, lengths_, q_, o_, lse_, workspace_;
  std::vector<int32_t> host_tables_;     // [sequence][blocks], what is copied to tables_
  std::vector<uint32_t> host_lengths_;   // [sequence]
  std::unique_ptr<PagePool> pool_;
  std::optional<Resident> ahead_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DEVICE_ATTENTION_H_
