// Encoding on the CPU, with the fastest body that the codecs, the shape and the machine allow.
#ifndef POLARKV_KERNELS_CPU_CPU_ENCODE_H_
#define POLARKV_KERNELS_CPU_CPU_ENCODE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "codec/block_spec.h"
#include "codec/encode_options.h"
#include "codec/tensor_view.h"
#include "kernels/cpu/instruction_set.h"

namespace polarkv::cpu {

// Shapes, statuses and bytes as reference::EncodeBlock. `bytes` becomes the block; its memory is reused.
absl::Status EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                         InstructionSet set, std::vector<uint8_t>& bytes);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_CPU_ENCODE_H_
