// CudaDevice over the CUDA runtime, which is linked statically: a program starts, and gets here, without a driver.
#include <cuda_runtime_api.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch_status.cuh"

namespace polarkv::cuda {
namespace {

constexpr int kLeastMajor = 8;  // sm_80
constexpr int kLeastShared = 160 << 10;  // bytes that a thread block may have: attention at head_dim 128

cudaStream_t Stream(Queue queue) { return static_cast<cudaStream_t>(queue); }
cudaEvent_t Handle(Event event) { return static_cast<cudaEvent_t>(event); }

class RuntimeDevice final : public Device {
 public:
  void* Allocate(size_t bytes) override {
    void* memory = nullptr;
    return Ok(cudaMalloc(&memory, bytes)) ? memory : nullptr;
  }
  void Free(void* memory) override { cudaFree(memory); }
  void* AllocatePinned(size_t bytes) override {
    void* memory = nullptr;
    return Ok(cudaMallocHost(&memory, bytes)) ? memory : nullptr;
  }
  void FreePinned(void* memory) override { cudaFreeHost(memory); }
  // Not the legacy default stream, nor in order with it.
  Queue MakeQueue() override {
    cudaStream_t stream = nullptr;
    return Ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)) ? stream : nullptr;
  }
  void FreeQueue(Queue queue) override {
    if (queue != nullptr) cudaStreamDestroy(Stream(queue));
  }
  Event MakeEvent() override {
    cudaEvent_t event = nullptr;
    return Ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming)) ? event : nullptr;
  }
  void FreeEvent(Event event) override {
    if (event != nullptr) cudaEventDestroy(Handle(event));
  }

  bool CopyIn(void* to, const void* from, size_t bytes, Queue queue) override {
    return Ok(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, Stream(queue)));
  }
  bool CopyOut(void* to, const void* from, size_t bytes, Queue queue) override {
    return Ok(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, Stream(queue)));
  }
  bool Record(Event event, Queue queue) override { return Ok(cudaEventRecord(Handle(event), Stream(queue))); }
  bool Wait(Event event, Queue queue) override { return Ok(cudaStreamWaitEvent(Stream(queue), Handle(event), 0)); }
  EventState StateOf(Event event) override {
    const cudaError_t state = cudaEventQuery(Handle(event));
    if (state == cudaErrorNotReady) {
      cudaGetLastError();  // it is remembered as if it were an error, and the next launch would be blamed for it
      return EventState::kPending;
    }
    return Ok(state) ? EventState::kReached : EventState::kFailed;
  }
  bool Finish(Queue queue) override { return Ok(cudaStreamSynchronize(Stream(queue))); }
  bool FinishEvent(Event event) override { return Ok(cudaEventSynchronize(Handle(event))); }

  uint32_t AttentionWarps(uint32_t head_dim) override { return cuda::AttentionWarps(head_dim); }
  LaunchError Attend(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps, void* workspace,
                     size_t workspace_bytes, Queue queue) override {
    return LaunchAttention(codec, batch, warps, workspace, workspace_bytes, queue);
  }
  LaunchError Encode(const EncodeCodec& codec, const EncodeBatch& batch, Queue queue) override {
    return LaunchEncode(codec, batch, queue);
  }
  LaunchError Decode(const AttentionCodec& codec, const DecodeBatch& batch, Queue queue) override {
    return LaunchDecode(codec, batch, queue);
  }

  std::string LastError() override { return cudaGetErrorString(latest_failure); }

 private:
  static bool Ok(cudaError_t status) {
    if (status == cudaSuccess) return true;
    KeepFailure(status);
    return false;
  }
};

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Empty: the current device runs the kernels.
std::string WhyNotUsable() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  int driver = 0;
  if (status == cudaErrorInsufficientDriver && (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)) {
    return "no NVIDIA driver was found; install one on a machine with an NVIDIA GPU";
  }
  if (status == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver knows CUDA " + VersionText(driver) + ", this program needs " + VersionText(CUDART_VERSION) +
           "; update the driver";
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && devices == 0)) {
    return "the NVIDIA driver shows no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES";
  }
  if (status != cudaSuccess) return std::string("the NVIDIA driver does not start: ") + cudaGetErrorString(status);
  int device = 0, major = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess) {
    return std::string("the GPU cannot be asked for its properties: ") + cudaGetErrorString(cudaGetLastError());
  }
  if (major < kLeastMajor) {
    return "the GPU has compute capability " + std::to_string(major) + ".x, the kernels need " +
           std::to_string(kLeastMajor) + ".0 or later";
  }
  int shared = 0;
  if (cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) != cudaSuccess || shared < kLeastShared) {
    return "the GPU has " + std::to_string(shared / 1024) + " KiB of shared memory a thread block, the kernels need " +
           std::to_string(kLeastShared / 1024);
  }
  return {};
}

}  // namespace

Device* CudaDevice(std::string& why) {
  static RuntimeDevice device;
  static const std::string why_not = WhyNotUsable();
  why = why_not;
  return why_not.empty() ? &device : nullptr;
}

}  // namespace polarkv::cuda
