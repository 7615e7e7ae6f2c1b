#include "codec/turbo_quantizer.h"

#include <cmath>

#include "codec/fma_target.h"
#include "codec/lane_vectors.h"

namespace polarkv {
namespace {

constexpr uint32_t kLanes = kQuantizerLanes;

template <uint32_t kBits>
[[gnu::always_inline]] inline int Level(float magnitude) {
  int level = 0;
  for (const int threshold : TurboThresholds<kBits>()) level += int{magnitude >= static_cast<float>(threshold)};
  return level;
}

}  // namespace

template <uint32_t kBits>
[[gnu::always_inline]] inline void TurboQuantizer::QuantizeBody(QuantizerInput& in, QuantizedVectors& out) const {
  constexpr int kHalf = (1 << kBits) / 2;
  LaneFloats* y = in.x;
  LaneNorms norms;
  RotateLanes(y, head_dim_, signs_.data(), norms);

  alignas(64) LaneFloats image[kMaxHeadDim];
  const TurboCodebook& book = TurboCodebookFor(codec_, kBits);
  std::array<float, kMaxTurboCodes> image_of;
  for (uint32_t c = 0; c < image_of.size(); ++c) image_of[c] = book.image[c];
  for (uint32_t j = 0; j < head_dim_; ++j) {
    for (uint32_t l = 0; l < kLanes; ++l) {
      const bool negative = y[j][l] < 0;
      const int level = Level<kBits>(negative ? -1 - y[j][l] : y[j][l]);
      const int code = negative ? kHalf - 1 - level : kHalf + level;
      out.code[j][l] = static_cast<uint8_t>(code);
      // One bit: no look-up, which g++ 12 miscompiles when the code is a comparison's result.
      image[j][l] = kBits == 1 ? (negative ? image_of[0] : image_of[1]) : image_of[code];
    }
  }
  for (uint32_t l = 0; l < kLanes; ++l) {
    out.exponent[l] = norms.exponent[l];
    out.norm[l] = norms.norm[l];
  }
  if (!IsTurboQjl(codec_)) return ScaleLanes(side_, y, image, head_dim_, norms, out.mantissa);
  const float per_norm = 1 / (std::sqrt(static_cast<float>(head_dim_)) * book.unit);
  for (uint32_t l = 0; l < kLanes; ++l) out.mantissa[l] = norms.norm[l] * per_norm;
}

template <uint32_t kBits>
void TurboQuantizer::QuantizeBits(QuantizerInput& in, QuantizedVectors& out) const {
  QuantizeBody<kBits>(in, out);
}

template <uint32_t kBits>
POLARKV_FMA_TARGET void TurboQuantizer::QuantizeBitsFma(QuantizerInput& in, QuantizedVectors& out) const {
  QuantizeBody<kBits>(in, out);
}

template <uint32_t kBits>
void TurboQuantizer::Dispatch(QuantizerInput& in, QuantizedVectors& out) const {
  HasHardwareFma() ? QuantizeBitsFma<kBits>(in, out) : QuantizeBits<kBits>(in, out);
}

TurboQuantizer::TurboQuantizer(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed)
    : codec_(codec), side_(side), head_dim_(head_dim), signs_(RotationSigns(rotation_seed)) {}

void TurboQuantizer::Quantize(QuantizerInput& in, QuantizedVectors& out) const {
  switch (bits()) {
    case 1:
      return Dispatch<1>(in, out);
    case 2:
      return Dispatch<2>(in, out);
    case 3:
      return Dispatch<3>(in, out);
    case 5:
      return Dispatch<5>(in, out);
    default:
      return Dispatch<4>(in, out);
  }
}

}  // namespace polarkv
