#include "kernels/cuda/attention_kernels.cuh"

namespace polarkv::cuda {

POLARKV_ATTEND_SKETCHES(, 64, kPolar44);
POLARKV_ATTEND_SKETCHES(, 128, kPolar44);
POLARKV_ATTEND_SKETCHES(, 256, kPolar44);

}  // namespace polarkv::cuda
