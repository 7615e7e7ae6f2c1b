// Tokens that the matrix products leave out because their key or value, or both, stand raw in an escape record:
// the first tokens of a sequence, outliers. One after the other; they are few.
#ifndef POLARKV_KERNELS_CUDA_RAW_TOKENS_H_
#define POLARKV_KERNELS_CUDA_RAW_TOKENS_H_

#include "codec/block_format.h"
#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/escaped_pages.h"
#include "kernels/cuda/float_power.h"
#include "kernels/cuda/mean_logits.h"
#include "kernels/cuda/partial_result.h"
#include "kernels/cuda/query_rows.h"
#include "kernels/cuda/row_rotation.h"
#include "kernels/cuda/sketch_logits.h"
#include "kernels/cuda/tile_place.h"

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

// Reads one token's key or value out of a tile or of its record, rotated, in units where the rotation back is output_unit *
// D H: every lane gets the coordinates of its row fragment.
template <class W, int kDim>
class RawTokenReader {
 public:
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  using Row = RowFragment<W, kDim>;
  static constexpr uint32_t kGroups = kDim / 64;
  static constexpr uint32_t kPlaneBytes = kGroups * kVectorBytes;  // one bit of each code

  POLARKV_WARP_FUNCTION RawTokenReader(const AttentionArgs& args, const TileAddress& tile, const PageLayer& page)
      : args_(args), tile_(tile), page_(page), head_(*reinterpret_cast<const TileHead*>(tile.base)) {}

