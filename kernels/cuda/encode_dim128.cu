#include "kernels/cuda/encode_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchEncodeTurbo<128>(CodeKind, const EncodeArgs&, cudaStream_t);

}  // namespace polarkv::cuda
