// Attention of one KV head over turbo blocks: rotates and rounds the queries, walks the blocks, rotates the result back.
#ifndef POLARKV_KERNELS_CPU_TURBO_HEAD_H_
#define POLARKV_KERNELS_CPU_TURBO_HEAD_H_

#include <cstdint>
#include <span>
#include <vector>

#include "codec/block_view.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/key_mean_logits.h"
#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {

// True when `set` has a fast body for the codecs and shape of `block` in that layer: turbo2, turbo3 or turbo4.
bool HasTurboBody(const BlockView& block, uint32_t layer, InstructionSet set);
// The fastest of `set` for that many query rows a KV head; null for kScalar.
TurboBody* FindTurboBody(InstructionSet set, uint32_t rows);

// Scratch for all rows of one KV head; reused from head to head, so that nothing is allocated per token or tile.
class TurboHead {
 public:
  // All blocks given to Attend must have this head_dim and rotation seed. `attend` does the work on tiles.
  TurboHead(uint32_t head_dim, uint64_t rotation_seed, uint32_t rows, TurboBody* attend);

  // q, o: [rows, head_dim] of the query rows that share KV head `kv_head`; lse: [rows]. Overwrites o and lse; they hold
  // values that are not finite when fp32 cannot hold a logit or a value.
  void Attend(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t kv_head, const float* q, float scale,
              float* o, float* lse);

 private:
  void PackQueries(const float* q, float scale);
  void AttendBlock(const TurboReader& reader, const BlockView& block, uint32_t layer, uint32_t kv_head);
  void AttendTileWithRecords(const TurboReader& reader, const TurboTiles& tile, const BlockView& block, uint32_t layer,
                             uint32_t number, const TileHead& head);
  void Finish(float* o, float* lse);

  uint32_t head_dim_, rows_;
  TurboBody* attend_;
  std::vector<float> signs_;
  std::vector<int32_t> words_;
  std::vector<float> outputs_;
  const float* q_ = nullptr;  // of the head at work
  float unit_ = 0;            // of its logits, in units of log2
  KeyMeanLogits means_;
  std::vector<float> added_, probability_;  // [rows][64], of one tile
  std::vector<TurboQuery> queries_;
  std::vector<TurboRowState> states_;
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_HEAD_H_
