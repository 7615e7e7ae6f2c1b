// A tile's scales as bytes: logarithmic, 64 steps an octave (FORMAT.md, "Log scales").
//
//   value(code) = 0 if code is 0, else 2^(((base + code) << shift) / 64), with 2^(i/64) as in kOctave, i = 0..63
//
// The arithmetic uses comparisons and powers of two only, so that every machine agrees on codes and values.
#ifndef POLARKV_CODEC_LOG_SCALE_H_
#define POLARKV_CODEC_LOG_SCALE_H_

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "codec/block_format.h"

namespace polarkv {

inline constexpr int kScaleSteps = kScaleStepsPerOctave;
inline constexpr int kScaleStepBits = std::bit_width(static_cast<unsigned>(kScaleSteps)) - 1;
inline constexpr int kScaleCodeSpan = 254;  // codes 1..255: 127 octaves at the largest shift

// The f32 nearest 2^(i/64).
inline constexpr std::array<float, kScaleSteps> kOctave = {
    0x1.000000p0f, 0x1.02c9a4p0f, 0x1.059b0ep0f, 0x1.087452p0f, 0x1.0b5586p0f, 0x1.0e3ec4p0f, 0x1.11301ep0f,
    0x1.1429aap0f, 0x1.172b84p0f, 0x1.1a35bep0f, 0x1.1d4874p0f, 0x1.2063b8p0f, 0x1.2387a6p0f, 0x1.26b456p0f,
    0x1.29e9e0p0f, 0x1.2d285ap0f, 0x1.306fe0p0f, 0x1.33c08cp0f, 0x1.371a74p0f, 0x1.3a7db4p0f, 0x1.3dea64p0f,
    0x1.4160a2p0f, 0x1.44e086p0f, 0x1.486a2cp0f, 0x1.4bfdaep0f, 0x1.4f9b28p0f, 0x1.5342b6p0f, 0x1.56f474p0f,
    0x1.5ab07ep0f, 0x1.5e76f2p0f, 0x1.6247ecp0f, 0x1.662388p0f, 0x1.6a09e6p0f, 0x1.6dfb24p0f, 0x1.71f75ep0f,
    0x1.75feb6p0f, 0x1.7a1148p0f, 0x1.7e2f34p0f, 0x1.82589ap0f, 0x1.868d9ap0f, 0x1.8ace54p0f, 0x1.8f1aeap0f,
    0x1.93737cp0f, 0x1.97d82ap0f, 0x1.9c4918p0f, 0x1.a0c668p0f, 0x1.a5503cp0f, 0x1.a9e6b6p0f, 0x1.ae89fap0f,
    0x1.b33a2cp0f, 0x1.b7f770p0f, 0x1.bcc1eap0f, 0x1.c199bep0f, 0x1.c67f12p0f, 0x1.cb720ep0f, 0x1.d072d4p0f,
    0x1.d5818ep0f, 0x1.da9e60p0f, 0x1.dfc974p0f, 0x1.e502eep0f, 0x1.ea4afap0f, 0x1.efa1bep0f, 0x1.f50766p0f,
    0x1.fa7c18p0f};
// The f32 nearest 2^((i + 1/2)/64): from here on the step above is the nearer one.
inline constexpr std::array<float, kScaleSteps> kOctaveThresholds = {
    0x1.0163dap0f, 0x1.04315ep0f, 0x1.0706b2p0f, 0x1.09e3ecp0f, 0x1.0cc922p0f, 0x1.0fb66ap0f, 0x1.12abdcp0f,
    0x1.15a98cp0f, 0x1.18af94p0f, 0x1.1bbe08p0f, 0x1.1ed502p0f, 0x1.21f49ap0f, 0x1.251ce4p0f, 0x1.284dfep0f,
    0x1.2b87fep0f, 0x1.2ecafap0f, 0x1.321710p0f, 0x1.356c56p0f, 0x1.38cae6p0f, 0x1.3c32dcp0f, 0x1.3fa450p0f,
    0x1.431f5ep0f, 0x1.46a41ep0f, 0x1.4a32b0p0f, 0x1.4dcb2ap0f, 0x1.516daap0f, 0x1.551a4cp0f, 0x1.58d12ep0f,
    0x1.5c9268p0f, 0x1.605e1cp0f, 0x1.643464p0f, 0x1.68155ep0f, 0x1.6c0128p0f, 0x1.6ff7e0p0f, 0x1.73f9a4p0f,
    0x1.780694p0f, 0x1.7c1ed0p0f, 0x1.804276p0f, 0x1.8471a4p0f, 0x1.88ac7ep0f, 0x1.8cf322p0f, 0x1.9145b0p0f,
    0x1.95a44cp0f, 0x1.9a0f18p0f, 0x1.9e8632p0f, 0x1.a309bep0f, 0x1.a799e2p0f, 0x1.ac36bcp0f, 0x1.b0e072p0f,
    0x1.b59728p0f, 0x1.ba5b04p0f, 0x1.bf2c26p0f, 0x1.c40ab6p0f, 0x1.c8f6dap0f, 0x1.cdf0b6p0f, 0x1.d2f870p0f,
    0x1.d80e32p0f, 0x1.dd3220p0f, 0x1.e26462p0f, 0x1.e7a520p0f, 0x1.ecf482p0f, 0x1.f252b4p0f, 0x1.f7bfdap0f,
    0x1.fd3c22p0f};

// One side of a tile's scales but for the bytes.
struct ScaleRange {
  int16_t base = 0;
  uint8_t shift = 0;
  friend bool operator==(const ScaleRange&, const ScaleRange&) = default;
};

// The step nearest to mantissa * 2^exponent, which is above 0: its logarithm in 1/64 octave.
inline int ScaleStep(float mantissa, int exponent) {
  const int binade = std::ilogb(mantissa);
  const float m = std::ldexp(mantissa, -binade);
  int step = 0;
  for (const float threshold : kOctaveThresholds) step += m >= threshold ? 1 : 0;
  return kScaleSteps * (binade + exponent) + step;
}

// What a code stands for, exactly. Any range is taken; shifts above kMaxTileShift are read modulo 8.
inline double ScaleValue(ScaleRange range, uint8_t code) {
  if (code == 0) return 0;
  const int step = (int{range.base} + code) * (1 << (range.shift & 7));
  return std::ldexp(double{kOctave[step & (kScaleSteps - 1)]}, step >> kScaleStepBits);
}

// Codes of `tokens` (1..64) scales mantissa * 2^exponent, a mantissa of 0 being the scale 0. The shift is the least
// with which all fit; at the largest shift scales more than 127 octaves below the largest become 0.
ScaleRange StoreScales(const float* mantissa, const int* exponent, uint32_t tokens, uint8_t* codes);

}  // namespace polarkv

#endif  // POLARKV_CODEC_LOG_SCALE_H_
