// The fast encoders against the reference, byte for byte, on random and adversarial input.
#include "kernels/cpu/cpu_encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <tuple>

#include "codec/codec_id.h"
#include "codec/half_float.h"
#include "codec/key_mean.h"
#include "codec/key_mean_profile.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "codec/rotation.h"
#include "codec/trellis_code.h"
#include "tests/codec/profile_samples.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/encode_fixture.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace polarkv {
namespace {

using cpu::InstructionSet;

using testing::kDtypes;
using testing::Spec;
using testing::Tensor;

class CpuEncode : public testing::CpuEncode {};

constexpr const char* kCodecs[] = {"turbo5", "turbo4", "turbo3", "turbo2", "turbo1", "k=turbo4,v=turbo2", "k=turbo5,v=turbo3",
                                   "k=turbo1,v=turbo4", "trellis1", "trellis2", "trellis3", "k=trellis3,v=turbo5"};
constexpr const char* kCodecsOfOneKind[] = {"turbo5", "turbo4", "turbo3", "turbo2", "turbo1", "trellis3", "trellis2", "trellis1"};

TEST_P(CpuEncode, GaussianTensors) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const char* codec : kCodecs) {
    for (uint32_t head_dim : kHeadDims) {
      for (uint32_t tokens : {1u, 15u, 16u, 17u, 63u, 64u, 65u, 200u}) {
        if (IsTrellis(ParseCodecPair(codec)->k) && tokens % 16 != 1) continue;  // their search takes long
        const BlockSpec spec = Spec(codec, head_dim, tokens);
        const testing::Kv kv = testing::GaussianKv(spec, seed_);
        const Dtype dtype = kDtypes[(tokens + head_dim / 16) % 3];
        ExpectTheReferencesBytes(spec, {kv.k, dtype}, {kv.v, dtype});
      }
    }
  }
}

TEST_P(CpuEncode, ManyTokensOfEachDtype) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (Dtype dtype : kDtypes) {
    const BlockSpec spec = Spec("turbo4", 128, 2048);
    const testing::Kv kv = testing::GaussianKv(spec, seed_);
    ExpectTheReferencesBytes(spec, {kv.k, dtype}, {kv.v, dtype});
  }
}

// Coordinates of every magnitude that the dtype has, so that sums underflow, cancel and swallow each other; with zero
// tokens, constant ones, single spikes and negative zeros among them.
std::vector<float> Wild(const BlockSpec& spec, Dtype dtype, std::mt19937& random) {
  std::vector<float> x(testing::ElementCount(spec));
  const uint32_t d = spec.head_dim;
  const auto any = [&] {
    if (dtype == Dtype::kF16) {
      uint16_t half;
      do half = static_cast<uint16_t>(random());
      while ((half & 0x7C00) == 0x7C00);
      return HalfToFloat(half);
    }
    uint32_t bits;
    do bits = static_cast<uint32_t>(random());
    while ((bits & 0x7F800000u) == 0x7F800000u);
    return std::bit_cast<float>(bits);
  };
  for (size_t t = 0; t < x.size() / d; ++t) {
    float* row = &x[t * d];
    const uint32_t kind = random() % 8;
    const float value = any();
    for (uint32_t j = 0; j < d; ++j) {
      const bool flip = (random() & 1) != 0;
      if (kind == 0) row[j] = 0;
      if (kind == 1) row[j] = flip ? -0.0f : 0.0f;
      if (kind == 2) row[j] = flip ? -value : value;
      if (kind == 3) row[j] = value;
      if (kind == 4) row[j] = j == t % d ? value : (flip ? -0.0f : 0.0f);
      if (kind == 5) row[j] = j % 16 == t % 16 ? value : any() * 0x1p-100f;
      if (kind == 6) row[j] = std::ldexp(flip ? -1.0f : 1.0f, -static_cast<int>(random() % 40));
      if (kind == 7) row[j] = any();
    }
  }
  return x;
}

TEST_P(CpuEncode, WildTensors) {
  SCOPED_TRACE(testing::SeedText(seed_));
  std::mt19937 random(seed_);
  for (const char* codec : kCodecsOfOneKind) {
    for (uint32_t head_dim : kHeadDims) {
      for (Dtype dtype : kDtypes) {
        const BlockSpec spec = Spec(codec, head_dim, 130);
        ExpectTheReferencesBytes(spec, {Wild(spec, dtype, random), dtype}, {Wild(spec, dtype, random), dtype});
      }
    }
  }
}

