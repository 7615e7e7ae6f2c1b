// The host's part of encoding on a device: from the tiles and reports that a launch of encode.h left to a sealed block,
// byte for byte that of reference::EncodeBlock.
#ifndef POLARKV_KERNELS_CUDA_FINISHED_BLOCK_H_
#define POLARKV_KERNELS_CUDA_FINISHED_BLOCK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_layout.h"
#include "codec/encode_options.h"
#include "codec/kv_side.h"
#include "kernels/cuda/encode.h"

namespace polarkv::cuda {

// How the spec's blocks are coded; nothing where no kernel writes them: other codecs, layers with codecs of their own,
// other head dims.
std::optional<EncodeCodec> EncodeCodecOf(const BlockSpec& spec);

// The block's layout if nothing but the first positions of a sequence escapes, no layer having key means: that in which
// a device writes its tiles. Spec and layout; INVALID_ARGUMENT as BlockLayout::Make.
struct ExpectedBlock {
  BlockSpec spec;
  BlockLayout layout;
  uint32_t raw_tokens;  // of the block, which escape
};
absl::StatusOr<ExpectedBlock> ExpectBlock(const BlockSpec& spec, const EncodeOptions& options);

// Where a launch for all layers is to write, `bytes` being layout.total_bytes() of device memory at a multiple of 64,
// `reports` [layers][kv_heads][tiles]. The rows' page table or offset is the caller's to fill in.
EncodedPlace PlaceOf(const ExpectedBlock& block, uint8_t* bytes, TileReport* reports);

// Rows of the source as floats, [count][head_dim]; called for the few that the host needs. Tokens count from the
// block's first. An error ends the work and is returned.
using RowReader = std::function<absl::Status(KvSide side, uint32_t layer, uint32_t kv_head, uint32_t first,
                                             uint32_t count, float* rows)>;

// `bytes`: those of the device, layout.total_bytes(), as copied from it (the payload alone is read), and `reports`
// likewise. Tiles that the device cannot settle - misfit tokens, scales far apart - are encoded again by the reference.
// INVALID_ARGUMENT: a number is not finite (named by tensor, layer, head, token, coordinate). FAILED_PRECONDITION: the
// options ask for key means, which only the reference takes off.
absl::StatusOr<std::vector<uint8_t>> FinishBlock(const ExpectedBlock& expected, const EncodeOptions& options,
                                                 std::span<const uint8_t> bytes, std::span<const TileReport> reports,
                                                 const RowReader& rows);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_FINISHED_BLOCK_H_
