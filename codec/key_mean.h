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

// Writes the heads' means as records, one after the other, and makes them what the records say.
void StoreMeans(uint32_t head_dim, std::vector<std::array<float, kMaxHeadDim>>& means, std::vector<uint8_t>& records);

// Sums over a tile's keys, turned back by RoPE to the tile's first position.
struct KeyTileSums {
  std::array<float, kMaxHeadDim> sum{};
  double energy = 0;  // of the keys as they are
  uint32_t count = 0;
};

// Of every `stride`-th of `tokens` rows, the first included, without those whose bit in `counted` is clear. In f32, from the
// last token to the first: what was summed is turned back by `stride` positions before a key is added; squares are added
// as FORMAT.md's Sum does. An energy that f32 does not hold well is computed in f64 instead.
KeyTileSums SumKeyTile(const Rope& rope, const std::vector<uint64_t>& phases, uint32_t head_dim, const float* rows,
                       uint32_t tokens, uint64_t counted, uint32_t stride);
constexpr bool HoldsEnergy(float energy) { return energy >= 0x1p-60f && energy <= 0x1p100f; }

// Every how many tokens are looked at to decide whether a layer's means pay: a sample of long blocks tells.
constexpr uint32_t KeyMeanStride(uint32_t tokens) { return tokens >= 512 ? 4 : 1; }

// Gathers the keys of one head, in order.
class KeyMeanEstimator {
 public:
  // `phases`: of rope.dims / 2 pairs, none without RoPE.
  KeyMeanEstimator(const Rope& rope, const std::vector<uint64_t>& phases, uint32_t head_dim)
      : rope_(rope), phases_(phases), head_dim_(head_dim) {}

  void Add(const float* key, uint64_t position);
  void Add(const KeyTileSums& tile, uint64_t first_position);
  // Sums of tiles, each turned back to position 0, in f64.
  void Add(const double* sum, double energy, uint64_t count);
  // The mean of the keys turned back to position 0; zero if there were none.
  std::array<float, kMaxHeadDim> Mean() const;
  // The mean, or zero if it is too large to be turned and taken off without overflow.
  std::array<float, kMaxHeadDim> SaneMean() const;
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

// Whether means are worth their bits: what they take off the keys of a layer's heads.
class KeyMeanGain {
 public:
  void Add(const KeyMeanEstimator& head);
  // Means cost `cost` bits a coordinate.
  bool Pays(double cost) const;

 private:
  double energy_ = 0, removed_ = 0;
};

// Takes a head's mean off keys: residual = rows, [tokens][head_dim], without `mean` turned to each token's position where the key
// gets shorter by it, that is, if <key, turned mean> is more than half the mean's square. Returns those tokens; only those
// of `counted` are looked at. Products are summed as FORMAT.md's Sum does, in f32; in f64, in order, if the mean is not an
// ordinary one.
uint64_t TakeMeanOff(const Rope& rope, const std::vector<uint64_t>& phases, uint32_t head_dim, const float* mean,
                     uint64_t first_position, const float* rows, uint32_t tokens, uint64_t counted, float* residual);
// Whether a mean's largest magnitude allows sums of products in f32; and half a mean's square.
bool IsOrdinaryMean(const float* mean, uint32_t head_dim);
double HalfSquare(const float* mean, uint32_t head_dim);

}  // namespace polarkv

#endif  // POLARKV_CODEC_KEY_MEAN_H_
