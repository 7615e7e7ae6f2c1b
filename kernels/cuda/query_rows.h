// Queries -> rotated int8 rows and their scales, one warp for eight rows of one KV head.
#ifndef POLARKV_KERNELS_CUDA_QUERY_ROWS_H_
#define POLARKV_KERNELS_CUDA_QUERY_ROWS_H_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/key_queries.h"
#include "kernels/cuda/row_rotation.h"
#include "kernels/cuda/tile_attention.h"

namespace polarkv::cuda {

// Eight rows: which sequence, which KV head, which eight of its padded rows.
struct RowsOfHead {
  uint32_t sequence, kv_head, eight;

  POLARKV_HOST_DEVICE static RowsOfHead At(const AttentionArgs& args, uint32_t index) {
    const uint32_t eights = args.padded_rows() / 8;
    return {index / eights / args.batch.kv_heads, index / eights % args.batch.kv_heads, index % eights};
  }
  POLARKV_HOST_DEVICE static uint32_t Count(const AttentionArgs& args) {
    return args.batch.sequences * args.batch.kv_heads * (args.padded_rows() / 8);
  }
  // Of its first row among all padded rows.
  POLARKV_HOST_DEVICE uint64_t FirstRow(const AttentionArgs& args) const {
    return (uint64_t{sequence} * args.batch.kv_heads + kv_head) * args.padded_rows() + 8 * eight;
  }
};

// Where column c of each lane is in q and o: row r of a KV head is query r / group of query head kv_head * group + r % group.
template <class W>
struct ColumnPlace {
  typename W::Bool valid;
  typename W::I64 element;  // of coordinate 4g
  typename W::I64 lse;

  POLARKV_WARP_FUNCTION ColumnPlace(const AttentionArgs& args, const RowsOfHead& rows, const int64_t (&stride)[3],
                                    int column) {
    using U32 = typename W::U32;
    const AttentionBatch& batch = args.batch;
    const U32 row = U32(8 * rows.eight + static_cast<uint32_t>(column)) + (W::Lane() & 3u) * 2u;
    const U32 query = row / batch.group;
    const U32 head = (row - query * batch.group) + rows.kv_head * batch.group;
    valid = U32(args.rows) > row;
    element = W::Wide(query) * stride[1] + W::Wide(head) * stride[2] + W::Wide(W::Lane() & 28u) +
              static_cast<int64_t>(rows.sequence) * stride[0];
    lse = W::Wide(query) * static_cast<int64_t>(uint64_t{batch.kv_heads} * batch.group) + W::Wide(head) +
          static_cast<int64_t>(uint64_t{rows.sequence} * batch.queries * batch.kv_heads * batch.group);
  }
};

// The row as key means meet it: not rotated, by pairs (mean_logits.h). `row`: times 1 / min(magnitude, 1e37).
template <class W, int kDim>
POLARKV_WARP_FUNCTION void StoreMeanQuery(const AttentionArgs& args, uint64_t first_row, typename W::U32 lane_row,
                                          const RowFragment<W, kDim>& row, typename W::F32 magnitude) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  // 1 unless the magnitude is above 1e37: division of such numbers may give 0, of those times 2^-30 not.
  const F32 rest = W::Min(W::Divide(F32(1e37f * 0x1p-30f), W::Max(magnitude * 0x1p-30f, F32(1e-37f))), F32(1.0f));
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    POLARKV_UNROLL
    for (uint32_t word = 0; word < 4; ++word) {
      const PlaceInPair<W> place(args.interleaved, args.rope_dims, kDim, (W::Lane() & 28u) + (32 * i + word));
      const U32 vector = ((place.pair >> 4) * 2u + place.second) * 32u + lane_row * 4u + ((place.pair >> 2) & 3u);
      W::StoreFloat(args.mean_queries + first_row * kDim, vector * 4u + (place.pair & 3u),
                    row.x[i / 2][i % 2][word] * rest);
    }
  }
  W::StoreFloatIf(U32(4u) > W::Lane(), args.mean_units + first_row, lane_row, magnitude * args.logit_unit);
}

