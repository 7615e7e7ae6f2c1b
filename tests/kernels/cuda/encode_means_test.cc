// Key means in whole launches of the encoders on emulated lanes: blocks' bytes are the reference's.
#include "kernels/cuda/mean_args.h"
#include "tests/kernels/cuda/biased_keys.h"
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

using Layers = std::vector<bool>;

Layers Check(const EncodeCase& c, uint32_t seed) { return ExpectReferenceBytes<HostBackend>(c, seed); }

constexpr Rope kHalf{RopePairing::kHalf, 10000, 128}, kInterleaved{RopePairing::kInterleaved, 500000, 128};

EncodeCase Auto(const TensorShape& shape, const Rope& rope) {
  return {.shape = shape, .rope = rope, .key_mean = KeyMeanPolicy::kAuto};
}

TEST(CudaEncodeMeansTest, BiasesOnFewAndOnAllPairs) {
  for (const Rope& rope : {kHalf, kInterleaved}) {
    for (const BiasShape shape : {BiasShape::kAllPairs, BiasShape::kFewPairs}) {
      for (const float size : {0.0f, 20.0f, 120.0f, 600.0f}) {
        SCOPED_TRACE(size);
        const EncodeCase c = WithBias(Auto({.tokens = 128}, rope), {{size}, shape});
        EXPECT_EQ(Check(c, 3), Layers{size != 0});
      }
    }
  }
}

TEST(CudaEncodeMeansTest, PairingsThatMeetAnyLane) {
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint16_t dims : {2, 32, 64, 90, 96}) {
      SCOPED_TRACE(dims);
      EXPECT_EQ(Check(WithBias(Auto({.tokens = 70}, {pairing, 10000, dims}), {{20}}), dims), Layers{true});
    }
  }
  EXPECT_EQ(Check(WithBias(Auto({.tokens = 70}, {}), {{20}}), 1), Layers{true});
}

TEST(CudaEncodeMeansTest, HeadDimsCodecsAndTypes) {
  for (const uint32_t dim : {64u, 256u}) {
    const Rope rope{RopePairing::kHalf, 10000, static_cast<uint16_t>(dim)};
    EXPECT_EQ(Check(WithBias(Auto({.kv_heads = 2, .tokens = 80, .head_dim = dim}, rope), {{20}}), dim), Layers{true});
  }
  for (const CodecId codec : {CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTrellis1, CodecId::kTrellis2,
                              CodecId::kTrellis3}) {
    EncodeCase c = WithBias(Auto({.tokens = 80}, kHalf), {{20}});
    c.codec.k = codec;
    EXPECT_EQ(Check(c, 5), Layers{true});
  }
  for (const ElementType type : {ElementType::kF16, ElementType::kF32}) {
    EncodeCase c = WithBias(Auto({.tokens = 80}, kHalf), {{20}});
    c.type = type;
    EXPECT_EQ(Check(c, 6), Layers{true});
  }
}

TEST(CudaEncodeMeansTest, SomeLayersPayAndOthersDoNot) {
  const TensorShape shape{4, 3, 130, 64};
  const Rope rope{RopePairing::kHalf, 10000, 64};
  EXPECT_EQ(Check(WithBias(Auto(shape, rope), {{0, 20, 0, 3}}), 7), (Layers{false, true, false, true}));
  EncodeCase c = WithBias(Auto(shape, rope), {{0, 20, 0, 3}});
  c.first_position = 0;
  EXPECT_EQ(Check(c, 8), (Layers{false, true, false, true}));
}

TEST(CudaEncodeMeansTest, DecisionsNextToTheBar) {
  // Of 64 tokens' keys a mean has to take off about 30 %; what is random falls on both sides.
  size_t with = 0, all = 0;
  for (uint32_t seed = 0; seed < 3; ++seed) {
    for (const float size : {.55f, .6f, .65f, .7f}) {
      EncodeCase c = WithBias(Auto({6, 1, 64, 64}, {RopePairing::kHalf, 10000, 64}), {{size}, {}, seed});
      for (const bool has : Check(c, seed)) with += has ? 1 : 0;
      all += 6;
    }
  }
  EXPECT_GT(with, all / 8);
  EXPECT_LT(with, all - all / 8);
}

