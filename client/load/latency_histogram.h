// A log-linear histogram of durations in the manner of HdrHistogram: fixed memory, mergeable, bounded relative error.
#ifndef POLARKV_CLIENT_LOAD_LATENCY_HISTOGRAM_H_
#define POLARKV_CLIENT_LOAD_LATENCY_HISTOGRAM_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace polarkv::load {

// Not thread-safe. Values above kMaxValue are counted in the last bucket; max() stays exact.
class LatencyHistogram {
 public:
  // Buckets are at most 1/256 of their value wide.
  static constexpr uint32_t kPrecisionBits = 9;
  static constexpr uint64_t kMaxValue = (uint64_t{1} << 42) - 1;  // ns, over an hour

  void Record(std::chrono::nanoseconds duration);  // negative counts as zero
  void Merge(const LatencyHistogram& other);

  uint64_t count() const { return count_; }
  double sum_ns() const { return sum_; }
  uint64_t max_ns() const { return max_; }

  // The smallest recorded-value bound v such that at least a share q of all values is <= v: the upper end of its
  // bucket, so it overstates by at most 1/256 and never understates. Nothing when the sample cannot resolve q, that is
  // when fewer than one value is expected above it (count * (1 - q) < 1).
  std::optional<uint64_t> PercentileNs(double q) const;

 private:
  static uint32_t Bucket(uint64_t value);
  static uint64_t UpperEnd(uint32_t bucket);

  std::vector<uint64_t> buckets_;  // empty until the first value
  uint64_t count_ = 0;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_LATENCY_HISTOGRAM_H_
