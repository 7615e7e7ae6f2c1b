#include <memory>

#include "absl/strings/str_cat.h"
#include "codec/key_mean.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "codec/tile_decoder.h"

namespace polarkv::reference {
namespace {

// Decodes one side, tile by tile: codes, then key means, then the tokens that have records of their own.
class SideDecoder {
 public:
  SideDecoder(const BlockView& block, KvSide side)
      : block_(block), side_(side), decoder_(side, block.spec().head_dim, block.spec().rotation_seed) {}

  // rows: [tokens in the tile][head_dim]
  void Decode(uint32_t layer, uint32_t head, uint32_t tile, float* rows) {
    const BlockSpec& spec = block_.spec();
    const TilePart part = FindTilePart(block_, side_, layer, head, tile);
    const uint32_t tokens = TileTokenCount(spec, tile);
    decoder_.Decode(part, spec.rope, tokens, rows);
    const std::array<float, kMaxHeadDim> mean = ReadRecord(block_.KeyMean(layer, head));
    uint32_t escape = part.first_escape;
    for (uint32_t t = 0; t < tokens; ++t) {
      float* row = rows + t * spec.head_dim;
      if ((part.escapes >> t & 1) != 0) {
        const std::array<float, kMaxHeadDim> raw = ReadRecord(block_.EscapeRecord(layer, escape++));
        std::copy_n(raw.begin(), spec.head_dim, row);
      } else if ((part.means >> t & 1) != 0) {
        float turned[kMaxHeadDim];
        const uint64_t position = spec.first_position + tile * uint64_t{kTileTokens} + t;
        TurnToPosition(spec.rope, spec.phases, position, mean.data(), spec.head_dim, turned);
        for (uint32_t j = 0; j < spec.head_dim; ++j) row[j] = SaturateToFloat(double{row[j]} + turned[j]);
      }
    }
  }

 private:
  const BlockView& block_;
  KvSide side_;
  TileDecoder decoder_;
};

}  // namespace

absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v) {
  const BlockSpec& spec = block.spec();
  const uint32_t layers = block.layer_end() - block.layer_begin();
  const size_t size = size_t{layers} * spec.kv_heads * spec.tokens * spec.head_dim;
  if (k.size() != size || v.size() != size) {
    return absl::InvalidArgumentError(absl::StrCat("decoding needs ", size, " floats each for k and v (", layers,
                                                   " layers held), got ", k.size(), " and ", v.size()));
  }
  for (uint32_t layer = block.layer_begin(); layer < block.layer_end(); ++layer) {
    if (absl::Status s = block.CheckMeans(layer); !s.ok()) return s;
  }
  const auto keys = std::make_unique<SideDecoder>(block, KvSide::kKey);
  const auto values = std::make_unique<SideDecoder>(block, KvSide::kValue);
  for (uint32_t layer = block.layer_begin(); layer < block.layer_end(); ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        const size_t token =
            ((layer - block.layer_begin()) * size_t{spec.kv_heads} + head) * spec.tokens + tile * kTileTokens;
        keys->Decode(layer, head, tile, k.data() + token * spec.head_dim);
        values->Decode(layer, head, tile, v.data() + token * spec.head_dim);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace polarkv::reference
