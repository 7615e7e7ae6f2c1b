// The arithmetic of the fast CPU attention written out in double: queries rounded to int8 and weights to 8 bits a tile,
// as kernels/README.md says, and nothing else. What is left between this and the fast body is fp32.
#ifndef POLARKV_TESTS_KERNELS_ROUNDED_ATTENTION_H_
#define POLARKV_TESTS_KERNELS_ROUNDED_ATTENTION_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "codec/key_mean.h"
#include "codec/rope_phase.h"
#include "codec/rotation.h"
#include "codec/tile_matrix.h"
#include "tests/codec/random_kv.h"

namespace polarkv::testing {

class RoundedAttention {
 public:
  // One query row of head_dim floats over layer 0 of one KV head.
  RoundedAttention(std::span<const BlockView> blocks, uint32_t kv_head, const float* q, double scale) : q_(q) {
    const uint32_t d = blocks[0].spec().head_dim;
    for (const BlockView& block : blocks) {
      for (uint32_t tile = 0; tile < block.spec().tiles(); ++tile) tiles_.push_back(Logits(block, kv_head, tile, scale));
    }
    double top = -std::numeric_limits<double>::infinity();
    for (const Tile& tile : tiles_) top = std::max(top, *std::max_element(tile.logits.begin(), tile.logits.end()));
    o.assign(d, 0);
    double total = 0;
    for (const Tile& tile : tiles_) total += Add(tile, kv_head, top);
    for (double& x : o) x /= total;
    either_way /= total;
    lse = top + std::log(total);
  }

  std::vector<double> o;
  double lse = 0;
  double either_way = 0;  // what the weights so near to half a step that fp32 may round them the other way can change

 private:
  struct Tile {
    const BlockView* block;
    uint32_t number;
    std::vector<double> logits;
  };

  Tile Logits(const BlockView& block, uint32_t kv_head, uint32_t number, double scale) const {
    const BlockSpec& spec = block.spec();
    const uint32_t d = spec.head_dim;
    float largest_input = 0, largest = 0;
    for (uint32_t j = 0; j < d; ++j) largest_input = std::max(largest_input, std::fabs(q_[j]));
    const int exponent = largest_input > 0 ? std::ilogb(largest_input) : 0;
    const auto signs = RotationSigns(spec.rotation_seed);
    std::vector<float> rotated(d);
    for (uint32_t j = 0; j < d; ++j) rotated[j] = signs[j] * std::ldexp(q_[j], -exponent);
    HadamardBlocks(rotated.data(), d, RotationBlock(d), 1);
    for (float x : rotated) largest = std::max(largest, std::fabs(x));
    const float to_int = largest > 0 ? 127 / largest : 0;
    const double unit = scale * RotationScale(d) * std::ldexp(largest / 127.0, exponent);

    const TilePart part = FindTilePart(block, KvSide::kKey, 0, kv_head, number);
    TileMatrixReader(KvSide::kKey, d).Read(part, spec.rope, *matrix_);
    Tile tile{&block, number, std::vector<double>(TileTokenCount(spec, number))};
    for (size_t t = 0; t < tile.logits.size(); ++t) {
      double score = 0;
      for (uint32_t j = 0; j < d; ++j) score += std::lrint(rotated[j] * to_int) * matrix_->value[j * kTileTokens + t];
      tile.logits[t] = score * matrix_->factor[t] * unit;
    }
    uint32_t record = part.first_escape;
    const auto mean = ReadRecord(block.KeyMean(0, kv_head));
    for (size_t t = 0; t < tile.logits.size(); ++t) {
      float turned[kMaxHeadDim];
      if ((part.escapes >> t & 1) != 0) {
        tile.logits[t] = scale * Dot(q_, ReadRecord(block.EscapeRecord(0, record++)).data(), d);
      } else if ((part.means >> t & 1) != 0) {
        TurnToPosition(spec.rope, spec.phases, spec.first_position + number * kTileTokens + t, mean.data(), d, turned);
        tile.logits[t] += scale * Dot(q_, turned, d);
      }
    }
    return tile;
  }

  // Adds the tile's values; returns the sum of its probabilities times the total.
  double Add(const Tile& tile, uint32_t kv_head, double top) {
    constexpr double kNear = 2e-3;  // of a step, generous for fp32's 2^-24 of a logit below 32, times 255
    const BlockSpec& spec = tile.block->spec();
    const uint32_t d = spec.head_dim;
    const TilePart part = FindTilePart(*tile.block, KvSide::kValue, 0, kv_head, tile.number);
    TileMatrixReader(KvSide::kValue, d).Read(part, spec.rope, *matrix_);
    double sum = 0, likeliest = 0, largest_scale = 0;
    for (size_t t = 0; t < tile.logits.size(); ++t) {
      sum += std::exp(tile.logits[t] - top);
      likeliest = std::max(likeliest, std::exp(tile.logits[t] - top));
      largest_scale = std::max(largest_scale, matrix_->factor[t]);
    }
    const double largest = likeliest * largest_scale;
    std::vector<double> rotated(d);
    for (size_t t = 0; t < tile.logits.size() && largest != 0; ++t) {
      const double steps = std::exp(tile.logits[t] - top) * matrix_->factor[t] / largest * 255;
      double square = 0;
      for (uint32_t j = 0; j < d; ++j) {
        const double image = matrix_->value[t * d + j];
        rotated[j] += std::nearbyint(steps) * largest / 255 * image;
        square += image * image;
      }
      if (std::fabs(steps - std::floor(steps) - 0.5) < kNear) either_way += largest / 255 * std::sqrt(square);
    }
    uint32_t record = part.first_escape;
    for (size_t t = 0; t < tile.logits.size(); ++t) {
      if ((part.escapes >> t & 1) == 0) continue;
      const auto value = ReadRecord(tile.block->EscapeRecord(0, record++));
      for (uint32_t j = 0; j < d; ++j) o[j] += std::exp(tile.logits[t] - top) * value[j];
    }
    if (largest == 0) return sum;
    HadamardBlocks(rotated.data(), d, RotationBlock(d), 1);
    const auto signs = RotationSigns(spec.rotation_seed);
    for (uint32_t j = 0; j < d; ++j) o[j] += signs[j] * rotated[j] * RotationScale(d);
    return sum;
  }

  const float* q_;
  std::vector<Tile> tiles_;
  std::unique_ptr<TileMatrix> matrix_ = std::make_unique<TileMatrix>();
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_ROUNDED_ATTENTION_H_
