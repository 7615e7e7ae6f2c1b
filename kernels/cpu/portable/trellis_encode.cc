// Compiled once for each instruction set that has a body of its own here; called only where the machine has it (see
// kernels/cpu/turbo_attention.h on ODR).
//
// Rings lie side by side in lanes. The search is that of codec/trellis_search.cc: for every context in which a ring may begin
// the cheapest way to each context, extended code by code; costs, ties and symbols are the same to the bit.
#include "kernels/cpu/trellis_encode.h"

#include "codec/trellis_code.h"
#include "kernels/cpu/portable/bodies.h"
#include "kernels/cpu/portable/encode_rows.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

template <uint32_t kBits>
inline constexpr uint32_t kRingCodes = kBits == 1 ? 32 : 16;
inline constexpr uint32_t kAtom = 16;

// What the codes of kWordLanes rings should stand for, as rotated integers; and where any code will do. The constructors: those
// that compilers make are not compiled for the instruction set that vectors are on AArch64.
template <uint32_t kBits>
struct Targets {
  HWY_INLINE Targets() {}
  WordVector y[kRingCodes<kBits>];
  FloatVector weight[kRingCodes<kBits>];  // 1 or 0
};

// Symbols as TrellisRings (codec/trellis_search.h) has them.
struct Rings {
  WordVector upper, lower;
};

template <uint32_t kBits>
struct Ways {
  HWY_INLINE Ways() {}
  static constexpr uint32_t kContexts = kTrellisWindows >> kBits;
  FloatVector cost[kContexts];
  WordVector upper[kContexts];
  WordVector lower[kContexts];
};

HWY_INLINE auto Cheaper(FloatVector a, FloatVector b) { return hn::RebindMask(kI32, hn::Lt(a, b)); }
HWY_INLINE WordVector Word(uint32_t x) { return hn::Set(kI32, static_cast<int32_t>(x)); }

// The cheapest of four windows that end in `context`, from number `first` on: their costs, and which it is of the four.
HWY_INLINE void CheapestOfFour(const FloatVector* error, const Ways<3>& from, uint32_t first, uint32_t context, FloatVector& best,
                               WordVector& which) {
  for (uint32_t h = first; h < first + 4; ++h) {
    const uint32_t window = 2 * h + context;
    const FloatVector cost = FusedMulAdd(error[window], error[window], from.cost[first / 4]);
    which = h == first ? hn::Zero(kI32) : hn::IfThenElse(Cheaper(cost, best), Word(h % 4), which);
    best = h == first ? cost : hn::Min(cost, best);
  }
}

// One more symbol: the ways to each context by way of the cheapest window that ends in it.
HWY_INLINE void Extend(const FloatVector* error, const Ways<3>& from, Ways<3>& to) {
  for (uint32_t context = 0; context < Ways<3>::kContexts; ++context) {
    // Windows come from context 0 by the lower four, from context 1 by the upper four.
    FloatVector low = hn::Zero(kF32), high = low;
    WordVector low_which = hn::Zero(kI32), high_which = low_which;
    CheapestOfFour(error, from, 0, context, low, low_which);
    CheapestOfFour(error, from, 4, context, high, high_which);
    const auto better = Cheaper(high, low);
    to.cost[context] = hn::Min(high, low);
    const WordVector upper = hn::IfThenElse(better, from.upper[1], from.upper[0]);
    const WordVector lower = hn::IfThenElse(better, from.lower[1], from.lower[0]);
    to.upper[context] = hn::Or(hn::ShiftLeft<2>(upper), hn::IfThenElse(better, high_which, low_which));
    to.lower[context] = hn::Or(hn::Add(lower, lower), Word(context));
  }
}

template <uint32_t kBits>
HWY_INLINE void Extend(const FloatVector* error, const Ways<kBits>& from, Ways<kBits>& to) {
  constexpr uint32_t kContexts = Ways<kBits>::kContexts;
  for (uint32_t context = 0; context < kContexts; ++context) {
    FloatVector best = hn::Zero(kF32);
    WordVector upper = hn::Zero(kI32);
    for (uint32_t h = 0; h < (1u << kBits); ++h) {
      const uint32_t window = h * kContexts + context, before = window >> kBits;
      const FloatVector cost = FusedMulAdd(error[window], error[window], from.cost[before]);
      upper = h == 0 ? from.upper[before] : hn::IfThenElse(Cheaper(cost, best), from.upper[before], upper);
      best = h == 0 ? cost : hn::Min(cost, best);
    }
    to.cost[context] = best;
    to.upper[context] = hn::Or(hn::ShiftLeft<kBits>(upper), Word(context & ((1u << kBits) - 1)));
    to.lower[context] = hn::Zero(kI32);
  }
}

