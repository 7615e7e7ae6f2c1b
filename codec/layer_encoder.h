// One layer of a block, with what the encoder decides itself: key means and escapes.
#ifndef POLARKV_CODEC_LAYER_ENCODER_H_
#define POLARKV_CODEC_LAYER_ENCODER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_layout.h"
#include "codec/encode_options.h"
#include "codec/key_mean.h"
#include "codec/side_encoder.h"
#include "codec/tensor_view.h"

namespace polarkv {

// A layer's segments, in parts because their places depend on how many records there are.
struct EncodedLayer {
  LayerPart part;
  std::array<std::vector<uint8_t>, kMaxPlanes> tiles;  // by PlaneKind: [kv_head][tile]
  std::vector<uint8_t> means;                          // [kv_head] records, if part.key_mean and there is no profile
  std::vector<uint8_t> bands;                          // [kv_head] tables, if the keys' codec is in bands
  std::vector<uint8_t> escapes;                        // part.escapes records
};

// Writes the layer to its place in a block of zeros whose layout is that of all layers' parts.
void PlaceLayer(const EncodedLayer& encoded, const BlockLayout& layout, uint32_t layer, uint8_t* bytes);

// Holds scratch memory: one thread at a time.
class LayerEncoder {
 public:
  // `spec` has the phases of its RoPE, is settled with the options' profile (SettleProfile), and must outlive the encoder.
  // `shape`: of the layer without means and escapes.
  LayerEncoder(const BlockSpec& spec, const LayerLayout& shape, const EncodeOptions& options);

  // INVALID_ARGUMENT: a number is not finite.
  absl::Status Encode(const TensorView& k, const TensorView& v, uint32_t layer, EncodedLayer& out);

 private:
  absl::Status DecideMeans(const TensorView& k, uint32_t layer, EncodedLayer& out);
  absl::StatusOr<KeyMeanEstimator> SumKeys(const TensorView& k, uint32_t layer, uint32_t head, uint32_t stride);
  void TakeProfileMeans(uint32_t layer, EncodedLayer& out);
  absl::Status DecideBands(const TensorView& k, uint32_t layer, EncodedLayer& out);
  void EncodeSide(KvSide side, uint32_t head, uint32_t tile, uint32_t tokens, EncodedLayer& out, TileHead& head_bytes);
  uint64_t TakeMeansOff(uint32_t head, uint64_t first_position, uint32_t tokens, uint64_t counted);
  uint64_t RawFirst(uint32_t tile, uint32_t tokens, CodecId codec) const;
  uint8_t* Tile(EncodedLayer& out, PlaneKind kind, uint32_t head, uint32_t tile) const;

  const BlockSpec& spec_;
  LayerLayout shape_;
  EncodeOptions options_;
  SideEncoder keys_, values_;
  std::vector<std::array<float, kMaxHeadDim>> means_;      // by head, as decoded; empty if the layer has none
  std::array<float, kTileTokens * kMaxHeadDim> rows_;      // of one tile and side
  std::array<float, kTileTokens * kMaxHeadDim> residual_;  // the same, keys without their means
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_LAYER_ENCODER_H_
