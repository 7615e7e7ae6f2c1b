#include "kernels/device_kernels.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_attention.h"
#include "kernels/cuda/device_codec.h"

namespace polarkv {
namespace {

// What the device could not do, while its input may be as good as any. OUT_OF_RANGE besides: what no kernel holds, on any device.
bool IsTheDevices(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsResourceExhausted(status) || absl::IsInternal(status);
}

std::span<uint8_t> Bytes(std::span<float> x) { return {reinterpret_cast<uint8_t*>(x.data()), x.size_bytes()}; }

}  // namespace

std::optional<DeviceChoice> DeviceChoiceOf(std::string_view name) {
  if (name == "auto") return DeviceChoice::kAuto;
  if (name == "cpu") return DeviceChoice::kCpu;
  if (name == "cuda") return DeviceChoice::kCuda;
  return std::nullopt;
}

std::string WhyNoCuda() {
  std::string why;
  static_cast<void>(cuda::CudaDevice(why));
  return why;
}

std::string DeviceUseText(const DeviceUse& use) {
  if (use.on_cpu == 0 && use.on_cuda == 0) return "none: nothing was done";
  if (use.on_cpu == 0) return "cuda";
  if (use.on_cuda == 0) return absl::StrCat("cpu (", use.why_cpu, ")");
  return absl::StrCat("cuda, ", use.on_cpu, " of ", use.on_cpu + use.on_cuda, " calls on the cpu (", use.why_cpu, ")");
}

absl::StatusOr<std::unique_ptr<DeviceKernels>> DeviceKernels::Make(DeviceChoice choice) {
  std::string why;
  cuda::Device* const device = choice == DeviceChoice::kCpu ? nullptr : cuda::CudaDevice(why);
  if (choice == DeviceChoice::kCuda && device == nullptr) return absl::FailedPreconditionError(why);
  return std::make_unique<DeviceKernels>(choice, device, choice == DeviceChoice::kCpu ? "asked for" : why);
}

DeviceKernels::DeviceKernels(DeviceChoice choice, cuda::Device* device, std::string why_not)
    : choice_(choice), device_(device), why_not_(std::move(why_not)) {
  if (device_ == nullptr) return;
  codec_ = std::make_unique<cuda::DeviceCodec>(*device_);
  attention_ = std::make_unique<cuda::DeviceAttention>(*device_);
}

DeviceKernels::~DeviceKernels() = default;

DeviceUse DeviceKernels::use() const {
  const std::lock_guard lock(use_mutex_);
  return use_;
}

void DeviceKernels::CountCpu(std::string why) {
  const std::lock_guard lock(use_mutex_);
  if (use_.on_cpu++ == 0) use_.why_cpu = std::move(why);
}

template <class OnCuda, class OnCpu>
absl::Status DeviceKernels::Run(const OnCuda& on_cuda, const OnCpu& on_cpu) {
  std::string why = why_not_;
  if (device_ != nullptr) {
    const absl::Status done = on_cuda();
    if (!absl::IsOutOfRange(done) && (choice_ == DeviceChoice::kCuda || !IsTheDevices(done))) {
      const std::lock_guard lock(use_mutex_);
      ++use_.on_cuda;
      return done;
    }
    why = std::string(done.message());
  }
  CountCpu(std::move(why));
  return on_cpu();
}

absl::Status DeviceKernels::EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                        const EncodeOptions& options, std::vector<uint8_t>& bytes) {
  return Run([&] { return codec_->Encode(spec, k, v, options, bytes); },
             [&] { return polarkv::EncodeBlock(spec, k, v, options, bytes); });
}

absl::Status DeviceKernels::DecodeBlock(const BlockView& block, Dtype dtype, KvDomain domain, std::span<uint8_t> k,
                                        std::span<uint8_t> v) {
  return Run(
      [&] {
        if (domain == KvDomain::kModel) return codec_->Decode(block, dtype, k, v);
        return absl::FailedPreconditionError("no CUDA kernel decodes to the rotated domain");
      },
      [&] { return polarkv::DecodeBlock(block, dtype, domain, k, v); });
}

absl::Status DeviceKernels::DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v) {
  return DecodeBlock(block, Dtype::kF32, KvDomain::kModel, Bytes(k), Bytes(v));
}

absl::Status DeviceKernels::Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads,
                                   uint32_t queries, std::span<const float> q, float scale, std::span<float> o,
                                   std::span<float> lse, const NextLayer* next) {
  return Run(
      [&] {
        const cuda::BlockLayer ahead = next == nullptr ? cuda::BlockLayer{} : cuda::BlockLayer{next->blocks, next->layer};
        return attention_->Attend({blocks, layer}, q_heads, queries, q, scale, o, lse, &ahead);
      },
      [&] { return polarkv::Attend(blocks, layer, q_heads, queries, q, scale, o, lse); });
}

}  // namespace polarkv
