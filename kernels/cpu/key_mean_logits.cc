#include "kernels/cpu/key_mean_logits.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "codec/fma_target.h"
#include "codec/key_mean.h"
#include "codec/rope_phase.h"
#include "kernels/cpu/slow_turn.h"
#include "kernels/cpu/turbo_bodies.h"
#include "kernels/cpu/turbo_table.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kHalfTile = kTileTokens / 2;
constexpr uint32_t kTilesBetweenDirections = 8;  // in between they are turned from tile to tile, each turn erring by 1e-7

// Directions turned by others; to and from may be the same.
void Turn(const float* cosine, const float* sine, const float* by_cosine, const float* by_sine, uint32_t pairs,
          float* to_cosine, float* to_sine) {
  for (uint32_t p = 0; p < pairs; ++p) {
    const float c = cosine[p], s = sine[p];
    to_cosine[p] = c * by_cosine[p] - s * by_sine[p];
    to_sine[p] = s * by_cosine[p] + c * by_sine[p];
  }
}

// In sixteen parts, which compilers add side by side.
[[gnu::always_inline]] inline float SumOfProducts(const float* x, const float* y, uint32_t pairs) {
  float part[kKeyMeanPairs] = {};
  for (uint32_t p = 0; p < pairs; p += kKeyMeanPairs) {
    for (uint32_t i = 0; i < kKeyMeanPairs; ++i) part[i] = std::fma(x[p + i], y[p + i], part[i]);
  }
  float sum = 0;
  for (const float of_lane : part) sum += of_lane;
  return sum;
}

}  // namespace

void KeyMeanLogits::Directions::Resize(size_t count) {
  cosine.resize(count);
  sine.resize(count);
}

void KeyMeanLogits::Use(InstructionSet set) {
  find_ = KeyMeanBodiesFor(set, kMaxHeadDim, 0, 0).directions;
  avx512_ = set >= InstructionSet::kAvx512;
}

void KeyMeanLogits::Find(uint64_t position, float* cosine, float* sine) const {
  if (find_ != nullptr) return find_(phases_.data(), position, pairs_, cosine, sine);
  for (uint32_t p = 0; p < pairs_; ++p) {
    const Direction direction = DirectionOfTurns(phases_[p] * position);
    cosine[p] = direction.cosine;
    sine[p] = direction.sine;
  }
}

void KeyMeanLogits::MakeTables(const BlockSpec& spec) {
  const bool same = turned_ == spec.phases.size() && std::equal(spec.phases.begin(), spec.phases.end(), phases_.begin());
  if (same && !terms_.cosine.empty()) return;
  turned_ = static_cast<uint32_t>(spec.phases.size());
  pairs_ = (turned_ + kKeyMeanPairs - 1) / kKeyMeanPairs * kKeyMeanPairs;
  phases_.assign(pairs_, 0);
  std::copy(spec.phases.begin(), spec.phases.end(), phases_.begin());
  for (Directions* of_pairs : {&half_, &tile_step_}) of_pairs->Resize(pairs_);
  middle_.Resize(size_t{pairs_} * kMostTiles);
  for (uint32_t p = 0; p < pairs_; ++p) {
    const Direction half = DirectionOfTurns(phases_[p] / 2);
    half_.cosine[p] = half.cosine;
    half_.sine[p] = half.sine;
  }
  Find(kTileTokens, tile_step_.cosine.data(), tile_step_.sine.data());
  MakeTerms();
  a_.assign(size_t{rows_} * pairs_, 0);
  b_.assign(size_t{rows_} * pairs_, 0);
}

void KeyMeanLogits::MakeTerms() {
  fast_ = turned_;
  while (fast_ > 0 && IsSlow(phases_[fast_ - 1])) --fast_;
  terms_.Resize(size_t{fast_ + kSlowTerms} * kHalfTile);
  slow_.Resize(size_t{kSlowTerms} * pairs_);
  std::array<float, kMaxHeadDim> cosine, sine;
  for (uint32_t i = 0; i < kHalfTile; ++i) {
    Find(i, cosine.data(), sine.data());
    Turn(cosine.data(), sine.data(), half_.cosine.data(), half_.sine.data(), pairs_, cosine.data(), sine.data());
    const SlowTerms powers = PowersAt(static_cast<float>(i) + .5f);
    for (uint32_t term = 0; term < fast_ + kSlowTerms; ++term) {
      const bool fast = term < fast_;
      terms_.cosine[term * kHalfTile + i] = fast ? cosine[term] : powers.cosine[term - fast_];
      terms_.sine[term * kHalfTile + i] = fast ? sine[term] : powers.sine[term - fast_];
    }
  }
  for (uint32_t p = 0; p < pairs_; ++p) {
    const SlowTerms slow = p < fast_ ? SlowTerms{} : CoefficientsOf(phases_[p]);
    for (uint32_t k = 0; k < kSlowTerms; ++k) {
      slow_.cosine[k * pairs_ + p] = slow.cosine[k];
      slow_.sine[k * pairs_ + p] = slow.sine[k];
    }
  }
}

