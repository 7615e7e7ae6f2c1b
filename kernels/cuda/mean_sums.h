// Sums over a tile's keys, turned back to its first position, and their energy: the reference's SumKeyTile
// (codec/key_mean.h) to the bit, by one warp.
//
// Lane l has the coordinates j with j % 32 = l: whole partial sums of the energy. The other coordinate of a pair is
// another lane's, or another register's; sums are exchanged through shared memory, whatever the pairs.
#ifndef POLARKV_KERNELS_CUDA_MEAN_SUMS_H_
#define POLARKV_KERNELS_CUDA_MEAN_SUMS_H_

#include "kernels/cuda/encode_tile.h"
#include "kernels/cuda/mean_args.h"

namespace polarkv::cuda {

// Shared memory of a warp.
template <int kDim>
struct SumScratch {
  const uint8_t* rows[kTileTokens];  // null: the token does not count
  float sum[2][kDim];                // of one token and of the next one
  double energy[kTileTokens];        // of tokens
};

// How RoPE turns a lane's coordinates: c * own + s * partner, with s negative for second coordinates.
template <class W, int kDim>
struct LaneTurns {
  static constexpr uint32_t kCoordinates = kDim / 32;
  typename W::F32 cosine[kCoordinates], sine[kCoordinates];  // back
  typename W::U32 partner[kCoordinates];
  typename W::Bool turned[kCoordinates];

  POLARKV_WARP_FUNCTION LaneTurns(const MeanArgs& means, const float* turns) {
    using U32 = typename W::U32;
    using F32 = typename W::F32;
    const U32 pairs = means.pairs;
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kCoordinates; ++i) {
      const U32 j = W::Lane() + 32 * i;
      turned[i] = pairs * 2u > j;
      cosine[i] = 1.0f;
      sine[i] = 0.0f;
      partner[i] = j;
      if (means.pairs == 0) continue;
      const auto second = means.interleaved ? (j & 1u) > U32(0u) : j >= pairs;
      const U32 pair = means.interleaved ? j >> 1 : W::Select(second, j - pairs, j);
      const U32 at = W::Select(turned[i], pair, U32(0u));
      partner[i] = W::Select(turned[i], means.interleaved ? j ^ 1u : W::Select(second, j - pairs, j + pairs), j);
      const F32 s = W::LoadFloat(turns + means.pairs, at);
      cosine[i] = W::Select(turned[i], W::LoadFloat(turns, at), F32(1.0f));
      sine[i] = W::Select(turned[i], W::Select(second, -s, s), F32(0.0f));
    }
  }
};

// The tile's energy where f32 does not hold it well: of tokens, by lanes, in the coordinates' order, then in theirs.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION double WideEnergy(SumScratch<kDim>& scratch) {
  using F32 = typename W::F32;
  constexpr uint32_t kBytes = ElementBytes(kType);
  for (uint32_t first = 0; first < kTileTokens; first += 32) {
    typename W::F64 energy = 0.0;
    for (uint32_t chunk = 0; chunk < kDim / 16; ++chunk) {
      F32 x[16];
      POLARKV_UNROLL
      for (uint32_t v = 0; v < kBytes; ++v) {
        const typename W::U32 at = 16 * (chunk * kBytes + v);
        StagedRow<W, kDim, kType>::Unpack(W::LoadRowVector(scratch.rows + first, W::Lane(), at), v, x);
      }
      POLARKV_UNROLL
      for (const F32& value : x) energy = energy + W::Widen(value) * W::Widen(value);
    }
    W::StoreDouble(scratch.energy, W::Lane() + first, energy);
  }
  W::Sync();
  double sum = 0;
  for (const double energy : scratch.energy) sum += energy;
  return sum;
}

// A row's coordinates of each lane, zeros for null.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void LoadLaneKeys(const uint8_t* row, typename W::F32 (&key)[kDim / 32]) {
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    key[i] = W::template LoadElement<kType>(typename W::Bool(row != nullptr), row, W::Wide(W::Lane() + 32 * i));
  }
}

