// What one launch of attention over resident blocks is told. Plain C++; filled by attention.cc, read by the kernels.
#ifndef POLARKV_KERNELS_CUDA_ATTENTION_ARGS_H_
#define POLARKV_KERNELS_CUDA_ATTENTION_ARGS_H_

#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/scores.h"

namespace polarkv::cuda {

struct AttentionArgs {
  AttentionBatch batch;
  uint32_t rows;            // query rows of a KV head: group * queries
  uint32_t passes;          // a pass is up to 8 * row_groups rows; the codes are read once a pass
  uint32_t row_groups;      // 1 or 2
  uint32_t warps;           // that share the work
  uint32_t base_tile_bytes, refine_tile_bytes;
  uint32_t key_payload_at, key_payload_bytes;  // of a tile
  uint32_t head_dim;
  int key_kind, value_kind;  // CodeKind
  int8_t key_image[16], value_image[16];
  float logit_unit;         // of <q, k> in what is computed: log2 of the weight, or the score
  float query_unit;         // rotated int8 score x this = that, but for the scales of token and query
  float output_unit;        // 1/sqrt(rotation block)
  uint32_t signs[8];        // bit j % 32 of word j / 32: the rotation negates coordinate j
  // Of keys that are signs or polar codes.
  float key_query_unit;      // as query_unit, of such keys' queries
  uint32_t key_query_bytes;  // of a row of queries
  uint32_t projection_signs[4][2][8];  // as `signs`, of each projection's two factors
  uint32_t pair_dims;        // of polar keys: AttentionCodec
  bool pairs_interleaved;
  // Workspace.
  uint32_t* tile_prefix;    // [sequences + 1]: tiles of the sequences before
  int8_t* queries;          // [sequence][kv_head][padded rows][head_dim], rotated
  float* query_scales;      // [sequence][kv_head][padded rows]
  uint8_t* key_queries;     // [sequence][kv_head][padded rows][key_query_bytes]: key_queries.h
  float* key_query_scales;  // [sequence][kv_head][padded rows]
  float* partial_output;    // [slot][row group][head_dim / 64][4][4][32 lanes]; attention_plan.h has the slots
  float* partial_state;     // [slot][row group][reference, sum][8 rows]
  // Workspace of key means, null without them.
  uint8_t* mean_table;      // mean_table.h
  float* mean_queries;      // [sequence][kv_head][eight rows][16 pairs][first, second][32 lanes][4], at most 1
  float* mean_units;        // [sequence][kv_head][padded rows]: logit_unit of such a query
  bool interleaved;         // KeyMeanTurns
  uint32_t rope_dims;

  POLARKV_HOST_DEVICE uint32_t padded_rows() const { return passes * row_groups * 8; }
  POLARKV_HOST_DEVICE uint32_t SequenceTiles(uint32_t sequence) const {
    return tile_prefix[sequence + 1] - tile_prefix[sequence];
  }
};

struct ScoresArgs {
  AttentionArgs attention;  // without partial results; query_unit is for scores, not for log2 of weights
  ScoresTarget target;
};

// Whether kernels for it exist.
bool IsSupported(const AttentionCodec& codec, const AttentionBatch& batch);
// Lays a launch out in `workspace`, which may be null to learn only the size, returned in `bytes`.
AttentionArgs MakeAttentionArgs(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps,
                                void* workspace, size_t& bytes);
ScoresArgs MakeScoresArgs(const AttentionCodec& codec, const AttentionBatch& batch, const ScoresTarget& target,
                          uint32_t warps, void* workspace, size_t& bytes);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ATTENTION_ARGS_H_
