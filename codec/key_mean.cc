#include "codec/key_mean.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "codec/half_float.h"
#include "codec/half_tile.h"
#include "codec/rope_phase.h"

namespace polarkv {

std::array<float, kMaxHeadDim> ReadRecord(const VectorRecord& record) {
  constexpr double kLimit = std::numeric_limits<float>::max();
  std::array<float, kMaxHeadDim> vector{};
  const double power = std::ldexp(1.0, record.exponent);
  for (size_t j = 0; j < record.halves.size(); ++j) {
    vector[j] = static_cast<float>(std::clamp(HalfToFloat(record.halves[j]) * power, -kLimit, kLimit));
  }
  return vector;
}

void WriteRecord(const float* vector, uint32_t head_dim, uint8_t* record) {
  VectorRecordHead head{};
  head.exponent = static_cast<int16_t>(EncodeHalfTile(vector, 1, head_dim, record + sizeof head));
  std::memcpy(record, &head, sizeof head);
}

VectorRecord ViewRecord(const uint8_t* record, uint32_t head_dim) {
  VectorRecordHead head;
  std::memcpy(&head, record, sizeof head);
  return {head.exponent, {reinterpret_cast<const uint16_t*>(record + sizeof head), head_dim}};
}

void KeyMeanEstimator::Add(const float* key, uint64_t position) {
  for (uint32_t j = 0; j < head_dim_; ++j) energy_ += double{key[j]} * key[j];
  const uint32_t turned = static_cast<uint32_t>(2 * phases_.size());
  for (uint32_t p = 0; p < phases_.size(); ++p) {
    const CoordinatePair pair = PairOf(rope_, head_dim_, p);
    const Direction turn = DirectionOfTurns(phases_[p] * position);
    const double a = key[pair.first], b = key[pair.second];
    sum_[pair.first] += turn.cosine * a + turn.sine * b;
    sum_[pair.second] += turn.cosine * b - turn.sine * a;
  }
  for (uint32_t j = turned; j < head_dim_; ++j) sum_[j] += key[j];  // RoPE turns leading coordinates
  ++count_;
}

std::array<float, kMaxHeadDim> KeyMeanEstimator::Mean() const {
  std::array<float, kMaxHeadDim> mean{};
  if (count_ == 0) return mean;
  for (uint32_t j = 0; j < head_dim_; ++j) mean[j] = static_cast<float>(sum_[j] / static_cast<double>(count_));
  return mean;
}

double KeyMeanEstimator::RemovedEnergy() const {
  if (count_ == 0) return 0;
  double square = 0;
  for (uint32_t j = 0; j < head_dim_; ++j) square += sum_[j] * sum_[j];
  return square / static_cast<double>(count_);
}

}  // namespace polarkv
