// polarR: recursive PolarQuant (Han et al., arXiv 2502.02617), one side of one tile (FORMAT.md, "Recursive polar
// codes").
//
// Sixteen rotated coordinates are eight pairs: eight angles in a full turn, and eight radii, which are four pairs:
// angles in a quarter turn, and so on up to one radius. Angles of the first level take 4 bits, the others 2, the radius
// is an fp16: 62 bits.
#ifndef POLARKV_CODEC_RECURSIVE_POLAR_H_
#define POLARKV_CODEC_RECURSIVE_POLAR_H_

#include <array>
#include <cstdint>

#include "codec/block_format.h"
#include "codec/rotated_tile.h"

namespace polarkv {

inline constexpr uint32_t kPolarGroup = 16;  // coordinates that share a radius
inline constexpr uint32_t kPolarGroupAngleBits = 46;
// Bytes of the radii at the beginning of a payload: fp16 [64 tokens][head_dim / 16].
inline constexpr uint32_t PolarGroupRadiusBytes(uint32_t head_dim) { return kTileTokens * head_dim / kPolarGroup * 2; }

using PolarGroup = std::array<float, kPolarGroup>;

// Sixteen coordinates: codes of their angles, and their norm.
struct PolarGroupCode {
  uint64_t angles = 0;  // lower 46 bits
  float radius = 0;
};
PolarGroupCode EncodePolarGroup(const PolarGroup& x);
PolarGroup DecodePolarGroup(const PolarGroupCode& code);

// The binade of a tile's largest radius as stored. Images are smaller by as much, and the tile's scale larger, so that
// scales of subnormal vectors keep their bits.
inline constexpr int kPolarTopBinade = 14;

// Reads a payload into a matrix [column][row] as in code_matrix.h.
void ReadRecursivePolar(KvSide side, uint32_t head_dim, const uint8_t* payload, float* matrix);

// Thread-safe.
class RecursivePolarTileEncoder : public RotatedTileEncoder {
 public:
  RecursivePolarTileEncoder(KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : rotation_(side, head_dim, rotation_seed) {}

  // There are no scales: the range's base is the tile's exponent.
  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  TileRotation rotation_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_RECURSIVE_POLAR_H_
