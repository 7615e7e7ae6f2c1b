// The scalar reference of every codec: encode, decode, attention. It defines what the fast kernels must compute; it is
// written to be read, not to be quick. Workers call kernels/kv_kernels.h, which picks the fastest body.
#ifndef POLARKV_CODEC_REFERENCE_CODEC_H_
#define POLARKV_CODEC_REFERENCE_CODEC_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_view.h"
#include "codec/encode_options.h"
#include "codec/tensor_view.h"

namespace polarkv::reference {

// Encodes [layers, kv_heads, tokens, head_dim] into a sealed block. INVALID_ARGUMENT: shapes differ from the spec; a NaN
// or an infinity (named by tensor, layer, head, token, coordinate); a number of phases that the spec's RoPE does not have.
// Of spec.layer_parts only the codecs are looked at: the options say what becomes of means and escapes. spec.phases are
// used as they are; empty ones are the profile's, or derived from RoPE's base, and without RoPE they are of no meaning. Of
// profiles as SettleProfile (key_mean_profile.h).
absl::StatusOr<std::vector<uint8_t>> EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                                 const EncodeOptions& options = {});

// Decodes the layers that the view holds from the planes that it holds. `k`, `v`: F32, contiguous
// [layers held, kv_heads, tokens, head_dim]. INVALID_ARGUMENT: a span has another size. FAILED_PRECONDITION: as
// BlockView::CheckMeans.
absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v);

// Attention of post-RoPE queries over one layer's tokens of all blocks, in block order, no causal mask:
//   q, o: [q_heads, queries, head_dim] F32 contiguous, lse: [q_heads, queries] (natural log).
// q_heads is a multiple of kv_heads (GQA: query head h reads KV head h / (q_heads / kv_heads)). `scale` is usually
// 1/sqrt(head_dim). With no blocks o = 0 and lse = -inf. INVALID_ARGUMENT: shapes differ between blocks or from q;
// a block does not hold the layer; a query is not finite. FAILED_PRECONDITION: as BlockView::CheckMeans.
// CheckAttend makes these checks alone, for bodies that compute the same.
absl::Status CheckAttend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                         std::span<const float> q, float scale, std::span<const float> o, std::span<const float> lse);
absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse);

}  // namespace polarkv::reference

#endif  // POLARKV_CODEC_REFERENCE_CODEC_H_
