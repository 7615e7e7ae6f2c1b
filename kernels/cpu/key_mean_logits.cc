#include "kernels/cpu/key_mean_logits.h"

#include <cmath>

#include "codec/fma_target.h"
#include "codec/key_mean.h"
#include "codec/rope_phase.h"
#include "kernels/cpu/key_mean_sums.h"
#include "kernels/cpu/turbo_table.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kHalfTile = kTileTokens / 2;
constexpr uint32_t kTilesBetweenDirections = 8;  // in between they are turned from tile to tile, each turn erring by 1e-7

}  // namespace

void KeyMeanLogits::MakeTable(const BlockSpec& spec) {
  if (phases_ == spec.phases && pairs_ == phases_.size()) return;
  phases_ = spec.phases;
  pairs_ = static_cast<uint32_t>(phases_.size());
  cosine_.resize(size_t{pairs_} * kHalfTile);
  sine_.resize(size_t{pairs_} * kHalfTile);
  for (std::vector<float>* of_pairs : {&cosine_now_, &sine_now_, &cosine_tile_, &sine_tile_}) of_pairs->resize(pairs_);
  for (uint32_t p = 0; p < pairs_; ++p) {
    for (uint32_t i = 0; i < kHalfTile; ++i) {
      const Direction turn = DirectionOfTurns(phases_[p] * i + phases_[p] / 2);
      cosine_[p * kHalfTile + i] = turn.cosine;
      sine_[p * kHalfTile + i] = turn.sine;
    }
    const Direction turn = DirectionOfTurns(phases_[p] * kTileTokens);
    cosine_tile_[p] = turn.cosine;
    sine_tile_[p] = turn.sine;
  }
  a_.resize(size_t{rows_} * pairs_);
  b_.resize(size_t{rows_} * pairs_);
}

void KeyMeanLogits::Start(const BlockView& block, uint32_t layer, uint32_t kv_head, const float* q) {
  const BlockSpec& spec = block.spec();
  MakeTable(spec);
  tile_ = UINT32_MAX;
  first_position_ = spec.first_position;
  unturned_.assign(rows_, 0);
  reach_ = 0;
  const std::array<float, kMaxHeadDim> mean = ReadRecord(block.KeyMean(layer, kv_head));
  for (uint32_t row = 0; row < rows_; ++row, q += spec.head_dim) {
    for (uint32_t p = 0; p < pairs_; ++p) {
      const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
      a_[row * pairs_ + p] = q[pair.first] * mean[pair.first] + q[pair.second] * mean[pair.second];
      b_[row * pairs_ + p] = q[pair.second] * mean[pair.first] - q[pair.first] * mean[pair.second];
    }
    for (uint32_t j = 2 * pairs_; j < spec.head_dim; ++j) unturned_[row] += q[j] * mean[j];
    reach_ += std::fabs(unturned_[row]);
    for (uint32_t p = 0; p < pairs_; ++p) {
      reach_ += 2 * (std::fabs(a_[row * pairs_ + p]) + std::fabs(b_[row * pairs_ + p]));
    }
  }
}

[[gnu::always_inline]] inline void KeyMeanLogits::MoveBody(uint32_t tile) {
  if (tile == tile_) return;
  if (tile == tile_ + 1 && tile % kTilesBetweenDirections != 0) {
    for (uint32_t p = 0; p < pairs_; ++p) {
      const float c = cosine_now_[p], s = sine_now_[p];
      cosine_now_[p] = c * cosine_tile_[p] - s * sine_tile_[p];
      sine_now_[p] = s * cosine_tile_[p] + c * sine_tile_[p];
    }
  } else {
    const uint64_t before_middle = first_position_ + tile * uint64_t{kTileTokens} + kHalfTile - 1;
    for (uint32_t p = 0; p < pairs_; ++p) {
      const Direction turn = DirectionOfTurns(phases_[p] * before_middle + phases_[p] / 2);
      cosine_now_[p] = turn.cosine;
      sine_now_[p] = turn.sine;
    }
  }
  tile_ = tile;
}

[[gnu::always_inline]] inline void KeyMeanLogits::SumBody(uint32_t row, float* natural) const {
  const float* a = a_.data() + size_t{row} * pairs_;
  const float* b = b_.data() + size_t{row} * pairs_;
  float common[kHalfTile] = {}, differing[kHalfTile] = {};
  for (uint32_t p = 0; p < pairs_; ++p) {
    const float turned_a = a[p] * cosine_now_[p] + b[p] * sine_now_[p];
    const float turned_b = b[p] * cosine_now_[p] - a[p] * sine_now_[p];
    const float* cosine = cosine_.data() + p * kHalfTile;
    const float* sine = sine_.data() + p * kHalfTile;
    for (uint32_t i = 0; i < kHalfTile; ++i) {
      common[i] = std::fma(turned_a, cosine[i], common[i]);
      differing[i] = std::fma(turned_b, sine[i], differing[i]);
    }
  }
  for (uint32_t i = 0; i < kHalfTile; ++i) {
    natural[kHalfTile + i] = unturned_[row] + (common[i] + differing[i]);
    natural[kHalfTile - 1 - i] = unturned_[row] + (common[i] - differing[i]);
  }
}

void KeyMeanLogits::Move(uint32_t tile) { MoveBody(tile); }
POLARKV_FMA_TARGET void KeyMeanLogits::MoveFma(uint32_t tile) { MoveBody(tile); }
void KeyMeanLogits::Sum(uint32_t row, float* natural) const { SumBody(row, natural); }
POLARKV_FMA_TARGET void KeyMeanLogits::SumFma(uint32_t row, float* natural) const { SumBody(row, natural); }

void KeyMeanLogits::Add(uint32_t tile, uint64_t tokens, float unit, float* logits) {
  HasHardwareFma() ? MoveFma(tile) : Move(tile);
#if defined(__x86_64__)
  if (avx512_) {
    const KeyMeanSums sums = {pairs_,           cosine_.data(), sine_.data(), cosine_now_.data(),
                              sine_now_.data(), a_.data(),      b_.data(),    unturned_.data()};
    return AddKeyMeansAvx512(sums, rows_, tokens, unit, logits);
  }
#endif
  for (uint32_t row = 0; row < rows_; ++row, logits += kTileTokens) {
    float natural[kTileTokens];
    HasHardwareFma() ? SumFma(row, natural) : Sum(row, natural);
    for (uint32_t i = 0; i < kTileTokens; ++i) {
      const uint32_t token = kScoreOrder.token[i];
      if ((tokens >> token & 1) != 0) logits[i] += unit * natural[token];
    }
  }
}

}  // namespace polarkv::cpu
