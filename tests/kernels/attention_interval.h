// Where a correct attention result lies, for any tiles that passed their checks: the logits in double, each give or take what
// kernels/README.md allows a fast body; from these, bounds of the log-sum-exp and of each output coordinate. The bounds are
// of the worst case, not of the likely one, so that no bytes break them.
#ifndef POLARKV_TESTS_KERNELS_ATTENTION_INTERVAL_H_
#define POLARKV_TESTS_KERNELS_ATTENTION_INTERVAL_H_

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "codec/half_float.h"
#include "codec/key_mean.h"
#include "codec/rope_phase.h"
#include "codec/rotation.h"
#include "codec/sign_sketch.h"
#include "codec/tile_matrix.h"
#include "codec/turbo_codebook.h"

namespace polarkv::testing {

using DoubleVector = std::array<double, kMaxHeadDim>;

// The tokens of one KV head of a layer.
class AttentionInterval {
 public:
  AttentionInterval(std::span<const BlockView> blocks, uint32_t layer, uint32_t kv_head)
      : head_dim_(blocks[0].spec().head_dim) {
    for (const BlockView& block : blocks) {
      for (uint32_t tile = 0; tile < block.spec().tiles(); ++tile) ReadTile(block, layer, kv_head, tile);
    }
    key_reader_.reset();
    value_reader_.reset();
  }

  // Of one query.
  struct Bounds {
    double lowest_lse = 0, highest_lse = 0;
    DoubleVector least{}, most{};
  };

  // What is wrong with a result, or nothing.
  std::string Defect(const Bounds& bounds, float lse, const float* o) const {
    if (!(lse >= bounds.lowest_lse && lse <= bounds.highest_lse)) {
      return "lse " + std::to_string(lse) + " is not in " + std::to_string(bounds.lowest_lse) + " .. " +
             std::to_string(bounds.highest_lse);
    }
    for (uint32_t j = 0; j < head_dim_; ++j) {
      if (o[j] >= bounds.least[j] && o[j] <= bounds.most[j]) continue;
      return "output " + std::to_string(j) + ", " + std::to_string(o[j]) + ", is not in " +
             std::to_string(bounds.least[j]) + " .. " + std::to_string(bounds.most[j]);
    }
    return {};
  }

  Bounds BoundsOf(const float* q, double scale) const {
    const Sums low = SumsOf(q, scale, -1), high = SumsOf(q, scale, 1);
    Bounds bounds;
    // Numbers of that size in fp32; and fp32's sums, 2^x and logarithm.
    const double slack = 2e-5 + 1e-6 * std::max(std::fabs(low.lse), std::fabs(high.lse));
    bounds.lowest_lse = Saturate(low.lse - slack);
    bounds.highest_lse = Saturate(high.lse + slack);
    double allowed = 1e-30, tile_largest = 0, tile_factor = 0, tile_images = 0;
    for (size_t t = 0; t < tokens_.size(); ++t) {
      const Token& token = tokens_[t];
      const double p_low = std::exp(low.logit[t] - high.lse), p_high = std::min(1.0, std::exp(high.logit[t] - low.lse));
      for (uint32_t j = 0; j < head_dim_; ++j) {
        bounds.least[j] += token.value[j] * (token.value[j] < 0 ? p_high : p_low);
        bounds.most[j] += token.value[j] * (token.value[j] < 0 ? p_low : p_high);
      }
      // fp32's sums and the rotation; and that no power of two comes out below 2^-126.
      allowed += (5e-5 * p_high + 0x1p-118) * token.value_norm;
      // Of codes' weights: half of 1/255 of the tile's largest probability times its largest scale.
      tile_largest = std::max(tile_largest, p_high);
      tile_factor = std::max(tile_factor, token.value_factor);
      tile_images += token.image_norm;
      if (t + 1 < tokens_.size() && tokens_[t + 1].tile == token.tile) continue;
      allowed += 0.501 / 255 * tile_largest * tile_factor * tile_images;
      tile_largest = tile_factor = tile_images = 0;
    }
    for (uint32_t j = 0; j < head_dim_; ++j) {
      bounds.least[j] = Saturate(bounds.least[j] - allowed);
      bounds.most[j] = Saturate(bounds.most[j] + allowed);
    }
    return bounds;
  }

 private:
  struct Token {
    uint32_t tile;           // counted through all blocks
    uint64_t rotation_seed;
    bool rotated, rounded;   // the key as it is in the codes; queries are rounded to int8 for them
    DoubleVector key{}, added{};
    double key_norm = 0, added_norm = 0;
    double key_sum = 0;      // of magnitudes
    double sign_sum = 0;     // likewise, of what sketches' signs say, one projection by itself
    DoubleVector value{};
    double value_norm = 0;
    double value_factor = 0, image_norm = 0;  // of codes whose weights are rounded to 8 bits
  };
  struct Sums {
    std::vector<double> logit;
    double lse = 0;
  };

  static double Saturate(double x) { return std::clamp(x, -double{FLT_MAX}, double{FLT_MAX}); }
  static bool HasCodes(CodecId codec) {
    return HasTurboCodes(codec) || IsTrellis(codec) || TraitsOf(codec).kind == CodecKind::kQjl;
  }
  double Norm(const DoubleVector& x) const {
    double square = 0;
    for (uint32_t j = 0; j < head_dim_; ++j) square += x[j] * x[j];
    return std::sqrt(square);
  }
  void Transform(DoubleVector& x) const {
    HadamardBlocks(x.data(), head_dim_, RotationBlock(head_dim_), 1);
    for (uint32_t j = 0; j < head_dim_; ++j) x[j] /= std::sqrt(static_cast<double>(RotationBlock(head_dim_)));
  }

