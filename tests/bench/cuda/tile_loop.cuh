// Arguments of the bare tile loop.
#ifndef POLARKV_TESTS_BENCH_CUDA_TILE_LOOP_CUH_
#define POLARKV_TESTS_BENCH_CUDA_TILE_LOOP_CUH_

#include <cstdint>

#include "codec/block_format.h"

namespace polarkv::cuda {

struct TileLoopArguments {
  const uint8_t* base;
  const uint8_t* refine[4];  // K1, K0, V1, V0
  uint32_t base_stride, refine_stride, tiles;
  const uint32_t* queries;  // per group of 8 rows: operand words, then two scales, each [32 lanes]
  const uint32_t* key_tables;
  const uint32_t* value_tables;
  float* out;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_BENCH_CUDA_TILE_LOOP_CUH_
