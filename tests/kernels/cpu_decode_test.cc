// The fast decoders against the reference, bit for bit.
#include "kernels/cpu/cpu_decode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "codec/codec_id.h"
#include "codec/half_float.h"
#include "codec/rotation.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/instruction_sets.h"

namespace polarkv {
namespace {

using cpu::InstructionSet;

// The numbers of one dtype in memory of their own.
struct Decoded {
  std::vector<uint8_t> k, v;
};

uint32_t BytesOf(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 2; }

Decoded Decode(const BlockView& block, Dtype dtype, bool rotated, InstructionSet set) {
  const size_t bytes = testing::ElementCount(block.spec()) * BytesOf(dtype);
  Decoded out{std::vector<uint8_t>(bytes, 0xA5), std::vector<uint8_t>(bytes, 0xA5)};
  EXPECT_EQ(cpu::DecodeBlock(block, dtype, rotated, out.k, out.v, set), absl::OkStatus());
  return out;
}

std::vector<float> Floats(const std::vector<uint8_t>& bytes) {
  std::vector<float> x(bytes.size() / 4);
  std::memcpy(x.data(), bytes.data(), bytes.size());
  return x;
}

// Bits and all: zeros have signs.
std::vector<uint8_t> Bytes(const std::vector<float>& x) {
  std::vector<uint8_t> bytes(4 * x.size());
  std::memcpy(bytes.data(), x.data(), bytes.size());
  return bytes;
}

// Rounded to the dtype and back, beyond its largest finite number to that.
float Rounded(float x, Dtype dtype) {
  if (dtype == Dtype::kF16) return HalfToFloat(FloatToHalf(std::clamp(x, -kMaxHalf, kMaxHalf)));
  const double step = std::ldexp(1.0, std::max(x == 0 ? -126 : std::ilogb(x), -126) - 7);
  return static_cast<float>(std::clamp(std::nearbyint(x / step) * step, -0x1.fep127, 0x1.fep127));
}

BlockSpec Spec(const char* codec, uint32_t head_dim, uint32_t tokens) {
  BlockSpec spec = testing::OneHead(ParseCodecPair(codec).value(), head_dim, tokens);
  spec.layers = 2;
  spec.kv_heads = 2;
  return spec;
}

class CpuDecode : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { POLARKV_SKIP_WITHOUT(GetParam()); }

  void ExpectTheReferencesNumbers(const BlockView& block) {
    const testing::Kv exact = testing::Decode(block);
    const Decoded f32 = Decode(block, Dtype::kF32, false, GetParam());
    ASSERT_EQ(f32.k, Bytes(exact.k)) << CodecPairName(block.spec().codec) << ", head_dim " << block.spec().head_dim;
    ASSERT_EQ(f32.v, Bytes(exact.v)) << CodecPairName(block.spec().codec) << ", head_dim " << block.spec().head_dim;
    for (Dtype dtype : {Dtype::kF16, Dtype::kBF16}) {
      const Decoded narrow = Decode(block, dtype, false, GetParam());
      for (size_t i = 0; i < exact.k.size(); ++i) {
        uint16_t bits;
        std::memcpy(&bits, &narrow.k[2 * i], 2);
        const float value = dtype == Dtype::kF16 ? HalfToFloat(bits) : BFloat16ToFloat(bits);
        ASSERT_EQ(value, Rounded(exact.k[i], dtype)) << "from " << exact.k[i];
      }
    }
    for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const Decoded ours = Decode(block, dtype, true, GetParam());
      const Decoded scalar = Decode(block, dtype, true, InstructionSet::kScalar);
      ASSERT_EQ(ours.k, scalar.k);
      ASSERT_EQ(ours.v, scalar.v);
    }
  }

  const uint32_t seed_ = std::random_device{}();
};

TEST_P(CpuDecode, AllShapes) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const char* codec : {"turbo4", "turbo3", "turbo2", "k=turbo4,v=turbo2", "k=turbo2,v=turbo3", "k=fp16,v=turbo4",
                            "k=turbo5,v=turbo1", "k=turbo1,v=turbo5", "k=trellis3,v=trellis2", "k=trellis2,v=trellis1",
                            "k=trellis1,v=trellis3"}) {
    for (uint32_t head_dim : kHeadDims) {
      for (uint32_t tokens : {1u, 63u, 64u, 130u}) {
        const BlockSpec spec = Spec(codec, head_dim, tokens);
        const std::vector<uint8_t> bytes = testing::Encode(spec, testing::GaussianKv(spec, seed_));
        ExpectTheReferencesNumbers(testing::Parse(bytes));
      }
    }
  }
}

