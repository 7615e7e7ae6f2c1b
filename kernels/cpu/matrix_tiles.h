// Tiles of any codecs as floats, for the attention body of matrix_attention.h.
#ifndef POLARKV_KERNELS_CPU_MATRIX_TILES_H_
#define POLARKV_KERNELS_CPU_MATRIX_TILES_H_

#include <cstdint>
#include <memory>

#include "codec/tile_matrix.h"
#include "kernels/cpu/matrix_attention.h"

namespace polarkv::cpu {

// Holds one tile: one thread at a time.
class MatrixTiles {
 public:
  explicit MatrixTiles(uint32_t head_dim);

  // Valid until the next call. Needs InstructionSet::kAvx512.
  const MatrixTile& Read(const BlockView& block, uint32_t layer, uint32_t kv_head, uint32_t tile);

 private:
  SideMatrix ReadSide(const BlockView& block, KvSide side, const TilePart& part, TileMatrix& matrix, float* factor);

  uint32_t head_dim_;
  TileMatrixReader key_reader_, value_reader_;
  std::unique_ptr<TileMatrix> keys_ = std::make_unique<TileMatrix>(), values_ = std::make_unique<TileMatrix>();
  MatrixTile tile_;
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_MATRIX_TILES_H_
