// Which blocks of one sequence a launch of attention can take together.
#ifndef POLARKV_KERNELS_CUDA_LAUNCH_GROUPS_H_
#define POLARKV_KERNELS_CUDA_LAUNCH_GROUPS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_view.h"
#include "kernels/cuda/attention.h"

namespace polarkv::cuda {

// Blocks that are read alike. A launch wants pages of so many tiles each but for the last of a sequence: so the first of
// these sequences is all full blocks and one short one, each other a short block on its own. They have the same queries, and
// their results merge.
struct LaunchGroup {
  AttentionCodec codec;
  uint32_t tiles_per_page = 0;
  std::vector<std::vector<uint32_t>> sequences;  // numbers of blocks
};

// FAILED_PRECONDITION: a block for which there is no kernel.
absl::StatusOr<std::vector<LaunchGroup>> GroupBlocks(std::span<const BlockView> blocks, uint32_t layer);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_LAUNCH_GROUPS_H_
