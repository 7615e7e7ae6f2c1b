#include "codec/outlier_sketch.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>

namespace polarkv {
namespace {

constexpr uint32_t kLanes = kQuantizerLanes;
static_assert(kLanes == kOutlierGroupTokens);
// Outliers are sketched as coordinates of vectors of this dimension, so that a projection gives as many signs.
constexpr uint32_t kOutlierDim = 8 * kOutlierSignBytes;
// Which coordinates, and by which projections: so few depend on the signs that happen to be drawn. With these, sketches of a
// single channel deviate by at most .5 %, of channels of equal size by .2 %.
constexpr std::array<uint8_t, kOutlierChannels> kOutlierPlace = {0, 1, 2, 4, 8, 16, 32, 63};
constexpr uint32_t kFirstOutlierProjection = 161;
// Nothing depends on the block's seed: it has one only if another codec rotates.
constexpr uint64_t kSeed = BlockSpec::kDefaultRotationSeed;
constexpr float kNorm = QjlTileEncoder::kNormPerScale;

// The channels of largest norm, in ascending order; of equals the first.
void ChooseChannels(const float* rows, uint32_t head_dim, uint32_t first, uint32_t last, uint64_t counted,
                    uint8_t* channels) {
  std::vector<double> energy(head_dim);
  for (uint32_t t = first; t < last; ++t) {
    if ((counted >> t & 1) == 0) continue;
    for (uint32_t j = 0; j < head_dim; ++j) energy[j] += double{rows[t * head_dim + j]} * rows[t * head_dim + j];
  }
  std::vector<uint8_t> order(head_dim);
  std::iota(order.begin(), order.end(), uint8_t{0});
  std::stable_sort(order.begin(), order.end(), [&](uint8_t a, uint8_t b) { return energy[a] > energy[b]; });
  std::copy_n(order.begin(), kOutlierChannels, channels);
  std::sort(channels, channels + kOutlierChannels);
}

template <typename Byte>
Byte* SignsOf(Byte* payload, uint32_t head_dim, uint32_t projections) {
  return payload + sizeof(OutlierHead) + kTileTokens + size_t{8} * head_dim * projections;
}

}  // namespace

OutlierSketch::OutlierSketch(CodecId codec, uint32_t head_dim)
    : head_dim_(head_dim),
      rotation_(KvSide::kKey, head_dim, kSeed),
      inliers_(head_dim, kSeed, OutlierProjections(codec)) {
  for (uint32_t i = 0; i < OutlierProjections(codec); ++i) {
    outlier_projections_.emplace_back(kOutlierDim, kSeed, kFirstOutlierProjection + i);
  }
}

void OutlierSketch::Read(const uint8_t* payload, SketchScratch& scratch, float* matrix, double* factor) const {
  OutlierHead head;
  std::memcpy(&head, payload, sizeof head);
  const uint8_t* outlier_scales = payload + sizeof head;
  float inlier_part[kTileTokens], outlier_part[kTileTokens];
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    const double inlier = factor[t], outlier = ScaleValue({head.base, head.shift}, outlier_scales[t]);
    factor[t] = std::max(inlier, outlier);
    // Each at most 1. Where both are 0 so is the key.
    inlier_part[t] = inlier > 0 ? static_cast<float>(inlier / factor[t]) : 0;
    outlier_part[t] = outlier > 0 ? static_cast<float>(outlier / factor[t]) : 0;
  }
  ReadInliers(outlier_scales + kTileTokens, inlier_part, scratch, matrix);
  float outliers[kOutlierDim * kTileTokens];
  ReadOutliers(SignsOf(payload, head_dim_, projections()), outliers);
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    const uint8_t* channels = head.channel[t / kOutlierGroupTokens];
    for (uint32_t i = 0; i < kOutlierChannels; ++i) {
      const uint32_t channel = channels[i] % head_dim_;
      matrix[channel * kTileTokens + t] = outliers[kOutlierPlace[i] * kTileTokens + t] * kNorm * outlier_part[t];
    }
  }
}

// Rotated back, times `part` of each token.
void OutlierSketch::ReadInliers(const uint8_t* planes, const float* part, SketchScratch& scratch, float* matrix) const {
  inliers_.Read(planes, scratch, matrix);
  HadamardBlocks(matrix, head_dim_, RotationBlock(head_dim_), kTileTokens);
  const std::array<float, kMaxHeadDim> signs = RotationSigns(kSeed);
  for (uint32_t j = 0; j < head_dim_; ++j) {
    const float factor = signs[j] * RotationScale(head_dim_) * kNorm;
    for (uint32_t t = 0; t < kTileTokens; ++t) matrix[j * kTileTokens + t] *= factor * part[t];
  }
}

