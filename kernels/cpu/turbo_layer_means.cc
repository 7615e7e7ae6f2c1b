// Key means in the fast encoders: whether a layer has them, and keys without them.
#include <bit>

#include "codec/key_mean.h"
#include "codec/key_mean_profile.h"
#include "codec/largest_magnitude.h"
#include "codec/rope_phase.h"
#include "codec/tensor_rows.h"
#include "codec/tile_matrix.h"
#include "kernels/cpu/key_mean_rows.h"
#include "kernels/cpu/turbo_layer_encoder.h"

namespace polarkv::cpu {

void TurboLayerEncoder::PrepareMeans() {
  mean_cost_ = 8.0 * VectorRecordBytes(spec_.head_dim) / (static_cast<double>(spec_.head_dim) * spec_.tokens);
  const auto turned = static_cast<uint32_t>(spec_.phases.size());
  const uint32_t distance = spec_.rope.pairing == RopePairing::kHalf ? turned : 0;
  mean_bodies_ = KeyMeanBodiesFor(set_, spec_.head_dim, distance, turned);
  for (uint32_t p = 0; p < turned; ++p) phases_[p] = spec_.phases[distance == 0 ? p : CoordinatesOf(mean_bodies_.pairs, p).first];
  tile_turns_.resize(spec_.tiles());
  for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) {
    const uint64_t position = spec_.first_position + tile * uint64_t{kTileTokens};
    Directions(position, tile_turns_[tile]);
  }
}

void TurboLayerEncoder::Directions(uint64_t position, PairNumbers& out) const {
  const uint32_t pairs = spec_.head_dim / 2u;
  if (mean_bodies_.directions != nullptr) return mean_bodies_.directions(phases_.data(), position, pairs, out.first, out.second);
  for (uint32_t p = 0; p < pairs; ++p) {
    const Direction turn = DirectionOfTurns(phases_[p] * position);
    out.first[p] = turn.cosine;
    out.second[p] = turn.sine;
  }
}

absl::Status TurboLayerEncoder::AddKeys(uint32_t layer, uint32_t head, uint32_t tile, uint32_t stride, HeadSums& sums) {
  constexpr uint64_t kEveryFourth = 0x1111111111111111u;
  TurboEncodeRows rows = RowsOf(keys_, layer, head, tile);
  rows.counted = Counted(tile);
  PairNumbers sum;
  float energy = 0;
  if (mean_bodies_.sum != nullptr) {
    PairNumbers step;
    Directions(stride, step);
    mean_bodies_.sum(keys_.shape, rows, stride, mean_bodies_.pairs, step, sum, &energy);
  }
  double held = energy;
  if (!HoldsEnergy(energy)) {
    absl::Status s = ReadFiniteRows(keys_.tensor, keys_.name, layer, head, tile * kTileTokens, rows.tokens, rows_.data());
    if (!s.ok()) return s;
    const KeyTileSums sums_of_tile =
        SumKeyTile(spec_.rope, spec_.phases, spec_.head_dim, rows_.data(), rows.tokens, rows.counted, stride);
    held = sums_of_tile.energy;
    if (mean_bodies_.sum == nullptr) ToPairs(sums_of_tile.sum.data(), sum);
  }
  sums.energy += held;
  sums.count += static_cast<uint64_t>(std::popcount(rows.counted & (stride == 1 ? ~uint64_t{0} : kEveryFourth)));
  const PairNumbers& turn = tile_turns_[tile];
  for (uint32_t p = 0; p < spec_.head_dim / 2u; ++p) {
    const double a = sum.first[p], b = sum.second[p];
    sums.first[p] += turn.first[p] * a + turn.second[p] * b;
    sums.second[p] += turn.first[p] * b - turn.second[p] * a;
  }
  return absl::OkStatus();
}

