// What an encoder may choose about a block; the spec says what it must be.
#ifndef POLARKV_CODEC_ENCODE_OPTIONS_H_
#define POLARKV_CODEC_ENCODE_OPTIONS_H_

#include <cstdint>

namespace polarkv {

class KeyMeanProfile;  // key_mean_profile.h

// Whether keys are stored without the mean that their head had before RoPE.
enum class KeyMeanPolicy : uint8_t {
  kAuto,    // in the layers where it takes off at least a tenth of the keys' energy, and more bits than the mean costs
  kNever,
  kAlways,  // wherever the keys' codec has scales
};

// Whether keys of codecs in bands are in bands.
enum class BandPolicy : uint8_t {
  kAuto,    // in the layers where the coding gain of the pairs' variances is at least 1 dB, and more than the tables cost;
            // others have the plain codec of as many bits
  kAlways,
};

struct EncodeOptions {
  KeyMeanPolicy key_mean = KeyMeanPolicy::kAuto;
  // Tokens at the beginning of a sequence (positions 0, 1, ..) that are stored raw: attention sinks, whose keys and values
  // are unlike all others, and on which much weight falls.
  uint32_t raw_first_tokens = 4;
  // Whether tokens whose codes err by much more than their codec should are stored raw.
  bool escapes = true;
  BandPolicy bands = BandPolicy::kAuto;
  // The model's mean keys: what is taken off keys then, except with kNever, and blocks name it. Null: each block has its
  // own means, where they pay. Used during the call alone.
  const KeyMeanProfile* profile = nullptr;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_ENCODE_OPTIONS_H_
