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
// B = q_b mu_a - q_a mu_b. A and B are turned to the middle of a tile, position 31.5 of it; then with what is b + .5 before and
// after it, A cos((b + .5) phase) is common to both and B sin((b + .5) phase) differs in sign.
class KeyMeanLogits {
 public:
  explicit KeyMeanLogits(uint32_t rows) : rows_(rows) {}

  // Needs InstructionSet::kAvx512.
  void UseAvx512(bool use) { avx512_ = use; }

  // From now on the tiles of this block's head. q: [rows][head_dim].
  void Start(const BlockView& block, uint32_t layer, uint32_t kv_head, const float* q);
  // logits: [rows][64] in the order of kScoreOrder; adds unit * q . R_n mu for the tokens in `tokens`.
  void Add(uint32_t tile, uint64_t tokens, float unit, float* logits);
  // What no q . R_n mu exceeds, nor any number on the way to it; not finite where fp32 cannot hold one.
  float Reach() const { return reach_; }

 private:
  void MakeTable(const BlockSpec& spec);
  // Bodies, and what they are compiled to with and without hardware fma.
  void MoveBody(uint32_t tile);
  void SumBody(uint32_t row, float* natural) const;
  void Move(uint32_t tile);
  void MoveFma(uint32_t tile);
  void Sum(uint32_t row, float* natural) const;
  void SumFma(uint32_t row, float* natural) const;

  uint32_t rows_, pairs_ = 0;
  bool avx512_ = false;
  uint64_t first_position_ = 0;
  uint32_t tile_ = UINT32_MAX;  // that cosine_now_ and sine_now_ are of
  std::vector<uint64_t> phases_;
  std::vector<float> cosine_, sine_;            // [pair][32], of b + .5 positions
  std::vector<float> cosine_now_, sine_now_;    // [pair], of the tile's middle
  std::vector<float> cosine_tile_, sine_tile_;  // [pair], of 64 positions
  std::vector<float> a_, b_;                    // [rows][pair], at position 0
  std::vector<float> unturned_;                 // [rows]: of coordinates that RoPE leaves alone
  float reach_ = 0;
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_KEY_MEAN_LOGITS_H_