  POLARKV_WARP_FUNCTION void ReadKey(uint32_t token, Row& row) const {
    if ((head_.k_escapes >> token & 1) != 0) return ReadRecord(BitsBelow(head_.k_escapes, token), row);
    const F32 scale = TokenScale(MakeScaleFacts<W>(head_.k_exponent, head_.k_shift), tile_.base[sizeof(TileHead) + token]);
    const Payload payload = PayloadOf(args_.key_kind, tile_.payload[0], tile_.refine[0]);
    const uint32_t e = token % 16, word_in_lane = (e >> 2 & 1) * 2 + (e & 1), vector = e >> 3;
    const uint32_t g = 2 * (token / 16) + (e >> 1 & 1);
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kDim / 32; ++i) {
      // Coordinates 32i + 4g' + word: chunk 2i + g' / 4, codes 4 * (g' % 4) + word.
      const U32 chunk = (W::Lane() >> 4) + 2 * i;
      const U32 quarter = chunk / kGroups;
      const U32 group = chunk - quarter * kGroups;
      const U32 place = quarter * 64u + (16 * code_order_internal::FullGroupLane(g, 0) + 4 * word_in_lane);
      const U32 crumbs = BitsAt(payload.crumbs, group * (2 * kVectorBytes) + place + vector * kVectorBytes);
      const U32 first = BitsAt(payload.first, group * kVectorBytes + place);
      const U32 second = BitsAt(payload.second, group * kVectorBytes + place);
      POLARKV_UNROLL
      for (uint32_t word = 0; word < 4; ++word) {
        const U32 c = ((W::Lane() >> 2) & 3u) * 4u + word;
        row.x[i / 2][i % 2][word] =
            ImageOf<W>(args_.key_image, CodeAt(args_.key_kind, crumbs, first, second, c, vector)) * scale;
      }
    }
  }

  // Logits of columns 2t, 2t + 1 of a token whose key is signs or a polar code, not a record.
  POLARKV_WARP_FUNCTION bool HasSketch(uint32_t token) const {
    return args_.key_query_bytes > 0 && (head_.k_escapes >> token & 1) == 0;
  }
  POLARKV_WARP_FUNCTION void SketchLogits(uint32_t token, uint64_t first_row, F32 (&logit)[2]) const {
    F32 scale = 0.0f;
    if (args_.key_kind == kPolar44) {
      PolarLogits<W, kDim>(args_, tile_.payload[0], token, first_row, logit);
      scale = MakeExponentFacts<W>(head_.k_exponent).factor;
    } else {
      SignLogits<W, kDim>(args_, tile_.payload[0], token, first_row, logit);
      scale = TokenScale(MakeScaleFacts<W>(head_.k_exponent, head_.k_shift), tile_.base[sizeof(TileHead) + token]);
    }
    POLARKV_UNROLL
    for (uint32_t column = 0; column < 2; ++column) {
      logit[column] = logit[column] * scale *
                      W::LoadFloat(args_.key_query_scales + first_row, (W::Lane() & 3u) * 2u + column);
    }
  }

  POLARKV_WARP_FUNCTION void ReadValue(uint32_t token, Row& row) const {
    if ((head_.v_escapes >> token & 1) != 0) {
      return ReadRecord(BitsBelow(head_.k_escapes, 64) + BitsBelow(head_.v_escapes, token), row);
    }
    const F32 scale = TokenScale(MakeScaleFacts<W>(head_.v_exponent, head_.v_shift), (tile_.payload[0] - kTileTokens)[token]);
    const Payload payload = PayloadOf(args_.value_kind, tile_.payload[1], tile_.refine[1]);
    // Lane (g, quarter of the token) of a full group.
    const U32 place = ((W::Lane() >> 4) * 16u + ((W::Lane() >> 2) & 3u) + 4 * (token / 16)) * 16u;
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kDim / 32; ++i) {
      POLARKV_UNROLL
      for (uint32_t word = 0; word < 4; ++word) {
        // Coordinate 32i + 4g + word: group i / 2, vector i % 2.
        const U32 at = place + 4 * word;
        const U32 crumbs = BitsAt(payload.crumbs, at + i * kVectorBytes);
        const U32 first = BitsAt(payload.first, at + i / 2 * kVectorBytes);
        const U32 second = BitsAt(payload.second, at + i / 2 * kVectorBytes);
        const U32 code = CodeAt(args_.value_kind, crumbs, first, second, U32(token % 16), i % 2);
        row.x[i / 2][i % 2][word] = ImageOf<W>(args_.value_image, code) * scale;
      }
    }
  }

 private:
  struct Payload {
    const uint8_t *crumbs, *first, *second;  // null: the codes have no such bits
  };
  POLARKV_WARP_FUNCTION static Payload PayloadOf(int kind, const uint8_t* crumbs, const uint8_t* const (&refine)[2]) {
    if (kind == kTrellis1) return {nullptr, crumbs, nullptr};
    if (kind == kTrellis3) return {crumbs, crumbs + 2 * kPlaneBytes, nullptr};
    return {crumbs, BitsOfKind(kind) > 2 ? refine[0] : nullptr, BitsOfKind(kind) > 3 ? refine[1] : nullptr};
  }
  POLARKV_WARP_FUNCTION static U32 BitsAt(const uint8_t* plane, U32 offset) {
    if (plane == nullptr) return 0u;
    return W::LoadWord(plane, offset);
  }
  POLARKV_WARP_FUNCTION static uint32_t BitsBelow(uint64_t mask, uint32_t bit) {
    return W::PopulationCount(bit == 64 ? mask : mask & ((uint64_t{1} << bit) - 1));
  }
  POLARKV_WARP_FUNCTION static F32 TokenScale(const ScaleFacts<W>& facts, uint8_t code) {
    if (code == 0) return 0.0f;
    return facts.factor * W::Exp2(F32((static_cast<float>(code) - 255.0f) * facts.step));
  }
  // Code or window of number c of an atom in the given vector (code_order.h, trellis_code.h).
  POLARKV_WARP_FUNCTION static U32 CodeAt(int kind, U32 crumbs, U32 first, U32 second, U32 c, uint32_t vector) {
    const U32 n = U32(15u) - c;
    if (kind == kTrellis1) return RotateRightBy(first, n + 16 * (1 - vector)) & 15u;
    if (kind == kTrellis2) return RotateRightBy(crumbs, n * 2u) & 15u;
    const U32 crumb = W::ShiftRight(crumbs, n * 2u) & 3u;
    if (kind == kTrellis3) {
      return (crumb << 1) | LowBit(first, n, vector) | (LowBit(first, (n + 1u) & 15u, vector) << 3);
    }
    const U32 at = (n >> 1) * 4u + ((n & 1u) ^ 1u) * 2u;
    if (kind == kTurbo2) return crumb;
    const U32 three = (crumb << 1) | (W::ShiftRight(first, at + vector) & 1u);
    if (kind == kTurbo3) return three;
    return (three << 1) | (W::ShiftRight(second, at + (1 - vector)) & 1u);
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
  // Number `of_tile` of the tile's. Where the layer has no such record, a vector of zeros, as on the CPU: a payload may be
  // attended to that was never verified.
  POLARKV_WARP_FUNCTION void ReadRecord(uint32_t of_tile, Row& row) const {
    const uint32_t index = head_.first_escape + of_tile;
    if (index >= page_.escape_records) {
      row = Row{};
      return;
    }
    const uint8_t* const record = page_.escapes + uint64_t{index} * (sizeof(VectorRecordHead) + 2 * kDim);
    const int32_t exponent = reinterpret_cast<const VectorRecordHead*>(record)->exponent;
    // The format has -192 to 127; what TimesPower holds is wider.
    const typename W::I32 power = exponent < -252 ? -252 : exponent > 254 ? 254 : exponent;
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kDim / 32; ++i) {
      POLARKV_UNROLL
      for (uint32_t word = 0; word < 4; ++word) {
        row.x[i / 2][i % 2][word] =
            TimesPower<W>(W::LoadHalf(record + sizeof(VectorRecordHead), (W::Lane() & 28u) + (32 * i + word)),
                          F32(args_.output_unit), power);
      }
    }
    ApplySigns<W, kDim>(args_.signs, row);
    Hadamard<W, kDim>(row);
  }

  const AttentionArgs& args_;
  const TileAddress tile_;
  const PageLayer& page_;
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

