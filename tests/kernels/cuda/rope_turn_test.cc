// Directions and turned pairs on emulated lanes against codec/rope_phase.h, bit by bit.
#include "kernels/cuda/rope_turn.h"

#include <random>

#include "codec/rope_phase.h"
#include "tests/kernels/cuda/host_warp.h"

namespace polarkv::cuda {
namespace {

uint32_t BitsOf(float x) { return std::bit_cast<uint32_t>(x); }

void ExpectSameTurn(const std::array<uint64_t, 32>& phase, const std::array<uint64_t, 32>& position,
                    const std::array<float, 32>& a, const std::array<float, 32>& b) {
  HostWarp::U32 words[4];
  HostWarp::F32 turned_a, turned_b;
  for (size_t lane = 0; lane < 32; ++lane) {
    words[0][lane] = static_cast<uint32_t>(phase[lane]);
    words[1][lane] = static_cast<uint32_t>(phase[lane] >> 32);
    words[2][lane] = static_cast<uint32_t>(position[lane]);
    words[3][lane] = static_cast<uint32_t>(position[lane] >> 32);
    turned_a[lane] = a[lane];
    turned_b[lane] = b[lane];
  }
  const Turn<HostWarp> turn = TurnOf<HostWarp>(UpperTurns<HostWarp>(words[0], words[1], words[2], words[3]));
  TurnPair<HostWarp>(turn, turned_a, turned_b);
  for (size_t lane = 0; lane < 32; ++lane) {
    const Direction expected = DirectionOfTurns(phase[lane] * position[lane]);
    ASSERT_EQ(BitsOf(turn.cosine[lane]), BitsOf(expected.cosine)) << phase[lane] << " * " << position[lane];
    ASSERT_EQ(BitsOf(turn.sine[lane]), BitsOf(expected.sine)) << phase[lane] << " * " << position[lane];
    const float from[2] = {a[lane], b[lane]};
    float to[2];
    TurnToPosition({RopePairing::kInterleaved, 1, 2}, {phase[lane]}, position[lane], from, 2, to);
    ASSERT_EQ(BitsOf(turned_a[lane]), BitsOf(to[0]));
    ASSERT_EQ(BitsOf(turned_b[lane]), BitsOf(to[1]));
  }
}

TEST(CudaRopeTurnTest, RandomPhasesAndPositions) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<float> exponent(-140, 128);
  for (int round = 0; round < 3000; ++round) {
    std::array<uint64_t, 32> phase, position;
    std::array<float, 32> a, b;
    for (size_t lane = 0; lane < 32; ++lane) {
      phase[lane] = random() >> random() % 64;
      position[lane] = random() >> random() % 64;
      a[lane] = std::ldexp(1.0f - 0x1p-20f, static_cast<int>(exponent(random)));
      b[lane] = -std::ldexp(1.0f - 0x1p-24f, static_cast<int>(exponent(random)));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSameTurn(phase, position, a, b));
  }
}

TEST(CudaRopeTurnTest, BordersOfQuartersAndTheLargestFloats) {
  constexpr float kLargest = 0x1.FFFFFEp127f;
  for (uint64_t eighth = 0; eighth < 8; ++eighth) {
    std::array<uint64_t, 32> phase, position;
    std::array<float, 32> a, b;
    for (size_t lane = 0; lane < 32; ++lane) {
      phase[lane] = (eighth << 61) + ((lane % 8) << 31) - (uint64_t{3} << 31) + lane / 8 - 2;
      position[lane] = 1;
      a[lane] = lane % 2 == 0 ? kLargest : -kLargest;
      b[lane] = lane % 4 < 2 ? kLargest : -0.0f;
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSameTurn(phase, position, a, b));
  }
}

}  // namespace
}  // namespace polarkv::cuda
