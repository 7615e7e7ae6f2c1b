// A launch of kernels/cuda/decode.h on the host: the same warp programs, tile after tile, on emulated lanes.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_DECODE_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_DECODE_H_

#include <array>
#include <cstring>

#include "kernels/cuda/decode_tile.h"
#include "tests/kernels/cuda/decode_fixture.h"
#include "tests/kernels/cuda/host_warp.h"

namespace polarkv::cuda {

template <int kDim, ElementType kType, int kKind, int kSide>
void DecodeSideOnHost(const int8_t (&image)[16], const DecodeArgs& args) {
  using Stage = RowStage<kDim, kType>;
  const PermuteTables<kKind> tables = MakePermuteTables<kKind>(image);
  DecodeCursor at{};
  for (at.block = 0; at.block < args.blocks; ++at.block) {
    for (at.layer = 0; at.layer < args.layers; ++at.layer) {
      for (at.head = 0; at.head < args.kv_heads; ++at.head) {
        for (at.tile = 0; at.tile < args.tiles_per_block; ++at.tile) {
          DecodeTask task;
          if (!FindDecodeTask(args, at, task)) continue;
          DecodeScratch scratch;
          for (uint32_t token = 0; token < kTileTokens; ++token)
            scratch.rows[token] = FindTarget(args, at, task, token);
          for (uint32_t first = 0; first < task.tokens; first += kQuarterTokens) {
            alignas(16) std::array<uint8_t, Stage::kBytes> stage;
            stage.fill(0xA5);
            alignas(16) std::array<uint8_t, MeanRows<kDim>::kBytes> mean_stage;
            mean_stage.fill(0xA5);
            DecodeQuarter<HostWarp, kDim, kType, kKind, kSide>(args, tables, task, first / kQuarterTokens,
                                                               stage.data(), mean_stage.data());
            for (uint32_t lane = 0; lane < 32; ++lane) {
              DrainRows<kDim, kType>(lane, scratch.rows + first, [&](uint8_t* to, uint32_t offset) {
                EXPECT_LE(offset + 16, Stage::kBytes);
                EXPECT_EQ(reinterpret_cast<uintptr_t>(to) % 16, 0u);
                std::memcpy(to, stage.data() + offset, 16);
              });
            }
          }
        }
      }
    }
  }
}

// Of the rows' type only the stores depend; so emulation has all codecs and head dims with one type, and the others
// once.
template <int kDim, ElementType kType, int kSide>
LaunchError DecodeKindOnHost(CodeKind kind, const int8_t (&image)[16], const DecodeArgs& args) {
  if constexpr (kType == ElementType::kF32 || kDim == 128) {
    if (kind == kTurbo4) {
      DecodeSideOnHost<kDim, kType, kTurbo4, kSide>(image, args);
      return LaunchError::kNone;
    }
  }
  if constexpr (kType == ElementType::kF32) {
    if (kind == kTurbo2) DecodeSideOnHost<kDim, kType, kTurbo2, kSide>(image, args);
    if (kind == kTurbo3) DecodeSideOnHost<kDim, kType, kTurbo3, kSide>(image, args);
    if (kind == kTrellis1) DecodeSideOnHost<kDim, kType, kTrellis1, kSide>(image, args);
    if (kind == kTrellis2) DecodeSideOnHost<kDim, kType, kTrellis2, kSide>(image, args);
    if (kind == kTrellis3) DecodeSideOnHost<kDim, kType, kTrellis3, kSide>(image, args);
    return LaunchError::kNone;
  }
  return LaunchError::kUnsupportedShape;
}

template <int kDim, ElementType kType>
LaunchError DecodeTypedOnHost(const AttentionCodec& codec, const DecodeBatch& batch) {
  const LaunchError error = DecodeKindOnHost<kDim, kType, 0>(codec.key_kind, codec.key_image,
                                                             MakeDecodeArgs(codec, batch, KvSide::kKey));
  if (error != LaunchError::kNone) return error;
  return DecodeKindOnHost<kDim, kType, 1>(codec.value_kind, codec.value_image,
                                          MakeDecodeArgs(codec, batch, KvSide::kValue));
}

template <int kDim>
LaunchError DecodeDimOnHost(const AttentionCodec& codec, const DecodeBatch& batch) {
  if (batch.rows.type == ElementType::kF16) return DecodeTypedOnHost<kDim, ElementType::kF16>(codec, batch);
  if (batch.rows.type == ElementType::kBF16) return DecodeTypedOnHost<kDim, ElementType::kBF16>(codec, batch);
  return DecodeTypedOnHost<kDim, ElementType::kF32>(codec, batch);
}

inline LaunchError DecodeOnHost(const AttentionCodec& codec, const DecodeBatch& batch) {
  if (const LaunchError error = CheckDecode(codec, batch); error != LaunchError::kNone) return error;
  if (codec.head_dim == 64) return DecodeDimOnHost<64>(codec, batch);
  if (codec.head_dim == 128) return DecodeDimOnHost<128>(codec, batch);
  return DecodeDimOnHost<256>(codec, batch);
}

// A whole block, as decode_fixture.h has it decoded.
struct HostDecoder {
  static void Decode(const AttentionCodec& codec, const BlockView& view, Tensors& rows) {
    std::vector<PageLayer> pages;
    const uint8_t* const profile = view.profile() == nullptr ? nullptr : view.profile()->bytes().data();
    for (uint32_t layer = 0; layer < view.spec().layers; ++layer) {
      pages.push_back(*PageLayerOf(view, layer, view.bytes().data(), profile));
    }
    const RowPlace place{rows.table.data(), rows.offset, 0};
    DecodeBatch batch;
    batch.rows = rows.rows;
    batch.pages = pages.data();
    batch.page_stride = view.spec().layers;
    batch.places = &place;
    batch.blocks = 1;
    batch.tiles_per_block = view.spec().tiles();
    batch.layers = view.spec().layers;
    batch.kv_heads = view.spec().kv_heads;
    ASSERT_EQ(DecodeOnHost(codec, batch), LaunchError::kNone);
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_DECODE_H_