// scratch.rows is filled. `turns`: directions of `stride` positions.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void SumTile(const MeanArgs& means, const float* turns, uint32_t tokens, uint32_t stride,
                                   SumScratch<kDim>& scratch, float* sums, double* energy_of_tile) {
  using F32 = typename W::F32;
  constexpr uint32_t kCoordinates = kDim / 32;
  const LaneTurns<W, kDim> back(means, turns);
  F32 sum[kCoordinates], next[kCoordinates], energy = 0.0f;
  const uint32_t last = (tokens - 1) / stride;
  LoadLaneKeys<W, kDim, kType>(scratch.rows[last * stride], next);
  POLARKV_UNROLL
  for (F32& x : sum) x = 0.0f;
  for (uint32_t n = 0; n <= last; ++n) {
    float* const exchange = scratch.sum[n % 2];
    F32 key[kCoordinates];
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kCoordinates; ++i) {
      key[i] = next[i];
      W::StoreFloat(exchange, W::Lane() + 32 * i, sum[i]);
    }
    // On its way while this token is added.
    LoadLaneKeys<W, kDim, kType>(n < last ? scratch.rows[(last - n - 1) * stride] : nullptr, next);
    W::Sync();
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kCoordinates; ++i) {
      const F32 other = W::Select(back.turned[i], W::LoadFloat(exchange, back.partner[i]), F32(0.0f));
      sum[i] = W::Fma(back.cosine[i], sum[i], W::Fma(back.sine[i], other, key[i]));
      energy = W::Fma(key[i], key[i], energy);
    }
  }
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kCoordinates; ++i) W::StoreFloat(sums, W::Lane() + 32 * i, sum[i]);
  POLARKV_UNROLL
  for (int lanes = 1; lanes < 32; lanes *= 2) energy = energy + W::ShuffleXor(energy, lanes);
  const auto held = W::And(energy >= F32(kLeastHeldEnergy), F32(kMostHeldEnergy) >= energy);
  if (W::Any(W::Not(held))) {
    W::StoreOnce(energy_of_tile, WideEnergy<W, kDim, kType>(scratch));
  } else {
    W::StoreDouble(energy_of_tile, W::Lane() & 0u, W::Widen(energy));  // the same by all lanes
  }
}

template <class W, int kDim>
POLARKV_WARP_FUNCTION void SumTileOfType(ElementType type, const MeanArgs& means, const float* turns, uint32_t tokens,
                                         uint32_t stride, SumScratch<kDim>& scratch, float* sums, double* energy) {
  if (type == ElementType::kF16) {
    SumTile<W, kDim, ElementType::kF16>(means, turns, tokens, stride, scratch, sums, energy);
  } else if (type == ElementType::kBF16) {
    SumTile<W, kDim, ElementType::kBF16>(means, turns, tokens, stride, scratch, sums, energy);
  } else {
    SumTile<W, kDim, ElementType::kF32>(means, turns, tokens, stride, scratch, sums, energy);
  }
}

// One tile's keys as one of the two looks at them has it: the first to decide, the second, at all keys of long blocks
// in layers that have means, to know these.
template <int kDim>
class TileLook {
 public:
  POLARKV_WARP_FUNCTION TileLook(const EncodeArgs& args, const MeanArgs& means, const EncodeCursor& at, uint32_t look)
      : args_(args), means_(means), at_(at), place_(args.places[at.block]) {
    const uint32_t first_stride = DecisionStride(means.source, place_.tokens);
    stride_ = look == 0 ? first_stride : 1;
    takes_ = FindTileTask(args, place_, at, task_);
    if (look == 0 || !takes_) return;
    takes_ = first_stride != 1 && MeanRow(args, means, kDim, at.block, at.layer, at.head)[kDim + 1] != 0;
  }
  POLARKV_WARP_FUNCTION bool Takes() const { return takes_; }
  // FindRow of tokens that count, every `stride`-th but the raw ones; null for the others.
  POLARKV_WARP_FUNCTION const uint8_t* Row(uint32_t token) const {
    if (token < task_.raw || token % stride_ != 0) return nullptr;
    return FindRow(args_, place_, at_, task_, token);
  }
  // scratch.rows has all tokens' rows.
  template <class W>
  POLARKV_WARP_FUNCTION void Sum(SumScratch<kDim>& scratch) const {
    const uint64_t number = HeadNumber(args_, at_.block, at_.layer, at_.head) * args_.tiles_per_block + at_.tile;
    SumTileOfType<W, kDim>(args_.rows.type, means_, means_.turns + (stride_ == 1 ? 0 : 2 * means_.pairs), task_.tokens,
                           stride_, scratch, means_.sums + number * kDim, means_.energies + number);
  }

 private:
  const EncodeArgs& args_;
  const MeanArgs& means_;
  const EncodeCursor& at_;
  const EncodedPlace& place_;
  TileTask task_;
  uint32_t stride_;
  bool takes_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MEAN_SUMS_H_
