// Calls from several threads to the host API on an emulated device: what they wait for, and who is said to have done the work.
#include <chrono>
#include <functional>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/device_kernels.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/cuda/emulated_device.h"

namespace polarkv {
namespace {

using cuda::EmulatedDevice;
using ::testing::HasSubstr;

constexpr CodecPair kTurbo{CodecId::kTurbo4, CodecId::kTurbo4};

EncodeOptions WithoutMeans() {
  EncodeOptions options;
  options.key_mean = KeyMeanPolicy::kNever;
  return options;
}

BlockSpec Spec(CodecPair codec, uint32_t head_dim, uint32_t tokens, uint16_t layers) {
  BlockSpec spec = testing::OneHead(codec, head_dim, tokens);
  spec.layers = layers;
  spec.kv_heads = 2;
  return spec;
}

struct SomeBlocks {
  SomeBlocks() {
    for (const uint32_t tokens : {128u, 70u}) {
      const BlockSpec spec = Spec(kTurbo, 64, tokens, 2);
      bytes.push_back(testing::Encode(spec, testing::GaussianKv(spec, tokens), WithoutMeans()));
    }
    for (const auto& block : bytes) views.push_back(testing::Parse(block));
  }
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<BlockView> views;
};

struct Attention {
  std::vector<float> o, lse;
};

Attention Attend(DeviceKernels& kernels, const SomeBlocks& blocks, uint32_t layer, const DeviceKernels::NextLayer* next) {
  const std::vector<float> q = testing::Gaussian(size_t{2} * 64, layer);
  Attention result{std::vector<float>(q.size()), std::vector<float>(2)};
  const absl::Status status = kernels.Attend(blocks.views, layer, 2, 1, q, .125f, result.o, result.lse, next);
  EXPECT_TRUE(status.ok()) << status;
  return result;
}

// Keys so large that logits are beyond what kernels hold, and queries enough for the CPU to be busy.
struct HugeBlocks {
  static constexpr uint32_t kQueries = 64;
  HugeBlocks() {
    const BlockSpec spec = Spec(kTurbo, 64, 256, 1);
    testing::Kv kv = testing::GaussianKv(spec, 3);
    for (float& x : kv.k) x *= 1e30f;
    bytes = testing::Encode(spec, kv, WithoutMeans());
    views.assign(16, testing::Parse(bytes));
    q = testing::Gaussian(2 * kQueries * 64, 4);
  }
  std::vector<uint8_t> bytes;
  std::vector<BlockView> views;
  std::vector<float> q;
};

TEST(DeviceKernelsTurnsTest, AttentionThatTheCpuHasToDoOverIsTheCpus) {
  const HugeBlocks huge;
  std::vector<float> o(huge.q.size()), lse(2 * HugeBlocks::kQueries), expected_o(o.size()), expected_lse(lse.size());
  ASSERT_TRUE(Attend(huge.views, 0, 2, HugeBlocks::kQueries, huge.q, .125f, expected_o, expected_lse).ok());
  for (const DeviceChoice choice : {DeviceChoice::kAuto, DeviceChoice::kCuda}) {
    EmulatedDevice device;
    DeviceKernels kernels(choice, &device, "");
    ASSERT_TRUE(kernels.Attend(huge.views, 0, 2, HugeBlocks::kQueries, huge.q, .125f, o, lse).ok());
    EXPECT_TRUE(o == expected_o && lse == expected_lse) << "not the CPU's results";
    EXPECT_EQ(kernels.use().on_cuda, 0u);
    EXPECT_EQ(kernels.use().on_cpu, 1u);
    EXPECT_THAT(kernels.use().why_cpu, HasSubstr("the ends of fp32"));
  }
}

// Starts `slow`, which ends with work of the CPU, on a thread of its own, and `quick` here once `slow` has the device: whether
// `quick` had begun to copy to the device when `slow` ended.
bool IsOvertaken(EmulatedDevice& device, const std::function<void()>& slow, const std::function<void()>& quick) {
  slow();
  const uint64_t before = device.copied_bytes();
  slow();
  const uint64_t alone = device.copied_bytes() - before, start = before + alone;
  device.Pause();
  uint64_t at_end = 0;
  std::thread thread([&] {
    slow();
    at_end = device.copied_bytes();
  });
  while (device.copied_bytes() == start) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  device.Resume();
  quick();
  thread.join();
  return at_end > start + alone;
}

TEST(DeviceKernelsTurnsTest, WhatTheCpuDoesOverKeepsNobodyFromTheDevice) {
  const HugeBlocks huge;
  const SomeBlocks some;
  EmulatedDevice device;
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  std::vector<float> o(huge.q.size()), lse(2 * HugeBlocks::kQueries);
  EXPECT_TRUE(IsOvertaken(
      device,
      [&] { EXPECT_TRUE(kernels.Attend(huge.views, 0, 2, HugeBlocks::kQueries, huge.q, .125f, o, lse).ok()); },
      [&] { Attend(kernels, some, 0, nullptr); }));
  EXPECT_EQ(kernels.use().on_cuda, 1u);
  EXPECT_EQ(kernels.use().on_cpu, 3u);
}

TEST(DeviceKernelsTurnsTest, FinishingABlockKeepsNobodyFromTheDevice) {
  EmulatedDevice device;
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  // Every tile has a token that the device leaves to the reference, whose search takes long.
  const BlockSpec spec = Spec({CodecId::kTrellis1, CodecId::kTrellis1}, 128, 256, 1), small = Spec(kTurbo, 128, 3, 1);
  testing::Kv kv = testing::GaussianKv(spec, 5);
  for (size_t at = 0; at < kv.k.size(); at += 64 * 128) kv.k[at] = kv.v[at] = 1e35f;
  const testing::Kv small_kv = testing::GaussianKv(small, 6);
  std::vector<uint8_t> bytes, small_bytes;
  const TensorView k = testing::View(spec, kv.k), v = testing::View(spec, kv.v);
  EXPECT_TRUE(IsOvertaken(
      device, [&] { EXPECT_TRUE(kernels.EncodeBlock(spec, k, v, WithoutMeans(), bytes).ok()); },
      [&] {
        const absl::Status status = kernels.EncodeBlock(small, testing::View(small, small_kv.k),
                                                        testing::View(small, small_kv.v), WithoutMeans(), small_bytes);
        EXPECT_TRUE(status.ok()) << status;
      }));
  EXPECT_TRUE(bytes == reference::EncodeBlock(spec, k, v, WithoutMeans()).value());
  EXPECT_EQ(kernels.use().on_cuda, 4u);
}

TEST(DeviceKernelsTurnsTest, CallsOfManyThreadsDoNotMeet) {
  const SomeBlocks some;
  EmulatedDevice device({.seed = 7});
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  const BlockSpec spec = Spec(kTurbo, 128, 70, 1);
  const std::vector<Attention> expected = {Attend(kernels, some, 0, nullptr), Attend(kernels, some, 1, nullptr)};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const testing::Kv kv = testing::GaussianKv(spec, 20 + t);
      const TensorView key = testing::View(spec, kv.k), value = testing::View(spec, kv.v);
      const std::vector<uint8_t> expected_bytes = reference::EncodeBlock(spec, key, value, WithoutMeans()).value();
      for (uint32_t i = 0; i < 3; ++i) {
        std::vector<uint8_t> bytes;
        EXPECT_TRUE(kernels.EncodeBlock(spec, key, value, WithoutMeans(), bytes).ok());
        EXPECT_TRUE(bytes == expected_bytes);
        std::vector<float> k(kv.k.size()), v(k.size()), expected_k(k.size()), expected_v(k.size());
        EXPECT_TRUE(kernels.DecodeBlock(testing::Parse(bytes), k, v).ok());
        EXPECT_TRUE(reference::DecodeBlock(testing::Parse(bytes), expected_k, expected_v).ok());
        EXPECT_TRUE(k == expected_k && v == expected_v);
        const uint32_t layer = (t + i) % 2;
        const DeviceKernels::NextLayer next{some.views, 1 - layer};
        const Attention got = Attend(kernels, some, layer, t % 2 == 0 ? &next : nullptr);
        EXPECT_TRUE(got.o == expected[layer].o && got.lse == expected[layer].lse);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(kernels.use().on_cuda, 2 + 4 * 9u);
  EXPECT_TRUE(device.faults().empty());
}

}  // namespace
}  // namespace polarkv
