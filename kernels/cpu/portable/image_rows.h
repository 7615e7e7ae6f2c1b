// Decoded places (code_places.h) -> rows of images, one a token, coordinates ascending.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_IMAGE_ROWS_H_
#define POLARKV_KERNELS_CPU_PORTABLE_IMAGE_ROWS_H_

#include "codec/block_format.h"
#include "kernels/cpu/portable/code_places.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

using Block = hn::Vec<hn::Full128<uint8_t>>;

// Four words of a vector: `word` of those that begin at `place`, decoded to dword `dword` of its codes.
HWY_INLINE Block WordsAt(const ByteVector* decoded, uint32_t place, uint32_t word, uint32_t dword) {
  const ByteVector* vector = decoded + (place + word / kWordLanes) * kDwords + dword;
  return hn::LoadU(kBlock, reinterpret_cast<const uint8_t*>(vector) + 4 * (word % kWordLanes));
}

// Number r of out[i] <- number i of in[r], of 32 bits.
HWY_INLINE void TransposeWords(const Block in[4], Block out[4]) {
  const hn::Repartition<uint32_t, hn::Full128<uint8_t>> words;
  const hn::Repartition<uint64_t, hn::Full128<uint8_t>> pairs;
  const auto low = [&](uint32_t i) { return hn::BitCast(pairs, hn::InterleaveLower(words, hn::BitCast(words, in[i]), hn::BitCast(words, in[i + 1]))); };
  const auto high = [&](uint32_t i) { return hn::BitCast(pairs, hn::InterleaveUpper(words, hn::BitCast(words, in[i]), hn::BitCast(words, in[i + 1]))); };
  const auto low01 = low(0), low23 = low(2), high01 = high(0), high23 = high(2);
  out[0] = hn::BitCast(kBlock, hn::InterleaveLower(pairs, low01, low23));
  out[1] = hn::BitCast(kBlock, hn::InterleaveUpper(pairs, low01, low23));
  out[2] = hn::BitCast(kBlock, hn::InterleaveLower(pairs, high01, high23));
  out[3] = hn::BitCast(kBlock, hn::InterleaveUpper(pairs, high01, high23));
}

// Four words of keys' atoms -> atoms of 16 coordinates, out[i] being that of word i.
HWY_INLINE void ReadAtoms(const ByteVector* decoded, uint32_t place, uint32_t word, uint32_t vector, Block out[4]) {
  // Bytes of an atom as they come, codes {15,11,7,3}, {13,9,5,1}, {14,10,6,2}, {12,8,4,0}, into ascending order.
  alignas(16) static constexpr uint8_t kAscending[16] = {15, 7, 11, 3, 14, 6, 10, 2, 13, 5, 9, 1, 12, 4, 8, 0};
  Block dwords[4];
  for (uint32_t i = 0; i < 4; ++i) dwords[i] = WordsAt(decoded, place, word, 4 * vector + i);
  TransposeWords(dwords, out);
  const Block order = hn::Load(kBlock, kAscending);
  for (uint32_t i = 0; i < 4; ++i) out[i] = hn::TableLookupBytes(out[i], order);
}

// rows: [64][head_dim]
inline void WriteKeyRows(const ByteVector* decoded, PlaceCount count, uint32_t head_dim, uint8_t* rows) {
  Block atoms[4];
  for (uint32_t line = 0; line < count.groups * kLines; ++line) {
    const uint32_t group = line / kLines, quarter = line % 4, top = line / 4 % 2;
    for (uint32_t quad = 0; quad < 4; ++quad) {  // (T0, e1); words in it are (e2, e0)
      for (uint32_t vector = 0; vector < 2; ++vector) {
        ReadAtoms(decoded, line * kParts, 4 * quad, vector, atoms);
        const uint32_t first = 32 * top + 16 * (quad / 2) + 8 * vector + 2 * (quad % 2);
        for (uint32_t i = 0; i < 4; ++i) {
          const uint32_t token = first + 4 * (i / 2) + i % 2;
          hn::StoreU(atoms[i], kBlock, rows + token * head_dim + 16 * (quarter * count.groups + group));
        }
      }
    }
  }
  for (uint32_t word = 0; word < 32 * count.tail_width; word += 4) {
    for (uint32_t vector = 0; vector < 2; ++vector) {
      ReadAtoms(decoded, count.full(), word, vector, atoms);
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t token = 32 * vector + (word + i) / count.tail_width, chunk = (word + i) % count.tail_width;
        hn::StoreU(atoms[i], kBlock, rows + token * head_dim + 64 * count.groups + 16 * chunk);
      }
    }
  }
}

// Sixteen coordinates of four tokens: in[i] has four tokens of coordinates 4 i to 4 i + 3. The tokens are those of a dword.
HWY_INLINE void WriteValues(const Block in[4], uint32_t quarter, uint32_t dword, uint32_t head_dim, uint8_t* rows) {
  alignas(16) static constexpr uint8_t kByToken[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  const Block order = hn::Load(kBlock, kByToken);
  Block split[4], tokens[4];
  for (uint32_t i = 0; i < 4; ++i) split[i] = hn::TableLookupBytes(in[i], order);
  TransposeWords(split, tokens);
  const uint32_t first = 16 * quarter + kDwordFirstCode[dword / 2][dword % 2];
  for (uint32_t i = 0; i < 4; ++i) hn::StoreU(tokens[i], kBlock, rows + (first - 4 * i) * head_dim);
}

inline void WriteValueRows(const ByteVector* decoded, PlaceCount count, uint32_t head_dim, uint8_t* rows) {
  Block in[4];
  for (uint32_t line = 0; line < count.groups * kLines; ++line) {
    for (uint32_t dword = 0; dword < kDwords; ++dword) {
      for (uint32_t i = 0; i < 4; ++i) in[i] = WordsAt(decoded, line * kParts, 4 * i, dword);
      const uint32_t dim = 64 * (line / kLines) + 16 * (line / 4 % 2) + 32 * (dword / 4);
      WriteValues(in, line % 4, dword % 4, head_dim, rows + dim);
    }
  }
  // The last group: 8 coordinates of A and 8 of B, or 16 of A and 16 of B, for each quarter.
  const uint32_t width = count.tail_width;
  for (uint32_t quarter = 0; quarter < 4; ++quarter) {
    for (uint32_t dword = 0; dword < 4; ++dword) {
      for (uint32_t sixteen = 0; sixteen < width; ++sixteen) {
        for (uint32_t i = 0; i < 4; ++i) {
          const uint32_t vector = width == 1 ? i / 2 : sixteen, word = 8 * width * quarter + 4 * (width == 1 ? i % 2 : i);
          in[i] = WordsAt(decoded, count.full(), word, 4 * vector + dword);
        }
        WriteValues(in, quarter, dword, head_dim, rows + 64 * count.groups + 16 * sixteen);
      }
    }
  }
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_IMAGE_ROWS_H_
