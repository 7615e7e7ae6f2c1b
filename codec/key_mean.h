// The mean key of a head before RoPE: a bias that many models add to keys. RoPE turns it to each token's position; keys
// are coded without it, and it is added to scores (FORMAT.md, "Key means").
#ifndef POLARKV_CODEC_KEY_MEAN_H_
#define POLARKV_CODEC_KEY_MEAN_H_

#include <array>
#include <cstdint>
#include <vector>

#include "codec/block_view.h"
#include "codec/rotation.h"

namespace polarkv {

// What a vector record says: each half times 2^exponent, saturated to the largest float.
std::array<float, kMaxHeadDim> ReadRecord(const VectorRecord& record);

// Writes a record (VectorRecordBytes, 2-byte aligned) of a finite vector, and looks at one.
void WriteRecord(const float* vector, uint32_t head_dim, uint8_t* record);
VectorRecord ViewRecord(const uint8_t* record, uint32_t head_dim);

// Gathers the keys of one head, in order.
class KeyMeanEstimator {
 public:
  // `phases`: of rope.dims / 2 pairs, none without RoPE.
  KeyMeanEstimator(const Rope& rope, const std::vector<uint64_t>& phases, uint32_t head_dim)
      : rope_(rope), phases_(phases), head_dim_(head_dim) {}

  void Add(const float* key, uint64_t position);
  // The mean of the keys turned back to position 0; zero if there were none.
  std::array<float, kMaxHeadDim> Mean() const;
  // Sum of the keys' squared norms, and by how much it falls when every key loses the mean.
  double energy() const { return energy_; }
  double RemovedEnergy() const;
  uint64_t count() const { return count_; }

 private:
  const Rope& rope_;
  const std::vector<uint64_t>& phases_;
  uint32_t head_dim_;
  std::array<double, kMaxHeadDim> sum_{};
  double energy_ = 0;
  uint64_t count_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_KEY_MEAN_H_
