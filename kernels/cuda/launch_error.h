// Why a launch of encode.h, decode.h, attention.h, scores.h or merge.h was refused or failed.
#ifndef POLARKV_KERNELS_CUDA_LAUNCH_ERROR_H_
#define POLARKV_KERNELS_CUDA_LAUNCH_ERROR_H_

namespace polarkv::cuda {

enum class LaunchError {
  kNone,
  kUnsupportedShape,
  kMisalignedRows,
  kWrongWarps,
  kWorkspaceTooSmall,
  kNoDevice,
  kLaunchFailed
};
const char* LaunchErrorText(LaunchError error);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_LAUNCH_ERROR_H_