template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void PrepareRows(const AttentionArgs& args, uint32_t index) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  const RowsOfHead rows = RowsOfHead::At(args, index);
  const uint64_t first_row = rows.FirstRow(args);
  POLARKV_UNROLL
  for (int column = 0; column < 2; ++column) {
    const ColumnPlace<W> place(args, rows, args.batch.q_stride, column);
    RowFragment<W, kDim> row;
    F32 largest = 0.0f;
    POLARKV_UNROLL
    for (int i = 0; i < kDim / 32; ++i) {
      POLARKV_UNROLL
      for (int word = 0; word < 4; ++word) {
        auto& value = row.x[i / 2][i % 2][word];
        value = W::template LoadElement<kType>(place.valid, args.batch.q, place.element + int64_t{32 * i + word});
        largest = W::Max(largest, W::Max(value, -value));
      }
    }
    // Rotating at a magnitude of one keeps huge and tiny queries inside fp32.
    const F32 magnitude = W::Max(MaxOverRow<W>(largest), F32(1e-37f));
    // The inverse of a larger one would not be a normal float.
    const F32 divisor = W::Min(magnitude, F32(1e37f));
    const F32 inverse = W::Divide(F32(1.0f), divisor);
    POLARKV_UNROLL
    for (auto& group : row.x) {
      POLARKV_UNROLL
      for (auto& half : group) {
        POLARKV_UNROLL
        for (auto& value : half) value = value * inverse;
      }
    }
    const U32 lane_row = (W::Lane() & 3u) * 2u + static_cast<uint32_t>(column);
    if (args.mean_table != nullptr) StoreMeanQuery<W, kDim>(args, first_row, lane_row, row, magnitude);
    if (args.key_kind == kPolar44) StorePolarQuery<W, kDim, kType>(args, first_row, lane_row, place, magnitude);
    ApplySigns<W, kDim>(args.signs, row);
    Hadamard<W, kDim>(row);
    F32 rotated = 1e-30f;
    POLARKV_UNROLL
    for (auto& group : row.x) {
      POLARKV_UNROLL
      for (auto& half : group) {
        POLARKV_UNROLL
        for (auto& value : half) rotated = W::Max(rotated, W::Max(value, -value));
      }
    }
    rotated = MaxOverRow<W>(rotated);
    if (IsSignKind(args.key_kind)) StoreSignQuery<W, kDim>(args, first_row, lane_row, row, divisor);
    const F32 to_int = W::Divide(F32(127.0f), rotated);
    StoreRounded<W, kDim>(args.queries + first_row * kDim, lane_row * static_cast<uint32_t>(kDim), row, to_int);
    W::StoreFloatIf(U32(4u) > W::Lane(), args.query_scales + first_row, lane_row,
                    rotated * (1.0f / 127.0f) * (divisor * args.query_unit));
  }
}

// The rows as operand B. Lane (g, t): row g, chunk t * groups + group.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void LoadQueries(const AttentionArgs& args, uint64_t first_row, QueryOperand<W, kDim>& queries) {
  using U32 = typename W::U32;
  constexpr uint32_t kGroups = kDim / 64;
  const U32 g = W::Lane() >> 2, t = W::Lane() & 3u;
  const auto* bytes = reinterpret_cast<const uint8_t*>(args.queries + first_row * kDim);
  POLARKV_UNROLL
  for (uint32_t group = 0; group < kGroups; ++group) {
    queries.group[group] =
        ChunkOperand<W>(W::LoadVector(bytes, g * static_cast<uint32_t>(kDim) + (t * kGroups + group) * 16u));
  }
  POLARKV_UNROLL
  for (uint32_t column = 0; column < 2; ++column) {
    queries.scale[column] = W::LoadFloat(args.query_scales + first_row, t * 2u + column);
  }
}

// Of keys that are not turbo or trellis codes.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void LoadQueries(const AttentionArgs& args, uint64_t first_row, RowQueries<W>& queries) {
  queries.rows = args.key_queries + first_row * args.key_query_bytes;
  POLARKV_UNROLL
  for (uint32_t column = 0; column < 2; ++column) {
    queries.scale[column] = W::LoadFloat(args.key_query_scales + first_row, (W::Lane() & 3u) * 2u + column);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_QUERY_ROWS_H_
