#include "kernels/cpu/cpu_encode.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "codec/block_view.h"
#include "codec/key_mean_profile.h"
#include "codec/layer_encoder.h"
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

// A block whose layers are encoded one by one, each by the fast body for its codecs or else by codec/layer_encoder.h.
class BlockEncoder {
 public:
  // `block`: settled with the options' profile, with its phases and a part for each layer, of which the codecs count; at
  // least one of them has a fast body. Arguments must outlive the encoder.
  BlockEncoder(BlockSpec block, const TensorView& k, const TensorView& v, const EncodeOptions& options, InstructionSet set)
      : block_(std::move(block)), k_(k), v_(v), options_(options), set_(set), raw_(RawFirstTokens(block_, options)) {}

  // What is wrong with the spec; then with the tensors' shapes.
  absl::Status Prepare();
  // INVALID_ARGUMENT: a number is not finite; the first such if layers are encoded in order.
  absl::Status Encode(std::vector<uint8_t>& bytes);
  bool InOrder() const { return others_.empty(); }

 private:
  // The layers of one pair of codecs.
  struct FastLayers {
    FastLayers(const BlockSpec& block, CodecPair codec, const BlockEncoder& all)
        : spec(OfCodec(block, codec)), encoder(spec, all.k_, all.v_, all.options_, all.raw_, all.set_) {}
    static BlockSpec OfCodec(BlockSpec block, CodecPair codec) {
      block.codec = codec;
      block.layer_parts.clear();
      return block;
    }
    BlockSpec spec;
    TurboLayerEncoder encoder;
  };

  bool IsFast(uint32_t layer) const { return fast_[layer]; }
  TurboLayerEncoder& EncoderOf(CodecPair codec);
  absl::Status EncodeOtherLayers();
  absl::Status EncodeFastLayer(uint32_t layer, std::vector<uint8_t>& bytes);
  void PlaceRecords(uint32_t layer, uint8_t* bytes) const;

  BlockSpec block_;  // its parts: of layers that are not encoded yet what is expected
  const TensorView& k_;
  const TensorView& v_;
  const EncodeOptions& options_;
  const InstructionSet set_;
  const uint32_t raw_;
  BlockLayout layout_;
  std::vector<bool> fast_;
  std::vector<std::unique_ptr<FastLayers>> encoders_;
  std::vector<TurboLayerEncoder::Records> records_;  // by layer, of fast ones
  std::vector<EncodedLayer> others_;                 // by layer, of others; empty if there are none
};

// Tiles are written where they belong if nothing but the first tokens escapes, and layers have means as those before them.
absl::Status BlockEncoder::Prepare() {
  const bool means = options_.profile != nullptr && options_.key_mean != KeyMeanPolicy::kNever;
  for (uint32_t layer = 0; layer < block_.layers; ++layer) {
    LayerPart& part = block_.layer_parts[layer];
    fast_.push_back(TurboLayerEncoder::Takes(block_.head_dim, part.codec, k_, v_, set_));
    part = fast_[layer] ? LayerPart{part.codec, means && options_.profile->HasMeans(block_, layer), 2 * raw_ * block_.kv_heads}
                        : LayerPart{part.codec};
  }
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(block_);
  if (!layout.ok()) return layout.status();
  layout_ = *std::move(layout);
  const std::array<int64_t, 4> shape = {block_.layers, block_.kv_heads, block_.tokens, block_.head_dim};
  if (absl::Status s = CheckTensor(k_, "k", shape); !s.ok()) return s;
  return CheckTensor(v_, "v", shape);
}

TurboLayerEncoder& BlockEncoder::EncoderOf(CodecPair codec) {
  const auto found = std::ranges::find_if(encoders_, [&](const auto& layers) { return layers->spec.codec == codec; });
  if (found != encoders_.end()) return (*found)->encoder;
  return encoders_.emplace_back(std::make_unique<FastLayers>(block_, codec, *this))->encoder;
}

// First, and beside the block: what they take is not known before.
absl::Status BlockEncoder::EncodeOtherLayers() {
  if (std::ranges::count(fast_, false) == 0) return absl::OkStatus();
  others_.resize(block_.layers);
  for (uint32_t layer = 0; layer < block_.layers; ++layer) {
    if (IsFast(layer)) continue;
    const LayerLayout plain = MakeLayerLayout(block_, block_.layer_parts[layer]);
    const auto encoder = std::make_unique<LayerEncoder>(block_, plain, options_);
    if (absl::Status s = encoder->Encode(k_, v_, layer, others_[layer]); !s.ok()) return s;
  }
  for (uint32_t layer = 0; layer < block_.layers; ++layer) {
    if (!IsFast(layer)) block_.layer_parts[layer] = others_[layer].part;
  }
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(block_);
  if (!layout.ok()) return layout.status();
  layout_ = *std::move(layout);
  return absl::OkStatus();
}

