// From a block's bytes on the host to what a launch is told of its copy in device memory.
#ifndef POLARKV_KERNELS_CUDA_RESIDENT_BLOCK_H_
#define POLARKV_KERNELS_CUDA_RESIDENT_BLOCK_H_

#include <optional>

#include "codec/block_view.h"
#include "kernels/cuda/attention.h"

namespace polarkv::cuda {

// How the layer's codes are read with the planes that the view holds, and how its key means are turned; nothing where no
// kernel reads them: other codecs, means of a profile that the view was not given. LaunchAttention and LaunchDecode know of which of these they have kernels. The same for all blocks of a namespace of which the same planes were fetched.
std::optional<AttentionCodec> AttentionCodecOf(const BlockView& block, uint32_t layer);

// Of a launch on blocks some of which have key means and some have not: gives `launch` the means of `block`. False if both
// have means that are turned otherwise.
bool JoinKeyMeans(const AttentionCodec& block, AttentionCodec& launch);

// The layer of the block in the page table. `bytes`: where the view's bytes were copied to, 64-byte aligned; `profile`:
// where those of its profile were, 8-byte aligned. The view must hold the layer. Nothing where the layer's means are in a
// profile and `profile` is null, or the view was not given it.
std::optional<PageLayer> PageLayerOf(const BlockView& block, uint32_t layer, const uint8_t* bytes, const uint8_t* profile);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_RESIDENT_BLOCK_H_
