// polarR: recursive PolarQuant (Han et al., arXiv 2502.02617), one side of one tile (FORMAT.md, "Recursive polar
// codes").
//
// Sixteen rotated coordinates are eight pairs: eight angles in a full turn, and eight radii, which are four pairs:
// angles in a quarter turn, and so on up to one radius. Angles of the first level take 4 bits, the others 2, the radius
// 10: 56 bits.
#ifndef POLARKV_CODEC_RECURSIVE_POLAR_H_
#define POLARKV_CODEC_RECURSIVE_POLAR_H_

#include <array>
#include <cstdint>

#include "codec/rotated_tile.h"

namespace polarkv {

inline constexpr uint32_t kPolarGroup = 16;  // coordinates that share a radius
inline constexpr uint32_t kPolarGroupBytes = 7;
inline constexpr float kMaxGroupRadius = 1023;  // the largest radius code

using PolarGroup = std::array<float, kPolarGroup>;

// Code of sixteen coordinates; `to_radius_code` times their norm, at most kMaxGroupRadius, is what the radius is
// rounded from.
uint64_t EncodePolarGroup(const PolarGroup& x, float to_radius_code);
// The coordinates in units of the radius code.
PolarGroup DecodePolarGroup(uint64_t code);

// Reads a payload, [64 tokens][head_dim / 16][7 bytes], into a matrix [column][row] as in code_matrix.h.
void ReadRecursivePolar(KvSide side, uint32_t head_dim, const uint8_t* payload, float* matrix);

class RecursivePolarTileEncoder : public RotatedTileEncoder {
 public:
  RecursivePolarTileEncoder(KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : rotation_(side, head_dim, rotation_seed) {}

  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  TileRotation rotation_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_RECURSIVE_POLAR_H_
