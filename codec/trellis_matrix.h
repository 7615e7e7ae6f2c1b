// Rings of trellis codes in and out of a tile's payload (FORMAT.md, "Trellis codes").
#ifndef POLARKV_CODEC_TRELLIS_MATRIX_H_
#define POLARKV_CODEC_TRELLIS_MATRIX_H_

#include <array>
#include <cstdint>
#include <vector>

#include "codec/code_matrix.h"
#include "codec/trellis_code.h"

namespace polarkv {

// One side of one tile: a matrix as in code_matrix.h, [column][row], whose codes along a row form rings.
class TrellisMatrix {
 public:
  TrellisMatrix(KvSide side, uint32_t head_dim, uint32_t bits);

  uint32_t bits() const { return bits_; }
  uint32_t rows() const { return rows_; }
  uint32_t columns() const { return columns_; }

  // Finds the rings nearest to `x` and writes them over `payload` (bits * 8 * head_dim bytes). Tokens whose bit in
  // `counted` is clear take no part: their codes are whatever serves the others of their ring, zero bits if there are
  // none.
  void Encode(const float* x, uint64_t counted, uint8_t* payload) const;
  // The images that the payload's windows stand for.
  void ReadImages(const uint8_t* payload, float* images) const;

 private:
  static constexpr uint32_t kAtomCodes = 16;
  // The rows of a ring; the second one, in vector B, of 1-bit rings only.
  struct RingRows {
    uint32_t first, second;
  };

  std::vector<RingRows> RowsOfRings(uint32_t atom) const;
  void ReadBody(const uint8_t* payload, float* images) const;
  void ReadVector(const uint8_t* payload, float* images) const;
  const AtomPlace& Place(uint32_t atom, uint32_t row) const { return places_[atom * rows_ + row]; }

  KvSide side_;
  uint32_t head_dim_, bits_, rows_, columns_;
  std::vector<AtomPlace> places_;  // [atom of 16 columns][row]
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TRELLIS_MATRIX_H_
