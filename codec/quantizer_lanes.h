// How many vectors encoders work on side by side.
#ifndef POLARKV_CODEC_QUANTIZER_LANES_H_
#define POLARKV_CODEC_QUANTIZER_LANES_H_

#include <cstdint>

namespace polarkv {

// Nothing passes from one lane to another: a vector gets the same bits in any lane and with any neighbours.
inline constexpr uint32_t kQuantizerLanes = 32;

}  // namespace polarkv

#endif  // POLARKV_CODEC_QUANTIZER_LANES_H_
