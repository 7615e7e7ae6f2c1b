// Logits of single tokens whose keys are signs or polar codes: of those whose values stand raw.
#ifndef POLARKV_KERNELS_CUDA_SKETCH_LOGITS_H_
#define POLARKV_KERNELS_CUDA_SKETCH_LOGITS_H_

#include "codec/block_format.h"
#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/polar_keys.h"
#include "kernels/cuda/row_rotation.h"
#include "kernels/cuda/tile_stage.h"

namespace polarkv::cuda {

// Of columns 2t, 2t + 1, but for the token's scale.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void SignLogits(const AttentionArgs& args, const uint8_t* payload, uint32_t token,
                                      uint64_t first_row, typename W::F32 (&logit)[2]) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  constexpr uint32_t kGroups = kDim / 64;
  const uint32_t e = token % 16, word_in_lane = (e >> 2 & 1) * 2 + (e & 1), vector = e >> 3;
  const uint32_t g = 2 * (token / 16) + (e >> 1 & 1);
  const uint8_t* const rows = args.key_queries + first_row * args.key_query_bytes;
  F32 sum[2] = {0.0f, 0.0f};
  for (uint32_t index = 0; index < static_cast<uint32_t>(BitsOfKind(args.key_kind)); ++index) {
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kDim / 32; ++i) {
      // Coordinates 32i + 4g' + word: chunk 2i + g' / 4, codes 4 * (g' % 4) + word.
      const U32 chunk = (W::Lane() >> 4) + 2 * i, quarter = chunk / kGroups, group = chunk - quarter * kGroups;
      const U32 signs = W::LoadWord(payload, (group + index * kGroups) * kVectorBytes + quarter * 64u +
                                                 (16 * code_order_internal::FullGroupLane(g, 0) + 4 * word_in_lane));
      POLARKV_UNROLL
      for (uint32_t column = 0; column < 2; ++column) {
        const U32 four = W::LoadWord(rows, ((W::Lane() & 3u) * 2u + column) * args.key_query_bytes +
                                               (W::Lane() & 28u) + (index * kDim + 32 * i));
        POLARKV_UNROLL
        for (uint32_t word = 0; word < 4; ++word) {
          const U32 n = U32(15u - word) - ((W::Lane() >> 2) & 3u) * 4u;
          const U32 bit = (n >> 1) * 4u + ((n & 1u) ^ 1u) * 2u + vector;
          const F32 q = W::ToFloat(W::AsI32(((four >> static_cast<int>(8 * word)) & 0xFFu) ^ 0x80u)) - 128.0f;
          const auto positive = (W::ShiftRight(signs, bit) & 1u) > U32(0u);
          sum[column] = sum[column] + W::Select(positive, q, -q);
        }
      }
    }
  }
  POLARKV_UNROLL
  for (int column = 0; column < 2; ++column) logit[column] = SumOverRow<W>(sum[column]);
}

// The same of polar keys, but for the tile's exponent. Lane 4g + t: pairs 16i + 2g and + 1 for all i.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void PolarLogits(const AttentionArgs& args, const uint8_t* payload, uint32_t token,
                                       uint64_t first_row, typename W::F32 (&logit)[2]) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  const uint8_t* const rows = args.key_queries + first_row * args.key_query_bytes;
  F32 sum[2] = {0.0f, 0.0f};
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 16; ++i) {
    const U32 pair = (W::Lane() >> 2) * 2u + (16 * (i / 2) + i % 2);
    const PolarBins<W> bins(W::LoadWord(payload, pair * kPolarParameterBytes),
                            W::LoadWord(payload, pair * kPolarParameterBytes + 4u));
    const U32 code = W::LoadByte(payload, pair * kPolarCodeBytes + (kDim / 2 * kPolarParameterBytes + token));
    U32 decoded[4];
    DecodePolar<W>(bins, code, decoded);
    const U32 at = (pair & 3u) * static_cast<uint32_t>(kDim / 8) + (pair >> 2);
    POLARKV_UNROLL
    for (uint32_t column = 0; column < 2; ++column) {
      const U32 row = ((W::Lane() & 3u) * 2u + column) * static_cast<uint32_t>(2 * kDim);
      const U32 query = W::LoadWord(rows, row + (at << 2));
      sum[column] = W::Fma(W::LowHalf(query), W::LowHalf(decoded[0]), sum[column]);
      sum[column] = W::Fma(W::HighHalf(query), W::HighHalf(decoded[0]), sum[column]);
    }
  }
  POLARKV_UNROLL
  for (int column = 0; column < 2; ++column) logit[column] = SumOverRow<W>(sum[column]);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_SKETCH_LOGITS_H_
