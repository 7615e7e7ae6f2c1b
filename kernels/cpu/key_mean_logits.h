// What the mean key of a head adds to logits: q . R_n mu for the tokens whose keys are stored without it.
#ifndef POLARKV_KERNELS_CPU_KEY_MEAN_LOGITS_H_
#define POLARKV_KERNELS_CPU_KEY_MEAN_LOGITS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "codec/block_format.h"
#include "codec/block_view.h"

namespace polarkv::cpu {

// For a pair of coordinates (a, b), q . R_n mu is A cos(n phase) + B sin(n phase) with A = q_a mu_a + q_b mu_b and
// B = q_b mu_a - q_a mu_b. A and B are turned to a tile's first position; what is left is a table of 64 tokens.
class KeyMeanLogits {
 public:
  explicit KeyMeanLogits(uint32_t rows) : rows_(rows) {}

  // From now on the tiles of this block's head. q: [rows][head_dim].
  void Start(const BlockView& block, uint32_t layer, uint32_t kv_head, const float* q);
  // logits: [rows][64] in the order of kScoreOrder; adds unit * q . R_n mu for the tokens in `tokens`.
  void Add(uint32_t tile, uint64_t tokens, float unit, float* logits);

 private:
  void MakeTable(const BlockSpec& spec);
  void Turn(uint32_t row, uint64_t position);

  uint32_t rows_, pairs_ = 0;
  uint64_t first_position_ = 0;
  std::vector<uint64_t> phases_;
  std::vector<float> cosine_, sine_;        // [pair][64 tokens in score order], of positions 0 to 63
  std::vector<float> a_, b_;                // [rows][pair], at position 0
  std::vector<float> unturned_;             // [rows]: of coordinates that RoPE leaves alone
  std::vector<float> turned_a_, turned_b_;  // [pair], at the tile's first position
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_KEY_MEAN_LOGITS_H_