// What the key mean adds to that for a token whose value alone is raw. A lane has the pairs 32i + 4g + word of its columns.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void AddRawMean(const AttentionArgs& args, const uint8_t* record, uint64_t position,
                                      uint64_t first_row, typename W::F32 (&logit)[2]) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const U32 g = W::Lane() >> 2;
  const auto* const queries = reinterpret_cast<const uint8_t*>(args.mean_queries + first_row * kDim);
  F32 sum[2] = {0.0f, 0.0f};
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 64; ++i) {
    F32 mean[4][2];
    for (uint32_t word = 0; word < 4; ++word) {
      const U32 pair = g * 4u + (32 * i + word);
      const PairPlace<W> place(args.interleaved, args.rope_dims, kDim, pair);
      const U32 low = W::LoadWord(args.mean_table, pair * 8u + MeanTable<kDim>::kPhases);
      const U32 high = W::LoadWord(args.mean_table, pair * 8u + (MeanTable<kDim>::kPhases + 4));
      const auto turn = TurnOf<W>(UpperTurns<W>(low, high, U32(static_cast<uint32_t>(position)),
                                                U32(static_cast<uint32_t>(position >> 32))));
      mean[word][0] = W::LoadHalf(record + sizeof(VectorRecordHead), place.first);
      mean[word][1] = W::LoadHalf(record + sizeof(VectorRecordHead), place.second);
      TurnPair<W>(turn, mean[word][0], mean[word][1]);
    }
    POLARKV_UNROLL
    for (uint32_t column = 0; column < 2; ++column) {
      const U32 row = (W::Lane() & 3u) * 2u + column;
      POLARKV_UNROLL
      for (uint32_t second = 0; second < 2; ++second) {
        const U32 vector = (((g >> 2) + 2 * i) * 2u + second) * 32u + row * 4u + (g & 3u);
        const Words4<W> q = W::LoadVector(queries, vector * 16u);
        for (int word = 0; word < 4; ++word) {
          sum[column] = W::Fma(W::FloatOfBits(q.w[word]), mean[word][second], sum[column]);
        }
      }
    }
  }
  const F32 mean_unit = TimesRecordPower<W>(record, F32(1.0f));
  for (uint32_t column = 0; column < 2; ++column) {
    const F32 unit = W::LoadFloat(args.mean_units + first_row, (W::Lane() & 3u) * 2u + column) * mean_unit;
    logit[column] = W::Fma(SumOverRow<W>(sum[column]), W::Min(unit, F32(1e25f)), logit[column]);
  }
}

