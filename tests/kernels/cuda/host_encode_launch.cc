#include "tests/kernels/cuda/host_encode_launch.h"

#include "tests/kernels/cuda/host_encode.h"

namespace polarkv::cuda {

LaunchError EncodeLaunchOnHost(const EncodeCodec& codec, const EncodeBatch& batch) {
  return EncodeOnHost<TurboKinds>(codec, batch);
}

}  // namespace polarkv::cuda
