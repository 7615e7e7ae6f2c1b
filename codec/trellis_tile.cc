#include "codec/trellis_tile.h"

#include <memory>
#include <vector>

namespace polarkv {

ScaleRange TrellisTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                      const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const auto tile = std::make_unique<RotatedTile>();
  rotation_.Rotate(rows, tokens, counted, *tile);
  std::vector<float> matrix(matrix_.rows() * matrix_.columns());
  rotation_.ToUnitVariance(*tile, matrix.data());
  const uint64_t present = tokens == kTileTokens ? ~uint64_t{0} : (uint64_t{1} << tokens) - 1;
  matrix_.Encode(matrix.data(), counted & present, planes.payload);
  matrix_.ReadImages(planes.payload, matrix.data());
  return rotation_.StoreImageScales(*tile, matrix.data(), tokens, scales);
}

}  // namespace polarkv
