// Tokens of a tile that the matrix products leave out because their key or value, or both, stand raw in an escape record:
// the first tokens of a sequence, outliers. One after the other; they are few.
#ifndef POLARKV_KERNELS_CUDA_RAW_TOKENS_H_
#define POLARKV_KERNELS_CUDA_RAW_TOKENS_H_

#include "codec/block_format.h"
#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/row_rotation.h"
#include "kernels/cuda/tile_stage.h"

namespace polarkv::cuda {

// The image of each lane's code, 0 to 15.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 ImageOf(const int8_t (&image)[16], typename W::U32 code) {
  using U32 = typename W::U32;
  U32 byte = 0u;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < 16; i += 8) {
    uint32_t words[2] = {};
    POLARKV_UNROLL
    for (uint32_t b = 0; b < 8; ++b) words[b / 4] |= static_cast<uint32_t>(image[i + b] & 0xFF) << 8 * (b % 4);
    const U32 found = W::Permute(U32(words[0]), U32(words[1]), code & 7u) & 0xFFu;
    byte = W::Select(code > U32(7u), i == 0 ? byte : found, i == 0 ? found : byte);
  }
  // Sign extension of a byte.
  return W::ToFloat(W::AsI32(byte ^ 0x80u)) - 128.0f;
}

// Reads one token's key or value out of a staged tile or of its record, rotated, in units where the rotation back is
// output_unit * D H: every lane gets the coordinates of its row fragment.
template <class W, int kDim, int kKeyKind, int kValueKind>
class RawTokenReader {
 public:
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  using Stage = TileStage<kDim, kKeyKind, kValueKind>;
  using Row = RowFragment<W, kDim>;
  static constexpr uint32_t kGroups = kDim / 64;

  POLARKV_WARP_FUNCTION RawTokenReader(const AttentionArgs& args, const uint8_t* stage, const uint8_t* records)
      : args_(args), stage_(stage), records_(records), head_(*reinterpret_cast<const TileHead*>(stage)) {}

