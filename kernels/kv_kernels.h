// The host API of the fast implementations: encode, decode and attention over codec/ blocks, on CPU or GPU.
// Every body computes what codec/reference_codec.h computes; kernels/README.md states the tolerances.
// Thread-safe; calls share nothing, start no threads and do not depend on the caller's floating-point environment (rounding
// mode, flush-to-zero).
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

// Shapes and statuses as in codec/reference_codec.h. The second form writes into `bytes`, whose memory it reuses: a caller
// that encodes block after block touches no fresh pages.
absl::StatusOr<std::vector<uint8_t>> EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                                 const EncodeOptions& options = {});
absl::Status EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                         std::vector<uint8_t>& bytes);

// Which coordinates decoding gives. In the rotated domain, y = R x with R the orthonormal signed block-Hadamard rotation
// of codec/rotation.h, inner products are those of the model's domain if queries are rotated as well: a reader with kernels
// of its own saves the transform of every token. Sides whose codec does not rotate are the same in both.
enum class KvDomain { kModel, kRotated };

// Decodes the layers that the view holds from the planes that it holds, to contiguous [layers held, kv_heads, tokens,
// head_dim]. The second form writes F16, BF16 or F32 in memory aligned to the dtype's size: the F32 numbers, rounded to
// nearest even, magnitudes beyond the dtype's largest finite number becoming that. INVALID_ARGUMENT: a span has another
// size, an unknown dtype.
absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v);
absl::Status DecodeBlock(const BlockView& block, Dtype dtype, KvDomain domain, std::span<uint8_t> k,
                         std::span<uint8_t> v);

absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse);

}  // namespace polarkv

#endif  // POLARKV_KERNELS_KV_KERNELS_H_