absl::Status BlockEncoder::EncodeFastLayer(uint32_t layer, std::vector<uint8_t>& bytes) {
  TurboLayerEncoder::Records& records = records_[layer];
  TurboLayerEncoder& encoder = EncoderOf(block_.layer_parts[layer].codec);
  if (absl::Status s = encoder.Encode(layer, layout_, bytes.data(), records); !s.ok()) return s;
  const LayerPart expected = block_.layer_parts[layer];
  LayerPart part = expected;
  if (options_.profile == nullptr) part.key_mean = !records.means.empty();
  part.escapes = static_cast<uint32_t>(records.escapes.size() / VectorRecordBytes(block_.head_dim));
  if (part == expected) return absl::OkStatus();
  block_.layer_parts[layer] = part;
  for (uint32_t later = layer + 1; later < block_.layers && options_.profile == nullptr; ++later) {
    if (IsFast(later)) block_.layer_parts[later].key_mean = part.key_mean;
  }
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(block_);
  if (!layout.ok()) return layout.status();
  if (layout->total_bytes() > bytes.size()) bytes.resize(layout->total_bytes());
  MoveTiles(layout_, *layout, layer + 1, block_.kv_heads, bytes.data());
  layout_ = *std::move(layout);
  return absl::OkStatus();
}

// What surrounds the tiles of a fast layer.
void BlockEncoder::PlaceRecords(uint32_t layer, uint8_t* bytes) const {
  uint8_t* base = bytes + layout_.SegmentOffset(layer, PlaneKind::kBase);
  const LayerLayout& at = layout_.layer(layer);
  uint8_t* end = std::ranges::copy(records_[layer].means, base).out;
  std::fill(end, base + at.first_tile, uint8_t{0});
  end = std::ranges::copy(records_[layer].escapes, base + at.first_escape).out;
  std::fill(end, base + layout_.SegmentBytes(layer, PlaneKind::kBase), uint8_t{0});
}

absl::Status BlockEncoder::Encode(std::vector<uint8_t>& bytes) {
  if (absl::Status s = EncodeOtherLayers(); !s.ok()) return s;
  bytes.resize(layout_.total_bytes());
  records_.resize(block_.layers);
  for (uint32_t layer = 0; layer < block_.layers; ++layer) {
    if (!IsFast(layer)) continue;
    if (absl::Status s = EncodeFastLayer(layer, bytes); !s.ok()) return s;
  }
  bytes.resize(layout_.total_bytes());
  for (uint32_t layer = 0; layer < block_.layers; ++layer) {
    if (IsFast(layer)) {
      PlaceRecords(layer, bytes.data());
    } else {
      std::fill(bytes.data() + layout_.LayerOffset(layer), bytes.data() + layout_.LayerOffset(layer + 1), uint8_t{0});
      PlaceLayer(others_[layer], layout_, layer, bytes.data());
    }
  }
  SealBlock(block_, layout_, bytes);
  return absl::OkStatus();
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
  if (block.layer_parts.empty()) block.layer_parts.assign(spec.layers, LayerPart{spec.codec});
  const auto is_fast = [&](const LayerPart& part) { return TurboLayerEncoder::Takes(spec.head_dim, part.codec, k, v, set); };
  if (std::ranges::none_of(block.layer_parts, is_fast)) return by_reference();
  // Whatever is wrong, the reference finds it, and says which of several defects comes first.
  if (block.layer_parts.size() != spec.layers || !SettleProfile(options, block).ok()) return by_reference();
  if (block.rope.pairing == RopePairing::kNone) block.phases.clear();
  if (block.phases.empty()) block.phases = RopePhases(block.rope);
  if (block.phases.size() != block.rope.dims / 2u) return by_reference();
  BlockEncoder encoder(std::move(block), k, v, options, set);
  if (!encoder.Prepare().ok()) return by_reference();
  const absl::Status encoded = encoder.Encode(bytes);
  return encoded.ok() || encoder.InOrder() ? encoded : by_reference();
}

}  // namespace polarkv::cpu
