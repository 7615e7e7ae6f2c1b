// Decoding on the CPU, with the fastest body that the codecs, the shape and the machine allow.
#ifndef POLARKV_KERNELS_CPU_CPU_DECODE_H_
#define POLARKV_KERNELS_CPU_CPU_DECODE_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "codec/block_view.h"
#include "kernels/cpu/instruction_set.h"

namespace polarkv::cpu {

// The layers and planes that the view holds as [layers held, kv_heads, tokens, head_dim] of `dtype`, contiguous, aligned to
// its size. F32 is reference::DecodeBlock's numbers, bit for bit; the others are those, rounded to nearest even and
// saturated at the dtype's largest finite number. `rotated`: sides whose codec rotates stay in the rotated domain.
// INVALID_ARGUMENT: a span has another size; an unknown dtype.
absl::Status DecodeBlock(const BlockView& block, Dtype dtype, bool rotated, std::span<uint8_t> k, std::span<uint8_t> v,
                         InstructionSet set);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_CPU_DECODE_H_
