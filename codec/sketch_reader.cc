#include "codec/sketch_reader.h"

#include <cstring>

#include "codec/half_float.h"

namespace polarkv {

SketchReader::Scratch& SketchReader::scratch() {
  if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  return *scratch_;
}

void SketchReader::ReadSigns(uint64_t rotation_seed, uint32_t count, const uint8_t* planes, float* estimate) {
  if (!signs_.has_value() || seed_ != rotation_seed || count_ != count) {
    signs_.emplace(head_dim_, rotation_seed, count);
    seed_ = rotation_seed;
    count_ = count;
  }
  signs_->Read(planes, scratch().sketch, estimate);
}

void SketchReader::ReadOutliers(CodecId codec, const uint8_t* payload, float* matrix, double* factor) {
  if (!outliers_.has_value() || outlier_codec_ != codec) {
    outliers_.emplace(codec, head_dim_);
    outlier_codec_ = codec;
  }
  outliers_->Read(payload, scratch().sketch, matrix, factor);
}

void SketchReader::AddResidual(uint64_t rotation_seed, const uint8_t* norms, const uint8_t* plane, float* matrix) {
  const float* estimate = scratch().estimate.data();
  ReadSigns(rotation_seed, 1, plane, scratch().estimate.data());
  float norm[kTileTokens];
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    uint16_t half;
    std::memcpy(&half, norms + 2 * t, sizeof half);
    norm[t] = HalfToFloat(half);
  }
  for (uint32_t j = 0; j < head_dim_; ++j) {
    for (uint32_t t = 0; t < kTileTokens; ++t) matrix[j * kTileTokens + t] += norm[t] * estimate[j * kTileTokens + t];
  }
}

}  // namespace polarkv
