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

// Moves the tiles of the first layers from the places that `from` says to those of `to`, which all lie in `bytes`.
void MoveTiles(const BlockLayout& from, const BlockLayout& to, uint32_t layers, uint32_t kv_heads, uint8_t* bytes) {
  struct Run {
    uint64_t source, place, length;
  };
  std::vector<Run> runs;
  for (uint32_t layer = 0; layer < layers; ++layer) {
    for (uint32_t plane = 0; plane < to.planes(); ++plane) {
      const PlaneKind kind = to.plane_kind(plane);
      runs.push_back({from.SegmentOffset(layer, kind) + from.TileOffset(layer, kind, 0, 0),
                      to.SegmentOffset(layer, kind) + to.TileOffset(layer, kind, 0, 0),
                      uint64_t{to.layer(layer).TileBytes(kind)} * to.tiles() * kv_heads});
    }
  }
  // Runs keep their order: those that go down, from the first on, and then those that go up, from the last on, meet no run
  // that is still to be moved.
  for (auto run = runs.begin(); run != runs.end(); ++run) {
    if (run->place < run->source) std::memmove(bytes + run->place, bytes + run->source, run->length);
  }
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (run->place > run->source) std::memmove(bytes + run->place, bytes + run->source, run->length);
  }
}

// Whether keys of the layer may lose a mean of the options' profile.
bool ProfileHasMeans(const BlockSpec& spec, const EncodeOptions& options, uint32_t layer) {
  return options.profile != nullptr && options.key_mean != KeyMeanPolicy::kNever && options.profile->HasMeans(spec, layer);
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
  if (!SettleProfile(options, block).ok()) return by_reference();
  if (!TurboLayerEncoder::Takes(spec, k, v, set)) return by_reference();

  if (block.rope.pairing == RopePairing::kNone) block.phases.clear();
  if (block.phases.empty()) block.phases = RopePhases(block.rope);
  if (block.phases.size() != block.rope.dims / 2u) return by_reference();  // which says what is wrong
  // Tiles are written where they belong if nothing but the first tokens escapes, and layers have means as those before them.
  const uint32_t raw = RawFirstTokens(spec, options);
  block.layer_parts.assign(spec.layers, LayerPart{spec.codec, false, 2 * raw * spec.kv_heads});
  for (uint32_t layer = 0; layer < spec.layers; ++layer) block.layer_parts[layer].key_mean = ProfileHasMeans(block, options, layer);
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(block);
  if (!layout.ok()) return by_reference();  // which says what is wrong with the spec
  const std::array<int64_t, 4> shape = {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim};
  if (absl::Status s = CheckTensor(k, "k", shape); !s.ok()) return s;
  if (absl::Status s = CheckTensor(v, "v", shape); !s.ok()) return s;

  bytes.resize(layout->total_bytes());
  TurboLayerEncoder encoder(block, k, v, options, raw, set);
  std::vector<TurboLayerEncoder::Records> records(spec.layers);
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    if (absl::Status s = encoder.Encode(layer, *layout, bytes.data(), records[layer]); !s.ok()) return s;
    const LayerPart expected = block.layer_parts[layer];
    LayerPart part = expected;
    if (options.profile == nullptr) part.key_mean = !records[layer].means.empty();
    part.escapes = static_cast<uint32_t>(records[layer].escapes.size() / VectorRecordBytes(spec.head_dim));
    if (part == expected) continue;
    block.layer_parts[layer] = part;
    for (uint32_t later = layer + 1; later < spec.layers && options.profile == nullptr; ++later) {
      block.layer_parts[later].key_mean = part.key_mean;
    }
    const BlockLayout before = std::move(*layout);
    layout = BlockLayout::Make(block);
    if (!layout.ok()) return layout.status();
    if (layout->total_bytes() > bytes.size()) bytes.resize(layout->total_bytes());
    MoveTiles(before, *layout, layer + 1, spec.kv_heads, bytes.data());
  }
  bytes.resize(layout->total_bytes());
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    uint8_t* base = bytes.data() + layout->SegmentOffset(layer, PlaneKind::kBase);
    const LayerLayout& at = layout->layer(layer);
    uint8_t* end = std::ranges::copy(records[layer].means, base).out;
    std::fill(end, base + at.first_tile, uint8_t{0});
    end = std::ranges::copy(records[layer].escapes, base + at.first_escape).out;
    std::fill(end, base + layout->SegmentBytes(layer, PlaneKind::kBase), uint8_t{0});
  }
  SealBlock(block, *layout, bytes);
  return absl::OkStatus();
}

}  // namespace polarkv::cpu