  POLARKV_WARP_FUNCTION void ReadKey(uint32_t token, Row& row) const {
    if ((head_.k_escapes >> token & 1) != 0) return ReadRecord(BitsBelow(head_.k_escapes, token), row);
    const ScaleFacts<W> facts = MakeScaleFacts<W>(head_.k_exponent, head_.k_shift);
    const F32 scale = TokenScale(facts, stage_[64 + token]);
    const uint32_t e = token % 16, slot = (e >> 2 & 1) * 2 + (e & 1), vector = e >> 3;
    const uint32_t g = 2 * (token / 16) + (e >> 1 & 1);
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kDim / 32; ++i) {
      // Coordinates 32i + 4g' + word: chunk 2i + g' / 4, codes 4 * (g' % 4) + word.
      const U32 chunk = (W::Lane() >> 4) + 2 * i;
      const U32 quarter = chunk / kGroups;
      const U32 place = quarter * 16u + (16 * 4 * g + 4 * slot);
      const U32 base = (chunk - quarter * kGroups) * kVectorBytes + place;
      const U32 crumbs = W::LoadWord(stage_, base + (chunk - quarter * kGroups) * kVectorBytes +
                                                 (kPrefixStride + vector * kVectorBytes));
      U32 first = 0u, second = 0u;
      if (BitsOfKind(kKeyKind) > 2) first = W::LoadWord(stage_, base + (kPrefixStride + 2 * kGroups * kVectorBytes));
      if (BitsOfKind(kKeyKind) > 3) second = W::LoadWord(stage_, base + (kPrefixStride + 3 * kGroups * kVectorBytes));
      POLARKV_UNROLL
      for (uint32_t word = 0; word < 4; ++word) {
        const U32 c = ((W::Lane() >> 2) & 3u) * 4u + word;
        row.x[i / 2][i % 2][word] =
            ImageOf<W>(args_.key_image, CodeAt<kKeyKind>(crumbs, first, second, c, vector)) * scale;
      }
    }
  }

  POLARKV_WARP_FUNCTION void ReadValue(uint32_t token, Row& row) const {
    if ((head_.v_escapes >> token & 1) != 0) {
      return ReadRecord(BitsBelow(head_.k_escapes, 64) + BitsBelow(head_.v_escapes, token), row);
    }
    const ScaleFacts<W> facts = MakeScaleFacts<W>(head_.v_exponent, head_.v_shift);
    const F32 scale = TokenScale(facts, stage_[128 + token]);
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kDim / 32; ++i) {
      // Coordinates 32i + 4g + word: group i / 2, vector i % 2, place (g, quarter of the token).
      const U32 place = (W::Lane() & 28u) * 16u + 16 * (token / 16);
      const auto vector = [&](uint32_t number) {
        return W::LoadVector(stage_, place + (kPrefixStride + (Stage::kKeyVectors + number) * kVectorBytes));
      };
      const Words4<W> crumbs = vector(i);
      Words4<W> first{}, second{};
      if (BitsOfKind(kValueKind) > 2) first = vector(2 * kGroups + i / 2);
      if (BitsOfKind(kValueKind) > 3) second = vector(3 * kGroups + i / 2);
      POLARKV_UNROLL
      for (uint32_t word = 0; word < 4; ++word) {
        const U32 code =
            CodeAt<kValueKind>(crumbs.w[word], first.w[word], second.w[word], U32(token % 16), i % 2);
        row.x[i / 2][i % 2][word] = ImageOf<W>(args_.value_image, code) * scale;
      }
    }
  }

 private:
  POLARKV_WARP_FUNCTION static uint32_t BitsBelow(uint64_t mask, uint32_t bit) {
    return W::PopulationCount(bit == 64 ? mask : mask & ((uint64_t{1} << bit) - 1));
  }
  POLARKV_WARP_FUNCTION static F32 TokenScale(const ScaleFacts<W>& facts, uint8_t code) {
    if (code == 0) return 0.0f;
    return facts.factor * W::Exp2(F32((static_cast<float>(code) - 255.0f) * facts.step));
  }
  // Code or window of number c of an atom in the given vector (code_order.h, trellis_code.h).
  template <int kKind>
  POLARKV_WARP_FUNCTION static U32 CodeAt(U32 crumbs, U32 first, U32 second, U32 c, uint32_t vector) {
    const U32 n = U32(15u) - c;
    if constexpr (kKind == kTrellis2) return RotateRightBy(crumbs, n * 2u) & 15u;
    if constexpr (kKind == kTrellis3) {
      const U32 symbol = ((W::ShiftRight(crumbs, n * 2u) & 3u) << 1) | LowBit(first, n, vector);
      return symbol | (LowBit(first, (n + 1u) & 15u, vector) << 3);
    }
    const U32 even = (n & 1u) ^ 1u;
    const U32 nibble = (n >> 1) * 4u;
    U32 code = W::ShiftRight(crumbs, n * 2u) & 3u;
    if (kKind > kTurbo2) code = (code << 1) | (W::ShiftRight(first, nibble + even * 2u + vector) & 1u);
    if (kKind > kTurbo3) code = (code << 1) | (W::ShiftRight(second, nibble + even * 2u + (1 - vector)) & 1u);
    return code;
  }
  POLARKV_WARP_FUNCTION static U32 RotateRightBy(U32 x, U32 bits) {
    return W::ShiftRight(x, bits) | W::ShiftLeft(x, (U32(32u) - bits) & 31u);
  }
  // Of trellis3's symbol number n, counted from the low end.
  POLARKV_WARP_FUNCTION static U32 LowBit(U32 plane, U32 n, uint32_t vector) {
    const U32 odd = n & 1u;
    const U32 shift = vector == 0 ? n * 2u + (U32(2u) - odd) : (n * 2u + 29u + odd) & 31u;
    return W::ShiftRight(plane, shift) & 1u;
  }
  POLARKV_WARP_FUNCTION void ReadRecord(uint32_t index, Row& row) const {
    const uint8_t* const record =
        records_ + uint64_t{head_.first_escape + index} * (sizeof(VectorRecordHead) + 2 * kDim);
    const int32_t exponent = reinterpret_cast<const VectorRecordHead*>(record)->exponent;
    const F32 unit = W::Exp2(W::Min(W::Max(static_cast<float>(exponent), -126.0f), 127.0f)) * args_.output_unit;
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kDim / 32; ++i) {
      POLARKV_UNROLL
      for (uint32_t word = 0; word < 4; ++word) {
        row.x[i / 2][i % 2][word] =
            W::LoadHalf(record + sizeof(VectorRecordHead), (W::Lane() & 28u) + (32 * i + word)) * unit;
      }
    }
    ApplySigns<W, kDim>(args_.signs, row);
    Hadamard<W, kDim>(row);
  }

  const AttentionArgs& args_;
  const uint8_t* const stage_;
  const uint8_t* const records_;
  const TileHead& head_;
};

