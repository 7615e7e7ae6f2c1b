// One vector of floats -> turbo codes and a scale, 32 vectors side by side (FORMAT.md, "Turbo codes", has the
// arithmetic step by step; every encoder gives these bits).
#ifndef POLARKV_CODEC_TURBO_QUANTIZER_H_
#define POLARKV_CODEC_TURBO_QUANTIZER_H_

#include <array>
#include <cstdint>

#include "codec/block_spec.h"
#include "codec/kv_side.h"
#include "codec/quantizer_lanes.h"
#include "codec/rotation.h"
#include "codec/turbo_codebook.h"

namespace polarkv {

struct QuantizerInput {
  alignas(64) float x[kMaxHeadDim][kQuantizerLanes];  // finite; overwritten with the rotated vectors, integers
};

struct QuantizedVectors {
  alignas(64) uint8_t code[kMaxHeadDim][kQuantizerLanes];
  // The rotated vector is about mantissa * 2^exponent * image[code]; mantissa 0: the zero vector.
  float mantissa[kQuantizerLanes];
  int exponent[kQuantizerLanes];
  float norm[kQuantizerLanes];  // of the vector times 2^-exponent
};

class TurboQuantizer {
 public:
  // `codec` is turbo<b> or turbo<b>q. Keys get the scale that makes inner products unbiased, values the one that keeps
  // the norm; keys of turbo<b>q the published one, norm times centroid, to which a residual is to be added.
  TurboQuantizer(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed);
  // Afterwards `in` holds the rotated vectors as RotateLanes (lane_vectors.h) leaves them.
  void Quantize(QuantizerInput& in, QuantizedVectors& out) const;

  CodecId codec() const { return codec_; }
  KvSide side() const { return side_; }
  uint32_t head_dim() const { return head_dim_; }
  uint32_t bits() const { return TurboBits(codec_); }

 private:
  template <uint32_t kBits>
  void QuantizeBits(QuantizerInput& in, QuantizedVectors& out) const;
  template <uint32_t kBits>
  void QuantizeBitsFma(QuantizerInput& in, QuantizedVectors& out) const;
  template <uint32_t kBits>
  void QuantizeBody(QuantizerInput& in, QuantizedVectors& out) const;
  template <uint32_t kBits>
  void Dispatch(QuantizerInput& in, QuantizedVectors& out) const;

  CodecId codec_;
  KvSide side_;
  uint32_t head_dim_;
  std::array<float, kMaxHeadDim> signs_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_QUANTIZER_H_
