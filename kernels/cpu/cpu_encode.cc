#include "kernels/cpu/cpu_encode.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "codec/block_view.h"
#include "codec/key_mean_profile.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "codec/tensor_rows.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/turbo_layer_encoder.h"

namespace polarkv::cpu {
namespace {

// The escapes that an encoder makes in any case: tokens at the beginning of the sequence.
uint32_t RawFirstTokens(const BlockSpec& spec, const EncodeOptions& options) {
  const uint64_t left = options.raw_first_tokens - std::min<uint64_t>(options.raw_first_tokens, spec.first_position);
  return static_cast<uint32_t>(std::min<uint64_t>(left, spec.tokens));
}

// Moves the layers' tiles from the places that `from` says to those of `to`, in new memory.
std::vector<uint8_t> MoveTiles(const BlockLayout& from, const BlockLayout& to, uint32_t kv_heads,
                               const std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> out(to.total_bytes());
  for (uint32_t layer = 0; layer < to.layers(); ++layer) {
    for (uint32_t plane = 0; plane < to.planes(); ++plane) {
      const PlaneKind kind = to.plane_kind(plane);
      const uint64_t length = uint64_t{to.layer(layer).TileBytes(kind)} * to.tiles() * kv_heads;
      const uint64_t source = from.SegmentOffset(layer, kind) + from.TileOffset(layer, kind, 0, 0);
      const uint64_t place = to.SegmentOffset(layer, kind) + to.TileOffset(layer, kind, 0, 0);
      std::memcpy(out.data() + place, bytes.data() + source, length);
    }
  }
  return out;
}

// Whether keys of the block may lose a mean of the options' profile, which is the reference's to take off.
bool ProfileHasMeans(const BlockSpec& spec, const EncodeOptions& options) {
  if (options.profile == nullptr || options.key_mean == KeyMeanPolicy::kNever) return false;
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    if (options.profile->HasMeans(spec, layer)) return true;
  }
  return false;
}

}  // namespace

absl::Status EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                         InstructionSet set, std::vector<uint8_t>& bytes) {
  const FloatEnvironment environment;
  const auto by_reference = [&]() -> absl::Status {
    absl::StatusOr<std::vector<uint8_t>> block = reference::EncodeBlock(spec, k, v, options);
    if (!block.ok()) return block.status();
    bytes = std::move(*block);
    return absl::OkStatus();
  };
  BlockSpec block = spec;
  // The reference says what is wrong with the spec.
  if (!SettleProfile(options, block).ok() || ProfileHasMeans(block, options)) return by_reference();
  EncodeOptions own = options;
  if (options.profile != nullptr) own.key_mean = KeyMeanPolicy::kNever;  // with a profile blocks have no means themselves
  if (!TurboLayerEncoder::Takes(spec, k, v, own, set)) return by_reference();

  if (block.phases.empty()) block.phases = RopePhases(block.rope);
  // Tiles are written where they belong if nothing but the first tokens escapes.
  const uint32_t raw = RawFirstTokens(spec, options);
  block.layer_parts.assign(spec.layers, LayerPart{spec.codec, false, 2 * raw * spec.kv_heads});
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(block);
  if (!layout.ok()) return by_reference();  // which says what is wrong with the spec
  const std::array<int64_t, 4> shape = {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim};
  if (absl::Status s = CheckTensor(k, "k", shape); !s.ok()) return s;
  if (absl::Status s = CheckTensor(v, "v", shape); !s.ok()) return s;

  bytes.resize(layout->total_bytes());
  TurboLayerEncoder encoder(block, k, v, own, raw);
  std::vector<std::vector<uint8_t>> escapes(spec.layers);
  bool as_expected = true;
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    const absl::StatusOr<bool> done = encoder.Encode(layer, *layout, bytes.data(), escapes[layer]);
    if (!done.ok()) return done.status();
    if (!*done) return by_reference();
    LayerPart& part = block.layer_parts[layer];
    const uint32_t count = static_cast<uint32_t>(escapes[layer].size() / VectorRecordBytes(spec.head_dim));
    as_expected = as_expected && part.escapes == count;
    part.escapes = count;
  }
  if (!as_expected) {
    const BlockLayout expected = std::move(*layout);
    layout = BlockLayout::Make(block);
    if (!layout.ok()) return layout.status();
    bytes = MoveTiles(expected, *layout, spec.kv_heads, bytes);
  }
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    uint8_t* base = bytes.data() + layout->SegmentOffset(layer, PlaneKind::kBase);
    uint8_t* end = std::ranges::copy(escapes[layer], base + layout->layer(layer).first_escape).out;
    std::fill(end, base + layout->SegmentBytes(layer, PlaneKind::kBase), uint8_t{0});
  }
  SealBlock(block, *layout, bytes);
  return absl::OkStatus();
}

}  // namespace polarkv::cpu
