#include "kernels/cuda/attention_kernels.cuh"

namespace polarkv::cuda {

POLARKV_ATTEND_SKETCHES(, 64, kSigns4);
POLARKV_ATTEND_SKETCHES(, 128, kSigns4);
POLARKV_ATTEND_SKETCHES(, 256, kSigns4);

}  // namespace polarkv::cuda