struct EncoderTables {
  float value[kTrellisWindows];
  alignas(16) uint8_t image[kTrellisWindows];
};
template <uint32_t kBits>
inline constexpr EncoderTables kTables = [] {
  constexpr const TrellisCodebook& kBook = kBits == 1 ? kTrellis1 : kBits == 2 ? kTrellis2 : kTrellis3;
  EncoderTables tables{};
  for (uint32_t w = 0; w < kTrellisWindows; ++w) {
    tables.value[w] = static_cast<float>(kBook.image[w]) * kBook.unit;
    tables.image[w] = static_cast<uint8_t>(kBook.image[w]);
  }
  return tables;
}();

template <uint32_t kBits>
Rings Search(const Targets<kBits>& targets, float to_unit_variance) {
  constexpr uint32_t kContexts = Ways<kBits>::kContexts, kCodes = kRingCodes<kBits>;
  Ways<kBits> ways[2][kContexts];
  for (uint32_t start = 0; start < kContexts; ++start) {
    for (uint32_t context = 0; context < kContexts; ++context) {
      ways[0][start].cost[context] = hn::Set(kF32, context == start ? 0 : HUGE_VALF);
      ways[0][start].upper[context] = ways[0][start].lower[context] = hn::Zero(kI32);
    }
  }
  for (uint32_t i = 0; i < kCodes; ++i) {
    const FloatVector z = hn::Mul(hn::ConvertTo(kF32, targets.y[i]), hn::Set(kF32, to_unit_variance));
    FloatVector error[kTrellisWindows];
    for (uint32_t w = 0; w < kTrellisWindows; ++w) {
      error[w] = hn::Mul(hn::Sub(z, hn::Set(kF32, kTables<kBits>.value[w])), targets.weight[i]);
    }
    for (uint32_t start = 0; start < kContexts; ++start) Extend(error, ways[i % 2][start], ways[(i + 1) % 2][start]);
  }
  const Ways<kBits>* last = ways[kCodes % 2];
  Rings rings = {last[0].upper[0], last[0].lower[0]};
  FloatVector best = last[0].cost[0];
  for (uint32_t start = 1; start < kContexts; ++start) {
    const auto better = Cheaper(last[start].cost[start], best);
    best = hn::Min(last[start].cost[start], best);
    rings.upper = hn::IfThenElse(better, last[start].upper[start], rings.upper);
    rings.lower = hn::IfThenElse(better, last[start].lower[start], rings.lower);
  }
  return rings;
}

// Images of the rings' codes, one code after the other, beside zeros in the upper halves of lanes.
template <uint32_t kBits>
class RingImages {
 public:
  // Of three bits: the lowest bits of the symbols, behind the last one's, which the first window has.
  explicit RingImages(const Rings& rings)
      : upper_(rings.upper), lower_(hn::Or(rings.lower, hn::ShiftLeft<16>(hn::And(rings.lower, Word(1))))) {}

  HWY_INLINE ShortVector Next() {
    constexpr int kUpperBits = kBits < 2 ? 1 : 2;
    upper_ = hn::BitCast(kI32, RotateWords<32 - kUpperBits>(hn::BitCast(kU8, upper_)));
    WordVector window = hn::And(upper_, Word(15));
    if constexpr (kBits == 3) {
      const WordVector crumb = hn::And(hn::Add(upper_, upper_), Word(6));
      const WordVector before = hn::And(hn::ShiftRight<13>(lower_), Word(8)), own = hn::And(hn::ShiftRight<15>(lower_), Word(1));
      window = hn::Or(hn::Or(crumb, before), own);
      lower_ = hn::Add(lower_, lower_);
    }
    // In the upper bytes of the lower halves, whence a shift extends their signs.
    const WordVector index = hn::Or(hn::ShiftLeft<8>(window), hn::Set(kI32, static_cast<int32_t>(0x80800080)));
    return hn::ShiftRight<8>(hn::BitCast(kI16, hn::TableLookupBytesOr0(images_, hn::BitCast(kU8, index))));
  }

