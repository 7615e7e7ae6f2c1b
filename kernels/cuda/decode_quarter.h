// A quarter of a tile, 16 tokens of one side, by one warp: words of the tile's planes -> rows in its shared memory, as
// they are to lie in device memory.
#ifndef POLARKV_KERNELS_CUDA_DECODE_QUARTER_H_
#define POLARKV_KERNELS_CUDA_DECODE_QUARTER_H_

#include "codec/block_format.h"
#include "kernels/cuda/decode_args.h"
#include "kernels/cuda/decode_means.h"
#include "kernels/cuda/float_power.h"
#include "kernels/cuda/quarter_codes.h"

namespace polarkv::cuda {

// One side of one tile of one block.
struct DecodeTask {
  const uint8_t* base;  // the tile in the base plane
  CodePlanesOfSide planes;
  const uint8_t* escapes;   // the layer's records
  uint32_t escape_records;  // how many there are, whatever the tile says
  uint32_t tokens;          // 1 to 64
  const uint8_t* mean;      // the head's record; null: no token lacks it
  uint64_t position;        // of the tile's first token
};

// Where the row of a token of the tile goes; shared memory. Null beyond the tile's tokens.
struct DecodeScratch {
  uint8_t* rows[kTileTokens];
};

// What multiplies the integers of the lane's token: f32(scale * RotationScale), rounded once, subnormal numbers
// included.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 FactorOf(const DecodeArgs& args, ScaleRange range, typename W::U32 code) {
  using I32 = typename W::I32;
  using F32 = typename W::F32;
  const I32 step = (W::AsI32(code) + int{range.base}) << int{range.shift & 7};
  const F32 octave = W::LoadFloat(args.octave, W::BitsOf(step) & static_cast<uint32_t>(kScaleSteps - 1));
  // Below 2^-200 all is 0, above 2^127 no scale is; a tile may say what it likes.
  const I32 power = W::Max(-W::Max(-(step >> kScaleStepBits), I32(-127)), I32(-200));
  const F32 factor = TimesPower<W>(octave, F32(args.rotation_scale), power);
  return W::Select(code > typename W::U32(0u), factor, F32(0.0f));
}

// The escaped tokens among the quarter's 16, and where their records are.
template <class W>
struct QuarterEscapes {
  bool any;
  typename W::Bool escaped, recorded;
  typename W::U32 record;  // index, if recorded
};

template <class W>
POLARKV_WARP_FUNCTION QuarterEscapes<W> FindEscapes(const DecodeArgs& args, const DecodeTask& task,
                                                    const TileHead& head, uint32_t quarter) {
  using U32 = typename W::U32;
  const uint64_t mask = args.side == 0 ? head.k_escapes : head.v_escapes;
  const auto here = static_cast<uint32_t>(mask >> (16 * quarter) & 0xFFFF);
  const uint64_t before = mask & ((uint64_t{1} << (16 * quarter)) - 1);
  const uint32_t first = head.first_escape + W::PopulationCount(before) +
                         (args.side == 0 ? 0 : W::PopulationCount(head.k_escapes));
  QuarterEscapes<W> escapes;
  escapes.any = here != 0;
  escapes.escaped = (W::ShiftRight(U32(here), QuarterToken<W>()) & 1u) > U32(0u);
  const U32 below = W::ShiftLeft(U32(1u), QuarterToken<W>()) - 1u;
  escapes.record = W::CountBits(below & here) + first;
  escapes.recorded = W::And(escapes.escaped, U32(task.escape_records) > escapes.record);
  return escapes;
}

// Puts escaped tokens' numbers in the place of what their codes say: those of the lane's chunk number i.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void ReadRecords(const DecodeTask& task, const QuarterEscapes<W>& escapes, uint32_t i,
                                       typename W::F32 (&x)[16]) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const uint8_t* const records = task.escapes;
  if (records == nullptr) return;  // factor 0 has made zeros of them
  const U32 at = W::Select(escapes.recorded, escapes.record, U32(0u)) *
                 static_cast<uint32_t>(sizeof(VectorRecordHead) + 2 * kDim);
  const U32 exponent = W::LoadShort(records, at);
  const auto power = W::AsI32(exponent << 16) >> 16;
  POLARKV_UNROLL
  for (uint32_t v = 0; v < 2; ++v) {
    const Words4<W> words = W::LoadVector(
        records, at + ChunkParity<W>() * 32u + (static_cast<uint32_t>(sizeof(VectorRecordHead)) + 64 * i + 16 * v));
    POLARKV_UNROLL
    for (uint32_t w = 0; w < 4; ++w) {
      F32& low = x[8 * v + 2 * w];
      F32& high = x[8 * v + 2 * w + 1];
      low = W::Select(escapes.recorded, TimesPower<W>(W::LowHalf(words.w[w]), F32(1.0f), power), low);
      high = W::Select(escapes.recorded, TimesPower<W>(W::HighHalf(words.w[w]), F32(1.0f), power), high);
    }
  }
}