// Of a token's rotated key with the int8 rows from `first_row` on: columns 2t, 2t + 1, in log2 units.
template <class W, int kDim>
POLARKV_WARP_FUNCTION typename W::F32 RawLogit(const AttentionArgs& args, uint64_t first_row, uint32_t column,
                                               const RowFragment<W, kDim>& key, typename W::F32 query_scale) {
  using U32 = typename W::U32;
  const auto* queries = reinterpret_cast<const uint8_t*>(args.queries + first_row * kDim);
  const U32 at = ((W::Lane() & 3u) * 2u + column) * static_cast<uint32_t>(kDim) + (W::Lane() & 28u);
  typename W::F32 sum = 0.0f;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    const U32 four = W::LoadWord(queries, at + 32 * i);
    POLARKV_UNROLL
    for (int word = 0; word < 4; ++word) {
      const auto q = W::ToFloat(W::AsI32(((four >> (8 * word)) & 0xFFu) ^ 0x80u)) - 128.0f;
      sum = W::Fma(q, key.x[i / 2][i % 2][word], sum);
    }
  }
  return SumOverRow<W>(sum) * query_scale;
}

// Adds the tokens of `mask` to the state of each group of 8 rows.
template <class W, int kDim, int kKeyKind, int kValueKind, int kRowGroups>
POLARKV_WARP_FUNCTION void AttendRawTokens(const AttentionArgs& args, const uint8_t* stage, const uint8_t* records,
                                           uint64_t mask, uint64_t first_row,
                                           const QueryOperand<W, kDim> (&queries)[kRowGroups],
                                           OutputState<W, kDim> (&state)[kRowGroups]) {
  using F32 = typename W::F32;
  const RawTokenReader<W, kDim, kKeyKind, kValueKind> reader(args, stage, records);
  for (uint32_t token = 0; token < 64; ++token) {
    if ((mask >> token & 1) == 0) continue;
    RowFragment<W, kDim> key, value;
    reader.ReadKey(token, key);
    reader.ReadValue(token, value);
    POLARKV_UNROLL
    for (int n = 0; n < kRowGroups; ++n) {
      F32 logit[2];
      POLARKV_UNROLL
      for (uint32_t column = 0; column < 2; ++column) {
        logit[column] = RawLogit<W, kDim>(args, first_row + 8 * static_cast<uint64_t>(n), column, key,
                                          queries[n].scale[column]);
      }
      RaiseReference<W, kDim>(logit, state[n]);
      POLARKV_UNROLL
      for (int column = 0; column < 2; ++column) {
        const F32 weight = W::Exp2(logit[column] - state[n].reference[column]);
        // The lanes' shares of the sum add up; one lane of a row has this token's.
        state[n].sum[column] =
            state[n].sum[column] + W::Select(typename W::U32(4u) > W::Lane(), weight, F32(0.0f));
        POLARKV_UNROLL
        for (int i = 0; i < kDim / 8; ++i) {
          F32& o = state[n].o[i / 8][i % 4][2 * (i / 4 % 2) + column];
          o = W::Fma(weight, value.x[i / 8][i / 4 % 2][i % 4], o);
        }
      }
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_RAW_TOKENS_H_