 private:
  WordVector upper_, lower_;
  ByteVector images_ = LoadBlocks(kTables<kBits>.image);
};

// Bits n = 15 - c of `low` where the word that two atoms share has those of code c of the symbols (TrellisLowShift).
inline uint32_t SpreadLowBits(uint32_t vector, uint32_t low) {
  if (vector == 1) low = low >> 1 | (low & 1) << 15;
  // Two bits of every four.
  uint32_t x = (low | low << 8) & 0x00FF00FF;
  x = (x | x << 4) & 0x0F0F0F0F;
  x = (x | x << 2) & 0x33333333;
  return vector == 0 ? x << 2 : x;
}

// A tile as a matrix, [column][row] as in codec/code_matrix.h, whose codes along a row form rings; and what comes of it.
struct RingMatrix {
  uint32_t rows, columns;
  alignas(64) int16_t y[kTileTokens * kMostCoordinates];
  alignas(64) float weight[kTileTokens];  // by token
  // Sums of y * C and of C * C: of keys by token; of values, lanes to be added, by token.
  alignas(64) int32_t with_images[kTileTokens], images_squared[kTileTokens];
  alignas(64) int32_t with_lanes[kTileTokens][kWordLanes], squared_lanes[kTileTokens][kWordLanes];
};

HWY_INLINE void AddTo(int32_t* sums, WordVector x) { hn::StoreU(hn::Add(hn::LoadU(kI32, sums), x), kI32, sums); }

// Rings of the atom's codes of kWordLanes rows; of one bit, with the rows `b_after` further on.
template <uint32_t kBits>
HWY_INLINE void EncodeRings(const TurboEncoderShape& shape, RingMatrix& matrix, uint32_t atom, uint32_t row, uint32_t b_after,
                            uint8_t* payload) {
  const hn::Rebind<int16_t, hn::ScalableTag<int32_t>> few;
  Targets<kBits> targets;
  for (uint32_t i = 0; i < kRingCodes<kBits>; ++i) {
    const uint32_t column = kAtom * atom + i % kAtom, at = row + i / kAtom * b_after;
    targets.y[i] = hn::PromoteTo(kI32, hn::LoadU(few, matrix.y + column * matrix.rows + at));
    targets.weight[i] = shape.keys ? hn::LoadU(kF32, matrix.weight + at) : hn::Set(kF32, matrix.weight[column]);
  }
  const Rings rings = Search<kBits>(targets, shape.to_unit_variance);
  alignas(64) int32_t upper[kWordLanes], lower[kWordLanes];
  hn::Store(rings.upper, kI32, upper);
  hn::Store(rings.lower, kI32, lower);
  for (uint32_t l = 0; l < kWordLanes; ++l) {
    const TrellisPlace& place = shape.places[atom * matrix.rows + row + l];
    __builtin_memcpy(payload + 4 * (kBits == 1 ? place.refine_word : place.base_word), &upper[l], 4);
    if constexpr (kBits == 3) {
      uint8_t* low = payload + 16 * shape.head_dim + 4 * place.refine_word;
      uint32_t word;
      __builtin_memcpy(&word, low, 4);
      word |= SpreadLowBits(place.vector, static_cast<uint32_t>(lower[l]));
      __builtin_memcpy(low, &word, 4);
    }
  }
  RingImages<kBits> images(rings);
  for (uint32_t first = 0; first < kRingCodes<kBits>; first += kAtom) {
    WordVector with = hn::Zero(kI32), squared = hn::Zero(kI32);
    for (uint32_t i = 0; i < kAtom; ++i) {
      const ShortVector image = images.Next(), y = hn::BitCast(kI16, targets.y[first + i]);
      if (shape.keys) {
        with = AddPairs(with, y, image);
        squared = AddPairs(squared, image, image);
      } else {
        const uint32_t token = kAtom * atom + i;
        AddTo(matrix.with_lanes[token], AddPairs(hn::Zero(kI32), y, image));
        AddTo(matrix.squared_lanes[token], AddPairs(hn::Zero(kI32), image, image));
      }
    }
    if (!shape.keys) continue;
    AddTo(matrix.with_images + row + first / kAtom * b_after, with);
    AddTo(matrix.images_squared + row + first / kAtom * b_after, squared);
  }
}