// Numbers at both sides of the bounds between which a body may leave out the scaling by a power of two.
TEST_P(CpuEncode, MagnitudesOfEveryBinade) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (Dtype dtype : {Dtype::kBF16, Dtype::kF32}) {
    for (int exponent = -149; exponent < 120; exponent += 3) {
      const BlockSpec spec = Spec("turbo4", 64, 20);
      testing::Kv kv = testing::GaussianKv(spec, seed_);
      for (float& x : kv.k) x = std::ldexp(x, exponent);
      for (size_t i = 0; i < kv.v.size(); ++i) kv.v[i] = std::ldexp(kv.v[i], i % 64 == 5 ? exponent : 0);
      ExpectTheReferencesBytes(spec, {kv.k, dtype}, {kv.v, dtype});
    }
  }
}

// Keys with a bias that RoPE turned, from none to one that outweighs the rest: key means are taken off where the reference
// takes them off.
TEST_P(CpuEncode, BiasedKeys) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint16_t dims : {uint16_t{128}, uint16_t{64}, uint16_t{48}}) {
      for (const float bias : {0.0f, 0.25f, 0.32f, 0.4f, 3.0f}) {
        BlockSpec spec = Spec("turbo4", 128, 300);
        spec.first_position = 1000;
        if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, dims};
        testing::Kv kv = testing::GaussianKv(spec, seed_);
        const std::vector<float> mean(128, bias);
        for (size_t t = 0; t < kv.k.size() / 128; ++t) {
          float turned[kMaxHeadDim];
          TurnToPosition(spec.rope, RopePhases(spec.rope), 1000 + t % spec.tokens, mean.data(), 128, turned);
          for (uint32_t j = 0; j < 128; ++j) kv.k[128 * t + j] += turned[j];
        }
        ExpectTheReferencesBytes(spec, {kv.k, Dtype::kBF16}, {kv.v, Dtype::kBF16});
        options_.key_mean = KeyMeanPolicy::kNever;
        ExpectTheReferencesBytes(spec, {kv.k, Dtype::kF16}, {kv.v, Dtype::kF16});
        options_.key_mean = KeyMeanPolicy::kAuto;
      }
    }
  }
}

// Blocks that are long enough for a sample to decide, with layers of both kinds, of any magnitude; and means by order.
TEST_P(CpuEncode, BiasedLayersAmongOthers) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint32_t biased_layers : {0b0110u, 0b1001u}) {
      for (const int exponent : {0, -110, 120}) {
        BlockSpec spec = Spec(exponent == 0 ? "turbo4" : "k=trellis3,v=turbo2", 64, exponent == 0 ? 530 : 70);
        spec.layers = 4;
        spec.kv_heads = exponent == 0 ? 1 : 2;
        spec.first_position = exponent == 0 ? 2 : 5000;
        if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, 64};
        testing::Kv kv = testing::GaussianKv(spec, seed_);
        const size_t layer = kv.k.size() / 4;
        const std::vector<float> mean(64, 2.0f);
        for (size_t t = 0; t < kv.k.size() / 64; ++t) {
          float turned[kMaxHeadDim] = {};
          const uint64_t position = spec.first_position + t % spec.tokens;
          if ((biased_layers >> (64 * t / layer) & 1) != 0)
            TurnToPosition(spec.rope, RopePhases(spec.rope), position, mean.data(), 64, turned);
          for (uint32_t j = 0; j < 64; ++j) kv.k[64 * t + j] = std::ldexp(kv.k[64 * t + j] + turned[j], exponent);
        }
        for (const Dtype dtype : {Dtype::kF32, Dtype::kBF16}) {
          ExpectTheReferencesBytes(spec, {kv.k, dtype}, {kv.v, dtype});
        }
        options_.key_mean = KeyMeanPolicy::kAlways;
        ExpectTheReferencesBytes(spec, {kv.k, Dtype::kF32}, {kv.v, Dtype::kF16});
        options_.key_mean = KeyMeanPolicy::kAuto;
      }
    }
  }
}

