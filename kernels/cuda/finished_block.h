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
#include "codec/key_mean_profile.h"
#include "codec/kv_side.h"
#include "kernels/cuda/encode.h"

namespace polarkv::cuda {

// How the spec's blocks are coded; nothing where no kernel writes them: other codecs, layers with codecs of their own,
// other head dims.
std::optional<EncodeCodec> EncodeCodecOf(const BlockSpec& spec);

// The block's layout if nothing but the first positions of a sequence escapes and all layers have means that may have
// some of their own: that in which a device writes its tiles, and before those of each layer its records of means.
// Where a layer has none FinishBlock moves the tiles together.
struct ExpectedBlock {
  BlockSpec spec;  // with the phases of its RoPE, and the profile's digest
  BlockLayout layout;
  uint32_t raw_tokens;  // of the block, which escape
  MeanSource means;
};
// INVALID_ARGUMENT as BlockLayout::Make, SettleProfile (key_mean_profile.h) and SettlePhases (rope_phase.h).
absl::StatusOr<ExpectedBlock> ExpectBlock(const BlockSpec& spec, const EncodeOptions& options);

// What EncodeBatch::means has to be for blocks like this one; its pointers are the caller's to fill in: spec.phases,
// GivenMeans if they are given, and a workspace.
EncodeMeans EncodeMeansOf(const ExpectedBlock& block);
// The profile's means, to be copied to the device: EncodeMeans::given of all layers.
std::vector<float> GivenMeans(const ExpectedBlock& block, const KeyMeanProfile& profile);

// Where a launch for all layers is to write, `bytes` being layout.total_bytes() of device memory at a multiple of 64,
// `reports` [layers][kv_heads][tiles]. The rows' page table or offset is the caller's to fill in.
EncodedPlace PlaceOf(const ExpectedBlock& block, uint8_t* bytes, TileReport* reports);

// Rows of the source as floats, [count][head_dim]; called for the few that the host needs. Tokens count from the
// block's first. An error ends the work and is returned.
using RowReader = std::function<absl::Status(KvSide side, uint32_t layer, uint32_t kv_head, uint32_t first,
                                             uint32_t count, float* rows)>;

// `bytes`: those of the device, layout.total_bytes(), as copied from it (the payload alone is read), and `reports`
// likewise. `options`: those of ExpectBlock. Tiles that the device cannot settle - misfit tokens, scales far apart,
// heads whose mean is not an ordinary one - are encoded again by the reference.
// INVALID_ARGUMENT: a number is not finite (named by tensor, layer, head, token, coordinate).
absl::StatusOr<std::vector<uint8_t>> FinishBlock(const ExpectedBlock& expected, const EncodeOptions& options,
                                                 std::span<const uint8_t> bytes, std::span<const TileReport> reports,
                                                 const RowReader& rows);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_FINISHED_BLOCK_H_
