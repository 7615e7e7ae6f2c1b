#include "codec/band_planner.h"

#include <algorithm>
#include <cmath>

#include "codec/polar_coordinates.h"

namespace polarkv {

void BandPlanner::Add(const float* key) {
  double square = 0;
  for (uint32_t j = 0; j < head_dim_; ++j) square += double{key[j]} * key[j];
  if (!(square > 0)) return;
  const double per_pair = head_dim_ / (2 * square);
  for (uint32_t p = 0; p < head_dim_ / 2; ++p) {
    const CoordinatePair pair = PairOf(rope_, head_dim_, p);
    const double a = key[pair.first], b = key[pair.second];
    sum_[p] += (a * a + b * b) * per_pair;
  }
  ++count_;
}

BandTable BandPlanner::Plan(CodecId codec) const {
  BandTable bands;
  const uint32_t pairs = head_dim_ / 2, count = BandCount(head_dim_);
  for (uint32_t p = 0; p < pairs; ++p) bands.pair[p] = static_cast<uint8_t>(p);
  std::stable_sort(bands.pair.begin(), bands.pair.begin() + pairs,
                   [this](uint8_t a, uint8_t b) { return Variance(a) > Variance(b); });
  std::array<double, kMaxBands> variance{};
  for (uint32_t i = 0; i < pairs; ++i) variance[i / kBandPairs] += Variance(bands.pair[i]) / kBandPairs;
  for (uint32_t b = 0; b < count; ++b) {
    bands.deviation[b] = BandDeviationCode(static_cast<float>(std::sqrt(variance[b])));
  }
  for (uint32_t left = BandBudget(codec, head_dim_); left > 0; --left) {
    uint32_t best = count;
    double most = -1;
    for (uint32_t b = 0; b < count; ++b) {
      const uint32_t bits = bands.bits[b];
      if (bits == kMaxBandBits) continue;
      const double less = variance[b] * (kBandDistortion[bits] - kBandDistortion[bits + 1]);
      if (less > most) {
        most = less;
        best = b;
      }
    }
    ++bands.bits[best];
  }
  return bands;
}

double BandPlanner::CodingGain() const {
  // A pair that is always zero would make the gain infinite; codes cannot use more than this.
  constexpr double kLeast = 1e-6;
  double sum = 0, logs = 0;
  for (uint32_t p = 0; p < head_dim_ / 2; ++p) {
    sum += Variance(p);
    logs += std::log10(std::max(Variance(p), kLeast));
  }
  const double pairs = head_dim_ / 2;
  return 10 * (std::log10(std::max(sum / pairs, kLeast)) - logs / pairs);
}

}  // namespace polarkv
