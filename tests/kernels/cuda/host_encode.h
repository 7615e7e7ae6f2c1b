// A launch of kernels/cuda/encode.h on the host: the same warp programs, tile after tile, on emulated lanes.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_H_

#include <array>
#include <cstring>

#include "kernels/cuda/encode_tile.h"
#include "tests/kernels/cuda/host_encode_launch.h"
#include "tests/kernels/cuda/host_warp.h"

namespace polarkv::cuda {

// The keys of a launch with means: host_encode_means.cc.
LaunchError EncodeKeysWithMeansOnHost(const EncodeCodec& codec, const EncodeBatch& batch);

template <int kDim, ElementType kType, int kKind, int kSide>
void EncodeSideOnHost(const EncodeArgs& args) {
  using Stage = RowStage<kDim, kType>;
  const PermuteTables<kKind> tables = MakePermuteTables<kKind>(ImagesOfKind(static_cast<CodeKind>(kKind)).image);
  EncodeCursor at{};
  for (at.block = 0; at.block < args.blocks; ++at.block) {
    for (at.layer = 0; at.layer < args.layers; ++at.layer) {
      for (at.head = 0; at.head < args.kv_heads; ++at.head) {
        for (at.tile = 0; at.tile < args.tiles_per_block; ++at.tile) {
          const EncodedPlace& place = args.places[at.block];
          TileTask task;
          if (!FindTileTask(args, place, at, task)) continue;
          TileScratch scratch;
          std::memset(&scratch, 0xA5, sizeof scratch);
          const uint64_t counted = LowestTokens(task.tokens) & ~LowestTokens(task.raw);
          for (uint32_t token = 0; token < kTileTokens; ++token) {
            scratch.rows[token] = FindRow(args, place, at, task, token);
          }
          for (uint32_t quarter = 0; quarter < kQuarters; ++quarter) {
            alignas(16) std::array<uint8_t, Stage::kBytes> stage;
            stage.fill(0xA5);
            for (uint32_t lane = 0; lane < 32; ++lane) {
              Stage::Fill(lane, scratch.rows + quarter * kQuarterTokens, [&](uint32_t offset, const uint8_t* from) {
                EXPECT_LE(offset + 16, Stage::kBytes);
                EXPECT_EQ(reinterpret_cast<uintptr_t>(from) % 16, 0u);
                if (from == nullptr) {
                  std::memset(stage.data() + offset, 0, 16);
                } else {
                  std::memcpy(stage.data() + offset, from, 16);
                }
              });
            }
            EncodeQuarter<HostWarp, kDim, kType, kKind, kSide>(args, tables, quarter, counted, stage.data(),
                                                               FindSidePlanes<kDim>(args, place, at, task), scratch);
          }
          FinishTile<HostWarp>(args, task, scratch);
        }
      }
    }
  }
}

// Which kinds of codes a test emulates, and with which types of numbers: on these only the loads depend, so that all head
// dims have bf16, and one the others.
struct TurboKinds {
  template <int kDim, ElementType kType, int kSide>
  static bool Encode(CodeKind kind, const EncodeArgs& args) {
    if constexpr (kType == ElementType::kBF16 || kDim == 128) {
      if (kind == kTurbo4) return EncodeSideOnHost<kDim, kType, kTurbo4, kSide>(args), true;
    }
    if constexpr (kType == ElementType::kBF16) {
      if (kind == kTurbo3) return EncodeSideOnHost<kDim, kType, kTurbo3, kSide>(args), true;
      if (kind == kTurbo2) return EncodeSideOnHost<kDim, kType, kTurbo2, kSide>(args), true;
    }
    return false;
  }
};

template <class Kinds, int kDim, ElementType kType>
LaunchError EncodeTypedOnHost(const EncodeCodec& codec, const EncodeBatch& batch) {
  if (batch.means.source != MeanSource::kNone) {
    const LaunchError error = EncodeKeysWithMeansOnHost(codec, batch);
    if (error != LaunchError::kNone) return error;
  } else if (!Kinds::template Encode<kDim, kType, 0>(codec.key_kind, MakeEncodeArgs(codec, batch, KvSide::kKey))) {
    return LaunchError::kUnsupportedShape;
  }
  const EncodeArgs values = MakeEncodeArgs(codec, batch, KvSide::kValue);
  return Kinds::template Encode<kDim, kType, 1>(codec.value_kind, values) ? LaunchError::kNone
                                                                          : LaunchError::kUnsupportedShape;
}

template <class Kinds, int kDim>
LaunchError EncodeDimOnHost(const EncodeCodec& codec, const EncodeBatch& batch) {
  if (batch.rows.type == ElementType::kF16) return EncodeTypedOnHost<Kinds, kDim, ElementType::kF16>(codec, batch);
  if (batch.rows.type == ElementType::kBF16) return EncodeTypedOnHost<Kinds, kDim, ElementType::kBF16>(codec, batch);
  return EncodeTypedOnHost<Kinds, kDim, ElementType::kF32>(codec, batch);
}

template <class Kinds>
LaunchError EncodeOnHost(const EncodeCodec& codec, const EncodeBatch& batch) {
  if (const LaunchError error = CheckEncode(codec, batch); error != LaunchError::kNone) return error;
  if (codec.head_dim == 64) return EncodeDimOnHost<Kinds, 64>(codec, batch);
  if (codec.head_dim == 128) return EncodeDimOnHost<Kinds, 128>(codec, batch);
  return EncodeDimOnHost<Kinds, 256>(codec, batch);
}

template <class Kinds>
using HostEncoder = HostBackendOf<EncodeOnHost<Kinds>>;

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_H_