TEST_P(CpuDecode, EveryMagnitude) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const int exponent : {-149, -140, -126, -60, -24, -14, 0, 15, 16, 60, 126}) {
    const BlockSpec spec = Spec("turbo4", 128, 70);
    testing::Kv kv = testing::GaussianKv(spec, seed_);
    for (auto* side : {&kv.k, &kv.v}) {
      for (float& x : *side) x = std::ldexp(std::clamp(x, -1.9f, 1.9f), exponent);
    }
    const std::vector<uint8_t> bytes = testing::Encode(spec, kv);
    ExpectTheReferencesNumbers(testing::Parse(bytes));
  }
}

// Keys that lack their head's mean, and tokens stored raw.
TEST_P(CpuDecode, KeyMeansAndEscapes) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint16_t dims : {uint16_t{128}, uint16_t{64}, uint16_t{48}}) {
      for (const float unit : {1.0f, 0x1p-100f, 0x1p124f}) {
        BlockSpec spec = Spec("k=trellis3,v=turbo4", 128, 100);
        if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, dims};
        testing::Kv kv = testing::GaussianKv(spec, seed_);
        for (float& x : kv.k) x = (std::clamp(x, -1.9f, 1.9f) + 4) * unit;
        const std::vector<uint8_t> bytes =
            testing::Encode(spec, kv, EncodeOptions{KeyMeanPolicy::kAlways});
        ASSERT_TRUE(testing::Parse(bytes).layout().layer(1).key_mean);
        ExpectTheReferencesNumbers(testing::Parse(bytes));
      }
    }
  }
}

TEST_P(CpuDecode, PartsOfABlock) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const BlockSpec spec = Spec("turbo4", 128, 100);
  const std::vector<uint8_t> whole = testing::Encode(spec, testing::GaussianKv(spec, seed_));
  const BlockLayout layout = testing::Parse(whole).layout();
  for (const PlaneMask planes : {0x01u, 0x03u, 0x05u, 0x07u, 0x0Fu, 0x17u, 0x0Bu}) {
    const BlockSelection selection{1, 2, planes};
    std::vector<uint8_t> part;
    const std::vector<ByteRange> ranges = SelectionRanges(layout, selection).value();
    for (const ByteRange& range : ranges) {
      part.insert(part.end(), whole.begin() + range.offset, whole.begin() + range.offset + range.length);
    }
    const BlockView view = BlockView::ParseSelection(part, selection, VerifyPayload::kYes).value();
    const size_t count = testing::ElementCount(spec) / 2;
    testing::Kv exact{std::vector<float>(count), std::vector<float>(count)};
    ASSERT_EQ(reference::DecodeBlock(view, exact.k, exact.v), absl::OkStatus());
    std::vector<uint8_t> k(4 * count), v(4 * count);
    ASSERT_EQ(cpu::DecodeBlock(view, Dtype::kF32, false, k, v, GetParam()), absl::OkStatus());
    EXPECT_EQ(Floats(k), exact.k) << planes;
    EXPECT_EQ(Floats(v), exact.v) << planes;
  }
}

TEST_P(CpuDecode, RotatedRowsAreTheRotatedTokens) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (uint32_t head_dim : kHeadDims) {
    const BlockSpec spec = Spec("turbo4", head_dim, 70);
    const std::vector<uint8_t> bytes = testing::Encode(spec, testing::GaussianKv(spec, seed_));
    const BlockView block = testing::Parse(bytes);
    testing::Kv exact = testing::Decode(block);
    const Decoded rotated = Decode(block, Dtype::kF32, true, GetParam());
    const auto signs = RotationSigns(spec.rotation_seed);
    for (const auto& [tokens, ours] : {std::pair{&exact.k, Floats(rotated.k)}, std::pair{&exact.v, Floats(rotated.v)}}) {
      for (size_t t = 0; t < tokens->size(); t += head_dim) {
        float* row = tokens->data() + t;
        for (uint32_t j = 0; j < head_dim; ++j) row[j] *= signs[j];
        HadamardBlocks(row, head_dim, RotationBlock(head_dim), 1);
        for (uint32_t j = 0; j < head_dim; ++j) ASSERT_NEAR(row[j] * RotationScale(head_dim), ours[t + j], 1e-5);
      }
    }
  }
}

TEST_P(CpuDecode, RefusesWrongSizes) {
  const BlockSpec spec = Spec("turbo4", 64, 10);
  const std::vector<uint8_t> bytes = testing::Encode(spec, testing::GaussianKv(spec, 1));
  const BlockView block = testing::Parse(bytes);
  std::vector<uint8_t> right(testing::ElementCount(spec) * 2), wrong(right.size() + 2);
  EXPECT_EQ(cpu::DecodeBlock(block, Dtype::kF16, false, right, wrong, GetParam()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cpu::DecodeBlock(block, Dtype::kF32, false, right, right, GetParam()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cpu::DecodeBlock(block, static_cast<Dtype>(9), false, right, right, GetParam()).code(),
            absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Sets, CpuDecode, ::testing::ValuesIn(cpu::kInstructionSets), testing::InstructionSetParamName);

}  // namespace
}  // namespace polarkv
