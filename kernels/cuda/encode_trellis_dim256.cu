#include "kernels/cuda/encode_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchEncodeTrellis<256>(CodeKind, const EncodeArgs&, cudaStream_t);

}  // namespace polarkv::cuda
