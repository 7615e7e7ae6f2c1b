#include "codec/half_tile.h"

#include <cmath>
#include <cstring>

#include "codec/half_float.h"
#include "codec/largest_magnitude.h"

namespace polarkv {

int EncodeHalfTile(const float* rows, uint32_t tokens, uint32_t head_dim, uint8_t* payload) {
  const uint32_t count = tokens * head_dim;
  const float largest = LargestMagnitude(rows, count);
  constexpr float kMinNormalHalf = 0x1p-14f;
  const bool fits = largest == 0 || (largest >= kMinNormalHalf && largest <= kMaxHalf);
  const int exponent = fits ? 0 : std::ilogb(largest) - 14;
  const double factor = std::ldexp(1.0, -exponent);
  for (uint32_t i = 0; i < count; ++i) {
    const uint16_t half = FloatToHalf(static_cast<float>(rows[i] * factor));
    std::memcpy(payload + 2 * i, &half, 2);
  }
  return exponent;
}

}  // namespace polarkv
