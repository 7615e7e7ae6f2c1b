// One side of one tile of rows -> trellis codes and a scale a token: the bits of codec/trellis_tile.h.
#ifndef POLARKV_KERNELS_CPU_TRELLIS_ENCODE_H_
#define POLARKV_KERNELS_CPU_TRELLIS_ENCODE_H_

#include "kernels/cpu/turbo_encode.h"

namespace polarkv::cpu {

// As TurboEncodeAvx512, of 1 to 3 bits; `crumbs` of the tile is the whole payload, and the shape has places.
bool TrellisEncodeAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TRELLIS_ENCODE_H_
