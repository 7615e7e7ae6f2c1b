#include "client/load/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace polarkv::load {
namespace {

constexpr uint32_t kHalf = 1u << (LatencyHistogram::kPrecisionBits - 1);

}  // namespace

// Values below 2^bits have a bucket each; above, a value is shifted until it has `bits` bits, and each shift has its
// own kHalf buckets.
uint32_t LatencyHistogram::Bucket(uint64_t value) {
  value = std::min(value, kMaxValue);
  const int width = std::bit_width(value);
  const uint32_t shift = width > static_cast<int>(kPrecisionBits) ? static_cast<uint32_t>(width) - kPrecisionBits : 0;
  return shift * kHalf + static_cast<uint32_t>(value >> shift);
}

uint64_t LatencyHistogram::UpperEnd(uint32_t bucket) {
  if (bucket < 2 * kHalf) return bucket;
  const uint32_t shift = bucket / kHalf - 1;
  const uint64_t mantissa = bucket - shift * kHalf;
  return ((mantissa + 1) << shift) - 1;
}

void LatencyHistogram::Record(std::chrono::nanoseconds duration) {
  const uint64_t value = static_cast<uint64_t>(std::max<int64_t>(0, duration.count()));
  if (buckets_.empty()) buckets_.resize(Bucket(kMaxValue) + 1);
  ++buckets_[Bucket(value)];
  ++count_;
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  if (other.count_ == 0) return;
  if (buckets_.empty()) buckets_.resize(other.buckets_.size());
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

std::optional<uint64_t> LatencyHistogram::PercentileNs(double q) const {
  if (count_ == 0) return std::nullopt;
  // The small slack forgives that 1 - 0.999 is not 0.001 in binary.
  if (static_cast<double>(count_) * (1 - q) < 1 - 1e-6) return std::nullopt;
  const uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(count_) - 1e-6)));
  uint64_t seen = 0;
  for (uint32_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= rank) return bucket + 1 == buckets_.size() ? max_ : std::min(UpperEnd(bucket), max_);
  }
  return max_;
}

}  // namespace polarkv::load
