// CudaDevice of builds without nvcc.
#include "kernels/cuda/device.h"

namespace polarkv::cuda {

Device* CudaDevice(std::string& why) {
  why = "this program was built without CUDA kernels; build it where nvcc is found (cmake -DPOLARKV_CUDA=ON says what is missing)";
  return nullptr;
}

}  // namespace polarkv::cuda
