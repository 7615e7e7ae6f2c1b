// deep1.5, deep2, deep2.5, deep3: trellis codes with windows of 12 bits, whose values are computed, not looked up
// (FORMAT.md, "Deep codes"). For cold blocks: they err a tenth to a third less than 16-entry trellises and take long to
// write.
#ifndef POLARKV_CODEC_DEEP_CODE_H_
#define POLARKV_CODEC_DEEP_CODE_H_

#include <cstdint>
#include <vector>

#include "codec/codec_id.h"
#include "codec/rotated_tile.h"

namespace polarkv {

inline constexpr uint32_t kDeepWindowBits = 12;
inline constexpr uint32_t kDeepWindows = 1u << kDeepWindowBits;
inline constexpr float kDeepUnit = 147.8f;  // images a standard deviation

// A step codes one coordinate or two with one symbol. A token's symbols are a ring; a window is its last 12 bits up to
// and including a symbol.
struct DeepStep {
  uint32_t bits;         // of a symbol
  uint32_t coordinates;  // 1 or 2
};
inline constexpr DeepStep DeepStepOf(CodecId codec) {
  switch (codec) {
    case CodecId::kDeep1_5:
      return {3, 2};
    case CodecId::kDeep2:
      return {2, 1};
    case CodecId::kDeep2_5:
      return {5, 2};
    default:
      return {3, 1};
  }
}

// What a window stands for, coordinate 0 or 1 of its step: the sum of the four bytes of a linear congruence, made
// symmetric about 0, which is close to normal.
inline constexpr int DeepImage(uint32_t window, uint32_t coordinate) {
  const uint32_t hash = coordinate == 0 ? 34038481u * window + 76625530u : 747796405u * window + 2891336453u;
  return static_cast<int>((hash & 255) + (hash >> 8 & 255) + (hash >> 16 & 255) + (hash >> 24)) - 510;
}

// Cheap symbols for `x`, head_dim coordinates at unit variance; returns the sum of squared errors. The context in which
// the ring begins is that of the best open chain begun half a ring earlier; with it the search is exact, in f32, of
// equals the smaller window.
float SearchDeep(DeepStep step, const float* x, uint32_t head_dim, uint8_t* symbols);

// Reads a payload, of each token a string of symbols, lowest bits first, into a matrix [column][row] as in
// code_matrix.h.
void ReadDeep(DeepStep step, KvSide side, uint32_t head_dim, const uint8_t* payload, float* matrix);

class DeepTileEncoder : public RotatedTileEncoder {
 public:
  DeepTileEncoder(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : step_(DeepStepOf(codec)), rotation_(side, head_dim, rotation_seed) {}

  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  DeepStep step_;
  TileRotation rotation_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_DEEP_CODE_H_