TEST(CudaEncodeMeansTest, LengthsAndFirstTokens) {
  for (const uint64_t position : {0u, 2u, 64u}) {
    for (const uint32_t tokens : {1u, 4u, 5u, 63u, 65u, 129u}) {
      SCOPED_TRACE(tokens);
      EncodeCase c = Auto({2, 2, tokens, 64}, {RopePairing::kInterleaved, 10000, 32});
      c.first_position = position;
      Check(WithBias(c, {{20}}), tokens);
      c.key_mean = KeyMeanPolicy::kAlways;
      EXPECT_EQ(Check(WithBias(c, {{20}}), tokens), (Layers{true, true}));
    }
  }
}

TEST(CudaEncodeMeansTest, LongBlocksAreSampledToDecide) {
  const Rope rope{RopePairing::kHalf, 10000, 64};
  for (const uint32_t tokens : {512u, 583u}) {
    for (const uint64_t position : {0u, 4096u}) {
      SCOPED_TRACE(tokens);
      EncodeCase c = Auto({2, 1, tokens, 64}, rope);
      c.first_position = position;
      EXPECT_EQ(Check(WithBias(c, {{0, 20}}), tokens), (Layers{false, true}));
    }
  }
  // A bias that the sample alone has, and one that it has not.
  for (const uint32_t rest : {0u, 1u}) {
    EncodeCase c = Auto({1, 1, 512, 64}, rope);
    c.shape_key = [=](uint32_t, uint32_t, uint32_t token, float* key) { key[63] += token % 4 == rest ? 30.0f : 0.0f; };
    c.rope = {RopePairing::kHalf, 10000, 32};
    EXPECT_EQ(Check(c, rest), Layers{rest == 0});
  }
  EncodeCase always = WithBias(Auto({1, 1, 520, 64}, rope), {{20}});
  always.key_mean = KeyMeanPolicy::kAlways;
  EXPECT_EQ(Check(always, 9), Layers{true});
}

TEST(CudaEncodeMeansTest, FarPositions) {
  for (const uint64_t position : {uint64_t{1} << 32, (uint64_t{1} << 40) + 12345, (uint64_t{1} << 53) - 1000}) {
    EncodeCase c = Auto({.tokens = 100}, kInterleaved);
    c.first_position = position;
    EXPECT_EQ(Check(WithBias(c, {{20}}), 11), Layers{true});
  }
}

TEST(CudaEncodeMeansTest, HugeTinyAndZeroNumbers) {
  for (const float magnitude : {0.0f, 1e36f, 1e13f, 1e-11f, 1e-13f, 1e-20f, 1e-37f, 1e-42f}) {
    for (const KeyMeanPolicy policy : {KeyMeanPolicy::kAuto, KeyMeanPolicy::kAlways}) {
      SCOPED_TRACE(magnitude);
      EncodeCase c = Auto({.kv_heads = 2, .tokens = 90}, kHalf);
      c.type = ElementType::kF32;
      c.key_mean = policy;
      c = WithBias(c, {{10}});
      const ShapeKey biased = c.shape_key;
      c.shape_key = [=](uint32_t layer, uint32_t head, uint32_t token, float* key) {
        biased(layer, head, token, key);
        for (uint32_t j = 0; j < 128; ++j) key[j] *= head == 0 ? magnitude : 1.0f;
      };
      Check(c, 13);
    }
  }
  // Sums that are infinite, and a mean that is too large to be turned.
  EncodeCase c = Auto({.tokens = 64}, {});
  c.type = ElementType::kF32;
  c.key_mean = KeyMeanPolicy::kAlways;
  c.k = [](uint32_t, uint32_t j, float x) { return j < 2 ? 0x1.8p127f : x; };
  Check(c, 14);
  c.k = [](uint32_t, uint32_t j, float x) { return j < 2 ? 0x1p120f : x; };
  Check(c, 14);
}

