// Attention of one KV head over blocks: rotates and rounds the queries, walks the blocks, rotates the result back. Codes that
// have a body are attended to where they are; tiles of other codecs are decoded to floats first.
#ifndef POLARKV_KERNELS_CPU_TURBO_HEAD_H_
#define POLARKV_KERNELS_CPU_TURBO_HEAD_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "codec/block_view.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/key_mean_logits.h"
#include "kernels/cpu/matrix_tiles.h"
#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_bodies.h"

namespace polarkv::cpu {

// True when `set` has a fast body for the codecs and shape of `block` in that layer.
bool HasTurboBody(const BlockView& block, uint32_t layer, InstructionSet set);

// Scratch for all rows of one KV head; reused from head to head, so that nothing is allocated per token or tile.
class TurboHead {
 public:
  // All blocks given to Attend must have this head_dim and rotation seed, and a body in `set`.
  TurboHead(uint32_t head_dim, uint64_t rotation_seed, uint32_t rows, InstructionSet set);
  // With a body of the caller's choice.
  TurboHead(uint32_t head_dim, uint64_t rotation_seed, uint32_t rows, TurboAttendBody* attend);

  // q, o: [rows, head_dim] of the query rows that share KV head `kv_head`; lse: [rows]. Overwrites o and lse; they hold
  // values that are not finite when fp32 cannot hold a logit or a value.
  void Attend(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t kv_head, const float* q, float scale,
              float* o, float* lse);

 private:
  void AddRun(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t kv_head, size_t index);
  void PackQueries(const float* q, float scale);
  void ProjectQueries(const BlockView& block, uint32_t layer, float scale);
  void AddSigns(const TurboTiles& tile, const BlockView& block, uint32_t layer, uint32_t number);
  std::vector<MatrixQuery> MatrixQueries(bool rotated) const;
  void AttendBlock(const TurboReader& reader, const BlockView& block, uint32_t layer, uint32_t kv_head);
  void AttendTilesWithMeans(const TurboReader& reader, const TurboTiles& tiles, uint32_t first_tile);
  void AttendMatrixBlock(const BlockView& block, uint32_t layer);
  // attend(extras) attends to the tile, whose logits get what is added to them here.
  template <typename AttendTile>
  void AttendTileWithRecords(const BlockView& block, uint32_t layer, uint32_t number, const TileHead& head,
                             const AttendTile& attend);
  void Finish(float* o, float* lse);
  void StartMeans(const BlockView& block, uint32_t layer, uint32_t kv_head);

  TurboAttendBody* attend_;
  uint32_t head_dim_, rows_;
  std::vector<float> signs_;
  std::vector<int32_t> words_;
  std::vector<float> outputs_;
  const float* q_ = nullptr;  // of the head at work
  uint32_t kv_head_ = 0;
  float unit_ = 0;            // of its logits, in units of log2
  bool beyond_ = false;       // something was met that is not in the bounds of logit_range.h
  std::unique_ptr<MatrixTiles> matrix_;  // once it is needed
  KeyMeanLogits means_;
  uint32_t tiles_together_;    // tiles that have means are attended to
  std::vector<float> added_;        // [tiles_together][rows][64]
  std::vector<float> probability_;  // [rows][64], of one tile
  std::vector<TurboQuery> queries_;
  std::vector<float> rotated_;  // [rows][head_dim], but for a power of two
  std::vector<int> exponent_;   // [rows]: that power
  // Sign sketches: the queries' projections, [projection][rows].
  uint32_t projections_ = 0;
  std::vector<int32_t> projected_words_;
  std::vector<TurboQuery> projected_;
  std::vector<TurboRowState> states_;
  // The run at work and those after it, a ring: blocks may be as short as a tile.
  static constexpr size_t kRuns = 8;
  std::array<TurboTiles, kRuns> runs_;
  size_t run_ = 0;
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_HEAD_H_
