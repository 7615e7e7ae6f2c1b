// How a head's keys are best divided into bands: an encoder's choice.
#ifndef POLARKV_CODEC_BAND_PLANNER_H_
#define POLARKV_CODEC_BAND_PLANNER_H_

#include <array>
#include <cstdint>

#include "codec/band_code.h"

namespace polarkv {

// Gathers the keys of one head, without their means where those are taken off.
class BandPlanner {
 public:
  BandPlanner(const Rope& rope, uint32_t head_dim) : rope_(rope), head_dim_(head_dim) {}

  void Add(const float* key);
  // Pairs by descending variance of key / rms(key), eight a band; bits go one by one to where they take off most error.
  BandTable Plan(CodecId codec) const;
  // What knowing the pairs' variances is worth: 10 log10 of their mean over their geometric mean.
  double CodingGain() const;

 private:
  double Variance(uint32_t pair) const { return count_ == 0 ? 1 : sum_[pair] / static_cast<double>(count_); }

  Rope rope_;
  uint32_t head_dim_;
  std::array<double, kMaxBands * kBandPairs> sum_{};  // by pair
  uint64_t count_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_BAND_PLANNER_H_