KeyMeanEstimator TurboLayerEncoder::Estimate(const HeadSums& sums) const {
  std::array<double, kMaxHeadDim> sum{};
  for (uint32_t p = 0; p < spec_.head_dim / 2u; ++p) {
    const PairCoordinates pair = CoordinatesOf(mean_bodies_.pairs, p);
    sum[pair.first] = sums.first[p];
    sum[pair.second] = sums.second[p];
  }
  KeyMeanEstimator estimator(spec_.rope, spec_.phases, spec_.head_dim);
  estimator.Add(sum.data(), sums.energy, sums.count);
  return estimator;
}

// As LayerEncoder decides. Leaves means_ empty if the layer is to have none.
absl::Status TurboLayerEncoder::DecideMeans(uint32_t layer, Records& records) {
  const bool decide = options_.key_mean == KeyMeanPolicy::kAuto;
  means_.clear();
  for (uint32_t stride = decide ? KeyMeanStride(spec_.tokens) : 1;; stride = 1) {
    KeyMeanGain gain;
    for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
      HeadSums sums;
      for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) {
        if (absl::Status s = AddKeys(layer, head, tile, stride, sums); !s.ok()) return s;
      }
      const KeyMeanEstimator keys = Estimate(sums);
      gain.Add(keys);
      means_.push_back(keys.SaneMean());
    }
    const bool first_look = decide && stride == KeyMeanStride(spec_.tokens);
    if (first_look && !gain.Pays(mean_cost_)) {
      means_.clear();
      return absl::OkStatus();
    }
    if (stride == 1) break;
    means_.clear();
  }
  StoreMeans(spec_.head_dim, means_, records.means);
  LookAtMeans();
  return absl::OkStatus();
}

// Likewise. Every token whose key gets shorter loses its head's.
void TurboLayerEncoder::TakeProfileMeans(uint32_t layer) {
  means_.clear();
  if (options_.key_mean == KeyMeanPolicy::kNever || !options_.profile->HasMeans(spec_, layer)) return;
  for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
    means_.push_back(ReadRecord(options_.profile->Mean(layer, spec_.first_kv_head + head)));
  }
  LookAtMeans();
}

void TurboLayerEncoder::LookAtMeans() {
  has_mean_.clear();
  for (const auto& mean : means_) has_mean_.push_back(LargestMagnitude(mean.data(), spec_.head_dim) != 0);
}

// Fills residual_; returns the tokens whose key lost the mean.
absl::StatusOr<uint64_t> TurboLayerEncoder::TakeMeansOff(uint32_t layer, uint32_t head, uint32_t tile) {
  const uint32_t d = spec_.head_dim, first = tile * kTileTokens;
  const float* mean = means_[head].data();
  TurboEncodeRows rows = RowsOf(keys_, layer, head, tile);
  rows.counted = Counted(tile);
  if (!IsOrdinaryMean(mean, d) || mean_bodies_.take_off == nullptr) {
    absl::Status s = ReadFiniteRows(keys_.tensor, keys_.name, layer, head, first, rows.tokens, rows_.data());
    if (!s.ok()) return s;
    return TakeMeanOff(spec_.rope, spec_.phases, d, mean, spec_.first_position + first, rows_.data(), rows.tokens, rows.counted,
                       residual_.data());
  }
  if (turns_.empty()) {
    turns_.resize(size_t{spec_.tokens} * d);
    for (uint32_t t = 0; t < spec_.tokens; ++t) {
      float* turn = turns_.data() + size_t{t} * d;
      mean_bodies_.directions(phases_.data(), spec_.first_position + t, d / 2, turn, turn + d / 2);
    }
  }
  PairNumbers of_pairs;
  ToPairs(mean, of_pairs);
  return mean_bodies_.take_off(keys_.shape, rows, mean_bodies_.pairs, of_pairs, turns_.data() + size_t{first} * d,
                               static_cast<float>(HalfSquare(mean, d)), residual_.data());
}

// A vector's coordinates by pair.
void TurboLayerEncoder::ToPairs(const float* vector, PairNumbers& out) const {
  for (uint32_t p = 0; p < spec_.head_dim / 2u; ++p) {
    const PairCoordinates pair = CoordinatesOf(mean_bodies_.pairs, p);
    out.first[p] = vector[pair.first];
    out.second[p] = vector[pair.second];
  }
}

}  // namespace polarkv::cpu