// Estimated directions, [kOutlierDim][token].
void OutlierSketch::ReadOutliers(const uint8_t* signs, float* estimate) const {
  float sigma[kOutlierDim * kTileTokens];
  std::fill_n(estimate, kOutlierDim * kTileTokens, 0.0f);
  for (const SignProjection& projection : outlier_projections_) {
    for (uint32_t t = 0; t < kTileTokens; ++t, signs += kOutlierSignBytes) {
      for (uint32_t i = 0; i < kOutlierDim; ++i) {
        sigma[i * kTileTokens + t] = (signs[i / 8] >> i % 8 & 1) != 0 ? 1.0f : -1.0f;
      }
    }
    projection.ApplyTransposed(sigma, kTileTokens);
    for (uint32_t i = 0; i < kOutlierDim * kTileTokens; ++i) estimate[i] += sigma[i];
  }
  const float constant = SketchConstant(kOutlierDim) / (static_cast<float>(projections()) * kOutlierDim);
  for (uint32_t i = 0; i < kOutlierDim * kTileTokens; ++i) estimate[i] *= constant;
}

ScaleRange OutlierTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                      const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  EncodeOutliers(rows, tokens, counted, planes.payload);
  OutlierHead head;
  std::memcpy(&head, planes.payload, sizeof head);
  std::vector<float> inliers(rows, rows + tokens * head_dim_);
  for (uint32_t t = 0; t < tokens; ++t) {
    for (const uint8_t channel : head.channel[t / kOutlierGroupTokens]) inliers[t * head_dim_ + channel] = 0;
  }
  const auto tile = std::make_unique<RotatedTile>();
  rotation_.Rotate(inliers.data(), tokens, counted, *tile);
  const uint64_t present = tokens == kTileTokens ? ~uint64_t{0} : (uint64_t{1} << tokens) - 1;
  inliers_.Write(tile->y, counted & present, planes.payload + sizeof head + kTileTokens);
  return StoreNormScales(*tile, 1 / kNorm, tokens, scales);
}

// Channels, scales and signs.
void OutlierTileEncoder::EncodeOutliers(const float* rows, uint32_t tokens, uint64_t counted, uint8_t* payload) const {
  OutlierHead head{};
  float mantissa[kTileTokens] = {};
  int exponent[kTileTokens] = {};
  const auto x = std::make_unique<LaneFloats[]>(kOutlierDim), projected = std::make_unique<LaneFloats[]>(kOutlierDim);
  for (uint32_t group = 0; group < kOutlierGroups; ++group) {
    const uint32_t first = group * kLanes, last = std::min(first + kLanes, tokens);
    ChooseChannels(rows, head_dim_, first, last, counted, head.channel[group]);
    std::fill_n(&x[0][0], kOutlierDim * kLanes, 0.0f);
    for (uint32_t t = first; t < last; ++t) {
      if ((counted >> t & 1) == 0) continue;
      for (uint32_t i = 0; i < kOutlierChannels; ++i) x[kOutlierPlace[i]][t - first] = rows[t * head_dim_ + head.channel[group][i]];
    }
    NormaliseExponents(x.get(), kOutlierDim, exponent + first);
    for (uint32_t t = first; t < last; ++t) {
      float square = 0;
      for (const uint8_t i : kOutlierPlace) square = std::fma(x[i][t - first], x[i][t - first], square);
      mantissa[t] = std::sqrt(square) / kNorm;
    }
    for (uint32_t p = 0; p < projections(); ++p) {
      std::copy_n(&x[0][0], kOutlierDim * kLanes, &projected[0][0]);
      outlier_projections_[p].Apply(&projected[0][0], kLanes);
      uint8_t* signs = SignsOf(payload, head_dim_, projections()) + p * kTileTokens * kOutlierSignBytes;
      for (uint32_t t = first; t < last; ++t) {
        if ((counted >> t & 1) == 0) continue;
        uint64_t word = 0;
        for (uint32_t i = 0; i < kOutlierDim; ++i) word |= uint64_t{projected[i][t - first] >= 0} << i;
        std::memcpy(signs + t * kOutlierSignBytes, &word, sizeof word);
      }
    }
  }
  uint8_t* scales = payload + sizeof head;
  const ScaleRange range = StoreScales(mantissa, exponent, tokens, scales);
  head.base = range.base;
  head.shift = range.shift;
  std::memcpy(payload, &head, sizeof head);
}

}  // namespace polarkv