TEST(CudaEncodeMeansTest, WhatIsNotFiniteIsRefusedByName) {
  for (const float bad : {std::nanf(""), INFINITY}) {
    const FillNumber fill = [=](uint32_t token, uint32_t j, float x) { return token == 67 && j == 100 ? bad : x; };
    EncodeCase c = WithBias(Auto({2, 2, 100, 128}, kHalf), {{20}});
    c.v = fill;
    Check(c, 1);  // the value, which comes before
    c.k = [=](uint32_t token, uint32_t j, float x) { return token == 99 && j == 3 ? bad : x; };
    Check(c, 1);  // the key, which the reference meets first as it looks for means
    c.key_mean = KeyMeanPolicy::kNever;
    Check(c, 1);
  }
}

TEST(CudaEncodeMeansTest, LayoutsOfEngines) {
  for (const RowLayout layout :
       {RowLayout::kStrided, RowLayout::kNhdPages, RowLayout::kHndPages, RowLayout::kInterleavedPages}) {
    EncodeCase c = WithBias(Auto({2, 2, 150, 128}, kHalf), {{0, 20}});
    c.layout = layout;
    EXPECT_EQ(Check(c, 15), (Layers{false, true}));
  }
}

TEST(CudaEncodeMeansTest, MisfitsAndScalesFarApartWithoutTheMean) {
  const FillNumber spiky = [](uint32_t token, uint32_t j, float x) { return j == 5 && token % 7 == 0 ? 90.0f : x; };
  const FillNumber far = [](uint32_t token, uint32_t, float x) { return std::ldexp(x, token % 9 == 0 ? -90 : 3); };
  for (const bool escapes : {true, false}) {
    for (const FillNumber& fill : {spiky, far}) {
      EncodeCase c = WithBias(Auto({1, 2, 128, 128}, kHalf), {{20}});
      c.k = fill;
      c.escapes = escapes;
      c.first_position = 0;
      Check(c, 17);
    }
  }
  // Keys that are their head's mean alone: nothing is left but for rounding.
  EncodeCase c = WithBias(Auto({1, 2, 128, 128}, kHalf), {{20}});
  c.k = [](uint32_t, uint32_t, float) { return 0.0f; };
  EXPECT_EQ(Check(c, 18), Layers{true});
}

TEST(CudaEncodeMeansTest, MeansOfAProfile) {
  const auto skip = [](uint32_t layer, uint32_t head) { return layer == 1 || head == 2; };
  for (const Rope& rope : {kHalf, kInterleaved, Rope{RopePairing::kHalf, 10000, 96}, Rope{}}) {
    for (const float size : {.2f, 20.0f, 600.0f}) {
      for (const uint32_t tokens : {33u, 130u}) {
        SCOPED_TRACE(size);
        EncodeCase c = Auto({3, 2, tokens, 128}, rope);
        c.first_kv_head = 1;
        const KeyMeanProfilePtr profile = ProfileOf(c, {{size}}, skip);
        c = WithBias(c, {{size}});
        c.profile = profile.get();
        EXPECT_EQ(Check(c, tokens), (Layers{true, false, true}));
      }
    }
  }
}

TEST(CudaEncodeMeansTest, ProfilesOfOtherKeysFarPositionsAndFirstTokens) {
  EncodeCase c = Auto({2, 2, 100, 64}, {RopePairing::kInterleaved, 10000, 64});
  const KeyMeanProfilePtr profile = ProfileOf(c, {{1.5f}}, SkipNone);
  c.profile = profile.get();
  for (const uint64_t position : {uint64_t{0}, uint64_t{3}, (uint64_t{1} << 53) - 1000}) {
    c.first_position = position;
    EXPECT_EQ(Check(c, 21), (Layers{true, true}));  // keys without that bias: some are shorter without it
    c.key_mean = KeyMeanPolicy::kNever;
    EXPECT_EQ(Check(c, 21), (Layers{false, false}));
    c.key_mean = KeyMeanPolicy::kAuto;
  }
}

TEST(CudaEncodeMeansTest, ProfilesWithHugeAndTinyMeans) {
  for (const float size : {1e37f, 1e14f, 1e11f, 1e-11f, 1e-13f, 1e-30f}) {
    for (const bool escapes : {true, false}) {
      SCOPED_TRACE(size);
      EncodeCase c = Auto({1, 2, 70, 128}, kHalf);
      c.type = ElementType::kF32;
      c.escapes = escapes;
      const KeyMeanProfilePtr profile = ProfileOf(c, {{size}}, SkipNone);
      c.profile = profile.get();
      Check(c, 23);
      c.k = [=](uint32_t, uint32_t, float x) { return x * size; };
      Check(WithBias(c, {{size}}), 23);
    }
  }
}

