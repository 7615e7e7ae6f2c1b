// The grid of merge_test.cc on a device.
#include "tests/kernels/cuda/device_memory.h"
#include "tests/kernels/cuda/merge_fixture.h"

namespace polarkv::cuda {
namespace {

// A side's memory, copied to the device, and back to it.
class DeviceSide {
 public:
  explicit DeviceSide(MergeSide& side) : side_(side), o_(side.o), lse_(side.lse) {}
  AttentionResult OnDevice() const {
    AttentionResult result = side_.result;
    const auto* const host = reinterpret_cast<const uint8_t*>(side_.o.data());
    result.o = o_.As<uint8_t>() + (static_cast<const uint8_t*>(side_.result.o) - host);
    result.lse = lse_.As<float>();
    return result;
  }
  void CopyBack() {
    ASSERT_EQ(cudaMemcpy(side_.o.data(), o_.As<void>(), side_.o.size() * 16, cudaMemcpyDeviceToHost), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(side_.lse.data(), lse_.As<void>(), side_.lse.size() * sizeof(float), cudaMemcpyDeviceToHost),
              cudaSuccess);
  }

 private:
  MergeSide& side_;
  const DeviceMemory o_, lse_;
};

struct DeviceMerge {
  static void Merge(MergeBatch batch, MergeSide& into, MergeSide& more) {
    DeviceSide on_device(into), more_on_device(more);
    batch.into = on_device.OnDevice();
    batch.more = more_on_device.OnDevice();
    const LaunchError error = LaunchMerge(batch, nullptr);
    ASSERT_EQ(error, LaunchError::kNone) << LaunchErrorText(error);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
    ASSERT_NO_FATAL_FAILURE(on_device.CopyBack());
    more_on_device.CopyBack();
  }
};

class CudaDeviceMergeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasDevice()) GTEST_SKIP() << "no CUDA device here";
  }
};

TEST_F(CudaDeviceMergeTest, EveryPairOfTypesAndHeadDim) { RunMergeGrid<DeviceMerge>(); }

TEST_F(CudaDeviceMergeTest, ManyRows) {
  RunMixedMerge<DeviceMerge>({64, 16, 64, 128, ElementType::kBF16, ElementType::kF32}, 1);
  RunMixedMerge<DeviceMerge>({.head_dim = 256}, 2, 1e37f);
}

TEST(CudaDeviceTest, MergeWithoutRowsNeedsNoDeviceAndBadArgumentsAreRefused) {
  MergeBatch batch;
  batch.head_dim = 128;
  EXPECT_EQ(LaunchMerge(batch, nullptr), LaunchError::kNone);
  batch.sequences = 1;
  EXPECT_EQ(LaunchMerge(batch, nullptr), LaunchError::kUnsupportedShape);
  batch.head_dim = 100;
  EXPECT_EQ(LaunchMerge(batch, nullptr), LaunchError::kUnsupportedShape);
}

}  // namespace
}  // namespace polarkv::cuda
