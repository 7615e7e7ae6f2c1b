#include "codec/turbo_tile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>

#include "codec/block_layout.h"
#include "codec/fma_target.h"
#include "codec/half_float.h"

namespace polarkv {
namespace {

constexpr uint32_t kLanes = kQuantizerLanes;

// The codes of `lanes` quantized vectors, tokens first_token .. of the tile, to their places in the matrix.
void PlaceCodes(const CodeMatrix& matrix, const QuantizedVectors& from, uint32_t first_token, uint32_t lanes,
                uint8_t* codes) {
  for (uint32_t j = 0; j < matrix.head_dim(); ++j) {
    if (matrix.side() == KvSide::kKey) {
      std::memcpy(codes + j * kTileTokens + first_token, from.code[j], lanes);
    } else {
      for (uint32_t l = 0; l < lanes; ++l) codes[(first_token + l) * matrix.head_dim() + j] = from.code[j][l];
    }
  }
}

void ClearCodes(const CodeMatrix& matrix, uint32_t token, uint8_t* codes) {
  const bool key = matrix.side() == KvSide::kKey;
  for (uint32_t j = 0; j < matrix.head_dim(); ++j) {
    codes[key ? j * kTileTokens + token : token * matrix.head_dim() + j] = 0;
  }
}

POLARKV_FMA_TARGET void SquareNormsFma(const LaneFloats* x, uint32_t head_dim, float* sum) {
  SumOfProducts(x, x, head_dim, sum);
}
void SquareNormsPlain(const LaneFloats* x, uint32_t head_dim, float* sum) { SumOfProducts(x, x, head_dim, sum); }

}  // namespace

// What the codes leave over of y, in units of the tokens' scales: norms, and signs of a projection.
void TurboTileEncoder::WriteResidual(LaneFloats (*y)[kMaxHeadDim], const float* norm, const int* exponent, const uint8_t* codes,
                                     ScaleRange range, const uint8_t* scales, uint8_t* plane) const {
  const uint32_t head_dim = quantizer_.head_dim();
  const TurboCodebook& book = TurboCodebookFor(quantizer_.codec(), quantizer_.bits());
  const float rotated_norm = RotatedNorm(head_dim);
  uint64_t coded = 0;
  for (uint32_t group = 0; group < RotatedTile::kGroups; ++group) {
    LaneFloats per_scale;
    for (uint32_t l = 0; l < kLanes; ++l) {
      const uint32_t token = group * kLanes + l;
      const double scale = ScaleValue(range, scales[token]);
      if (scale > 0) coded |= uint64_t{1} << token;
      per_scale[l] =
          scale > 0 ? static_cast<float>(std::ldexp(double{norm[token] / rotated_norm}, exponent[token]) / scale) : 0;
    }
    for (uint32_t j = 0; j < head_dim; ++j) {
      for (uint32_t l = 0; l < kLanes; ++l) {
        const float image = book.image[codes[j * kTileTokens + group * kLanes + l]];
        y[group][j][l] = std::fma(y[group][j][l], per_scale[l], -image);
      }
    }
    LaneFloats square;
    (HasHardwareFma() ? SquareNormsFma : SquareNormsPlain)(y[group], head_dim, square);
    for (uint32_t l = 0; l < kLanes; ++l) {
      const uint32_t token = group * kLanes + l;
      const uint16_t stored = (coded >> token & 1) != 0 ? FloatToHalf(std::min(std::sqrt(square[l]), kMaxHalf)) : 0;
      std::memcpy(plane + 2 * token, &stored, 2);
    }
  }
  residual_->Write(y, coded, plane + kResidualNormBytes);
}

ScaleRange TurboTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                    const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const uint32_t head_dim = quantizer_.head_dim();
  struct Groups {
    QuantizerInput group[RotatedTile::kGroups];
  };
  const auto in = std::make_unique<Groups>();
  QuantizedVectors quantized;
  alignas(64) std::array<uint8_t, kMaxTileCodes> codes = {};
  float mantissa[kTileTokens] = {};
  float norm[kTileTokens] = {};
  int exponent[kTileTokens] = {};
  for (uint32_t first = 0; first < tokens; first += kLanes) {
    const uint32_t lanes = std::min(kLanes, tokens - first);
    QuantizerInput& vectors = in->group[first / kLanes];
    for (uint32_t l = 0; l < kLanes; ++l) {
      const float* row = rows + (first + l) * head_dim;
      for (uint32_t j = 0; j < head_dim; ++j) vectors.x[j][l] = l < lanes ? row[j] : 0;
    }
    quantizer_.Quantize(vectors, quantized);
    PlaceCodes(matrix_, quantized, first, lanes, codes.data());
    std::copy_n(quantized.mantissa, lanes, mantissa + first);
    std::copy_n(quantized.exponent, lanes, exponent + first);
    std::copy_n(quantized.norm, lanes, norm + first);
  }
  for (uint32_t token = 0; token < tokens; ++token) {
    if ((counted >> token & 1) != 0) continue;
    ClearCodes(matrix_, token, codes.data());
    mantissa[token] = 0;
  }
  matrix_.Pack(quantizer_.bits(), codes.data(), TurboCodePlanes(quantizer_.bits(), head_dim, planes));
  const ScaleRange range = StoreScales(mantissa, exponent, tokens, scales);
  if (planes.residual != nullptr) {
    const auto y = std::make_unique<RotatedTile>();
    for (uint32_t group = 0; group < RotatedTile::kGroups; ++group) {
      std::memcpy(y->y[group], in->group[group].x, sizeof y->y[group]);
    }
    WriteResidual(y->y, norm, exponent, codes.data(), range, scales, planes.residual);
  }
  return range;
}

}  // namespace polarkv
