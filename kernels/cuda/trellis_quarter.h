// The trellis codes of a quarter of a tile: rotated coordinates go to the stage, each lane takes rings out of it and
// puts their words into the planes (codec/code_order.h); then lanes have their tokens again, and read the images back
// for the products with the coordinates.
#ifndef POLARKV_KERNELS_CUDA_TRELLIS_QUARTER_H_
#define POLARKV_KERNELS_CUDA_TRELLIS_QUARTER_H_

#include "kernels/cuda/code_products.h"
#include "kernels/cuda/encode_args.h"
#include "kernels/cuda/finish_tile.h"
#include "kernels/cuda/quarter_codes.h"
#include "kernels/cuda/quarter_planes.h"
#include "kernels/cuda/trellis_ring.h"

namespace polarkv::cuda {

// Lowest bits of an atom's symbols of three bits, code 0's highest, to their places in the word that two atoms share
// (TrellisLowShift).
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 SpreadLowBits(typename W::Bool is_b, typename W::U32 low) {
  using U32 = typename W::U32;
  U32 x = W::Select(is_b, (low >> 1) | ((low & 1u) << 15), low);
  x = (x | (x << 8)) & 0x00FF00FFu;
  x = (x | (x << 4)) & 0x0F0F0F0Fu;
  x = (x | (x << 2)) & 0x33333333u;
  return W::Select(is_b, x, x << 2);
}

template <class W, int kDim, ElementType kType, int kKind, int kSide>
class TrellisQuarter {
 public:
  using U32 = typename W::U32;
  using Targets = RingTargets<W, kSide, RowStage<kDim, kType>::kStride>;
  static constexpr int kBits = BitsOfKind(kKind);
  static constexpr uint32_t kStride = RowStage<kDim, kType>::kStride;
  static constexpr uint32_t kChunks = PackedRow<W, kDim>::kChunks;

  // counted16: bit i: token i of the quarter is coded. `scratch` is the tile's.
  POLARKV_WARP_FUNCTION TrellisQuarter(const EncodeArgs& args, const SidePlanes& planes, uint32_t quarter,
                                       uint32_t counted16, uint8_t* stage, TileScratch& scratch)
      : args_(args), planes_(planes), quarter_(quarter), counted16_(counted16), stage_(stage), scratch_(scratch) {}

  // The stage is free for other use; it is overwritten.
  POLARKV_WARP_FUNCTION CodeProducts<W> Encode(PackedRow<W, kDim>& row, const PermuteTables<kKind>& tables) const {
    StoreTargets(row);
    if constexpr (kBits == 3) {
      // All four warps store the same.
      const U32 entry = W::Lane() & (kTrellisWindows - 1);
      W::StoreFloat(scratch_.groups, entry, W::LoadFloat(args_.grouped_levels, entry));
    }
    W::Sync();
    if constexpr (kSide == 0) {
      kBits == 1 ? EncodeKeyPairs() : EncodeKeys();
    } else {
      EncodeValues();
    }
    W::Sync();
    return Products(tables);
  }

 private:
  POLARKV_WARP_FUNCTION static U32 OwnRow() {
    return QuarterToken<W>() * kStride + ChunkParity<W>() * kTargetChunkBytes;
  }

