// What a launch of kernels/cuda/encode.h is made of, on the host: the same warp programs, tile after tile, on emulated
// lanes.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_H_

#include <array>
#include <cstring>

#include "gtest/gtest.h"
#include "kernels/cuda/encode_keys.h"
#include "tests/kernels/cuda/host_warp.h"

namespace polarkv::cuda {

template <class Visit>
void ForEachTile(const EncodeArgs& args, const Visit& visit) {
  EncodeCursor at{};
  for (at.block = 0; at.block < args.blocks; ++at.block) {
    for (at.layer = 0; at.layer < args.layers; ++at.layer) {
      for (at.head = 0; at.head < args.kv_heads; ++at.head) {
        for (at.tile = 0; at.tile < args.tiles_per_block; ++at.tile) visit(at);
      }
    }
  }
}

// A quarter's rows to its stage, as asynchronous copies do it.
template <class Stage>
void CopyRows(const uint8_t* const* rows, uint8_t* stage) {
  for (uint32_t lane = 0; lane < 32; ++lane) {
    Stage::Fill(lane, rows, [&](uint32_t offset, const uint8_t* from) {
      EXPECT_LE(offset + 16, Stage::kBytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(from) % 16, 0u);
      if (from == nullptr) {
        std::memset(stage + offset, 0, 16);
      } else {
        std::memcpy(stage + offset, from, 16);
      }
    });
  }
}

// EncodeKernel of encode_kernels.cuh.
template <int kDim, ElementType kType, int kKind, int kSide>
void EncodeSideOnHost(const EncodeArgs& args, const MeanArgs& means) {
  using Stage = RowStage<kDim, kType>;
  const PermuteTables<kKind> tables = MakePermuteTables<kKind>(ImagesOfKind(static_cast<CodeKind>(kKind)).image);
  ForEachTile(args, [&](const EncodeCursor& at) {
    const EncodedPlace& place = args.places[at.block];
    TileTask task;
    if (!FindTileTask(args, place, at, task)) return;
    TileScratch scratch;
    std::memset(&scratch, 0xA5, sizeof scratch);
    for (uint32_t token = 0; token < kTileTokens; ++token) scratch.rows[token] = FindRow(args, place, at, task, token);
    const uint64_t counted = LowestTokens(task.tokens) & ~LowestTokens(task.raw);
    for (uint32_t quarter = 0; quarter < kQuarters; ++quarter) {
      alignas(16) std::array<uint8_t, Stage::kBytes> stage;
      stage.fill(0xFF);  // NaN, so that what is read before it was written shows
      bool staged = false;
      if constexpr (kTakesMeansOff<kType, kSide>) {
        staged = means.source != MeanSource::kNone;
        if (staged) StageKeysWithoutMean<HostWarp, kDim>(args, means, at, counted, quarter, stage.data(), scratch);
      }
      if (!staged) CopyRows<Stage>(scratch.rows + quarter * kQuarterTokens, stage.data());
      EncodeQuarter<HostWarp, kDim, kType, kKind, kSide>(args, tables, quarter, counted, stage.data(),
                                                         FindSidePlanes<kDim>(args, place, at, task), scratch);
    }
    TileMeans of_tile;
    if constexpr (kTakesMeansOff<kType, kSide>) of_tile = TileMeansOf<kDim>(args, means, at, scratch);
    FinishTile<HostWarp>(args, task, scratch, of_tile);
  });
}

// Kinds::Encode<kDim, kType, kSide>(kind, args, means): one side as a launch would, false where the tests do not emulate
// it.
template <class Kinds, int kDim, ElementType kType>
bool EncodeTypedOnHost(CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
  return args.side == 0 ? Kinds::template Encode<kDim, kType, 0>(kind, args, means)
                        : Kinds::template Encode<kDim, kType, 1>(kind, args, means);
}

template <class Kinds, int kDim>
bool EncodeDimOnHost(CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
  const ElementType type = StagedType(args, means);
  if (type == ElementType::kF16) return EncodeTypedOnHost<Kinds, kDim, ElementType::kF16>(kind, args, means);
  if (type == ElementType::kBF16) return EncodeTypedOnHost<Kinds, kDim, ElementType::kBF16>(kind, args, means);
  return EncodeTypedOnHost<Kinds, kDim, ElementType::kF32>(kind, args, means);
}

template <class Kinds>
bool EncodeKindsOnHost(uint32_t head_dim, CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
  if (head_dim == 64) return EncodeDimOnHost<Kinds, 64>(kind, args, means);
  if (head_dim == 128) return EncodeDimOnHost<Kinds, 128>(kind, args, means);
  return EncodeDimOnHost<Kinds, 256>(kind, args, means);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_H_
