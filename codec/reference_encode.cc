#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "codec/key_mean_profile.h"
#include "codec/layer_encoder.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "codec/tensor_rows.h"

namespace polarkv::reference {
namespace {

// The spec's codecs without anything that the encoder is to decide.
BlockSpec Plain(const BlockSpec& spec) {
  BlockSpec plain = spec;
  for (LayerPart& part : plain.layer_parts) part = LayerPart{part.codec};
  return plain;
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                                 const EncodeOptions& options) {
  BlockSpec block = Plain(spec);
  const absl::StatusOr<BlockLayout> plain = BlockLayout::Make(block);
  if (!plain.ok()) return plain.status();
  if (absl::Status s = SettleProfile(options, block); !s.ok()) return s;
  if (absl::Status s = SettlePhases(block); !s.ok()) return s;
  const std::array<int64_t, 4> shape = {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim};
  if (absl::Status s = CheckTensor(k, "k", shape); !s.ok()) return s;
  if (absl::Status s = CheckTensor(v, "v", shape); !s.ok()) return s;

  std::vector<EncodedLayer> layers(block.layers);
  for (uint32_t layer = 0; layer < block.layers; ++layer) {
    const auto encoder = std::make_unique<LayerEncoder>(block, plain->layer(layer), options);
    if (absl::Status s = encoder->Encode(k, v, layer, layers[layer]); !s.ok()) return s;
  }
  BlockSpec final_spec = block;
  final_spec.layer_parts.clear();
  for (const EncodedLayer& layer : layers) final_spec.layer_parts.push_back(layer.part);
  const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(final_spec);
  if (!layout.ok()) return layout.status();
  std::vector<uint8_t> bytes(layout->total_bytes());
  for (uint32_t layer = 0; layer < block.layers; ++layer) PlaceLayer(layers[layer], *layout, layer, bytes.data());
  SealBlock(final_spec, *layout, bytes);
  return bytes;
}

}  // namespace polarkv::reference
