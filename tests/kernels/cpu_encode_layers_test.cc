// Blocks whose layers have codecs of their own: some of them with fast encoders, some without.
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <random>
#include <vector>

#include "codec/key_mean.h"
#include "codec/rope_phase.h"
#include "tests/kernels/encode_fixture.h"

namespace polarkv {
namespace {

using testing::kDtypes;
using testing::Spec;
using testing::Tensor;

class CpuEncodeLayers : public testing::CpuEncode {};

// Layers with codecs of their own, with fast bodies and without, with key means and escapes that move what follows them.
TEST_P(CpuEncodeLayers, TilesAndRecordsOfEveryKindAreWhereTheyBelong) {
  SCOPED_TRACE(testing::SeedText(seed_));
  std::mt19937 random(seed_);
  constexpr const char* kOfLayers[] = {"turbo4", "trellis2", "k=turbo5,v=turbo1", "fp16",     "polar44",
                                       "k=band3,v=turbo2", "k=turbo3q,v=turbo3", "k=qjl2,v=turbo4", "k=turbo1,v=polarR"};
  for (uint32_t round = 0; round < 40; ++round) {
    BlockSpec spec = Spec(kOfLayers[random() % std::size(kOfLayers)], kHeadDims[round % 6], 70 + round % 2 * 60);
    spec.layers = static_cast<uint16_t>(2 + random() % 5);
    spec.first_position = round % 3;
    const uint16_t turned = spec.head_dim;
    if (round % 4 != 0) spec.rope = {round % 4 == 1 ? RopePairing::kInterleaved : RopePairing::kHalf, 10000.0f, turned};
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      spec.layer_parts.push_back({ParseCodecPair(kOfLayers[random() % std::size(kOfLayers)]).value()});
    }
    options_.key_mean = round % 5 == 0 ? KeyMeanPolicy::kAlways : KeyMeanPolicy::kAuto;
    testing::Kv kv = testing::GaussianKv(spec, seed_ + round);
    const size_t layer_size = kv.k.size() / spec.layers;
    std::vector<float> mean(spec.head_dim, 2.0f);
    for (size_t t = 0; t < kv.k.size() / spec.head_dim; ++t) {
      float* row = &kv.k[t * spec.head_dim];
      if ((t * spec.head_dim / layer_size + round) % 3 == 0) {  // a biased layer
        float at_position[kMaxHeadDim];
        TurnToPosition(spec.rope, RopePhases(spec.rope), spec.first_position + t % spec.tokens, mean.data(), spec.head_dim,
                       at_position);
        for (uint32_t j = 0; j < spec.head_dim; ++j) row[j] += at_position[j];
      }
      if (t % 61 == round) row[t % spec.head_dim] = 3e4f;  // outliers, which escape
    }
    ExpectTheReferencesBytes(spec, {kv.k, kDtypes[round % 3]}, {kv.v, kDtypes[round % 2]});
    options_.key_mean = KeyMeanPolicy::kAuto;
  }
}

TEST_P(CpuEncodeLayers, AllMayHaveAnotherCodecThanTheBlock) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const char* codec : {"turbo4", "fp16"}) {
    BlockSpec spec = Spec(codec, 128, 70);
    spec.layer_parts.assign(spec.layers, {ParseCodecPair("k=trellis3,v=turbo2").value()});
    const testing::Kv kv = testing::GaussianKv(spec, seed_);
    ExpectTheReferencesBytes(spec, {kv.k, Dtype::kF32}, {kv.v, Dtype::kF16});
  }
}

// The first defect is named, wherever its layer is encoded.
TEST_P(CpuEncodeLayers, RefuseWhatTheReferenceRefuses) {
  BlockSpec spec = Spec("turbo4", 128, 70);
  spec.layers = 4;
  spec.layer_parts.assign(4, {spec.codec});
  spec.layer_parts[1].codec = ParseCodecPair("fp16").value();
  spec.layer_parts[2].codec = ParseCodecPair("turbo2").value();
  const testing::Kv good = testing::GaussianKv(spec, 3);
  for (const uint32_t bad_layers : {0b0011u, 0b0110u, 0b1100u, 0b0010u}) {
    testing::Kv kv = good;
    for (uint32_t layer = 0; layer < 4; ++layer) {
      if ((bad_layers >> layer & 1) != 0) (layer % 2 == 0 ? kv.k : kv.v)[(layer * 2 + 1) * 70 * 128 + 5 * layer] = NAN;
    }
    const Tensor k(kv.k, Dtype::kF32), v(kv.v, Dtype::kF32);
    std::vector<uint8_t> bytes;
    const absl::Status refused = cpu::EncodeBlock(spec, k.View(spec), v.View(spec), options_, GetParam(), bytes);
    EXPECT_EQ(refused, reference::EncodeBlock(spec, k.View(spec), v.View(spec)).status());
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  }
  spec.layer_parts.pop_back();
  const Tensor x(good.k, Dtype::kF32);
  std::vector<uint8_t> bytes;
  EXPECT_EQ(cpu::EncodeBlock(spec, x.View(spec), x.View(spec), options_, GetParam(), bytes),
            reference::EncodeBlock(spec, x.View(spec), x.View(spec)).status());
}

INSTANTIATE_TEST_SUITE_P(Sets, CpuEncodeLayers, ::testing::ValuesIn(cpu::kInstructionSets),
                         testing::InstructionSetParamName);

}  // namespace
}  // namespace polarkv
