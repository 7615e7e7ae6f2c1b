// Keys or values: what the two halves of a tile have in common is written once, with this as a parameter.
#ifndef POLARKV_CODEC_KV_SIDE_H_
#define POLARKV_CODEC_KV_SIDE_H_

#include <cstdint>

namespace polarkv {

enum class KvSide : uint8_t { kKey, kValue };

}  // namespace polarkv

#endif  // POLARKV_CODEC_KV_SIDE_H_