  POLARKV_WARP_FUNCTION void StoreTargets(const PackedRow<W, kDim>& row) const {
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kChunks; ++i) {
      POLARKV_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        Words4<W> words;
        POLARKV_UNROLL
        for (uint32_t k = 0; k < 4; ++k) words.w[k] = (row.v[i][4 * half + k] + 0x80008000u) ^ 0x80008000u;
        W::StoreVectorIf(true, stage_, OwnRow() + (2 * kTargetChunkBytes * i + 16 * half), words);
      }
    }
  }

  POLARKV_WARP_FUNCTION LaneRing<W> Find(const Targets& targets) const {
    if constexpr (kBits == 3) {
      return RingSearch<3, W>::Find(targets, args_.to_unit_variance, args_.levels,
                                    reinterpret_cast<const uint8_t*>(scratch_.groups));
    } else {
      return RingSearch<kBits, W>::Find(targets, args_.to_unit_variance, args_.levels);
    }
  }

  // A ring is a chunk of the lane's token.
  POLARKV_WARP_FUNCTION void EncodeKeys() const {
    const KeyPlaces<W, kDim> places(quarter_);
    const U32 keep = U32(0u) - (W::ShiftRight(U32(counted16_), QuarterToken<W>()) & 1u);
    POLARKV_UNROLL_BY(1)
    for (uint32_t i = 0; i < kChunks; ++i) {
      const LaneRing<W> ring = Find({stage_, OwnRow() + 2 * kTargetChunkBytes * i, U32(0u), true});
      W::StoreWordIf(true, planes_.payload, places.Base(i), ring.upper & keep);
      if constexpr (kBits == 3) {
        const U32 low = SpreadLowBits<W>(places.is_b, ring.lower & keep);
        const U32 word = low | W::ShuffleXor(low, 8);
        W::StoreWordIf(W::Not(places.is_b), planes_.payload + 16 * kDim, places.Refine(i), word);
      }
    }
  }

  // One bit: a ring is the chunks of tokens t and t + 8, t < 8. Lanes t and t + 8 take every other one.
  POLARKV_WARP_FUNCTION void EncodeKeyPairs() const {
    const KeyPlaces<W, kDim> places(quarter_);
    const U32 token = W::Lane() & 7u, odd = (W::Lane() >> 3) & 1u;
    const U32 both = W::ShiftRight(U32(counted16_), token);
    const U32 counted = (both & 1u) * 0xFFFFu + ((both >> 8) & 1u) * 0xFFFF0000u;
    const U32 row = token * kStride + (odd * 2u + ChunkParity<W>()) * kTargetChunkBytes;
    POLARKV_UNROLL_BY(1)
    for (uint32_t i = 0; i < kChunks; i += 2) {
      const LaneRing<W> ring = Find({stage_, row + 2 * kTargetChunkBytes * i, counted, counted16_ == 0xFFFF});
      W::StoreWordIf(true, planes_.payload, W::Select(places.is_b, places.Refine(i + 1), places.Refine(i)), ring.upper);
    }
  }

  // A ring is 16 tokens of a coordinate, of one bit also those of the coordinate 32 further on. A lane has coordinates
  // lane + 32 i.
  POLARKV_WARP_FUNCTION void EncodeValues() const {
    const U32 n = W::Lane() >> 2;
    const U32 place = ((n >> 2) * 16u + (n & 3u) + 4 * quarter_) * 16u + (W::Lane() & 3u) * 4u;
    const U32 code = W::Lane() & 15u;
    const U32 column =
        ChunkParity<W>() * kTargetChunkBytes + (code & 7u) * 4u + W::Select(code > U32(7u), U32(0u), U32(2u));
    U32 low = 0u;
    POLARKV_UNROLL_BY(1)
    for (uint32_t i = 0; i < kDim / 32; i += kBits == 1 ? 2 : 1) {
      const LaneRing<W> ring =
          Find({stage_, column + 2 * kTargetChunkBytes * i, U32(counted16_ * 0x10001u), counted16_ == 0xFFFF});
      const U32 refine = place + i / 2 * 512;
      W::StoreWordIf(true, planes_.payload, kBits == 1 ? refine : place + i * 512, ring.upper);
      if constexpr (kBits == 3) {
        // The atoms that share a word follow each other.
        const bool is_b = i % 2 != 0;
        const U32 own = SpreadLowBits<W>(is_b, ring.lower);
        if (is_b) W::StoreWordIf(true, planes_.payload + 16 * kDim, refine, low | own);
        low = own;
      }
    }
  }

  POLARKV_WARP_FUNCTION CodeProducts<W> Products(const PermuteTables<kKind>& tables) const {
    U32 y[kChunks][8];
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kChunks; ++i) {
      POLARKV_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        const Words4<W> words = W::LoadVector(stage_, OwnRow() + (2 * kTargetChunkBytes * i + 16 * half));
        POLARKV_UNROLL
        for (uint32_t k = 0; k < 4; ++k) y[i][4 * half + k] = words.w[k];
      }
    }
    W::Sync();
    CodeProducts<W> products;
    VisitImages<W, kDim, kType, kKind, kSide>(
        {planes_.payload, {nullptr, nullptr}}, tables, quarter_, stage_,
        [&](uint32_t chunk, int first, int step, const CodeOperand<kKind, W>& images) {
          const U32(&of)[8] = y[chunk];
          AddProducts<kKind, W>(images, {of[first], of[first + step], of[first + 2 * step], of[first + 3 * step]},
                                products);
        });
    return products;
  }

  const EncodeArgs& args_;
  const SidePlanes& planes_;
  uint32_t quarter_, counted16_;
  uint8_t* stage_;
  TileScratch& scratch_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TRELLIS_QUARTER_H_