POLARKV_HOST_DEVICE constexpr float LargestElement(ElementType type) {
  return type == ElementType::kF16 ? 65504.0f : type == ElementType::kBF16 ? 0x1.FEp127f : 0x1.FFFFFEp127f;
}

// To the type's largest finite number, and into the stage.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void StoreChunk(typename W::F32 (&x)[16], uint32_t i, uint8_t* stage) {
  using U32 = typename W::U32;
  constexpr uint32_t kBytes = ElementBytes(kType);
  constexpr float kLimit = LargestElement(kType);
  POLARKV_UNROLL
  for (auto& value : x) value = W::Max(W::Min(value, typename W::F32(kLimit)), typename W::F32(-kLimit));
  const U32 at =
      QuarterToken<W>() * RowStage<kDim, kType>::kStride + ChunkParity<W>() * (16 * kBytes) + i * 32 * kBytes;
  POLARKV_UNROLL
  for (uint32_t v = 0; v < kBytes; ++v) {
    Words4<W> words;
    POLARKV_UNROLL
    for (uint32_t w = 0; w < 4; ++w) {
      if constexpr (kType == ElementType::kF32) {
        words.w[w] = W::AsU32(x[4 * v + w]);
      } else {
        words.w[w] = W::template PackElements<kType>(x[8 * v + 2 * w], x[8 * v + 2 * w + 1]);
      }
    }
    W::StoreVectorIf(true, stage, at + 16 * v, words);
  }
}

// `mean_stage`: MeanRows<kDim>::kBytes, of keys with means.
template <class W, int kDim, ElementType kType, int kKind, int kSide>
POLARKV_WARP_FUNCTION void DecodeQuarter(const DecodeArgs& args, const PermuteTables<kKind>& tables,
                                         const DecodeTask& task, uint32_t quarter, uint8_t* stage,
                                         uint8_t* mean_stage) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  PackedRow<W, kDim> row;
  VisitImages<W, kDim, kType, kKind, kSide>(
      task.planes, tables, quarter, stage,
      [&row](uint32_t chunk, int first, int step, const CodeOperand<kKind, W>& images) {
        U32 words[4];
        PackImages<kKind, W>(images, words);
        POLARKV_UNROLL
        for (int k = 0; k < 4; ++k) row.v[chunk][first + step * k] = words[k];
      });
  HadamardPacked<W, kDim>(row);

  const auto& head = *reinterpret_cast<const TileHead*>(task.base);
  const QuarterEscapes<W> escapes = FindEscapes<W>(args, task, head, quarter);
  QuarterMeans<W> means;
  if constexpr (kSide == 0) {
    means = FindMeans<W>(head, task.mean, quarter);
    if (means.any) TurnMeans<W, kDim>(args.means, task.mean, task.position + quarter * kQuarterTokens, mean_stage);
  }
  const ScaleRange range = {kSide == 0 ? head.k_exponent : head.v_exponent, kSide == 0 ? head.k_shift : head.v_shift};
  const U32 code = W::LoadByte(task.base, QuarterToken<W>() + (args.scales + 16 * quarter));
  const F32 factor = W::Select(escapes.escaped, F32(0.0f), FactorOf<W>(args, range, code));
  POLARKV_UNROLL
  for (uint32_t i = 0; i < PackedRow<W, kDim>::kChunks; ++i) {
    const U32 negate = W::ShiftRight(U32(args.signs[i]), ChunkParity<W>() * 16u);
    F32 x[16];
    POLARKV_UNROLL
    for (uint32_t k = 0; k < 8; ++k) {
      // The butterfly at stride 8 is that of a word's halves.
      const auto word = W::AsI32(row.v[i][k]);
      const auto lower = (word << 16) >> 16;
      const auto upper = (word - lower) >> 16;
      x[k] = W::ToFloat(upper + lower) * factor;
      x[k + 8] = W::ToFloat(upper - lower) * factor;
    }
    POLARKV_UNROLL
    for (uint32_t c = 0; c < 16; ++c) {
      x[c] = W::FloatOfBits(W::AsU32(x[c]) ^ ((negate << static_cast<int>(31 - c)) & 0x80000000u));
    }
    if (means.any) AddMeans<W, kDim>(means, i, mean_stage, x);
    if (escapes.any) ReadRecords<W, kDim>(task, escapes, i, x);
    StoreChunk<W, kDim, kType>(x, i, stage);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DECODE_QUARTER_H_