// All rings of an atom's columns. Of one bit those of vector A are the first half of every run of rows (codec/code_order.h).
template <uint32_t kBits>
void EncodeAtom(const TurboEncoderShape& shape, RingMatrix& matrix, uint32_t atom, uint8_t* payload) {
  const uint32_t full_dims = shape.head_dim / 64 * 64;
  for (uint32_t row = 0; row < matrix.rows;) {
    uint32_t half = 0;
    if constexpr (kBits == 1) {
      const bool full = (shape.keys ? kAtom * atom : row) < full_dims;
      half = shape.keys ? (full ? 8 : 32) : (full ? 32 : (shape.head_dim - full_dims) / 2);
    }
    for (uint32_t i = 0; i < (half == 0 ? kWordLanes : half); i += kWordLanes) EncodeRings<kBits>(shape, matrix, atom, row + i, half, payload);
    row += half == 0 ? kWordLanes : 2 * half;
  }
}

template <uint32_t kBits>
void EncodeMatrix(const TurboEncoderShape& shape, RingMatrix& matrix, uint8_t* payload) {
  if (kBits == 3) __builtin_memset(payload + 16 * shape.head_dim, 0, 8 * shape.head_dim);
  __builtin_memset(matrix.with_images, 0, sizeof matrix.with_images);
  __builtin_memset(matrix.images_squared, 0, sizeof matrix.images_squared);
  __builtin_memset(matrix.with_lanes, 0, sizeof matrix.with_lanes);
  __builtin_memset(matrix.squared_lanes, 0, sizeof matrix.squared_lanes);
  for (uint32_t atom = 0; atom < matrix.columns / kAtom; ++atom) EncodeAtom<kBits>(shape, matrix, atom, payload);
  for (uint32_t t = 0; t < kTileTokens && !shape.keys; t += kWordLanes) {
    WordVector with[kWordLanes], squared[kWordLanes];
    for (uint32_t i = 0; i < kWordLanes; ++i) {
      with[i] = hn::Load(kI32, matrix.with_lanes[t + i]);
      squared[i] = hn::Load(kI32, matrix.squared_lanes[t + i]);
    }
    hn::Store(SumLanes(with), kI32, matrix.with_images + t);
    hn::Store(SumLanes(squared), kI32, matrix.images_squared + t);
  }
}

template <Dtype kDtype>
bool EncodeTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  const uint32_t d = shape.head_dim;
  TileNorms norms;
  if (!TakeNorms<kDtype>(shape, rows, norms, tile.exponent)) return false;
  const uint64_t counted = CountedTokens(rows);
  RingMatrix matrix;
  matrix.rows = shape.keys ? kTileTokens : d;
  matrix.columns = shape.keys ? d : kTileTokens;
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    alignas(64) int16_t row[kMostCoordinates] = {};
    const bool counts = (counted >> t & 1) != 0;
    matrix.weight[t] = counts ? 1 : 0;
    if (counts) RotateRow<kDtype>(shape, rows, norms, t, row);
    if (shape.keys) {
      for (uint32_t j = 0; j < d; ++j) matrix.y[j * kTileTokens + t] = row[j];
    } else {
      __builtin_memcpy(matrix.y + t * d, row, 2 * d);
    }
  }
  if (shape.bits == 1) EncodeMatrix<1>(shape, matrix, tile.crumbs);
  if (shape.bits == 2) EncodeMatrix<2>(shape, matrix, tile.crumbs);
  if (shape.bits == 3) EncodeMatrix<3>(shape, matrix, tile.crumbs);
  StoreTileScales(shape, norms, matrix.with_images, matrix.images_squared, counted, tile);
  return true;
}

}  // namespace

bool TrellisEncode(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  const auto dtype = static_cast<Dtype>(shape.dtype);
  if (dtype == Dtype::kF32) return EncodeTile<Dtype::kF32>(shape, rows, tile);
  if (dtype == Dtype::kF16) return EncodeTile<Dtype::kF16>(shape, rows, tile);
  return EncodeTile<Dtype::kBF16>(shape, rows, tile);
}

}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();
