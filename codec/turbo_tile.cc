#include "codec/turbo_tile.h"

#include <algorithm>
#include <array>
#include <cstring>

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

}  // namespace

ScaleRange TurboTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                    const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const uint32_t head_dim = quantizer_.head_dim();
  QuantizerInput in;
  QuantizedVectors quantized;
  alignas(64) std::array<uint8_t, kMaxTileCodes> codes = {};
  float mantissa[kTileTokens] = {};
  int exponent[kTileTokens] = {};
  for (uint32_t first = 0; first < tokens; first += kLanes) {
    const uint32_t lanes = std::min(kLanes, tokens - first);
    for (uint32_t l = 0; l < kLanes; ++l) {
      const float* row = rows + (first + l) * head_dim;
      for (uint32_t j = 0; j < head_dim; ++j) in.x[j][l] = l < lanes ? row[j] : 0;
    }
    quantizer_.Quantize(in, quantized);
    PlaceCodes(matrix_, quantized, first, lanes, codes.data());
    std::copy_n(quantized.mantissa, lanes, mantissa + first);
    std::copy_n(quantized.exponent, lanes, exponent + first);
  }
  for (uint32_t token = 0; token < tokens; ++token) {
    if ((counted >> token & 1) != 0) continue;
    ClearCodes(matrix_, token, codes.data());
    mantissa[token] = 0;
  }
  matrix_.Pack(quantizer_.bits(), codes.data(), TurboCodePlanes(quantizer_.bits(), head_dim, planes));
  return StoreScales(mantissa, exponent, tokens, scales);
}

}  // namespace polarkv