void KeyMeanLogits::Start(const BlockView& block, uint32_t layer, uint32_t kv_head, const float* q) {
  const BlockSpec& spec = block.spec();
  MakeTables(spec);
  tile_ = UINT32_MAX;
  first_position_ = spec.first_position;
  unturned_.assign(rows_, 0);
  reach_ = 0;
  const std::array<float, kMaxHeadDim> mean = ReadRecord(block.KeyMean(layer, kv_head));
  for (uint32_t row = 0; row < rows_; ++row, q += spec.head_dim) {
    float* a = a_.data() + size_t{row} * pairs_;
    float* b = b_.data() + size_t{row} * pairs_;
    for (uint32_t p = 0; p < turned_; ++p) {
      const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
      a[p] = q[pair.first] * mean[pair.first] + q[pair.second] * mean[pair.second];
      b[p] = q[pair.second] * mean[pair.first] - q[pair.first] * mean[pair.second];
    }
    for (uint32_t j = 2 * turned_; j < spec.head_dim; ++j) unturned_[row] += q[j] * mean[j];
    reach_ += std::fabs(unturned_[row]);
    for (uint32_t p = 0; p < turned_; ++p) reach_ += 2 * (std::fabs(a[p]) + std::fabs(b[p]));
  }
}

// Puts the directions of a tile's middle where those of `slot` are.
void KeyMeanLogits::Place(uint32_t tile, uint32_t slot) {
  if (pairs_ == 0) return;  // no RoPE
  const size_t last = size_t{slot_} * pairs_, at = size_t{slot} * pairs_;
  if (tile == tile_ + 1 && tile % kTilesBetweenDirections != 0) {
    Turn(&middle_.cosine[last], &middle_.sine[last], tile_step_.cosine.data(), tile_step_.sine.data(), pairs_,
         &middle_.cosine[at], &middle_.sine[at]);
  } else {
    Find(first_position_ + tile * uint64_t{kTileTokens} + kHalfTile - 1, &middle_.cosine[at], &middle_.sine[at]);
    Turn(&middle_.cosine[at], &middle_.sine[at], half_.cosine.data(), half_.sine.data(), pairs_, &middle_.cosine[at],
         &middle_.sine[at]);
  }
  tile_ = tile;
  slot_ = slot;
}

[[gnu::always_inline]] inline void KeyMeanLogits::SumBody(uint32_t slot, uint32_t row, float* natural) const {
  const float* a = a_.data() + size_t{row} * pairs_;
  const float* b = b_.data() + size_t{row} * pairs_;
  const float* cosine_now = middle_.cosine.data() + size_t{slot} * pairs_;
  const float* sine_now = middle_.sine.data() + size_t{slot} * pairs_;
  float turned_a[kMaxHeadDim], turned_b[kMaxHeadDim];
  for (uint32_t p = 0; p < pairs_; ++p) {
    turned_a[p] = a[p] * cosine_now[p] + b[p] * sine_now[p];
    turned_b[p] = b[p] * cosine_now[p] - a[p] * sine_now[p];
  }
  // The slow terms go where the first slow pairs were, which nobody needs any more.
  float slow_a[kSlowTerms], slow_b[kSlowTerms];
  for (uint32_t k = 0; k < kSlowTerms; ++k) {
    slow_a[k] = SumOfProducts(slow_.cosine.data() + k * pairs_, turned_a, pairs_);
    slow_b[k] = SumOfProducts(slow_.sine.data() + k * pairs_, turned_b, pairs_);
  }
  std::copy_n(slow_a, kSlowTerms, turned_a + fast_);
  std::copy_n(slow_b, kSlowTerms, turned_b + fast_);
  float common[kHalfTile] = {}, differing[kHalfTile] = {};
  for (uint32_t term = 0; term < fast_ + kSlowTerms; ++term) {
    const float* cosine = terms_.cosine.data() + term * kHalfTile;
    const float* sine = terms_.sine.data() + term * kHalfTile;
    for (uint32_t i = 0; i < kHalfTile; ++i) {
      common[i] = std::fma(turned_a[term], cosine[i], common[i]);
      differing[i] = std::fma(turned_b[term], sine[i], differing[i]);
    }
  }
  for (uint32_t i = 0; i < kHalfTile; ++i) {
    natural[kHalfTile + i] = unturned_[row] + (common[i] + differing[i]);
    natural[kHalfTile - 1 - i] = unturned_[row] + (common[i] - differing[i]);
  }
}

void KeyMeanLogits::Sum(uint32_t slot, uint32_t row, float* natural) const { SumBody(slot, row, natural); }
POLARKV_FMA_TARGET void KeyMeanLogits::SumFma(uint32_t slot, uint32_t row, float* natural) const { SumBody(slot, row, natural); }

void KeyMeanLogits::Add(uint32_t first_tile, std::span<const uint64_t> tokens, float unit, float* logits) {
  for (uint32_t slot = 0; slot < tokens.size(); ++slot) Place(first_tile + slot, slot);
#if defined(__x86_64__)
  if (avx512_) {
    const KeyMeanSums sums = {pairs_, fast_, rows_, terms_.cosine.data(), terms_.sine.data(), slow_.cosine.data(),
                              slow_.sine.data(), middle_.cosine.data(), middle_.sine.data(), a_.data(), b_.data(),
                              unturned_.data()};
    return AddKeyMeansAvx512(sums, tokens.data(), static_cast<uint32_t>(tokens.size()), unit, logits);
  }
#endif
  for (uint32_t slot = 0; slot < tokens.size(); ++slot) {
    for (uint32_t row = 0; row < rows_; ++row, logits += kTileTokens) {
      float natural[kTileTokens];
      HasHardwareFma() ? SumFma(slot, row, natural) : Sum(slot, row, natural);
      for (uint32_t i = 0; i < kTileTokens; ++i) {
        const uint32_t token = kScoreOrder.token[i];
        if ((tokens[slot] >> token & 1) != 0) logits[i] += unit * natural[token];
      }
    }
  }
}

}  // namespace polarkv::cpu
