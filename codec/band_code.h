// band2 to band4: keys in bands of RoPE pairs of like variance, each at bits of its own (FORMAT.md, "Bands").
#ifndef POLARKV_CODEC_BAND_CODE_H_
#define POLARKV_CODEC_BAND_CODE_H_

#include <array>
#include <cstdint>

#include "codec/band_table.h"
#include "codec/block_spec.h"
#include "codec/rotated_tile.h"

namespace polarkv {

// Deviation of a band's coordinates in units of the key's root mean square: 2^((32 - code) / 16).
float BandDeviation(uint8_t code);
// The code of the deviation nearest to `deviation`, which is not negative.
uint8_t BandDeviationCode(float deviation);

// Mean squared errors on N(0,1) of codes of 0 to 6 bits in rings of 16.
inline constexpr std::array<double, kMaxBandBits + 1> kBandDistortion = {1, .3041, .0893, .0274, .00952, .00254, .00069};

// Reads a payload into a matrix of keys, [coordinate][token], not rotated. Takes any bytes.
void ReadBands(const BandTable& bands, const Rope& rope, uint32_t head_dim, const uint8_t* payload, float* matrix);

// Thread-safe between changes of the table.
class BandTileEncoder : public RotatedTileEncoder {
 public:
  BandTileEncoder(const Rope& rope, uint32_t head_dim) : rope_(rope), head_dim_(head_dim) {}

  void SetBands(const BandTable& bands) { bands_ = bands; }
  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  Rope rope_;
  uint32_t head_dim_;
  BandTable bands_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_BAND_CODE_H_
