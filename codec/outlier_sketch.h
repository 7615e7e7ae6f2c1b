// qjl1o, qjl2o, qjl4o: sketches of keys with the channels that are large in a group of tokens sketched apart (FORMAT.md,
// "Sign sketches"; QJL, arXiv 2406.03482).
#ifndef POLARKV_CODEC_OUTLIER_SKETCH_H_
#define POLARKV_CODEC_OUTLIER_SKETCH_H_

#include <array>
#include <cstdint>
#include <vector>

#include "codec/outlier_channels.h"
#include "codec/rotated_tile.h"
#include "codec/sign_sketch.h"

namespace polarkv {

inline constexpr uint32_t OutlierProjections(CodecId codec) {
  return codec == CodecId::kQjl1Outliers ? 1 : codec == CodecId::kQjl2Outliers ? 2 : 4;
}

class OutlierSketch {
 public:
  OutlierSketch(CodecId codec, uint32_t head_dim);

  // Reads a payload into keys, [coordinate][token], not rotated. `factor`: of each token its scale, that of its inliers; on
  // return what the keys are to be multiplied by. Takes any bytes.
  void Read(const uint8_t* payload, SketchScratch& scratch, float* matrix, double* factor) const;

 private:
  void ReadInliers(const uint8_t* planes, const float* part, SketchScratch& scratch, float* matrix) const;
  void ReadOutliers(const uint8_t* signs, float* estimate) const;

 protected:
  uint32_t projections() const { return static_cast<uint32_t>(outlier_projections_.size()); }

  uint32_t head_dim_;
  TileRotation rotation_;
  SignSketch inliers_;
  std::vector<SignProjection> outlier_projections_;
};

// Thread-safe.
class OutlierTileEncoder : public RotatedTileEncoder, private OutlierSketch {
 public:
  OutlierTileEncoder(CodecId codec, uint32_t head_dim) : OutlierSketch(codec, head_dim) {}

  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  void EncodeOutliers(const float* rows, uint32_t tokens, uint64_t counted, uint8_t* payload) const;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_OUTLIER_SKETCH_H_
