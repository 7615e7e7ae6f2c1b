// The host API on an emulated device, and without one, against the reference and the CPU.
#include "kernels/device_kernels.h"

#include <algorithm>
#include <cmath>

#include "codec/key_mean_profile_builder.h"
#include "codec/rope_phase.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/launch_groups.h"
#include "kernels/cuda/resident_block.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/cuda/biased_keys.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/device_blocks.h"

namespace polarkv {
namespace {

using cuda::EmulatedBehaviour;
using cuda::EmulatedDevice;
using ::testing::HasSubstr;
using testing::DeviceSpec;
using testing::kTurbo;
using testing::WithoutMeans;

// A tensor of which every second token, from the other end of memory, is the block's.
struct StridedTensor {
  StridedTensor(const BlockSpec& spec, uint32_t seed)
      : numbers(testing::Gaussian(2 * testing::ElementCount(spec), seed)),
        view(TensorView::Contiguous(numbers.data(), Dtype::kF32,
                                    {spec.layers, spec.kv_heads, 2 * int64_t{spec.tokens}, spec.head_dim})) {
    view.data = numbers.data() + (2 * int64_t{spec.tokens} - 1) * spec.head_dim;
    view.shape[2] = spec.tokens;
    view.stride[2] = -2 * int64_t{spec.head_dim};
  }
  std::vector<float> numbers;
  TensorView view;
};

TEST(DeviceKernelsTest, EncodesTheReferencesBytes) {
  EmulatedDevice device({.seed = 2});
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  for (const uint32_t tokens : {1u, 64u, 150u}) {
    const BlockSpec spec = DeviceSpec(kTurbo, 128, tokens);
    const StridedTensor k(spec, tokens), v(spec, tokens + 1);
    std::vector<uint8_t> bytes;
    const absl::Status status = kernels.EncodeBlock(spec, k.view, v.view, WithoutMeans(), bytes);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(bytes == reference::EncodeBlock(spec, k.view, v.view, WithoutMeans()).value());
  }
  EXPECT_EQ(kernels.use().on_cuda, 3u);
  EXPECT_EQ(DeviceUseText(kernels.use()), "cuda");
}

TEST(DeviceKernelsTest, EncodesKeysWithoutTheirMeans) {
  EmulatedDevice device({.seed = 3});
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  for (const CodecId keys : {CodecId::kTurbo4, CodecId::kTrellis3}) {
    for (const Rope& rope : {Rope{}, Rope{RopePairing::kHalf, 10000, 64}}) {
      BlockSpec spec = DeviceSpec({keys, CodecId::kTurbo4}, 128, 70);
      spec.rope = rope;
      const cuda::Bias bias{{20}};
      const cuda::EncodeCase c{.shape = {2, 2, 70, 128}, .rope = rope};
      const KeyMeanProfilePtr profile = cuda::ProfileOf(c, bias, cuda::SkipNone);
      const cuda::ShapeKey add = cuda::WithBias(c, bias).shape_key;
      testing::Kv kv = testing::GaussianKv(spec, 5);
      for (uint32_t row = 0; row < 2 * 2 * 70; ++row) add(row / 140, row / 70 % 2, row % 70, kv.k.data() + row * 128);
      for (const KeyMeanProfile* given : {static_cast<const KeyMeanProfile*>(nullptr), profile.get()}) {
        EncodeOptions options;
        options.profile = given;
        std::vector<uint8_t> bytes;
        const TensorView k = testing::View(spec, kv.k), v = testing::View(spec, kv.v);
        const absl::Status status = kernels.EncodeBlock(spec, k, v, options, bytes);
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_TRUE(bytes == reference::EncodeBlock(spec, k, v, options).value());
        EXPECT_TRUE(testing::Parse(bytes).spec().layer_part(1).key_mean);
      }
    }
  }
}

TEST(DeviceKernelsTest, RefusesTensorsInTheReferencesWords) {
  EmulatedDevice device;
  DeviceKernels kernels(DeviceChoice::kAuto, &device, "");
  const BlockSpec spec = DeviceSpec(kTurbo, 128, 70);
  testing::Kv kv = testing::GaussianKv(spec, 1);
  kv.v[128 * 69 + 5] = INFINITY;
  std::vector<uint8_t> bytes;
  const auto refused = [&](const BlockSpec& of, const TensorView& k, const TensorView& v) {
    const absl::Status expected = reference::EncodeBlock(of, k, v, WithoutMeans()).status();
    EXPECT_FALSE(expected.ok());
    EXPECT_EQ(kernels.EncodeBlock(of, k, v, WithoutMeans(), bytes), expected);
  };
  refused(spec, testing::View(spec, kv.k), testing::View(spec, kv.v));
  BlockSpec wrong = spec;
  wrong.tokens = 71;
  refused(wrong, testing::View(spec, kv.k), testing::View(spec, kv.v));
  wrong = spec;
  wrong.head_dim = 72;
  refused(wrong, testing::View(spec, kv.k), testing::View(spec, kv.v));
}

TEST(DeviceKernelsTest, DecodesTheReferencesNumbers) {
  EmulatedDevice device({.seed = 3});
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  for (const CodecId codec : {CodecId::kTurbo4, CodecId::kTrellis3}) {
    const BlockSpec spec = DeviceSpec({codec, codec}, 64, 100, 3);
    const std::vector<uint8_t> bytes = testing::Encode(spec, testing::GaussianKv(spec, 7), WithoutMeans());
    const BlockView whole = testing::Parse(bytes);
    const BlockSelection selection{1, 3, PlaneBit(PlaneKind::kBase) | PlaneBit(PlaneKind::kKeyRefine1)};
    const std::vector<ByteRange> ranges = SelectionRanges(whole.layout(), selection).value();
    std::vector<uint8_t> part;
    for (const ByteRange& range : ranges) {
      part.insert(part.end(), bytes.begin() + static_cast<ptrdiff_t>(range.offset),
                  bytes.begin() + static_cast<ptrdiff_t>(range.offset + range.length));
    }
    for (const BlockView& view : {whole, BlockView::ParseSelection(part, selection, VerifyPayload::kYes).value()}) {
      const size_t count = testing::ElementCount(spec) / 3 * (view.layer_end() - view.layer_begin());
      std::vector<float> k(count), v(count), expected_k(count), expected_v(count);
      const absl::Status status = kernels.DecodeBlock(view, k, v);
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_TRUE(reference::DecodeBlock(view, expected_k, expected_v).ok());
      EXPECT_TRUE(k == expected_k && v == expected_v);
      k.pop_back();
      EXPECT_EQ(kernels.DecodeBlock(view, k, v).code(), absl::StatusCode::kInvalidArgument);
    }
  }
}

// Keys with a bias that RoPE has turned; every second layer's have none.
testing::Kv Biased(const BlockSpec& spec, uint32_t seed) {
  testing::Kv kv = testing::GaussianKv(spec, seed);
  const std::vector<uint64_t> phases = RopePhases(spec.rope);
  const std::vector<float> bias = testing::Gaussian(spec.head_dim, 99);
  const size_t rows = testing::ElementCount(spec) / spec.head_dim, of_layer = rows / spec.layers;
  for (size_t row = 0; row < rows; ++row) {
    if (row / of_layer % 2 == 1) continue;
    float turned[kMaxHeadDim];
    TurnToPosition(spec.rope, phases, spec.first_position + row % spec.tokens, bias.data(), spec.head_dim, turned);
    for (uint32_t j = 0; j < spec.head_dim; ++j) kv.k[row * spec.head_dim + j] += 5 * turned[j];
  }
  return kv;
}

BlockSpec BiasedSpec(CodecPair codec, uint32_t tokens, uint64_t first_position) {
  BlockSpec spec = DeviceSpec(codec, 64, tokens);
  spec.rope = {RopePairing::kHalf, 10000.0f, 64};
  spec.first_position = first_position;
  return spec;
}

KeyMeanProfilePtr ProfileOf(const BlockSpec& spec, const testing::Kv& kv) {
  auto builder = KeyMeanProfileBuilder::Create({spec.layers, spec.kv_heads, spec.head_dim, spec.rope, {}}).value();
  EXPECT_TRUE(builder->Add(testing::View(spec, kv.k), spec.first_position).ok());
  return builder->Build().value();
}

// Blocks with means of their own or of a profile: means are added back, and added to scores.
TEST(DeviceKernelsTest, ReadsBlocksWithKeyMeans) {
  const CodecId t4 = CodecId::kTurbo4;
  for (const bool has_profile : {false, true}) {
    EmulatedDevice device({.seed = 5});
    DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
    std::vector<std::vector<uint8_t>> blocks;
    std::vector<BlockView> views;
    EncodeOptions options;
    KeyMeanProfilePtr profile;
    for (const uint32_t tokens : {128u, 128u, 70u}) {
      const BlockSpec spec = BiasedSpec({t4, t4}, tokens, 1000 + 128 * blocks.size());
      const testing::Kv kv = Biased(spec, tokens);
      if (has_profile && profile == nullptr) profile = ProfileOf(spec, kv);
      options.profile = profile.get();
      blocks.push_back(testing::Encode(spec, kv, options));
    }
    for (const auto& block : blocks) views.push_back(BlockView::Parse(block, VerifyPayload::kYes, profile).value());
    ASSERT_TRUE(views[0].layout().layer(0).key_mean);
    ASSERT_FALSE(views[0].layout().layer(1).key_mean);

    std::vector<float> k(testing::ElementCount(views[0].spec())), v(k.size()), expected_k(k.size()), expected_v(k.size());
    ASSERT_TRUE(kernels.DecodeBlock(views[0], k, v).ok());
    ASSERT_TRUE(reference::DecodeBlock(views[0], expected_k, expected_v).ok());
    EXPECT_TRUE(k == expected_k && v == expected_v);

    for (const uint32_t layer : {0u, 1u}) {
      const std::vector<float> q = testing::Gaussian(4 * 64, layer);
      std::vector<float> o(q.size()), lse(4), expected_o(q.size()), expected_lse(4);
      const DeviceKernels::NextLayer next{views, 1 - layer};
      const absl::Status attended = kernels.Attend(views, layer, 4, 1, q, .125f, o, lse, &next);
      ASSERT_TRUE(attended.ok()) << attended;
      ASSERT_TRUE(reference::Attend(views, layer, 4, 1, q, .125f, expected_o, expected_lse).ok());
      for (size_t i = 0; i < lse.size(); ++i) ASSERT_NEAR(lse[i], expected_lse[i], .02) << "layer " << layer << " row " << i;
      for (size_t i = 0; i < o.size(); ++i) ASSERT_NEAR(o[i], expected_o[i], .04) << "layer " << layer << " row " << i / 64;
    }
    EXPECT_EQ(kernels.use().on_cuda, 3u);
  }
}

// Blocks of many sizes and two rotations, in an order that no launch would take.
struct MixedBlocks {
  explicit MixedBlocks(uint16_t layers) {
    const uint32_t tokens[] = {128, 70, 128, 1, 64, 128, 100};
    for (uint32_t i = 0; i < std::size(tokens); ++i) {
      BlockSpec spec = DeviceSpec(kTurbo, 64, tokens[i], layers);
      if (i % 3 == 2) spec.rotation_seed = 12345;
      bytes.push_back(testing::Encode(spec, testing::GaussianKv(spec, 50 + i), WithoutMeans()));
    }
    for (const auto& block : bytes) views.push_back(testing::Parse(block));
  }
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<BlockView> views;
};

TEST(DeviceKernelsTest, LaunchGroupsHoldEveryBlockOnceInPagesOfOneSize) {
  const MixedBlocks mixed(1);
  const auto groups = cuda::GroupBlocks(mixed.views, 0);
  ASSERT_TRUE(groups.ok()) << groups.status();
  ASSERT_EQ(groups->size(), 2u);
  std::vector<uint32_t> seen;
  for (const cuda::LaunchGroup& group : *groups) {
    for (const auto& sequence : group.sequences) {
      ASSERT_FALSE(sequence.empty());
      for (const uint32_t i : sequence) {
        seen.push_back(i);
        EXPECT_EQ(cuda::AttentionCodecOf(mixed.views[i], 0)->rotation_seed, group.codec.rotation_seed);
        EXPECT_TRUE(i == sequence.back() || mixed.views[i].spec().tokens == 64 * group.tiles_per_page);
      }
    }
  }
  std::ranges::sort(seen);
  EXPECT_THAT(seen, ::testing::ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

struct Attention {
  std::vector<float> o, lse;
};

Attention Attend(DeviceKernels& kernels, const MixedBlocks& mixed, uint32_t layer, uint32_t q_heads, uint32_t queries,
                 const DeviceKernels::NextLayer* next) {
  const std::vector<float> q = testing::Gaussian(size_t{q_heads} * queries * 64, layer);
  Attention result{std::vector<float>(q.size()), std::vector<float>(q.size() / 64)};
  const absl::Status status =
      kernels.Attend(mixed.views, layer, q_heads, queries, q, .125f, result.o, result.lse, next);
  EXPECT_TRUE(status.ok()) << status;
  return result;
}

// Queries are rounded to int8: a logit errs by .01 or so.
void ExpectClose(const Attention& got, const MixedBlocks& mixed, uint32_t layer, uint32_t q_heads, uint32_t queries) {
  const std::vector<float> q = testing::Gaussian(size_t{q_heads} * queries * 64, layer);
  std::vector<float> o(q.size()), lse(q.size() / 64);
  ASSERT_TRUE(reference::Attend(mixed.views, layer, q_heads, queries, q, .125f, o, lse).ok());
  for (size_t i = 0; i < lse.size(); ++i) ASSERT_NEAR(got.lse[i], lse[i], .02) << "row " << i;
  for (size_t i = 0; i < o.size(); ++i) ASSERT_NEAR(got.o[i], o[i], .02) << "row " << i / 64;
}

TEST(DeviceKernelsTest, AttendsToBlocksOfAllSizesLayerAfterLayer) {
  const MixedBlocks mixed(3);
  struct {
    uint32_t q_heads, queries;
  } const shapes[] = {{2, 1}, {4, 3}, {2, 17}};
  for (const auto& [q_heads, queries] : shapes) {
    std::vector<Attention> first_run;
    for (uint32_t seed = 1; seed <= 3; ++seed) {
      SCOPED_TRACE(queries * 100 + seed);
      EmulatedDevice device({.seed = seed});
      {
        DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
        for (const uint32_t layer : {0u, 1u, 2u, 0u, 2u}) {
          const DeviceKernels::NextLayer next{mixed.views, (layer + 1) % 3};
          const Attention got = Attend(kernels, mixed, layer, q_heads, queries, seed == 1 ? nullptr : &next);
          if (seed == 1) {
            ExpectClose(got, mixed, layer, q_heads, queries);
            first_run.push_back(got);
          } else {
            // Whatever the order of work.
            EXPECT_TRUE(std::ranges::any_of(first_run, [&](const Attention& a) { return a.o == got.o && a.lse == got.lse; }));
          }
        }
      }
      EXPECT_EQ(device.live(), 0u);
      EXPECT_TRUE(device.faults().empty()) << device.faults().front();
    }
  }
}

TEST(DeviceKernelsTest, ALayerThatWasBroughtAheadIsNotCopiedAgain) {
  const MixedBlocks mixed(3);
  EmulatedDevice device;
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  const auto copied_by = [&](uint32_t layer, const DeviceKernels::NextLayer* next) {
    const uint64_t before = device.copied_bytes();
    Attend(kernels, mixed, layer, 2, 1, next);
    return device.copied_bytes() - before;
  };
  const DeviceKernels::NextLayer next{mixed.views, 1};
  const uint64_t alone = copied_by(0, nullptr), with_next = copied_by(0, &next), after = copied_by(1, nullptr);
  EXPECT_LT(after, alone / 2);
  EXPECT_EQ(with_next + after, alone + copied_by(1, nullptr));
}

TEST(DeviceKernelsTest, AutoDoesOnTheCpuWhatHasNoKernelAndSaysWhy) {
  EmulatedDevice device;
  DeviceKernels automatic(DeviceChoice::kAuto, &device, ""), forced(DeviceChoice::kCuda, &device, "");
  const BlockSpec spec = DeviceSpec({CodecId::kFp16, CodecId::kFp16}, 64, 70);
  const testing::Kv kv = testing::GaussianKv(spec, 1);
  std::vector<uint8_t> bytes;
  ASSERT_TRUE(
      automatic.EncodeBlock(spec, testing::View(spec, kv.k), testing::View(spec, kv.v), WithoutMeans(), bytes).ok());
  EXPECT_EQ(automatic.use().on_cpu, 1u);
  EXPECT_EQ(DeviceUseText(automatic.use()), "cpu (no CUDA kernel encodes fp16 at head_dim 64)");
  EXPECT_EQ(forced.EncodeBlock(spec, testing::View(spec, kv.k), testing::View(spec, kv.v), WithoutMeans(), bytes),
            absl::FailedPreconditionError("no CUDA kernel encodes fp16 at head_dim 64"));

  const std::vector<BlockView> views = {testing::Parse(bytes)};
  std::vector<float> k(kv.k.size()), v(kv.v.size()), q(128, 1.0f), o(128), lse(2);
  EXPECT_TRUE(automatic.DecodeBlock(views[0], k, v).ok());
  EXPECT_TRUE(automatic.Attend(views, 0, 2, 1, q, .125f, o, lse).ok());
  EXPECT_EQ(automatic.use().on_cpu, 3u);
  EXPECT_THAT(std::string(forced.DecodeBlock(views[0], k, v).message()), HasSubstr("no CUDA kernel decodes fp16"));
  EXPECT_THAT(std::string(forced.Attend(views, 0, 2, 1, q, .125f, o, lse).message()),
              HasSubstr("no CUDA attention kernel reads fp16 at head_dim 64"));

  BlockSpec mixed = spec;
  mixed.layer_parts = {{.codec = kTurbo}, {.codec = spec.codec}};
  EXPECT_THAT(std::string(forced.EncodeBlock(mixed, testing::View(spec, kv.k), testing::View(spec, kv.v), {}, bytes).message()),
              HasSubstr("whose layers have codecs of their own"));

  // What has a kernel goes there all the same.
  const BlockSpec turbo = DeviceSpec(kTurbo, 128, 70);
  const testing::Kv other = testing::GaussianKv(turbo, 2);
  ASSERT_TRUE(automatic
                  .EncodeBlock(turbo, testing::View(turbo, other.k), testing::View(turbo, other.v), WithoutMeans(), bytes)
                  .ok());
  EXPECT_EQ(DeviceUseText(automatic.use()), "cuda, 3 of 4 calls on the cpu (no CUDA kernel encodes fp16 at head_dim 64)");
}

TEST(DeviceKernelsTest, TooLittleMemoryAndFailuresAreTheDevicesAlone) {
  const MixedBlocks mixed(1);
  const std::vector<float> q = testing::Gaussian(128, 1);
  std::vector<float> o(128), lse(2), expected_o(128), expected_lse(2);
  ASSERT_TRUE(Attend(mixed.views, 0, 2, 1, q, .125f, expected_o, expected_lse).ok());
  const auto check = [&](const EmulatedBehaviour& behaviour, absl::StatusCode code) {
    EmulatedDevice device(behaviour), other(behaviour);
    {
      DeviceKernels forced(DeviceChoice::kCuda, &device, ""), automatic(DeviceChoice::kAuto, &other, "");
      EXPECT_EQ(forced.Attend(mixed.views, 0, 2, 1, q, .125f, o, lse).code(), code);
      ASSERT_TRUE(automatic.Attend(mixed.views, 0, 2, 1, q, .125f, o, lse).ok());
      EXPECT_TRUE(o == expected_o && lse == expected_lse) << "not the CPU's results";
      EXPECT_EQ(automatic.use().on_cpu, 1u);
    }
    EXPECT_EQ(device.live() + other.live(), 0u);
  };
  for (const size_t memory : {0, 1000, 100000}) {
    SCOPED_TRACE(memory);
    check({.memory = memory}, absl::StatusCode::kResourceExhausted);
  }
  for (uint64_t copy = 1; copy <= 10; ++copy) {
    SCOPED_TRACE(copy);
    check({.failing_copy = copy}, absl::StatusCode::kInternal);
  }
}

TEST(DeviceKernelsTest, WithoutADeviceAutoIsTheCpuAndCudaSaysWhatIsMissing) {
  DeviceKernels kernels(DeviceChoice::kAuto, nullptr, "no device in this test");
  const BlockSpec spec = DeviceSpec(kTurbo, 64, 70);
  const testing::Kv kv = testing::GaussianKv(spec, 1);
  std::vector<uint8_t> bytes;
  ASSERT_TRUE(kernels.EncodeBlock(spec, testing::View(spec, kv.k), testing::View(spec, kv.v), {}, bytes).ok());
  EXPECT_TRUE(bytes == *EncodeBlock(spec, testing::View(spec, kv.k), testing::View(spec, kv.v)));
  EXPECT_EQ(DeviceUseText(kernels.use()), "cpu (no device in this test)");
  EXPECT_EQ(DeviceUseText((*DeviceKernels::Make(DeviceChoice::kCpu))->use()), "none: nothing was done");

  const auto cuda = DeviceKernels::Make(DeviceChoice::kCuda);
  EXPECT_EQ(cuda.ok(), WhyNoCuda().empty());
  EXPECT_TRUE(cuda.ok() || cuda.status() == absl::FailedPreconditionError(WhyNoCuda()));
}

TEST(DeviceKernelsTest, ChoicesHaveNames) {
  EXPECT_EQ(DeviceChoiceOf("auto"), DeviceChoice::kAuto);
  EXPECT_EQ(DeviceChoiceOf("cpu"), DeviceChoice::kCpu);
  EXPECT_EQ(DeviceChoiceOf("cuda"), DeviceChoice::kCuda);
  EXPECT_EQ(DeviceChoiceOf("gpu"), std::nullopt);
  EXPECT_EQ(DeviceChoiceOf(""), std::nullopt);
}

}  // namespace
}  // namespace polarkv
