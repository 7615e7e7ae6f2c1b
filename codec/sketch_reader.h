// Sketches of a tile's keys read back, without an allocation a tile.
#ifndef POLARKV_CODEC_SKETCH_READER_H_
#define POLARKV_CODEC_SKETCH_READER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "codec/outlier_sketch.h"
#include "codec/sign_sketch.h"

namespace polarkv {

// Holds the sketches it read last, which most tiles share, and scratch memory: one thread at a time. Nothing is made before
// the first tile that has a sketch.
class SketchReader {
 public:
  explicit SketchReader(uint32_t head_dim) : head_dim_(head_dim) {}

  // As SignSketch::Read and OutlierSketch::Read.
  void ReadSigns(uint64_t rotation_seed, uint32_t count, const uint8_t* planes, float* estimate);
  void ReadOutliers(CodecId codec, const uint8_t* payload, float* matrix, double* factor);
  // Adds what signs of one projection say of what a code left over. norms: fp16 [64].
  void AddResidual(uint64_t rotation_seed, const uint8_t* norms, const uint8_t* plane, float* matrix);

 private:
  struct Scratch {
    SketchScratch sketch;
    std::array<float, kMaxTileCodes> estimate;
  };
  Scratch& scratch();

  uint32_t head_dim_;
  uint64_t seed_ = 0;
  uint32_t count_ = 0;
  CodecId outlier_codec_ = CodecId::kQjl1Outliers;
  std::optional<SignSketch> signs_;         // of seed_ and count_
  std::optional<OutlierSketch> outliers_;  // of outlier_codec_
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_SKETCH_READER_H_
