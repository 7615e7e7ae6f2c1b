// The layers of a block by the fast body, tile by tile; the tiles that it does not serve by codec/side_encoder.h.
#ifndef POLARKV_KERNELS_CPU_TURBO_LAYER_ENCODER_H_
#define POLARKV_KERNELS_CPU_TURBO_LAYER_ENCODER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_layout.h"
#include "codec/encode_options.h"
#include "codec/side_encoder.h"
#include "codec/tensor_view.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/turbo_encode.h"

namespace polarkv::cpu {

// Holds scratch memory: one thread at a time.
class TurboLayerEncoder {
 public:
  // Whether `set` has a fast body for such a block. What is wrong with the arguments is for the caller to find.
  static bool Takes(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                    InstructionSet set);

  // `spec` has the phases of its RoPE; `raw_tokens`: the first tokens of the block, which escape. All must outlive the encoder.
  TurboLayerEncoder(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                    uint32_t raw_tokens);

  // Writes the layer's tiles to their places in `bytes`, every byte of them, and appends its escape records. False if key
  // means might pay for themselves: the reference must decide that. INVALID_ARGUMENT: a number is not finite.
  absl::StatusOr<bool> Encode(uint32_t layer, const BlockLayout& layout, uint8_t* bytes, std::vector<uint8_t>& escapes);

 private:
  // One side of the block.
  struct Side {
    Side(const BlockSpec& spec, KvSide side, const TensorView& tensor);

    const TensorView& tensor;
    CodecId codec;
    const char* name;
    TurboEncoderShape shape;
    float most_error;  // a token with less is no misfit, whatever the rounding of its scale
    SideEncoder reference;
  };
  struct TileSide {
    ScaleRange range;
    uint64_t escapes = 0;
  };

  absl::StatusOr<TileSide> EncodeSide(Side& side, uint32_t layer, uint32_t head, uint32_t tile, uint64_t counted,
                                      const TilePlanes<uint8_t>& planes, uint8_t* scales, std::vector<uint8_t>& escapes);
  TileSide EncodeByReference(Side& side, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                             uint8_t* scales);
  void SumKeys(uint32_t layer, uint32_t head, uint32_t tile);
  void AddRemovedEnergy();

  const BlockSpec& spec_;
  EncodeOptions options_;
  uint32_t raw_tokens_;
  alignas(64) std::array<std::array<int16_t, kMaxHeadDim>, 2> negated_;
  ScaleTables tables_;
  std::vector<Turns> turns_;  // of each tile's first token; last: from one token to the next
  TurboEncoderShape plain_keys_;  // without signs
  alignas(64) std::array<uint32_t, kMaxHeadDim> no_signs_{};
  Side keys_, values_;
  std::array<double, kMaxHeadDim> head_sum_{};  // of keys turned back to position 0
  double energy_ = 0, removed_ = 0;             // of the layer's keys
  TurboEncodedTile tile_;
  std::array<float, kTileTokens * kMaxHeadDim> rows_;
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_LAYER_ENCODER_H_
