#include "kernels/cpu/key_mean_logits.h"

#include <cmath>

#include "codec/fma_target.h"
#include "codec/key_mean.h"
#include "codec/rope_phase.h"
#include "kernels/cpu/turbo_table.h"

namespace polarkv::cpu {
namespace {

[[gnu::always_inline]] inline void SumBody(const float* a, const float* b, const float* cosine, const float* sine,
                                           uint32_t pairs, float* sum) {
  for (uint32_t p = 0; p < pairs; ++p, cosine += kTileTokens, sine += kTileTokens) {
    for (uint32_t t = 0; t < kTileTokens; ++t) sum[t] = std::fma(a[p], cosine[t], std::fma(b[p], sine[t], sum[t]));
  }
}

POLARKV_FMA_TARGET void SumFma(const float* a, const float* b, const float* cosine, const float* sine, uint32_t pairs,
                               float* sum) {
  SumBody(a, b, cosine, sine, pairs, sum);
}

void SumPlain(const float* a, const float* b, const float* cosine, const float* sine, uint32_t pairs, float* sum) {
  SumBody(a, b, cosine, sine, pairs, sum);
}

}  // namespace

void KeyMeanLogits::MakeTable(const BlockSpec& spec) {
  if (phases_ == spec.phases && pairs_ == phases_.size()) return;
  phases_ = spec.phases;
  pairs_ = static_cast<uint32_t>(phases_.size());
  cosine_.resize(size_t{pairs_} * kTileTokens);
  sine_.resize(size_t{pairs_} * kTileTokens);
  for (uint32_t p = 0; p < pairs_; ++p) {
    for (uint32_t i = 0; i < kTileTokens; ++i) {
      const Direction turn = DirectionOfTurns(phases_[p] * kScoreOrder.token[i]);
      cosine_[p * kTileTokens + i] = turn.cosine;
      sine_[p * kTileTokens + i] = turn.sine;
    }
  }
  a_.resize(size_t{rows_} * pairs_);
  b_.resize(size_t{rows_} * pairs_);
  turned_a_.resize(pairs_);
  turned_b_.resize(pairs_);
}

void KeyMeanLogits::Start(const BlockView& block, uint32_t layer, uint32_t kv_head, const float* q) {
  const BlockSpec& spec = block.spec();
  MakeTable(spec);
  first_position_ = spec.first_position;
  unturned_.assign(rows_, 0);
  const std::array<float, kMaxHeadDim> mean = ReadRecord(block.KeyMean(layer, kv_head));
  for (uint32_t row = 0; row < rows_; ++row, q += spec.head_dim) {
    for (uint32_t p = 0; p < pairs_; ++p) {
      const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
      a_[row * pairs_ + p] = q[pair.first] * mean[pair.first] + q[pair.second] * mean[pair.second];
      b_[row * pairs_ + p] = q[pair.second] * mean[pair.first] - q[pair.first] * mean[pair.second];
    }
    for (uint32_t j = 2 * pairs_; j < spec.head_dim; ++j) unturned_[row] += q[j] * mean[j];
  }
}

void KeyMeanLogits::Add(uint32_t tile, uint64_t tokens, float unit, float* logits) {
  const uint64_t position = first_position_ + tile * uint64_t{kTileTokens};
  for (uint32_t row = 0; row < rows_; ++row, logits += kTileTokens) {
    Turn(row, position);
    float sum[kTileTokens];
    for (float& x : sum) x = unturned_[row];
    (HasHardwareFma() ? SumFma : SumPlain)(turned_a_.data(), turned_b_.data(), cosine_.data(), sine_.data(), pairs_, sum);
    for (uint32_t i = 0; i < kTileTokens; ++i) {
      if ((tokens >> kScoreOrder.token[i] & 1) != 0) logits[i] += unit * sum[i];
    }
  }
}

// A cos((n + t) x) + B sin((n + t) x) = A' cos(t x) + B' sin(t x)
void KeyMeanLogits::Turn(uint32_t row, uint64_t position) {
  const float* a = a_.data() + size_t{row} * pairs_;
  const float* b = b_.data() + size_t{row} * pairs_;
  for (uint32_t p = 0; p < pairs_; ++p) {
    const Direction turn = DirectionOfTurns(phases_[p] * position);
    turned_a_[p] = a[p] * turn.cosine + b[p] * turn.sine;
    turned_b_[p] = b[p] * turn.cosine - a[p] * turn.sine;
  }
}

}  // namespace polarkv::cpu
