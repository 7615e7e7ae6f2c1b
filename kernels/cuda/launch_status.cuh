// What a CUDA status says of a launch.
#ifndef POLARKV_KERNELS_CUDA_LAUNCH_STATUS_CUH_
#define POLARKV_KERNELS_CUDA_LAUNCH_STATUS_CUH_

#include <cuda_runtime_api.h>

#include "kernels/cuda/launch_error.h"

namespace polarkv::cuda {

// The thread's latest failure, for messages. The runtime is made to forget it, so that a later launch is not blamed for it.
inline thread_local cudaError_t latest_failure = cudaSuccess;
inline void KeepFailure(cudaError_t status) {
  latest_failure = status;
  cudaGetLastError();
}

inline LaunchError LaunchErrorOf(cudaError_t status) {
  if (status == cudaSuccess) return LaunchError::kNone;
  KeepFailure(status);
  const bool no_device = status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ||
                         status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction;
  return no_device ? LaunchError::kNoDevice : LaunchError::kLaunchFailed;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_LAUNCH_STATUS_CUH_
