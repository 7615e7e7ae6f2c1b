#include "kernels/cuda/attention_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchAttendDim<256>(const AttentionCodec&, const AttentionArgs&, cudaStream_t);

}  // namespace polarkv::cuda
