// Cosines and sines of a tile's positions, as operand A of the products that add key means to scores (mean_logits.h).
//
// Of a pair, q . R(n) m is C cos(b phase) + S sin(b phase) with b = n - the tile's middle and C, S those of the middle.
// The middle is position 31.5 of the tile, so that with b = 0.5, 1.5 .. 31.5 the two tokens at b and -b have the first
// product in common, and the second but for its sign: 32 rows do for 64 tokens.
#ifndef POLARKV_KERNELS_CUDA_MEAN_TABLE_H_
#define POLARKV_KERNELS_CUDA_MEAN_TABLE_H_

#include "kernels/cuda/rope_pairs.h"
#include "kernels/cuda/rope_turn.h"
#include "kernels/cuda/tile_attention.h"

namespace polarkv::cuda {

// A cosine or sine times this is an integer of three signed bytes.
inline constexpr float kTableUnit = 8323072.0f;  // 127 * 2^16
// The other operand's integers are the low three bytes of floats from 2^23 to 2^24, unsigned: the number itself has
// been added to this, which makes the bytes 64, 128 and 128 more than balanced digits are.
inline constexpr float kMeanDigitBias = 12582912.0f + 32896.0f;  // 1.5 * 2^23 + 0x8080

// Where things are in the table, in bytes.
template <int kDim>
struct MeanTable {
  static constexpr uint32_t kPairs = kDim / 2, kSteps = kDim / 64;  // 32 pairs a step
  static constexpr uint32_t kWarps = 4;                             // that make it: one a part and 16 rows
  // Parts: cosines, sines. [part][step][16 rows][digit][lane]: a lane's four registers of operand A.
  POLARKV_WARP_FUNCTION static constexpr uint32_t Digit(uint32_t part, uint32_t step, uint32_t sixteen,
                                                        uint32_t digit) {
    return (((part * kSteps + step) * 2 + sixteen) * 3 + digit) * 512;
  }
  // What the bias adds to a row's products, negated, in units of 2^24 and of 2^16: [part][unit][g][16 rows][row g, g +
  // 8].
  static constexpr uint32_t kBias = 2 * kSteps * 2 * 3 * 512;
  POLARKV_WARP_FUNCTION static constexpr uint32_t Bias(uint32_t part, uint32_t unit) {
    return kBias + (part * 2 + unit) * 128;
  }
  static constexpr uint32_t kPhases = kBias + 512;  // u64[pair]
  static constexpr uint32_t kBytes = kPhases + kPairs * 8;
};

inline size_t MeanTableBytes(uint32_t head_dim) {
  return head_dim == 64 ? MeanTable<64>::kBytes : head_dim == 128 ? MeanTable<128>::kBytes : MeanTable<256>::kBytes;
}

// The table's row for slot 0 to 3 of each lane: b - 0.5 of its token. The tokens of slots 7 to 4 are the mirrored ones
// of lane ^ 28.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 DistanceFromMiddle(int slot) {
  using U32 = typename W::U32;
  const U32 token = SlotToken<W>(W::Lane(), slot);
  return W::Select(token > U32(31u), token - 32u, U32(31u) - token);
}

// One warp's share. Slot s of a lane is row g + 8 (s % 2) of sixteen s / 2.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void MakeMeanTable(const KeyMeanTurns& turns, uint32_t warp, uint8_t* table) {
  using U32 = typename W::U32;
  using I32 = typename W::I32;
  using Table = MeanTable<kDim>;
  const uint32_t part = warp / 2, sixteen = warp % 2;
  const auto* const phases = reinterpret_cast<const uint8_t*>(turns.phases);
  const U32 t = W::Lane() & 3u;
  I32 sum[2][3] = {{0, 0, 0}, {0, 0, 0}};
  for (uint32_t step = 0; step < Table::kSteps; ++step) {
    Words4<W> digits[3];
    POLARKV_UNROLL
    for (uint32_t word = 0; word < 4; ++word) {
      const uint32_t row = word % 2;
      for (auto& digit : digits) digit.w[word] = 0u;
      for (uint32_t i = 0; i < 4; ++i) {
        const U32 pair = t * 4u + (32 * step + 16 * (word / 2) + i);
        const U32 low = W::LoadWord(phases, pair * 8u), high = W::LoadWord(phases, pair * 8u + 4u);
        const U32 distance = DistanceFromMiddle<W>(static_cast<int>(2 * sixteen + row));
        // Half a position more; the carry from the lower halves, 2^-32 turn, is not worth having.
        const auto turn = TurnOf<W>(UpperTurns<W>(low, high, distance, U32(0u)) + (high >> 1));
        const auto value = W::Round((part == 0 ? turn.cosine : turn.sine) * kTableUnit);
        const U32 balanced = W::BitsOf(value) + 0x808080u;
        POLARKV_UNROLL
        for (int d = 0; d < 3; ++d) {
          const U32 byte = (balanced >> (8 * d)) & 0xFFu;
          sum[row][d] = sum[row][d] + (W::AsI32(byte) - 128);
          digits[d].w[word] = digits[d].w[word] | ((byte ^ 0x80u) << static_cast<int>(8 * i));
        }
      }
    }
    POLARKV_UNROLL
    for (uint32_t d = 0; d < 3; ++d) {
      W::StoreVectorIf(true, table, W::Lane() * 16u + Table::Digit(part, step, sixteen, d), digits[d]);
    }
  }
  POLARKV_UNROLL
  for (uint32_t row = 0; row < 2; ++row) {
    POLARKV_UNROLL
    for (I32& of_digit : sum[row]) {
      of_digit = of_digit + W::ShuffleXor(of_digit, 1);
      of_digit = of_digit + W::ShuffleXor(of_digit, 2);
    }
    // Of the products that are taken: both highest digits, highest and middle ones; those that make 2^16.
    const I32 upper = sum[row][2] * (64 * 256 + 128) + sum[row][1] * 64;
    const I32 lower = sum[row][2] * 128 + sum[row][1] * 128 + sum[row][0] * 64;
    const U32 at = (W::Lane() >> 2) * 16u + (8 * sixteen + 4 * row);
    const auto first = U32(1u) > t;
    W::StoreWordIf(first, table, at + Table::Bias(part, 0), W::BitsOf(-upper));
    W::StoreWordIf(first, table, at + Table::Bias(part, 1), W::BitsOf(-lower));
  }
  for (uint32_t pair = 32 * warp; pair < Table::kPairs; pair += 32 * Table::kWarps) {
    POLARKV_UNROLL
    for (uint32_t word = 0; word < 2; ++word) {
      const U32 at = W::Lane() * 8u + (8 * pair + 4 * word);
      W::StoreWordIf(true, table, at + Table::kPhases, W::LoadWord(phases, at));
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MEAN_TABLE_H_
