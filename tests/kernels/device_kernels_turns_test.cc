// Calls from several threads to the host API on an emulated device: what they wait for, and who is said to have done the work.
#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/device_kernels.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/device_blocks.h"
#include "tests/kernels/gated_memory.h"

namespace polarkv {
namespace {

using cuda::EmulatedDevice;
using testing::GatedMemory;
using ::testing::HasSubstr;
using testing::DeviceSpec;
using testing::kTurbo;
using testing::WithoutMeans;

struct SomeBlocks {
  SomeBlocks() {
    for (const uint32_t tokens : {128u, 70u}) {
      const BlockSpec spec = DeviceSpec(kTurbo, 64, tokens, 2);
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

// Keys so large that logits are beyond what kernels hold.
struct HugeBlocks {
  static constexpr uint32_t kQueries = 2;
  HugeBlocks() {
    const BlockSpec spec = DeviceSpec(kTurbo, 64, 256, 1);
    testing::Kv kv = testing::GaussianKv(spec, 3);
    for (float& x : kv.k) x *= 1e30f;
    bytes = testing::Encode(spec, kv, WithoutMeans());
    views.assign(3, testing::Parse(bytes));
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

// `slow` on a thread of its own has copied `bytes` to the device, as it did before; when its turn there is over it reads `memory`.
// `quick`, here, has to have its turn meanwhile.
void ExpectToBeOvertaken(EmulatedDevice& device, GatedMemory& memory, uint64_t bytes, const std::function<void()>& slow,
                         const std::function<void()>& quick) {
  const uint64_t start = device.copied_bytes();
  device.Pause();
  std::thread thread(slow);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (device.copied_bytes() < start + bytes && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GE(device.copied_bytes(), start + bytes) << "the slow call ended early";
  memory.Close();
  device.Resume();
  quick();
  memory.Open();
  thread.join();
  EXPECT_TRUE(memory.WasOpenedInTime());
}

TEST(DeviceKernelsTurnsTest, WhatTheCpuDoesOverKeepsNobodyFromTheDevice) {
  const HugeBlocks huge;
  const SomeBlocks some;
  GatedMemory memory(huge.bytes.size());
  std::ranges::copy(huge.bytes, memory.As<uint8_t>());
  const std::vector<BlockView> views(
      3, BlockView::Parse({memory.As<uint8_t>(), huge.bytes.size()}, VerifyPayload::kYes).value());
  EmulatedDevice device;
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  std::vector<float> o(huge.q.size()), lse(2 * HugeBlocks::kQueries);
  const auto slow = [&] { EXPECT_TRUE(kernels.Attend(views, 0, 2, HugeBlocks::kQueries, huge.q, .125f, o, lse).ok()); };
  slow();
  const uint64_t bytes = device.copied_bytes();
  slow();
  ASSERT_EQ(device.copied_bytes(), 2 * bytes);
  ExpectToBeOvertaken(device, memory, bytes, slow, [&] { Attend(kernels, some, 0, nullptr); });
  EXPECT_EQ(kernels.use().on_cuda, 1u);
  EXPECT_EQ(kernels.use().on_cpu, 3u);
}

TEST(DeviceKernelsTurnsTest, FinishingABlockKeepsNobodyFromTheDevice) {
  EmulatedDevice device;
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  const BlockSpec spec = DeviceSpec(kTurbo, 128, 64, 1);
  testing::Kv kv = testing::GaussianKv(spec, 5);
  kv.k[5] = 1e35f;  // a token that the device leaves to the host, which reads the tile's rows
  GatedMemory memory(kv.k.size() * sizeof(float));
  std::ranges::copy(kv.k, memory.As<float>());
  TensorView k = testing::View(spec, kv.k);
  const std::vector<uint8_t> expected = reference::EncodeBlock(spec, k, testing::View(spec, kv.v), WithoutMeans()).value();
  k.data = memory.As<float>();
  std::vector<uint8_t> bytes, other;
  const auto encode = [&](const TensorView& key, std::vector<uint8_t>& to) {
    const absl::Status status = kernels.EncodeBlock(spec, key, testing::View(spec, kv.v), WithoutMeans(), to);
    EXPECT_TRUE(status.ok()) << status;
  };
  ExpectToBeOvertaken(
      device, memory, 1, [&] { encode(k, bytes); }, [&] { encode(testing::View(spec, kv.k), other); });
  EXPECT_TRUE(bytes == expected && other == expected);
  EXPECT_EQ(kernels.use().on_cuda, 2u);
}

TEST(DeviceKernelsTurnsTest, CallsOfManyThreadsDoNotMeet) {
  const SomeBlocks some;
  EmulatedDevice device({.seed = 7});
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  const BlockSpec spec = DeviceSpec(kTurbo, 128, 70, 1);
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