// Every head dim, with RoPE on as many coordinates as fill registers, as do not, and as are no multiple of any vector.
TEST_P(CpuEncode, BiasedKeysOfEveryHeadDim) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const uint16_t head_dim : {uint16_t{64}, uint16_t{80}, uint16_t{96}, uint16_t{192}, uint16_t{256}}) {
    for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
      for (const uint16_t dims : {head_dim, uint16_t{32}, uint16_t{20}}) {
        BlockSpec spec = Spec(head_dim % 64 == 0 ? "k=turbo3,v=turbo5" : "k=turbo5,v=turbo1", head_dim, 150);
        spec.first_position = 3;
        spec.rope = {pairing, 10000.0f, dims};
        testing::Kv kv = testing::GaussianKv(spec, seed_);
        const std::vector<float> mean = testing::Gaussian(head_dim, seed_ + 9, 2);
        for (size_t t = 0; t < kv.k.size() / head_dim; ++t) {
          float turned[kMaxHeadDim];
          TurnToPosition(spec.rope, RopePhases(spec.rope), 3 + t % spec.tokens, mean.data(), head_dim, turned);
          for (uint32_t j = 0; j < head_dim && t % 7 != 0; ++j) kv.k[head_dim * t + j] += turned[j];
        }
        for (const Dtype dtype : kDtypes) ExpectTheReferencesBytes(spec, {kv.k, dtype}, {kv.v, dtype});
      }
    }
  }
}

// Means that a profile has: of some heads and layers, ordinary ones and some that are tiny; of keys that have them or not.
TEST_P(CpuEncode, KeysWithTheMeansOfAProfile) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const uint32_t head_dim : kHeadDims) {
    for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
      BlockSpec spec = Spec(head_dim == 64 ? "trellis2" : "turbo4", head_dim, 150);
      spec.layers = 3;
      spec.first_position = 2;
      if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, static_cast<uint16_t>(head_dim)};
      spec.phases = RopePhases(spec.rope);
      const uint32_t bytes = VectorRecordBytes(head_dim);
      std::vector<uint8_t> records(size_t{bytes} * 6);
      testing::Kv kv = testing::GaussianKv(spec, seed_);
      for (uint32_t head = 0; head < 6; ++head) {  // of all layers
        if (head == 1 || head / 2 == 1) continue;  // one of the first layer's, both of the second's
        std::vector<float> mean = testing::Gaussian(head_dim, seed_ + head, 2);
        for (float& x : mean) x *= head == 4 ? 0x1p-50f : 1;
        WriteRecord(mean.data(), head_dim, records.data() + head * bytes);
        for (uint32_t t = 0; t < spec.tokens; ++t) {
          float turned[kMaxHeadDim];
          TurnToPosition(spec.rope, spec.phases, 2 + t, mean.data(), head_dim, turned);
          float* key = &kv.k[(head * spec.tokens + t) * head_dim];
          for (uint32_t j = 0; j < head_dim && t % 5 != 0; ++j) key[j] += turned[j];
        }
      }
      const KeyMeanProfilePtr profile = KeyMeanProfile::Make(testing::ProfileShapeFor(spec, spec.kv_heads), records).value();
      options_.profile = profile.get();
      for (const Dtype dtype : kDtypes) ExpectTheReferencesBytes(spec, {kv.k, dtype}, {kv.v, dtype});
      spec.layer_parts.assign(3, {spec.codec});
      for (const auto& [layer, codec] : {std::pair{0, "k=turbo2q,v=turbo2"}, std::pair{2, "k=turbo5,v=turbo1"}}) {
        spec.layer_parts[layer].codec = ParseCodecPair(codec).value();
        ExpectTheReferencesBytes(spec, {kv.k, Dtype::kF32}, {kv.v, Dtype::kF16});
      }
      options_.profile = nullptr;
    }
  }
}

TEST_P(CpuEncode, WildTensorsWithMeansByOrder) {
  SCOPED_TRACE(testing::SeedText(seed_));
  std::mt19937 random(seed_);
  options_.key_mean = KeyMeanPolicy::kAlways;
  for (const char* codec : {"turbo4", "turbo5", "trellis2"}) {
    for (Dtype dtype : kDtypes) {
      for (const uint16_t head_dim : {uint16_t{128}, uint16_t{96}}) {
        BlockSpec spec = Spec(codec, head_dim, 130);
        spec.rope = {RopePairing::kHalf, 10000.0f, head_dim};
        ExpectTheReferencesBytes(spec, {Wild(spec, dtype, random), dtype}, {Wild(spec, dtype, random), dtype});
      }
    }
  }
}