// Adds the tokens of `mask` to the state of eight rows; `with_mean`: those whose keys are coded without it.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void AddRawTokens(const AttentionArgs& args, const RawTokenReader<W, kDim>& reader,
                                        const MeanPlace& mean, uint64_t mask, uint64_t with_mean, uint64_t first_row,
                                        const typename W::F32 (&query_scale)[2], OutputState<W, kDim>& state) {
  using F32 = typename W::F32;
  for (uint32_t token = 0; token < 64; ++token) {
    if ((mask >> token & 1) == 0) continue;
    RowFragment<W, kDim> key, value;
    reader.ReadValue(token, value);
    F32 logit[2];
    if (reader.HasSketch(token)) {
      reader.SketchLogits(token, first_row, logit);
    } else {
      reader.ReadKey(token, key);
      POLARKV_UNROLL
      for (uint32_t column = 0; column < 2; ++column) {
        logit[column] = RawLogit<W, kDim>(args, first_row, column, key, query_scale[column]);
      }
    }
    if ((with_mean >> token & 1) != 0) {
      AddRawMean<W, kDim>(args, mean.record, mean.position + token, first_row, logit);
    }
    // Infinities are of sums that left fp32 on their way, not always of the logit: NaN, so that no weight of 0 hides them.
    POLARKV_UNROLL
    for (auto& x : logit) x = x + (x - x);
    RaiseReference<W, kDim>(logit, state);
    POLARKV_UNROLL
    for (int column = 0; column < 2; ++column) {
      const F32 weight = W::Exp2(logit[column] - state.reference[column]);
      // The lanes' shares of the sum add up; one lane of a row has this token's.
      state.sum[column] = state.sum[column] + W::Select(typename W::U32(4u) > W::Lane(), weight, F32(0.0f));
      POLARKV_UNROLL
      for (int i = 0; i < kDim / 8; ++i) {
        F32& o = state.o[i / 8][i % 4][2 * (i / 4 % 2) + column];
        o = W::Fma(weight, value.x[i / 8][i / 4 % 2][i % 4], o);
      }
    }
  }
}

// All raw tokens of eight rows' sequence, one partial result for each line, after those of the warps. Pages without
// escape records cost a look at the page table.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void AttendRawTokens(const AttentionArgs& args, uint32_t index) {
  const RowsOfHead rows = RowsOfHead::At(args, index);
  const uint64_t first_row = rows.FirstRow(args);
  OutputState<W, kDim> state;
  state.Clear();
  typename W::F32 query_scale[2];
  for (uint32_t column = 0; column < 2; ++column) {
    query_scale[column] = W::LoadFloat(args.query_scales + first_row, (W::Lane() & 3u) * 2u + column);
  }
  EscapedPages<W> pages(args, rows.sequence);
  UnitCursor at{rows.sequence, rows.kv_head, rows.eight / args.row_groups, 0, args.SequenceTiles(rows.sequence)};
  for (at.tile = pages.NextTile(0); at.tile < at.tiles; at.tile = pages.NextTile(at.tile + 1)) {
    const PageLayer& page = FindPage(args, at);
    const TilePlace place = FindTile(args, at);
    const auto& head = *reinterpret_cast<const TileHead*>(place.address.base);
    const uint64_t valid = place.tokens < 64 ? (uint64_t{1} << place.tokens) - 1 : ~uint64_t{0};
    const uint64_t mask = (head.k_escapes | head.v_escapes) & valid;
    if (mask == 0) continue;
    const RawTokenReader<W, kDim> reader(args, place.address, page);
    const MeanPlace mean = args.mean_table == nullptr ? MeanPlace{} : FindMean(args, at);
    const uint64_t with_mean = mean.record == nullptr ? 0 : head.k_mean & ~head.k_escapes;
    AddRawTokens<W, kDim>(args, reader, mean, mask, with_mean, first_row, query_scale, state);
  }
  StorePartial<W, kDim>(args, RawSlot(args, at.Line(args)) * args.row_groups + rows.eight % args.row_groups, state);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_RAW_TOKENS_H_
