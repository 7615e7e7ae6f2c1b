// The kernels of kernels/cuda/encode_means_kernels.cuh on the host, thread block after thread block, on emulated lanes.
#include <array>
#include <cstring>
#include <vector>

#include "kernels/cuda/encode_keys.h"
#include "kernels/cuda/mean_decision.h"
#include "kernels/cuda/mean_turns.h"
#include "tests/kernels/cuda/host_encode.h"

namespace polarkv::cuda {
namespace {

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

template <int kDim>
void LookOnHost(const EncodeArgs& args, const MeanArgs& means, uint32_t look) {
  ForEachTile(args, [&](const EncodeCursor& at) {
    const TileLook<kDim> tile(args, means, at, look);
    if (!tile.Takes()) return;
    SumScratch<kDim> scratch;
    std::memset(&scratch, 0xFF, sizeof scratch);
    for (uint32_t token = 0; token < kTileTokens; ++token) scratch.rows[token] = tile.Row(token);
    tile.template Sum<HostWarp>(scratch);
  });
  std::array<double, kDim> shared;
  for (uint32_t block = 0; block < args.blocks; ++block) {
    for (uint32_t layer = 0; layer < args.layers; ++layer) {
      const LayerLook<kDim> at(args, means, block, layer, look);
      if (!at.Takes()) continue;
      for (uint32_t head = 0; head < args.kv_heads; ++head) at.template Combine<HostWarp>(head, shared.data());
      const bool pays = at.Pays();
      for (uint32_t head = 0; head < args.kv_heads; ++head) at.template Store<HostWarp>(head, pays, shared.data());
    }
  }
}

template <int kDim, int kKind>
void EncodeTilesOnHost(const EncodeArgs& args, const MeanArgs& means) {
  using Stage = RowStage<kDim, ElementType::kF32>;
  const PermuteTables<kKind> tables = MakePermuteTables<kKind>(ImagesOfKind(static_cast<CodeKind>(kKind)).image);
  ForEachTile(args, [&](const EncodeCursor& at) {
    const EncodedPlace& place = args.places[at.block];
    TileTask task;
    if (!FindTileTask(args, place, at, task)) return;
    TileScratch scratch;
    std::memset(&scratch, 0xA5, sizeof scratch);
    for (uint32_t token = 0; token < kTileTokens; ++token) scratch.rows[token] = FindRow(args, place, at, task, token);
    uint32_t taken[kQuarters];
    for (uint32_t quarter = 0; quarter < kQuarters; ++quarter) {
      alignas(16) std::array<uint8_t, Stage::kBytes> stage;
      stage.fill(0xFF);
      taken[quarter] =
          EncodeKeysQuarter<HostWarp, kDim, kKind>(args, means, tables, at, task, quarter, stage.data(), scratch);
    }
    FinishTile<HostWarp>(args, task, scratch, TileMeansOf<kDim>(args, means, at, taken));
  });
}

// All head dims with turbo4, the other codes with one of them.
template <int kDim>
LaunchError KeysOnHost(CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
  if (AreOwn(means.source)) {
    for (uint32_t look = 0; look < 2; ++look) LookOnHost<kDim>(args, means, look);
  }
  if (kind == kTurbo4) {
    EncodeTilesOnHost<kDim, kTurbo4>(args, means);
    return LaunchError::kNone;
  }
  if constexpr (kDim == 128) {
    if (kind == kTurbo3) EncodeTilesOnHost<kDim, kTurbo3>(args, means);
    if (kind == kTurbo2) EncodeTilesOnHost<kDim, kTurbo2>(args, means);
    if (kind == kTrellis3) EncodeTilesOnHost<kDim, kTrellis3>(args, means);
    if (kind == kTrellis2) EncodeTilesOnHost<kDim, kTrellis2>(args, means);
    if (kind == kTrellis1) EncodeTilesOnHost<kDim, kTrellis1>(args, means);
    return LaunchError::kNone;
  }
  return LaunchError::kUnsupportedShape;
}

}  // namespace

LaunchError EncodeKeysWithMeansOnHost(const EncodeCodec& codec, const EncodeBatch& batch) {
  const EncodeArgs args = MakeEncodeArgs(codec, batch, KvSide::kKey);
  const MeanArgs means = MakeMeanArgs(codec, batch);
  for (uint32_t row = 0; means.pairs != 0 && row < TurnRows(args); ++row) StoreTurns<HostWarp>(args, means, row);
  if (codec.head_dim == 64) return KeysOnHost<64>(codec.key_kind, args, means);
  if (codec.head_dim == 128) return KeysOnHost<128>(codec.key_kind, args, means);
  return KeysOnHost<256>(codec.key_kind, args, means);
}

}  // namespace polarkv::cuda