// Tokens that codes serve badly, more or less so, here and there; and scales that do not fit the steps of one octave in 32.
TEST_P(CpuEncode, MisfitTokens) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const auto signs = RotationSigns(BlockSpec::kDefaultRotationSeed);
  for (const char* codec : kCodecsOfOneKind) {
    for (const bool escapes : {true, false}) {
      for (const uint64_t first_position : {uint64_t{0}, uint64_t{2}, uint64_t{64}}) {
        BlockSpec spec = Spec(codec, 128, 200);
        spec.first_position = first_position;
        options_.escapes = escapes;
        testing::Kv kv = testing::GaussianKv(spec, seed_);
        for (auto* side : {&kv.k, &kv.v}) {
          for (size_t t = 0; t < side->size() / 128; t += 37) {
            // Few coordinates are large once the token is rotated.
            float* row = side->data() + 128 * t;
            std::vector<float> rotated(row, row + 128);
            rotated[t % 128] = 0.5f * static_cast<float>(t % 60);
            HadamardBlocks(rotated.data(), 128, 128, 1);
            for (uint32_t j = 0; j < 128; ++j) row[j] = signs[j] * rotated[j] * 0.09f;
            if (t % 5 == 0) row[t % 128] = 300;
          }
        }
        ExpectTheReferencesBytes(spec, {kv.k, Dtype::kF16}, {kv.v, Dtype::kBF16});
      }
    }
  }
}

#if defined(__x86_64__)
TEST_P(CpuEncode, TheCallersFloatingPointEnvironmentDoesNotMatter) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const BlockSpec spec = Spec("turbo4", 128, 70);
  testing::Kv kv = testing::GaussianKv(spec, seed_);
  for (size_t i = 0; i < kv.k.size(); i += 3) kv.k[i] *= 0x1p-140f;
  const Tensor k(kv.k, Dtype::kF32), v(kv.v, Dtype::kBF16);
  const std::vector<uint8_t> expected = reference::EncodeBlock(spec, k.View(spec), v.View(spec)).value();
  std::vector<uint8_t> bytes;
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(0x1F80 | 0x8040 | 0x2000);  // flush subnormals to zero, take them for zero, round down
  const absl::Status status = cpu::EncodeBlock(spec, k.View(spec), v.View(spec), options_, GetParam(), bytes);
  _mm_setcsr(saved);
  ASSERT_EQ(status, absl::OkStatus());
  EXPECT_EQ(bytes, expected);
}
#endif

TEST_P(CpuEncode, StridedTensors) {
  SCOPED_TRACE(testing::SeedText(seed_));
  BlockSpec spec = Spec("turbo4", 128, 70);
  const std::vector<float> x = testing::Gaussian(2 * testing::ElementCount(spec), seed_);
  // [layers, tokens, kv_heads, head_dim], as an engine holds it; and with coordinates that are not next to each other.
  TensorView tokens_first{x.data(), Dtype::kF32, {2, 2, 70, 128}, {70 * 2 * 128, 128, 2 * 128, 1}};
  TensorView every_other{x.data(), Dtype::kF32, {2, 2, 70, 128}, {2 * 70 * 2 * 128, 2 * 128, 2 * 2 * 128, 2}};
  for (const TensorView& view : {tokens_first, every_other}) {
    std::vector<uint8_t> bytes;
    ASSERT_EQ(cpu::EncodeBlock(spec, view, view, options_, GetParam(), bytes), absl::OkStatus());
    EXPECT_EQ(bytes, reference::EncodeBlock(spec, view, view).value());
  }
}

TEST_P(CpuEncode, RefusesWhatTheReferenceRefuses) {
  for (Dtype dtype : kDtypes) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      const BlockSpec spec = Spec("turbo4", 128, 70);
      testing::Kv kv = testing::GaussianKv(spec, 3);
      (dtype == Dtype::kF16 ? kv.k : kv.v)[128 * 69 + 77] = bad;
      const Tensor k(kv.k, dtype), v(kv.v, dtype);
      std::vector<uint8_t> bytes;
      EXPECT_EQ(cpu::EncodeBlock(spec, k.View(spec), v.View(spec), options_, GetParam(), bytes),
                reference::EncodeBlock(spec, k.View(spec), v.View(spec)).status());
    }
  }
  const BlockSpec spec = Spec("turbo4", 128, 70);
  const Tensor x(testing::GaussianKv(spec, 3).k, Dtype::kF32);
  TensorView wrong = x.View(spec);
  wrong.shape[2] = 69;
  std::vector<uint8_t> bytes;
  EXPECT_EQ(cpu::EncodeBlock(spec, wrong, x.View(spec), options_, GetParam(), bytes).code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Sets, CpuEncode, ::testing::ValuesIn(cpu::kInstructionSets), testing::InstructionSetParamName);

}  // namespace
}  // namespace polarkv
