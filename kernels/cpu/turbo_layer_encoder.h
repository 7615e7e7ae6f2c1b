// The layers of a block by the fast body, tile by tile; the tiles that it does not serve by codec/side_encoder.h.
#ifndef POLARKV_KERNELS_CPU_TURBO_LAYER_ENCODER_H_
#define POLARKV_KERNELS_CPU_TURBO_LAYER_ENCODER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_layout.h"
#include "codec/encode_options.h"
#include "codec/key_mean.h"
#include "codec/side_encoder.h"
#include "codec/tensor_view.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/key_mean_rows.h"
#include "kernels/cpu/turbo_bodies.h"
#include "kernels/cpu/turbo_encode.h"

namespace polarkv::cpu {

// Holds scratch memory: one thread at a time.
class TurboLayerEncoder {
 public:
  // Whether `set` has a fast body for such a layer. What is wrong with the arguments is for the caller to find.
  static bool Takes(uint32_t head_dim, CodecPair codec, const TensorView& k, const TensorView& v, InstructionSet set);

  // Of layers that have the spec's codecs. `spec` has the phases of its RoPE; `raw_tokens`: the first tokens of the block,
  // which escape. All must outlive the encoder.
  TurboLayerEncoder(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                    uint32_t raw_tokens, InstructionSet set);

  // What a layer has besides tiles.
  struct Records {
    std::vector<uint8_t> means;  // [kv_head] records, or none; of a profile's means none
    std::vector<uint8_t> escapes;
  };

  // Writes the layer's tiles to their places in `bytes`, every byte of them. Layers in order. INVALID_ARGUMENT: a number is not
  // finite.
  absl::Status Encode(uint32_t layer, const BlockLayout& layout, uint8_t* bytes, Records& records);

 private:
  // One side of the block.
  struct Side {
    Side(const BlockSpec& spec, KvSide side, const TensorView& tensor, InstructionSet set);

    const TensorView& tensor;
    CodecId codec;
    const char* name;
    TurboEncoderShape shape;
    TurboEncodeBody* encode;
    std::vector<TrellisPlace> places;  // of trellis codes
    float most_error;  // a token with less is no misfit, whatever the rounding of its scale
    SideEncoder reference;
  };
  // Keys of a head, turned back to position 0 and summed, in the order of KeyPairs.
  struct HeadSums {
    std::array<double, kMaxHeadDim / 2> first{}, second{};
    double energy = 0;
    uint64_t count = 0;
  };
  struct TileSide {
    ScaleRange range;
    uint64_t escapes = 0;
    uint64_t means = 0;
  };

  TurboEncodeRows RowsOf(const Side& side, uint32_t layer, uint32_t head, uint32_t tile) const;
  uint64_t Counted(uint32_t tile) const;
  absl::StatusOr<bool> EncodeTiles(uint32_t layer, const BlockLayout& layout, uint8_t* bytes, bool watch, Records& records);
  absl::StatusOr<TileSide> EncodeSide(Side& side, uint32_t layer, uint32_t head, uint32_t tile, const TilePlanes<uint8_t>& planes,
                                      uint8_t* scales, std::vector<uint8_t>& escapes);
  void PrepareMeans();
  absl::Status DecideMeans(uint32_t layer, Records& records);
  void TakeProfileMeans(uint32_t layer);
  void LookAtMeans();
  absl::Status AddKeys(uint32_t layer, uint32_t head, uint32_t tile, uint32_t stride, HeadSums& sums);
  KeyMeanEstimator Estimate(const HeadSums& sums) const;
  void Directions(uint64_t position, PairNumbers& out) const;
  void ToPairs(const float* vector, PairNumbers& out) const;
  absl::StatusOr<uint64_t> TakeMeansOff(uint32_t layer, uint32_t head, uint32_t tile);

  const BlockSpec& spec_;
  InstructionSet set_;
  EncodeOptions options_;
  uint32_t raw_tokens_;
  alignas(64) std::array<uint16_t, kMaxHeadDim> sign_bits16_;
  alignas(64) std::array<uint32_t, kMaxHeadDim> sign_bits32_;
  ScaleTables tables_;
  ScaleStepsBody* scale_steps_;
  Side keys_, values_;
  TurboEncoderShape float_keys_;  // of keys without their mean
  // Key means.
  double mean_cost_ = 0;  // bits a key coordinate
  KeyMeanBodies mean_bodies_;
  std::array<uint64_t, kMaxHeadDim / 2> phases_{};  // by pair
  std::vector<PairNumbers> tile_turns_;             // to each tile's first token
  std::vector<float> turns_;                        // [tokens][cosines, sines], once they are needed
  std::vector<std::array<float, kMaxHeadDim>> means_;  // by head, as decoded; empty if the layer has none
  std::vector<bool> has_mean_;                         // by head: it is not zero
  bool expects_means_ = false;                         // the layer before has them
  TurboEncodedTile tile_;
  std::array<float, kTileTokens * kMaxHeadDim> rows_;
  alignas(64) std::array<float, kTileTokens * kMaxHeadDim> residual_;  // keys without their mean
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_LAYER_ENCODER_H_
