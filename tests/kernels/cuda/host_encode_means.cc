// The kernels of kernels/cuda/encode_means_kernels.cuh on the host, thread block after thread block, on emulated lanes.
#include <array>
#include <cstring>

#include "kernels/cuda/mean_decision.h"
#include "kernels/cuda/mean_turns.h"
#include "tests/kernels/cuda/host_encode.h"
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

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

template <int kDim>
void OwnMeansOnHost(const EncodeArgs& args, const MeanArgs& means) {
  if (!AreOwn(means.source)) return;
  for (uint32_t look = 0; look < 2; ++look) LookOnHost<kDim>(args, means, look);
}

}  // namespace

void PrepareMeansOnHost(uint32_t head_dim, const EncodeArgs& args, const MeanArgs& means) {
  const uint32_t turns = means.source == MeanSource::kNone || means.pairs == 0 ? 0 : TurnRows(args);
  for (uint32_t row = 0; row < turns; ++row) StoreTurns<HostWarp>(args, means, row);
  if (head_dim == 64) return OwnMeansOnHost<64>(args, means);
  if (head_dim == 128) return OwnMeansOnHost<128>(args, means);
  OwnMeansOnHost<256>(args, means);
}

}  // namespace polarkv::cuda
