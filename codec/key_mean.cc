#include "codec/key_mean.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "codec/fma_target.h"
#include "codec/half_float.h"
#include "codec/half_tile.h"
#include "codec/largest_magnitude.h"
#include "codec/rope_phase.h"

namespace polarkv {
namespace {

constexpr uint32_t kPartialSums = 32;

// Means beyond this could overflow when they are turned or taken off.
constexpr float kLargestMean = 0x1p125f;

[[gnu::always_inline]] inline float SumOfPartials(float* p) {
  for (uint32_t stride = 1; stride < kPartialSums; stride *= 2) {
    for (uint32_t i = 0; i < kPartialSums; i += 2 * stride) p[i] += p[i + stride];
  }
  return p[0];
}

// A turn back by the angle of `turn`, then the key: sums of coordinates a and b of a pair.
struct PairTurns {
  std::array<CoordinatePair, kMaxHeadDim / 2> pair;
  std::array<Direction, kMaxHeadDim / 2> turn;
  uint32_t count = 0;
};

[[gnu::always_inline]] inline void AddKey(const PairTurns& turns, uint32_t head_dim, const float* key, float* sum) {
  for (uint32_t p = 0; p < turns.count; ++p) {
    const auto [first, second] = turns.pair[p];
    const auto [cosine, sine] = turns.turn[p];
    const float a = sum[first], b = sum[second];
    sum[first] = std::fma(cosine, a, std::fma(sine, b, key[first]));
    sum[second] = std::fma(cosine, b, std::fma(-sine, a, key[second]));
  }
  for (uint32_t j = 2 * turns.count; j < head_dim; ++j) sum[j] += key[j];  // RoPE turns leading coordinates
}

[[gnu::always_inline]] inline float SumBody(const PairTurns& turns, uint32_t head_dim, const float* rows, uint32_t tokens,
                                            uint64_t counted, uint32_t stride, KeyTileSums& out) {
  constexpr float kNone[kMaxHeadDim] = {};
  float energy[kPartialSums] = {};
  for (uint32_t t = (tokens - 1) / stride * stride + stride; t >= stride;) {
    t -= stride;
    const bool counts = (counted >> t & 1) != 0;
    const float* key = counts ? rows + t * head_dim : kNone;
    AddKey(turns, head_dim, key, out.sum.data());
    for (uint32_t j = 0; j < head_dim; ++j) energy[j % kPartialSums] = std::fma(key[j], key[j], energy[j % kPartialSums]);
    out.count += counts ? 1 : 0;
  }
  return SumOfPartials(energy);
}

POLARKV_FMA_TARGET float SumFma(const PairTurns& turns, uint32_t head_dim, const float* rows, uint32_t tokens, uint64_t counted,
                                uint32_t stride, KeyTileSums& out) {
  return SumBody(turns, head_dim, rows, tokens, counted, stride, out);
}
float SumPlain(const PairTurns& turns, uint32_t head_dim, const float* rows, uint32_t tokens, uint64_t counted,
               uint32_t stride, KeyTileSums& out) {
  return SumBody(turns, head_dim, rows, tokens, counted, stride, out);
}

[[gnu::always_inline]] inline float DotBody(const float* a, const float* b, uint32_t head_dim) {
  float partial[kPartialSums] = {};
  for (uint32_t j = 0; j < head_dim; ++j) partial[j % kPartialSums] = std::fma(a[j], b[j], partial[j % kPartialSums]);
  return SumOfPartials(partial);
}
POLARKV_FMA_TARGET float DotFma(const float* a, const float* b, uint32_t head_dim) { return DotBody(a, b, head_dim); }
float DotPlain(const float* a, const float* b, uint32_t head_dim) { return DotBody(a, b, head_dim); }

double WideDot(const float* a, const float* b, uint32_t head_dim) {
  double sum = 0;
  for (uint32_t j = 0; j < head_dim; ++j) sum += double{a[j]} * b[j];
  return sum;
}

}  // namespace

KeyTileSums SumKeyTile(const Rope& rope, const std::vector<uint64_t>& phases, uint32_t head_dim, const float* rows,
                       uint32_t tokens, uint64_t counted, uint32_t stride) {
  PairTurns turns;
  turns.count = static_cast<uint32_t>(phases.size());
  for (uint32_t p = 0; p < turns.count; ++p) {
    turns.pair[p] = PairOf(rope, head_dim, p);
    turns.turn[p] = DirectionOfTurns(phases[p] * stride);
  }
  KeyTileSums out;
  const float energy = (HasHardwareFma() ? SumFma : SumPlain)(turns, head_dim, rows, tokens, counted, stride, out);
  out.energy = energy;
  if (HoldsEnergy(energy)) return out;
  out.energy = 0;
  for (uint32_t t = 0; t < tokens; t += stride) {
    if ((counted >> t & 1) != 0) out.energy += WideDot(rows + t * head_dim, rows + t * head_dim, head_dim);
  }
  return out;
}

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

void StoreMeans(uint32_t head_dim, std::vector<std::array<float, kMaxHeadDim>>& means, std::vector<uint8_t>& records) {
  const uint32_t bytes = VectorRecordBytes(head_dim);
  records.resize(bytes * means.size());
  for (size_t head = 0; head < means.size(); ++head) {
    uint8_t* record = records.data() + head * bytes;
    WriteRecord(means[head].data(), head_dim, record);
    means[head] = ReadRecord(ViewRecord(record, head_dim));
  }
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

void KeyMeanEstimator::Add(const KeyTileSums& tile, uint64_t first_position) {
  energy_ += tile.energy;
  const uint32_t turned = static_cast<uint32_t>(2 * phases_.size());
  for (uint32_t p = 0; p < phases_.size(); ++p) {
    const CoordinatePair pair = PairOf(rope_, head_dim_, p);
    const Direction turn = DirectionOfTurns(phases_[p] * first_position);
    const double a = tile.sum[pair.first], b = tile.sum[pair.second];
    sum_[pair.first] += turn.cosine * a + turn.sine * b;
    sum_[pair.second] += turn.cosine * b - turn.sine * a;
  }
  for (uint32_t j = turned; j < head_dim_; ++j) sum_[j] += tile.sum[j];
  count_ += tile.count;
}

void KeyMeanEstimator::Add(const double* sum, double energy, uint64_t count) {
  for (uint32_t j = 0; j < head_dim_; ++j) sum_[j] += sum[j];
  energy_ += energy;
  count_ += count;
}

std::array<float, kMaxHeadDim> KeyMeanEstimator::Mean() const {
  std::array<float, kMaxHeadDim> mean{};
  if (count_ == 0) return mean;
  for (uint32_t j = 0; j < head_dim_; ++j) mean[j] = static_cast<float>(sum_[j] / static_cast<double>(count_));
  return mean;
}

std::array<float, kMaxHeadDim> KeyMeanEstimator::SaneMean() const {
  std::array<float, kMaxHeadDim> mean = Mean();
  if (!(LargestMagnitude(mean.data(), head_dim_) <= kLargestMean)) mean.fill(0);
  return mean;
}

double KeyMeanEstimator::RemovedEnergy() const {
  if (count_ == 0) return 0;
  double square = 0;
  for (uint32_t j = 0; j < head_dim_; ++j) square += sum_[j] * sum_[j];
  return square / static_cast<double>(count_);
}

void KeyMeanGain::Add(const KeyMeanEstimator& head) {
  energy_ += head.energy();
  const std::array<float, kMaxHeadDim> mean = head.SaneMean();
  const bool sane = std::ranges::any_of(mean, [](float x) { return x != 0; });
  removed_ += sane ? head.RemovedEnergy() : 0;
}

// A rate of c bits brings down errors by 2^-2c, as taking off 1 - 2^-2c of the energy does. The exponential is its
// quadratic, which is below it.
bool KeyMeanGain::Pays(double cost) const {
  const double c = 2 * 0.69314718055994531 * cost;
  const double growth = c + c * c / 2;
  return energy_ > 0 && removed_ >= energy_ / 10 && removed_ * (1 + growth) >= energy_ * growth;
}

bool IsOrdinaryMean(const float* mean, uint32_t head_dim) {
  const float largest = LargestMagnitude(mean, head_dim);
  return largest >= 0x1p-40f && largest <= 0x1p40f;
}

double HalfSquare(const float* mean, uint32_t head_dim) { return WideDot(mean, mean, head_dim) / 2; }

uint64_t TakeMeanOff(const Rope& rope, const std::vector<uint64_t>& phases, uint32_t head_dim, const float* mean,
                     uint64_t first_position, const float* rows, uint32_t tokens, uint64_t counted, float* residual) {
  std::copy_n(rows, size_t{tokens} * head_dim, residual);
  if (LargestMagnitude(mean, head_dim) == 0) return 0;
  const bool ordinary = IsOrdinaryMean(mean, head_dim);
  const double half_square = HalfSquare(mean, head_dim);
  uint64_t taken = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    if ((counted >> t & 1) == 0) continue;
    const float* row = rows + t * head_dim;
    float turned[kMaxHeadDim];
    TurnToPosition(rope, phases, first_position + t, mean, head_dim, turned);
    const bool shorter = ordinary
                             ? (HasHardwareFma() ? DotFma : DotPlain)(row, turned, head_dim) > static_cast<float>(half_square)
                             : WideDot(row, turned, head_dim) > half_square;
    if (!shorter) continue;
    for (uint32_t j = 0; j < head_dim; ++j) turned[j] = row[j] - turned[j];
    if (!std::isfinite(LargestMagnitude(turned, head_dim))) continue;
    std::copy_n(turned, head_dim, residual + t * head_dim);
    taken |= uint64_t{1} << t;
  }
  return taken;
}

}  // namespace polarkv
