// Attention over encoded blocks on the CPU, with the fastest body that the blocks and the machine allow.
#ifndef POLARKV_KERNELS_CPU_CPU_ATTENTION_H_
#define POLARKV_KERNELS_CPU_CPU_ATTENTION_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "codec/block_view.h"
#include "kernels/cpu/instruction_set.h"

namespace polarkv::cpu {

// Shapes and statuses as reference::Attend. Blocks without a fast body in `set` go through the reference; the parts are
// merged by log-sum-exp. Runs on the calling thread.
absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse, InstructionSet set);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_CPU_ATTENTION_H_
