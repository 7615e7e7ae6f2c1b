// What the mean key of a head adds to logits: q . R_n mu for the tokens whose keys are stored without it.
#ifndef POLARKV_KERNELS_CPU_KEY_MEAN_LOGITS_H_
#define POLARKV_KERNELS_CPU_KEY_MEAN_LOGITS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "codec/block_format.h"
#include "codec/block_view.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/key_mean_sums.h"

namespace polarkv::cpu {

// For a pair of coordinates (a, b), q . R_n mu is A cos(n phase) + B sin(n phase) with A = q_a mu_a + q_b mu_b and
// B = q_b mu_a - q_a mu_b. A and B are turned to the middle of a tile, position 31.5 of it; then with what is b + .5 before and
// after it, A cos((b + .5) phase) is common to both and B sin((b + .5) phase) differs in sign. Pairs that turn by less than
// a radian in half a tile are summed before: their cosines and sines are polynomials of the position (slow_turn.h).
class KeyMeanLogits {
 public:
  static constexpr uint32_t kMostTiles = 16;  // of one Add

  explicit KeyMeanLogits(uint32_t rows) : rows_(rows) {}

  // With that set's bodies; without it with those of no set.
  void Use(InstructionSet set);

  // From now on the tiles of this block's head. q: [rows][head_dim].
  void Start(const BlockView& block, uint32_t layer, uint32_t kv_head, const float* q);
  // logits: [tile][row][64] of tiles from first_tile on, in the order of kScoreOrder; adds unit * q . R_n mu for the tokens
  // in `tokens`, which has up to kMostTiles tiles.
  void Add(uint32_t first_tile, std::span<const uint64_t> tokens, float unit, float* logits);
  // What no q . R_n mu exceeds, nor any number on the way to it; not finite where fp32 cannot hold one.
  float Reach() const { return reach_; }

 private:
  // Cosines and sines of angles, one a pair and place.
  struct Directions {
    std::vector<float> cosine, sine;
    void Resize(size_t count);
  };
  void MakeTables(const BlockSpec& spec);
  void MakeTerms();
  void Find(uint64_t position, float* cosine, float* sine) const;
  void Place(uint32_t tile, uint32_t slot);
  // The body, and what it is compiled to with and without hardware fma.
  void SumBody(uint32_t slot, uint32_t row, float* natural) const;
  void Sum(uint32_t slot, uint32_t row, float* natural) const;
  void SumFma(uint32_t slot, uint32_t row, float* natural) const;

  uint32_t rows_, pairs_ = 0;  // the latter padded: a multiple of kKeyMeanPairs, of which some are zeros
  void (*find_)(const uint64_t* phases, uint64_t position, uint32_t pairs, float* cosine, float* sine) = nullptr;
  bool avx512_ = false;
  uint64_t first_position_ = 0;
  uint32_t tile_ = UINT32_MAX, slot_ = 0;  // what was placed last, and where
  uint32_t turned_ = 0;                    // pairs that RoPE turns
  std::vector<uint64_t> phases_;           // [pair]
  Directions half_, tile_step_;            // [pair], of half a position and of 64
  uint32_t fast_ = 0;                      // pairs before those that are all slow
  Directions terms_;                       // [fast, then kSlowTerms][32], of b + .5 positions
  Directions slow_;                        // [kSlowTerms][pair]: coefficients, 0 of fast pairs
  Directions middle_;                      // [slot][pair]: of tiles' middles
  std::vector<float> a_, b_;               // [rows][pair], at position 0
  std::vector<float> unturned_;            // [rows]: of coordinates that RoPE leaves alone
  float reach_ = 0;
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_KEY_MEAN_LOGITS_H_
