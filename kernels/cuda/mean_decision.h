// From the sums of a block's tiles to its heads' means, and to whether a layer has them: the reference's
// KeyMeanEstimator, KeyMeanGain and StoreMeans (codec/key_mean.h) to the bit. Sums over tiles are f64; products of f32
// in f64 are exact, so that only additions round, and these are in the reference's order.
#ifndef POLARKV_KERNELS_CUDA_MEAN_DECISION_H_
#define POLARKV_KERNELS_CUDA_MEAN_DECISION_H_

#include <cmath>
#include <limits>

#include "codec/block_format.h"
#include "kernels/cuda/mean_sums.h"

namespace polarkv::cuda {

// Bits of the largest magnitude.
template <class W, int kDim>
POLARKV_WARP_FUNCTION uint32_t LargestBits(const typename W::F32 (&x)[kDim / 32]) {
  typename W::I32 largest = 0;
  POLARKV_UNROLL
  for (const auto& value : x) largest = W::Max(largest, W::AsI32(W::AsU32(value) & 0x7FFFFFFFu));
  return static_cast<uint32_t>(W::MaxOverWarp(largest));
}
inline constexpr uint32_t kLargestSaneMean = (127 + 125) << 23;     // 2^125
inline constexpr uint32_t kLeastOrdinaryMean = (127 - 40) << 23;    // 2^-40
inline constexpr uint32_t kLargestOrdinaryMean = (127 + 40) << 23;  // 2^40

// A head's sums over all tiles -> its mean, or zeros if that is not sane, to row[0 .. kDim), and its gain.
// sums: [tile][kDim], energies: [tile]; turns: the block's first token's row, as TileTurns.
template <class W, int kDim>
POLARKV_WARP_FUNCTION HeadGain CombineHead(const MeanArgs& means, const float* turns, const float* sums,
                                           const double* energies, uint32_t tiles, uint32_t count, double* shared,
                                           float* row) {
  using F32 = typename W::F32;
  using F64 = typename W::F64;
  constexpr uint32_t kCoordinates = kDim / 32;
  F64 sum[kCoordinates];
  POLARKV_UNROLL
  for (F64& x : sum) x = 0.0;
  HeadGain gain{0, 0};
  for (uint32_t tile = 0; tile < tiles; ++tile) {
    const float* const of_tile = sums + uint64_t{tile} * kDim;
    const LaneTurns<W, kDim> back(means, turns + uint64_t{tile} * kTileTokens * 2 * means.pairs);
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kCoordinates; ++i) {
      const F64 own = W::Widen(W::LoadFloat(of_tile, W::Lane() + 32 * i));
      const F32 other = W::Select(back.turned[i], W::LoadFloat(of_tile, back.partner[i]), F32(0.0f));
      sum[i] = sum[i] + (W::Widen(back.cosine[i]) * own + W::Widen(back.sine[i]) * W::Widen(other));
    }
    gain.energy += energies[tile];
  }
  F32 mean[kCoordinates];
  W::Sync();  // another head's have been read
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kCoordinates; ++i) {
    mean[i] = count == 0 ? F32(0.0f) : W::Narrow(sum[i] / F64(static_cast<double>(count)));
    W::StoreDouble(shared, W::Lane() + 32 * i, sum[i]);
  }
  W::Sync();
  const uint32_t largest = LargestBits<W, kDim>(mean);
  const bool sane = largest <= kLargestSaneMean;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kCoordinates; ++i) W::StoreFloat(row, W::Lane() + 32 * i, sane ? mean[i] : F32(0.0f));
  if (!sane || largest == 0) return gain;
  double square = 0;
  for (uint32_t j = 0; j < kDim; ++j) square += shared[j] * shared[j];
  gain.removed = square / static_cast<double>(count);
  return gain;
}

// KeyMeanGain::Pays. gains: [KV head].
POLARKV_WARP_FUNCTION bool MeansPay(const HeadGain* gains, uint32_t kv_heads, uint32_t head_dim, uint32_t tokens) {
  double energy = 0, removed = 0;
  for (uint32_t head = 0; head < kv_heads; ++head) {
    energy += gains[head].energy;
    removed += gains[head].removed;
  }
  const double cost = 8.0 * VectorRecordBytes(head_dim) / (static_cast<double>(head_dim) * tokens);
  const double c = 2 * 0.69314718055994531 * cost;
  const double growth = c + c * c / 2;
  return energy > 0 && removed >= energy / 10 && removed * (1 + growth) >= energy * growth;
}

// The exponent of a record whose largest number has these bits (EncodeHalfTile): 0 if halves hold them as they are.
POLARKV_WARP_FUNCTION int32_t RecordExponent(uint32_t largest) {
  constexpr uint32_t kLeastHalf = (127 - 14) << 23, kLargestHalf = 0x477FE000u;
  if (largest == 0 || (largest >= kLeastHalf && largest <= kLargestHalf)) return 0;
  int32_t binade = static_cast<int32_t>(largest >> 23) - 127;
  if (largest < 1u << 23) {  // subnormal: units of 2^-149
    for (binade = -149; largest > 1; largest >>= 1) ++binade;
  }
  return binade - 14;
}

