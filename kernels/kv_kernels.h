// The host API of the fast implementations: encode, decode and attention over codec/ blocks, on CPU or GPU.
// Every body computes what codec/reference_codec.h computes; kernels/README.md states the tolerances.
// Thread-safe; calls share nothing.
#ifndef POLARKV_KERNELS_KV_KERNELS_H_
#define POLARKV_KERNELS_KV_KERNELS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_view.h"
#include "codec/encode_options.h"
#include "codec/tensor_view.h"

namespace polarkv {

// Shapes and statuses as in codec/reference_codec.h.
absl::StatusOr<std::vector<uint8_t>> EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                                 const EncodeOptions& options = {});
absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v);
absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse);

}  // namespace polarkv

#endif  // POLARKV_KERNELS_KV_KERNELS_H_
