// The host API of kv_kernels.h on the device that the caller chooses, or on the best one that can do the work.
#ifndef POLARKV_KERNELS_DEVICE_KERNELS_H_
#define POLARKV_KERNELS_DEVICE_KERNELS_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/kv_kernels.h"

namespace polarkv {

namespace cuda {
class Device;
class DeviceAttention;
class DeviceCodec;
}  // namespace cuda

enum class DeviceChoice {
  kAuto,  // the GPU where there is one and it has kernels for the work, else the CPU
  kCpu,
  kCuda
};
// "auto", "cpu", "cuda"; nothing for other words.
std::optional<DeviceChoice> DeviceChoiceOf(std::string_view name);
inline constexpr const char* kDeviceChoices = "auto, cpu or cuda";

// What is missing for CUDA kernels on this machine, and what to do; empty: nothing.
std::string WhyNoCuda();

// Which device did the work so far. A piece of work is a call; one that the GPU began and the CPU had to do over is the CPU's.
struct DeviceUse {
  uint64_t on_cuda = 0, on_cpu = 0;
  std::string why_cpu;  // of the first piece of work that the CPU did, empty without one

  const char* device() const { return on_cuda == 0 ? "cpu" : on_cpu == 0 ? "cuda" : "cuda and cpu"; }
};
// "cuda", or "cpu (why)", or "cuda, 3 of 40 calls on the cpu (why)".
std::string DeviceUseText(const DeviceUse& use);

// Thread-safe. Calls to one object take turns on the GPU, with copying there and back: those that encode or decode among each other,
// those that attend likewise. They do not on the CPU: in checking and packing tensors, finishing blocks (checksums, tiles
// that the device leaves to the reference), merging, and in what the CPU does whole. GPU memory is kept as long as the object.
class DeviceKernels {
 public:
  // FAILED_PRECONDITION: kCuda, and WhyNoCuda() says why not.
  static absl::StatusOr<std::unique_ptr<DeviceKernels>> Make(DeviceChoice choice);
  // `device`: null for none, and `why_not` says why. It outlives this.
  DeviceKernels(DeviceChoice choice, cuda::Device* device, std::string why_not);
  ~DeviceKernels();

  // As in kv_kernels.h: the same bytes, the same numbers, and attention within the contract of kernels/README.md. With kCuda
  // moreover FAILED_PRECONDITION: there is no CUDA kernel for it; RESOURCE_EXHAUSTED: not enough device memory;
  // INTERNAL: the device failed. With kAuto the CPU does it then. Attention with a scale below 0, and on logits or values
  // near the ends of fp32, which no CUDA kernel takes, is done by the CPU whatever the choice.
  absl::Status EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                           std::vector<uint8_t>& bytes);
  absl::Status DecodeBlock(const BlockView& block, Dtype dtype, KvDomain domain, std::span<uint8_t> k,
                           std::span<uint8_t> v);
  absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v);

  // What a later call attends to, probably the next one: a GPU gets it while it attends. The blocks' bytes stay as they are
  // until a call attends to them, or to others.
  struct NextLayer {
    std::span<const BlockView> blocks;
    uint32_t layer = 0;
  };
  absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                      std::span<const float> q, float scale, std::span<float> o, std::span<float> lse,
                      const NextLayer* next = nullptr);

  DeviceUse use() const;

 private:
  template <class OnCuda, class OnCpu>
  absl::Status Run(const OnCuda& on_cuda, const OnCpu& on_cpu);
  void CountCpu(std::string why);

  const DeviceChoice choice_;
  cuda::Device* const device_;
  const std::string why_not_;
  std::unique_ptr<cuda::DeviceCodec> codec_;
  std::unique_ptr<cuda::DeviceAttention> attention_;
  mutable std::mutex use_mutex_;
  DeviceUse use_;
};

}  // namespace polarkv

#endif  // POLARKV_KERNELS_DEVICE_KERNELS_H_
