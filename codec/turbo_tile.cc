#include "codec/turbo_tile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

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

// The exponent with which the tile's largest scale lands in [2^14, 2^15), and the scales stored with it.
int StoreScales(const float* mantissa, const int* exponent, uint32_t tokens, uint8_t* scales) {
  bool any = false;
  int top = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    if (!(mantissa[t] > 0)) continue;
    const int binade = std::ilogb(mantissa[t]) + exponent[t];
    top = any ? std::max(top, binade) : binade;
    any = true;
  }
  if (!any) return 0;
  const int tile_exponent = top - 14;
  for (uint32_t t = 0; t < tokens; ++t) {
    const uint16_t half = FloatToHalf(std::ldexp(mantissa[t], exponent[t] - tile_exponent));
    std::memcpy(scales + 2 * t, &half, 2);
  }
  return tile_exponent;
}

}  // namespace

int TurboTileEncoder::Encode(const float* rows, uint32_t tokens, const CodePlanes<uint8_t>& planes,
                             uint8_t* scales) const {
  const uint32_t head_dim = quantizer_.head_dim();
  QuantizerInput in;
  QuantizedVectors quantized;
  alignas(64) std::array<uint8_t, kMaxTileCodes> codes = {};
  float mantissa[kTileTokens];
  int exponent[kTileTokens];
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
  matrix_.Pack(quantizer_.bits(), codes.data(), planes);
  return StoreScales(mantissa, exponent, tokens, scales);
}

}  // namespace polarkv
