// The rivals' quantizers, written from their papers: each turns the keys or the values of one head into what a reader
// gets back, and counts the bits that it would store.
#ifndef POLARKV_TESTS_QUALITY_SIDE_QUANTIZER_H_
#define POLARKV_TESTS_QUALITY_SIDE_QUANTIZER_H_

#include <cstdint>
#include <memory>
#include <span>

#include "codec/block_spec.h"

namespace polarkv::quality {

struct HeadShape {
  uint32_t tokens = 0;
  uint32_t head_dim = 0;
  Rope rope;
};

// Immutable and thread-safe.
class SideQuantizer {
 public:
  SideQuantizer() = default;
  virtual ~SideQuantizer() = default;
  SideQuantizer(const SideQuantizer&) = delete;
  SideQuantizer& operator=(const SideQuantizer&) = delete;

  // `in` and `out` are [tokens][head_dim]. Returns the bits of codes and parameters together.
  virtual double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const = 0;
};

using SideQuantizerPtr = std::shared_ptr<const SideQuantizer>;

// KIVI (Liu et al., arXiv 2402.02750), keys: asymmetric integers; minimum and step in fp16 for each channel and group
// of `group` tokens. The most recent tokens, which KIVI keeps in fp16, are not.
SideQuantizerPtr PerChannelIntegers(uint32_t bits, uint32_t group);
// KIVI, values: minimum and step in fp16 for each token and group of `group` channels; 0: all channels of the head.
SideQuantizerPtr PerTokenIntegers(uint32_t bits, uint32_t group);
// OCP e4m3 with one fp32 scale for each 512 tokens of a head: their largest magnitude becomes 448.
SideQuantizerPtr Float8();
// NVFP4: e2m1 in blocks of 16 coordinates with an e4m3 scale each, and an fp32 scale for each 512 tokens of a head.
SideQuantizerPtr Nvfp4();
// PolarQuant (Wu et al., arXiv 2502.00527): radius and angle of RoPE pairs; minimum and step of both in fp16 for each
// pair and group of 128 tokens; no wrap-around.
SideQuantizerPtr PublishedPolar(uint32_t radius_bits, uint32_t angle_bits);
// TurboQuant's first stage (arXiv 2504.19874): random rotation, Lloyd-Max codes of 1 to 4 bits, the norm in fp16.
SideQuantizerPtr LloydMaxCodes(uint32_t bits);
// TurboQuant's inner-product form: Lloyd-Max codes, then one sign a coordinate of the residual's orthogonal sketch
// (QJL), and its norm in fp16.
SideQuantizerPtr LloydMaxCodesWithResidual(uint32_t code_bits);
// QJL (arXiv 2406.03482): the signs of so many orthogonal sketches, and the norm in fp16. No channels apart.
SideQuantizerPtr SignsOfSketches(uint32_t sketches);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_SIDE_QUANTIZER_H_