// What the decision is made of, in the workspace that a launch leaves: of one block, whose keys are all looked at.
TEST(CudaEncodeMeansTest, SumsAndGainsHaveTheReferencesBits) {
  for (const Rope& rope : {kHalf, kInterleaved, Rope{RopePairing::kHalf, 10000, 90}, Rope{}}) {
    for (const float magnitude : {1.0f, 1e30f, 1e-20f, 1e-42f}) {
      SCOPED_TRACE(magnitude);
      EncodeCase c = WithBias(Auto({1, 2, 150, 128}, rope), {{3}});
      c.type = ElementType::kF32;
      c.first_position = 2;
      c.k = [=](uint32_t, uint32_t, float x) { return x * magnitude; };
      Tensors tensors(c.shape, c.type, c.layout, 5, c.k, c.v, magnitude == 1 ? c.shape_key : nullptr);
      const auto block = ExpectBlock(SpecOf(c), {});
      ASSERT_TRUE(block.ok());
      const BlockSpec& spec = block->spec;
      std::vector<uint8_t> bytes(block->layout.total_bytes());
      std::vector<TileReport> reports(size_t{2} * spec.tiles());
      EncodedPlace place = PlaceOf(*block, bytes.data(), reports.data());
      EncodeBatch batch = BatchOf(*block, tensors);
      batch.places = &place;
      batch.means.phases = spec.phases.data();
      const EncodeCodec codec = *EncodeCodecOf(spec);
      std::vector<double> workspace(EncodeWorkspaceBytes(codec, batch) / sizeof(double));
      batch.means.workspace = workspace.data();
      batch.means.workspace_bytes = workspace.size() * sizeof(double);
      ASSERT_EQ(EncodeLaunchOnHost(codec, batch), LaunchError::kNone);

      const MeanArgs args = MakeMeanArgs(codec, batch);
      std::vector<float> rows(kTileTokens * 128);
      for (uint32_t head = 0; head < 2; ++head) {
        KeyMeanEstimator estimator(spec.rope, spec.phases, 128);
        for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
          const uint32_t first = tile * kTileTokens, tokens = std::min(kTileTokens, spec.tokens - first);
          ASSERT_TRUE(ReadFiniteRows(tensors.View(0), "k", 0, head, first, tokens, rows.data()).ok());
          const uint64_t counted = tile == 0 ? ~uint64_t{3} : ~uint64_t{0};  // positions 2 and 3 are raw
          const KeyTileSums sums = SumKeyTile(spec.rope, spec.phases, 128, rows.data(), tokens, counted, 1);
          const uint32_t number = head * spec.tiles() + tile;
          EXPECT_EQ(std::memcmp(sums.sum.data(), args.sums + number * 128, 128 * sizeof(float)), 0);
          EXPECT_EQ(sums.energy, args.energies[number]);
          estimator.Add(sums, spec.first_position + first);
        }
        EXPECT_EQ(estimator.energy(), args.gains[head].energy);
        EXPECT_EQ(estimator.RemovedEnergy(), args.gains[head].removed);
      }
    }
  }
}

