#include "codec/key_mean_profile_builder.h"

#include <algorithm>
#include <array>
#include <limits>

#include "absl/strings/str_cat.h"
#include "codec/largest_magnitude.h"
#include "codec/rope_phase.h"
#include "codec/tensor_rows.h"

namespace polarkv {
namespace {

// As of a block's own means: beyond this they could overflow when they are turned or taken off.
constexpr float kLargestMean = 0x1p125f;

}  // namespace

absl::StatusOr<std::unique_ptr<KeyMeanProfileBuilder>> KeyMeanProfileBuilder::Create(const ProfileShape& shape) {
  ProfileShape complete = shape;
  if (complete.rope.pairing == RopePairing::kNone) complete.phases.clear();
  // A profile without means says what is wrong with the shape.
  if (IsKnownHeadDim(shape.head_dim) && ValidateRope(shape.rope, shape.head_dim).ok() && complete.phases.empty()) {
    complete.phases = RopePhases(complete.rope);
  }
  const uint64_t heads = uint64_t{shape.layers} * shape.kv_heads;
  const uint64_t bytes = std::min(heads * VectorRecordBytes(shape.head_dim), kMaxProfileBytes);
  const absl::StatusOr<KeyMeanProfilePtr> empty = KeyMeanProfile::Make(complete, std::vector<uint8_t>(bytes));
  if (!empty.ok()) return empty.status();
  return std::unique_ptr<KeyMeanProfileBuilder>(new KeyMeanProfileBuilder(complete));
}

KeyMeanProfileBuilder::KeyMeanProfileBuilder(const ProfileShape& shape)
    : shape_(shape),
      heads_(size_t{shape.layers} * shape.kv_heads, KeyMeanEstimator(shape_.rope, shape_.phases, shape.head_dim)) {}

absl::Status KeyMeanProfileBuilder::Add(const TensorView& k, uint64_t first_position, uint32_t first_kv_head,
                                        uint32_t raw_first_tokens) {
  if (!status_.ok()) return status_;
  const auto heads = static_cast<uint64_t>(std::max<int64_t>(k.shape[1], 0));
  const auto tokens = static_cast<uint64_t>(std::max<int64_t>(k.shape[2], 0));
  if (first_kv_head + heads > shape_.kv_heads) {
    return status_ = absl::InvalidArgumentError(absl::StrCat("keys of heads ", first_kv_head, " to ",
                                                             first_kv_head + heads, ", the model has ", shape_.kv_heads));
  }
  if (tokens > std::numeric_limits<uint32_t>::max() || first_position > kMaxPosition - tokens) {
    return status_ = absl::InvalidArgumentError(
               absl::StrCat(tokens, " keys from position ", first_position, " on; valid: up to 2^32 - 1, positions to 2^53"));
  }
  status_ = CheckTensor(k, "k", {shape_.layers, k.shape[1], k.shape[2], shape_.head_dim});
  if (!status_.ok()) return status_;
  const uint64_t skipped = std::min<uint64_t>(tokens, raw_first_tokens - std::min<uint64_t>(raw_first_tokens, first_position));
  std::vector<float> rows(size_t{kTileTokens} * shape_.head_dim);
  for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
    for (uint32_t head = 0; head < heads; ++head) {
      KeyMeanEstimator& estimator = heads_[size_t{layer} * shape_.kv_heads + first_kv_head + head];
      for (uint64_t first = skipped; first < tokens && status_.ok(); first += kTileTokens) {
        const auto count = static_cast<uint32_t>(std::min<uint64_t>(kTileTokens, tokens - first));
        status_ = ReadFiniteRows(k, "k", layer, head, static_cast<uint32_t>(first), count, rows.data());
        for (uint32_t t = 0; t < count && status_.ok(); ++t) {
          estimator.Add(rows.data() + size_t{t} * shape_.head_dim, first_position + first + t);
        }
      }
    }
  }
  return status_;
}

KeyMeanProfileBuilder::Gain KeyMeanProfileBuilder::GainOf(uint32_t layer, uint32_t kv_head) const {
  const KeyMeanEstimator& head = heads_[size_t{layer} * shape_.kv_heads + kv_head];
  Gain gain = {head.count(), head.energy(), head.RemovedEnergy()};
  // A mean of n keys holds one n-th of their variance, once as what it takes off them and not off others, once as what
  // it adds to others.
  if (gain.tokens > 1) gain.removed -= 2 * (gain.energy - gain.removed) / static_cast<double>(gain.tokens - 1);
  if (gain.tokens == 1) gain.removed = 0;
  return gain;
}

absl::StatusOr<KeyMeanProfilePtr> KeyMeanProfileBuilder::Build() const {
  if (!status_.ok()) return status_;
  const size_t bytes = VectorRecordBytes(shape_.head_dim);
  std::vector<uint8_t> records(heads_.size() * bytes);
  for (size_t i = 0; i < heads_.size(); ++i) {
    const auto layer = static_cast<uint32_t>(i / shape_.kv_heads), head = static_cast<uint32_t>(i % shape_.kv_heads);
    if (heads_[i].count() == 0) {
      return absl::FailedPreconditionError(absl::StrCat("no keys of layer ", layer, ", head ", head, " were added"));
    }
    const std::array<float, kMaxHeadDim> mean = heads_[i].Mean();
    if (!GainOf(layer, head).Pays() || LargestMagnitude(mean.data(), shape_.head_dim) > kLargestMean) continue;
    WriteRecord(mean.data(), shape_.head_dim, records.data() + i * bytes);
  }
  return KeyMeanProfile::Make(shape_, records);
}

}  // namespace polarkv
