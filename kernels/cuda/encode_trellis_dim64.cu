#include "kernels/cuda/encode_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchEncodeTrellis<64>(CodeKind, const EncodeArgs&, const MeanArgs&, cudaStream_t);

}  // namespace polarkv::cuda