// The mean in row[0 .. kDim) to a record, and in the row what that says; row[kDim ..] complete.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void StoreMean(float* row, double* shared, uint8_t* record) {
  using F32 = typename W::F32;
  using F64 = typename W::F64;
  using U32 = typename W::U32;
  constexpr uint32_t kCoordinates = kDim / 32;
  F32 mean[kCoordinates];
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kCoordinates; ++i) mean[i] = W::LoadFloat(row, W::Lane() + 32 * i);
  const int32_t exponent = RecordExponent(LargestBits<W, kDim>(mean));
  W::Sync();
  const double factor = ldexp(1.0, -exponent), power = ldexp(1.0, exponent);
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kCoordinates; ++i) {
    const U32 j = W::Lane() + 32 * i;
    const F32 scaled = W::Narrow(W::Widen(mean[i]) * F64(factor));
    const U32 half = W::template PackElements<ElementType::kF16>(scaled, F32(0.0f));
    W::StoreShortIf(true, record, j * 2u + uint32_t{sizeof(VectorRecordHead)}, half & 0xFFFFu);
    mean[i] = W::Narrow(W::Widen(W::LowHalf(half)) * F64(power));
    W::StoreFloat(row, j, mean[i]);
    W::StoreDouble(shared, j, W::Widen(mean[i]));
  }
  auto* const head = reinterpret_cast<uint16_t*>(record);
  W::StoreOnce(head, static_cast<uint16_t>(exponent));
  for (uint32_t i = 1; i < sizeof(VectorRecordHead) / 2; ++i) W::StoreOnce(head + i, uint16_t{0});
  W::Sync();
  double square = 0;
  for (uint32_t j = 0; j < kDim; ++j) square += shared[j] * shared[j];
  const uint32_t largest = LargestBits<W, kDim>(mean);
  const bool ordinary = largest >= kLeastOrdinaryMean && largest <= kLargestOrdinaryMean;
  W::StoreOnce(row + kDim, ordinary ? static_cast<float>(square / 2) : std::numeric_limits<float>::infinity());
  W::StoreOnce(row + kDim + 1, 1.0f);
}

// One layer of a block, as one of the two looks at its keys (TileLook) leaves it.
template <int kDim>
class LayerLook {
 public:
  POLARKV_WARP_FUNCTION LayerLook(const EncodeArgs& args, const MeanArgs& means, uint32_t block, uint32_t layer,
                                  uint32_t look)
      : args_(args), means_(means), place_(args.places[block]), block_(block), layer_(layer), look_(look) {
    first_stride_ = DecisionStride(means.source, place_.tokens);
  }
  POLARKV_WARP_FUNCTION bool Takes() const { return look_ == 0 || (first_stride_ != 1 && Row(0)[kDim + 1] != 0); }

  // `shared`: kDim of a warp's, here and in Store.
  template <class W>
  POLARKV_WARP_FUNCTION void Combine(uint32_t head, double* shared) const {
    const uint32_t stride = look_ == 0 ? first_stride_ : 1, tiles = (place_.tokens + kTileTokens - 1) / kTileTokens;
    const uint32_t raw = place_.raw_tokens < place_.tokens ? place_.raw_tokens : place_.tokens;
    const uint32_t count = (place_.tokens + stride - 1) / stride - (raw + stride - 1) / stride;
    const uint64_t number = HeadNumber(args_, block_, layer_, head);
    const HeadGain gain = CombineHead<W, kDim>(
        means_, TileTurns(args_, means_, block_, 0), means_.sums + number * args_.tiles_per_block * kDim,
        means_.energies + number * args_.tiles_per_block, tiles, count, shared, Row(head));
    W::StoreOnce(means_.gains + number, gain);
  }
  // Once all heads are combined: whether the layer has means.
  POLARKV_WARP_FUNCTION bool Pays() const {
    if (look_ != 0 || means_.source == MeanSource::kOwn) return true;
    return MeansPay(means_.gains + HeadNumber(args_, block_, layer_, 0), args_.kv_heads, kDim, place_.tokens);
  }
  template <class W>
  POLARKV_WARP_FUNCTION void Store(uint32_t head, bool pays, double* shared) const {
    float* const row = Row(head);
    if (pays && (look_ != 0 || first_stride_ == 1)) {
      StoreMean<W, kDim>(row, shared,
                         place_.records + layer_ * place_.layer_bytes + uint64_t{head} * VectorRecordBytes(kDim));
      return;
    }
    // None, or one that the second look is to complete.
    W::StoreOnce(row + kDim, std::numeric_limits<float>::infinity());
    W::StoreOnce(row + kDim + 1, pays ? 1.0f : 0.0f);
  }

 private:
  POLARKV_WARP_FUNCTION float* Row(uint32_t head) const { return MeanRow(args_, means_, kDim, block_, layer_, head); }

  const EncodeArgs& args_;
  const MeanArgs& means_;
  const EncodedPlace& place_;
  uint32_t block_, layer_, look_, first_stride_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MEAN_DECISION_H_
