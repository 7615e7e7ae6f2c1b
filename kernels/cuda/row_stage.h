// A quarter of a tile, 16 tokens' rows, in a warp's shared memory.
//
// Lane 16 q + t has token t, and of its coordinates those with j / 16 % 2 = q: chunks of 16 that follow each other on
// the contraction axis of keys, and the partial sums j % 32 of the reference's sums of squares whole. Rows are 16 bytes
// further apart than they are long, so that lanes that load 16 bytes of 8 tokens meet all banks once.
#ifndef POLARKV_KERNELS_CUDA_ROW_STAGE_H_
#define POLARKV_KERNELS_CUDA_ROW_STAGE_H_

#include "kernels/cuda/element_type.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

inline constexpr uint32_t kQuarterTokens = 16;

template <class W>
POLARKV_WARP_FUNCTION typename W::U32 QuarterToken() {
  return W::Lane() & 15u;
}
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 ChunkParity() {
  return W::Lane() >> 4;
}

template <int kDim, ElementType kType>
struct RowStage {
  static constexpr uint32_t kRowBytes = kDim * ElementBytes(kType);
  static constexpr uint32_t kStride = kRowBytes + 16;
  static constexpr uint32_t kBytes = kQuarterTokens * kStride;

  // One lane's copies. rows[token]: where it is, null for a row of zeros; copy(offset in the stage, from): 16 bytes.
  template <class Copy>
  POLARKV_WARP_FUNCTION static void Fill(uint32_t lane, const uint8_t* const* rows, const Copy& copy) {
    constexpr uint32_t kParts = kRowBytes / 16;
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kQuarterTokens * kParts / 32; ++i) {
      const uint32_t part = lane + 32 * i;
      const uint8_t* const row = rows[part / kParts];
      const uint32_t at = part % kParts * 16;
      copy(part / kParts * kStride + at, row == nullptr ? nullptr : row + at);
    }
  }
};

// A lane's share of a token's row.
template <class W, int kDim, ElementType kType>
class StagedRow {
 public:
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  static constexpr uint32_t kChunks = kDim / 32;  // a lane
  static constexpr uint32_t kVectors = ElementBytes(kType);  // of 16 bytes, a chunk

  POLARKV_WARP_FUNCTION explicit StagedRow(uint8_t* stage)
      : stage_(stage),
        at_(QuarterToken<W>() * RowStage<kDim, kType>::kStride + ChunkParity<W>() * (16 * ElementBytes(kType))) {}

  // As they are in memory.
  POLARKV_WARP_FUNCTION Words4<W> LoadWords(uint32_t chunk, uint32_t v) const {
    return W::LoadVector(stage_, at_ + (chunk * 32 * ElementBytes(kType) + 16 * v));
  }

  // The coordinates of the lane's chunk number `chunk`.
  POLARKV_WARP_FUNCTION void Load(uint32_t chunk, F32 (&x)[16]) const {
    POLARKV_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      Unpack(W::LoadVector(stage_, at_ + (chunk * 32 * ElementBytes(kType) + 16 * v)), v, x);
    }
  }
  // A chunk's vector number v.
  POLARKV_WARP_FUNCTION static void Unpack(const Words4<W>& words, uint32_t v, F32 (&x)[16]) {
    POLARKV_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      if constexpr (kType == ElementType::kF32) {
        x[4 * v + i] = W::FloatOfBits(words.w[i]);
      } else {
        x[8 * v + 2 * i] = LowElement(words.w[i]);
        x[8 * v + 2 * i + 1] = HighElement(words.w[i]);
      }
    }
  }

  // Multiplies the rows of lanes where the condition holds by 2^64, which is exact: all their numbers are below 2^-60.
  POLARKV_WARP_FUNCTION void Lift(typename W::Bool condition) const {
    constexpr bool kWide = kType == ElementType::kF32;
    POLARKV_UNROLL_BY(1)
    for (uint32_t word = 0; word < kDim * ElementBytes(kType) / 8; ++word) {
      const U32 at = at_ + (word / (kWide ? 16 : 8) * (32 * ElementBytes(kType)) + word % (kWide ? 16 : 8) * 4);
      const U32 x = W::LoadWord(stage_, at);
      const F32 factor = 0x1p64f;
      if constexpr (kWide) {
        W::StoreWordIf(condition, stage_, at, W::AsU32(W::FloatOfBits(x) * factor));
      } else {
        const U32 low = W::AsU32(W::FloatOfBits(x << 16) * factor) >> 16;
        W::StoreWordIf(condition, stage_, at, low | W::AsU32(W::FloatOfBits(x & 0xFFFF0000u) * factor));
      }
    }
  }

 private:
  POLARKV_WARP_FUNCTION static F32 LowElement(U32 word) {
    if constexpr (kType == ElementType::kBF16) return W::FloatOfBits(word << 16);
    return W::LowHalf(word);
  }
  POLARKV_WARP_FUNCTION static F32 HighElement(U32 word) {
    if constexpr (kType == ElementType::kBF16) return W::FloatOfBits(word & 0xFFFF0000u);
    return W::HighHalf(word);
  }

  uint8_t* stage_;
  U32 at_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ROW_STAGE_H_
