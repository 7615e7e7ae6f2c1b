// Attention of one KV head's queries over tiles of turbo or trellis codes, in the rotated domain, straight from the planes.
//
// Queries are rounded to int8 (per row, largest coordinate = 127) and probabilities to 8 bits (per tile, largest = 255);
// dot products are exact integers. kernels/README.md states the error that this adds.
//
// Plain structs and pointers only: the body is compiled for instructions that the machine may not have, and must not emit
// copies of inline library functions that the linker could choose for the whole program.
#ifndef POLARKV_KERNELS_CPU_TURBO_ATTENTION_H_
#define POLARKV_KERNELS_CPU_TURBO_ATTENTION_H_

#include <cstdint>

#include "codec/block_format.h"
#include "kernels/cpu/turbo_table.h"

namespace polarkv::cpu {

// Bodies read whole vectors, of up to 16 words, where a head dim has a multiple of 4.
inline constexpr uint32_t kWordsReadPast = 12;

// One row: one query of one query head, rotated and rounded. Words are indexed [chunk of 16 coordinates][dword order of
// kDwordFirstCode].
struct TurboQuery {
  const int32_t* words = nullptr;  // [head_dim / 16][4], then kWordsReadPast that may be read and mean nothing
  int32_t sum = 0;             // of all rounded coordinates
  float scale = 0;             // rounded coordinate -> log2-domain logit per unit of key
};

// Running softmax of one row: logits in units of log2, output not yet normalised, in the rotated domain.
struct TurboRowState {
  float max = 0;  // meaningless while sum == 0
  float sum = 0;
  float* output = nullptr;  // [head_dim], rotated; then [head_dim], not rotated, of tokens that are not in codes
};

// A run of tiles of one head in one block; plane pointers are null when the plane is not held. Strides are bytes a tile.
// The body reads ahead: in the tiles that follow, then in the run `next`.
struct TurboTiles {
  const uint8_t* base = nullptr;
  const uint8_t* key_refine[2] = {};    // first (Refine1), second (Refine0)
  const uint8_t* value_refine[2] = {};
  uint32_t base_stride = 0;
  uint32_t refine_stride = 0;
  const float* octave = nullptr;              // [kScaleStepsPerOctave]: kOctave of codec/log_scale.h
  uint32_t key_scales = 0, value_scales = 0;  // byte offsets inside a tile of the base plane
  uint32_t key_crumbs = 0, value_crumbs = 0;
  uint32_t head_dim = 0;
  uint32_t tokens = 0;
  uint32_t following = 0;            // tiles of the same planes after these
  const TurboTiles* next = nullptr;  // what will be attended to after those, if known
};

// Key and value codes as read: bits and tables. The tables' offset is kKeyTableOffset for keys, 0 for values.
inline constexpr int kKeyTableOffset = 128;
struct TurboReader {
  CodeKind key_kind = CodeKind::kTurbo2, value_kind = CodeKind::kTurbo2;
  uint32_t key_bits = 0, value_bits = 0;  // of turbo codes
  bool key_third_in_base = false, value_third_in_base = false;  // turbo5: after the crumbs
  TurboTable key_table, value_table;
};

// What the logits of tiles are besides what their codes say, in the order of kScoreOrder.
struct TurboExtras {
  const float* added = nullptr;  // [tile][row][64], in units of log2
  uint32_t rows = 0;             // that a tile has in `added`
  float* probability = nullptr;  // out, [row][64], of the only tile: relative to 2^max of the row's state. Null: not wanted

  [[gnu::always_inline]] TurboExtras From(uint32_t tile, uint32_t row) const {
    const uint64_t at = uint64_t{kTileTokens} * (uint64_t{tile} * rows + row);
    return {added + at, rows, probability == nullptr ? nullptr : probability + uint64_t{kTileTokens} * row};
  }
};

// Adds the tiles' tokens to the state of each of `rows` rows. `extras`: null, or those of all tiles. The queries' scales
// and what is added are in the bounds of logit_range.h; a state whose tiles are not, or whose logits fp32 cannot hold, gets a
// NaN for its sum or its output. Needs InstructionSet::kAvx512.
void TurboAttendAvx512(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                       TurboRowState* states, uint32_t rows, const TurboExtras* extras);

// Signs of projected keys (FORMAT.md, "Sign sketches"), of one tile.
struct TurboSigns {
  const uint8_t* plane = nullptr;  // arranged as first refinement planes are
  const uint8_t* norms = nullptr;  // fp16 [64]: what a token's signs are to be multiplied with; null: 1
};

// Adds to `added` (TurboExtras) what the signs say: times the projected query, the token's scale and norm. Needs
// InstructionSet::kAvx512. False if some sum is beyond kLargestAddedLogit (logit_range.h).
bool AddSignScoresAvx512(const TurboTiles& tile, const TurboSigns& signs, const TurboQuery* projected, uint32_t rows,
                         float* added);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_ATTENTION_H_