// A sequence in blocks of these lengths, encoded by one launch.
void CheckBlocks(const EncodeCase& c, const std::vector<uint32_t>& lengths) {
  Tensors tensors(c.shape, c.type, c.layout, 1, c.k, c.v, c.shape_key);
  EncodeOptions options;
  options.key_mean = c.key_mean;
  options.profile = c.profile;
  std::vector<ExpectedBlock> blocks;
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<std::vector<TileReport>> reports;
  std::vector<EncodedPlace> places;
  uint32_t first = 0, tiles = 0;
  for (const uint32_t length : lengths) {
    BlockSpec spec = SpecOf(c);
    spec.first_position += first;
    spec.tokens = length;
    const auto expected = ExpectBlock(spec, options);
    ASSERT_TRUE(expected.ok()) << expected.status();
    blocks.push_back(*expected);
    bytes.emplace_back(expected->layout.total_bytes(), 0xA5);
    reports.emplace_back(size_t{spec.layers} * spec.kv_heads * spec.tiles());
    places.push_back(PlaceOf(*expected, bytes.back().data(), reports.back().data()));
    places.back().page_table = tensors.table.data();
    places.back().row_offset = tensors.offset;
    places.back().first_token = first;
    first += length;
    tiles = std::max(tiles, spec.tiles());
  }
  EncodeBatch batch = BatchOf(blocks[0], tensors);
  batch.places = places.data();
  batch.blocks = static_cast<uint32_t>(places.size());
  batch.tiles_per_block = tiles;
  batch.means.phases = blocks[0].spec.phases.data();
  std::vector<float> given;
  if (c.profile != nullptr) given = GivenMeans(blocks[0], *c.profile);
  batch.means.given = given.data();
  const EncodeCodec codec = *EncodeCodecOf(blocks[0].spec);
  std::vector<double> workspace(EncodeWorkspaceBytes(codec, batch) / sizeof(double), std::nan(""));
  batch.means.workspace = workspace.data();
  batch.means.workspace_bytes = workspace.size() * sizeof(double);
  ASSERT_EQ(EncodeLaunchOnHost(codec, batch), LaunchError::kNone);

  for (size_t i = 0; i < blocks.size(); ++i) {
    SCOPED_TRACE(i);
    const uint32_t at = places[i].first_token;
    TensorView view[2] = {tensors.View(0), tensors.View(1)};
    for (TensorView& side : view) {
      side.data = static_cast<const uint8_t*>(side.data) + at * side.stride[2] * tensors.bytes;
      side.shape[2] = lengths[i];
    }
    const RowReader reader = [&](KvSide side, uint32_t layer, uint32_t head, uint32_t token, uint32_t count,
                                 float* rows) { return ReaderOf(tensors)(side, layer, head, at + token, count, rows); };
    const auto block = FinishBlock(blocks[i], options, bytes[i], reports[i], reader);
    const auto reference = reference::EncodeBlock(blocks[i].spec, view[0], view[1], options);
    ASSERT_TRUE(block.ok() && reference.ok()) << block.status() << reference.status();
    EXPECT_TRUE(*block == *reference);
  }
}

TEST(CudaEncodeMeansTest, SeveralBlocksLongAndShortInALaunch) {
  const std::vector<uint32_t> lengths = {64, 520, 7, 100};
  const Rope rope{RopePairing::kHalf, 10000, 64};
  EncodeCase c = Auto({3, 2, 691, 64}, rope);
  c.layout = RowLayout::kNhdPages;
  c.first_position = 1;
  c = WithBias(c, {{0, 20, .5f}});
  CheckBlocks(c, lengths);
  const KeyMeanProfilePtr profile = ProfileOf(c, {{0, 20, .5f}}, SkipNone);
  c.profile = profile.get();
  CheckBlocks(c, lengths);
}

TEST(CudaEncodeMeansTest, WhatALaunchRefuses) {
  const EncodeCodec codec{128, kTurbo4, kTurbo4, 1};
  EncodeBatch batch;
  batch.blocks = batch.tiles_per_block = batch.layers = batch.kv_heads = 1;
  EXPECT_EQ(EncodeWorkspaceBytes(codec, batch), 0u);
  batch.means.source = MeanSource::kOwn;
  EXPECT_GT(EncodeWorkspaceBytes(codec, batch), 0u);
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kWorkspaceTooSmall);
  batch.means.workspace_bytes = EncodeWorkspaceBytes(codec, batch);
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kNone);
  const uint64_t phases[64] = {};
  batch.means.phases = phases;
  batch.means.pairs = 64;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kWorkspaceTooSmall);
  batch.means.workspace_bytes = EncodeWorkspaceBytes(codec, batch);
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kNone);
  batch.means.pairs = 65;
  batch.means.workspace_bytes *= 2;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kUnsupportedShape);
  batch.means.pairs = 64;
  batch.means.source = MeanSource::kGiven;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kUnsupportedShape);
}

}  // namespace
}  // namespace polarkv::cuda
