// RoPE's rotation of a pair of coordinates, with the same bits on every machine (FORMAT.md, "RoPE phases").
#ifndef POLARKV_CODEC_ROPE_PHASE_H_
#define POLARKV_CODEC_ROPE_PHASE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "codec/block_spec.h"
#include "codec/polar_coordinates.h"

namespace polarkv {

// Turns times 2^64 per position, of each of rope.dims / 2 pairs: floor(2^64 base^(-2j / dims) / (2 pi)) mod 2^64, the same
// on every machine. Empty without RoPE.
std::vector<uint64_t> RopePhases(const Rope& rope);
// Gives the spec of a block that is to be encoded the phases of its RoPE if it has none. INVALID_ARGUMENT: it has another
// number than its RoPE has pairs.
absl::Status SettlePhases(BlockSpec& spec);

// Cosine and sine of `turns` * 2^-64 turns, each within 2e-7. Reduced to an eighth of a turn in integers, then
// polynomials in f32; nothing of a platform's library takes part.
[[gnu::always_inline]] inline Direction DirectionOfTurns(uint64_t turns) {
  const uint64_t quarter = (turns + (uint64_t{1} << 61)) >> 62;
  // Of the rest, within an eighth of a turn, the upper half: units of 2^-32 turn.
  const int32_t rest = static_cast<int32_t>(static_cast<int64_t>(turns - (quarter << 62)) >> 32);
  const float u = static_cast<float>(rest) * 0x1p-32f;
  const float v = u * u;
  float s = std::fma(-0x1.2d9b4p+6f, v, 0x1.465ec4p+6f);
  s = std::fma(s, v, -0x1.4abbbap+5f);
  s = std::fma(s, v, 0x1.921fb6p+2f);
  const float sine = u * s;
  float c = std::fma(0x1.d9c2e8p+5f, v, -0x1.55c57ap+6f);
  c = std::fma(c, v, 0x1.03c1dcp+6f);
  c = std::fma(c, v, -0x1.3bd3ccp+4f);
  const float cosine = std::fma(c, v, 1.0f);
  switch (quarter & 3) {
    case 0:
      return {cosine, sine};
    case 1:
      return {-sine, cosine};
    case 2:
      return {-cosine, -sine};
    default:
      return {sine, -cosine};
  }
}

// Turns `from`, a vector at position 0, to `position`: the leading rope.dims coordinates by pairs, the others stay.
// `phases` has rope.dims / 2 entries, none without RoPE.
// A coordinate beyond the largest float becomes it: a block may hold any finite mean, and infinities would make scores NaN.
inline void TurnToPosition(const Rope& rope, const std::vector<uint64_t>& phases, uint64_t position, const float* from,
                           uint32_t head_dim, float* to) {
  constexpr float kLimit = std::numeric_limits<float>::max();
  for (uint32_t j = 0; j < head_dim; ++j) to[j] = from[j];
  for (uint32_t p = 0; p < phases.size(); ++p) {
    const CoordinatePair pair = PairOf(rope, head_dim, p);
    const Direction turn = DirectionOfTurns(phases[p] * position);
    const float a = from[pair.first];
    const float b = from[pair.second];
    to[pair.first] = std::clamp(std::fma(turn.cosine, a, -(turn.sine * b)), -kLimit, kLimit);
    to[pair.second] = std::clamp(std::fma(turn.sine, a, turn.cosine * b), -kLimit, kLimit);
  }
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_ROPE_PHASE_H_