  void ReadTile(const BlockView& block, uint32_t layer, uint32_t kv_head, uint32_t tile) {
    const BlockSpec& spec = block.spec();
    const TilePart k = FindTilePart(block, KvSide::kKey, layer, kv_head, tile);
    const TilePart v = FindTilePart(block, KvSide::kValue, layer, kv_head, tile);
    if (key_reader_ == nullptr) {
      key_reader_ = std::make_unique<TileMatrixReader>(KvSide::kKey, head_dim_);
      value_reader_ = std::make_unique<TileMatrixReader>(KvSide::kValue, head_dim_);
    }
    key_reader_->Read(k, spec.rope, *keys_);
    value_reader_->Read(v, spec.rope, *values_);
    uint32_t key_record = k.first_escape, value_record = v.first_escape;
    for (uint32_t t = 0; t < TileTokenCount(spec, tile); ++t) {
      Token token{tiles_, spec.rotation_seed, TraitsOf(k.codec).rotates, HasCodes(k.codec)};
      for (uint32_t j = 0; j < head_dim_; ++j) token.key[j] = keys_->value[j * kTileTokens + t] * keys_->factor[t];
      for (uint32_t j = 0; j < head_dim_; ++j) token.key_sum += std::fabs(token.key[j]);
      token.sign_sum = keys_->factor[t] * SignSum(k, t);
      if ((k.escapes >> t & 1) != 0) {
        const auto record = ReadRecord(block.EscapeRecord(layer, key_record++));
        std::copy_n(record.begin(), head_dim_, token.added.begin());
      } else if ((k.means >> t & 1) != 0) {
        float turned[kMaxHeadDim];
        TurnToPosition(spec.rope, spec.phases, spec.first_position + tile * uint64_t{kTileTokens} + t,
                       ReadRecord(block.KeyMean(layer, kv_head)).data(), head_dim_, turned);
        std::copy_n(turned, head_dim_, token.added.begin());
      }
      token.key_norm = Norm(token.key);
      token.added_norm = Norm(token.added);
      ReadValue(v, t, token);
      if ((v.escapes >> t & 1) != 0) {
        const auto record = ReadRecord(block.EscapeRecord(layer, value_record++));
        std::copy_n(record.begin(), head_dim_, token.value.begin());
      }
      token.value_norm = Norm(token.value);
      tokens_.push_back(token);
    }
    ++tiles_;
  }

  // Sum of the magnitudes that signs stand for, in units of the token's factor.
  double SignSum(const TilePart& part, uint32_t t) const {
    const double of_norm = double{SketchConstant(head_dim_)} * head_dim_;
    if (TraitsOf(part.codec).kind == CodecKind::kQjl) return of_norm * QjlTileEncoder::kNormPerScale;
    if (part.planes.residual == nullptr) return 0;
    uint16_t half;
    std::memcpy(&half, part.planes.residual + 2 * t, sizeof half);
    return of_norm * HalfToFloat(half);
  }

  void ReadValue(const TilePart& part, uint32_t t, Token& token) const {
    for (uint32_t j = 0; j < head_dim_; ++j) token.value[j] = values_->value[t * head_dim_ + j];
    if (HasCodes(part.codec)) {
      token.value_factor = values_->factor[t];
      if (token.value_factor > 0) token.image_norm = Norm(token.value);
    }
    for (uint32_t j = 0; j < head_dim_; ++j) token.value[j] *= values_->factor[t];
    if (!TraitsOf(part.codec).rotates) return;
    Transform(token.value);
    const auto signs = RotationSigns(part.rotation_seed);
    for (uint32_t j = 0; j < head_dim_; ++j) token.value[j] *= signs[j];
  }

  // All logits at the lower (-1) or the upper (1) ends of their intervals.
  Sums SumsOf(const float* q, double scale, int end) const {
    Sums out;
    DoubleVector plain{}, rotated{};
    std::copy_n(q, head_dim_, plain.begin());
    const double norm = Norm(plain);
    double step = 0;
    for (size_t t = 0; t < tokens_.size(); ++t) {
      const Token& token = tokens_[t];
      if (t == 0 || token.rotation_seed != tokens_[t - 1].rotation_seed) {
        const auto signs = RotationSigns(token.rotation_seed);
        for (uint32_t j = 0; j < head_dim_; ++j) rotated[j] = signs[j] * plain[j];
        Transform(rotated);
        step = 0;
        for (uint32_t j = 0; j < head_dim_; ++j) step = std::max(step, std::fabs(rotated[j]) / 127);
      }
      double score = 0;
      for (uint32_t j = 0; j < head_dim_; ++j) {
        score += (token.rotated ? rotated : plain)[j] * token.key[j] + plain[j] * token.added[j];
      }
      // fp32's products and sums; then half a step of every coordinate, as of a projected query, which is no longer than
      // the query. A key that is a code and signs may have a code as large as both together.
      double error = 4e-5 * norm * (token.key_norm + token.added_norm + token.sign_sum);
      if (token.rounded) error += 0.501 * (step * (token.key_sum + token.sign_sum) + norm / 127 * token.sign_sum);
      out.logit.push_back(scale * score + end * (std::fabs(scale) * error + 1e-5));
    }
    const double top = *std::max_element(out.logit.begin(), out.logit.end());
    double sum = 0;
    for (const double logit : out.logit) sum += std::exp(logit - top);
    out.lse = top + std::log(sum);
    return out;
  }

  uint32_t head_dim_, tiles_ = 0;
  std::vector<Token> tokens_;
  std::unique_ptr<TileMatrixReader> key_reader_, value_reader_;
  std::unique_ptr<TileMatrix> keys_ = std::make_unique<TileMatrix>(), values_ = std::make_unique<TileMatrix>();
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_ATTENTION_INTERVAL_H_
