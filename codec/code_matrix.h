// Turbo codes in and out of a tile's bit planes, in the order of code_order.h.
#ifndef POLARKV_CODEC_CODE_MATRIX_H_
#define POLARKV_CODEC_CODE_MATRIX_H_

#include <array>
#include <cstdint>

#include "codec/block_format.h"
#include "codec/code_order.h"
#include "codec/kv_side.h"
#include "codec/rotation.h"

namespace polarkv {

inline constexpr uint32_t kMaxTileCodes = kTileTokens * kMaxHeadDim;

// The bit planes that hold one side's codes. One that the codec lacks, or that was not fetched, is null. Codes of 1 bit are
// in `third` alone.
template <typename Byte>
struct CodePlanes {
  Byte* crumbs = nullptr;  // upper two bits of each code
  Byte* third = nullptr;   // the bit below them, arranged as first refinement planes are
  Byte* fourth = nullptr;  // the bit below that, arranged as second refinement planes are
  Byte* fifth = nullptr;   // the bit below that, arranged as first refinement planes are
};

// One side of one tile as a matrix of codes: a row is what a dot product keeps apart, a column what it sums over.
//   keys:   64 rows (tokens), head_dim columns (coordinates)
//   values: head_dim rows (coordinates), 64 columns (tokens)
// Matrices are contiguous, column after column: [column][row].
class CodeMatrix {
 public:
  CodeMatrix(KvSide side, uint32_t head_dim);

  KvSide side() const { return side_; }
  uint32_t head_dim() const { return head_dim_; }
  uint32_t rows() const { return rows_; }
  uint32_t columns() const { return columns_; }
  uint32_t size() const { return rows_ * columns_; }

  // Writes codes of `bits` bits (1..5) into planes that are all zero; planes for bits beyond `bits` are not touched.
  void Pack(uint32_t bits, const uint8_t* codes, const CodePlanes<uint8_t>& planes) const;
  // Reads codes of `bits` bits, which may be fewer than were written, but not fewer than 2 then: their upper bits.
  void Unpack(uint32_t bits, const CodePlanes<const uint8_t>& planes, uint8_t* codes) const;

 private:
  static constexpr uint32_t kAtomCodes = 16;
  static constexpr uint32_t kMaxRows = kMaxHeadDim;
  using Words = std::array<uint32_t, kMaxRows>;  // one word for each row

  void PackBody(uint32_t bits, const uint8_t* codes, const CodePlanes<uint8_t>& planes) const;
  void PackVector(uint32_t bits, const uint8_t* codes, const CodePlanes<uint8_t>& planes) const;
  void UnpackBody(uint32_t bits, const CodePlanes<const uint8_t>& planes, uint8_t* codes) const;
  void UnpackVector(uint32_t bits, const CodePlanes<const uint8_t>& planes, uint8_t* codes) const;
  const AtomPlace& Place(uint32_t atom, uint32_t row) const { return places_[atom * rows_ + row]; }

  KvSide side_;
  uint32_t head_dim_, rows_, columns_;
  std::array<AtomPlace, kMaxTileCodes / kAtomCodes> places_;  // [atom of 16 columns][row]
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_CODE_MATRIX_H_
