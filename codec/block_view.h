// A validated, non-owning view of an encoded block, whole or in part.
#ifndef POLARKV_CODEC_BLOCK_VIEW_H_
#define POLARKV_CODEC_BLOCK_VIEW_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_layout.h"

namespace polarkv {

// Which segments of a block somebody holds or wants: layers [layer_begin, layer_end) and a set of planes. layer_end = 0
// stands for the block's number of layers. Planes that a block does not have are ignored; the base plane is always part of a selection.
struct BlockSelection {
  uint32_t layer_begin = 0;
  uint32_t layer_end = 0;
  PlaneMask planes = kAllPlanes;
  friend bool operator==(const BlockSelection&, const BlockSelection&) = default;
};

enum class VerifyPayload { kNo, kYes };

class KeyMeanProfile;  // key_mean_profile.h
using KeyMeanProfilePtr = std::shared_ptr<const KeyMeanProfile>;

// A vector on its own: halves[j] * 2^exponent. Empty: there is none.
struct VectorRecord {
  int exponent = 0;
  std::span<const uint16_t> halves;  // fp16, [head_dim]
};

class BlockView {
 public:
  // `bytes` is one whole block, nothing after it. It must outlive the view and be 8-byte aligned (64 for the kernels).
  // DATA_LOSS: a checksum, a length or the directory is wrong. FAILED_PRECONDITION: a version, feature, codec or codebook
  // that this build does not know. INVALID_ARGUMENT: `bytes` is not aligned. Each defect has its own message. With kNo the
  // segments' bytes are not read. With kYes their checksums match, and the numbers in them are sane whoever wrote them:
  // exponents and scales in range, token counts right, every fp16 finite, scales of padding and escaped tokens zero, an
  // escape record for each escaped token (FORMAT.md, "Rejections").
  //
  // `profile`: the one that the block names; kept as long as the view. A block that names none ignores it; another one
  // than that named, or one of another model, is FAILED_PRECONDITION. Without it a block can be looked at and stored; to
  // decode it and to attend to it CheckMeans says what is missing.
  static absl::StatusOr<BlockView> Parse(std::span<const uint8_t> bytes, VerifyPayload verify,
                                         KeyMeanProfilePtr profile = nullptr);

  // A selected block as Fetch ships it: header, extension and directory as in the whole block (`payload_offset` bytes), then the
  // selected segments in block order, back to back. INVALID_ARGUMENT: the block has no such layers.
  static absl::StatusOr<BlockView> ParseSelection(std::span<const uint8_t> bytes, const BlockSelection& selection,
                                                  VerifyPayload verify, KeyMeanProfilePtr profile = nullptr);

  const BlockSpec& spec() const { return spec_; }
  const BlockLayout& layout() const { return layout_; }
  const BlockHeader& header() const;
  const DirectoryEntry& entry(uint32_t layer, uint32_t plane) const;
  std::span<const uint8_t> bytes() const { return bytes_; }

  bool HasLayer(uint32_t layer) const { return layer >= layer_begin_ && layer < layer_end_; }
  uint32_t layer_begin() const { return layer_begin_; }
  uint32_t layer_end() const { return layer_end_; }
  PlaneMask planes() const { return planes_; }  // planes held, a subset of layout().plane_mask()

  // RoPE's angle per position for each pair, in turns times 2^64 (BlockSpec::phases); empty if the block has none.
  std::span<const uint64_t> phases() const { return spec_.phases; }

  // Bytes of one tile of one plane; empty when the plane is not held, or the layer lacks it. `layer` counts from the
  // block's first layer.
  std::span<const uint8_t> Tile(uint32_t layer, PlaneKind kind, uint32_t kv_head, uint32_t tile) const;
  std::span<const uint8_t> Segment(uint32_t layer, PlaneKind kind) const;

  // The mean key of a head, at position 0: RoPE turns it to the position of each token that lacks it. The block's own, or
  // its profile's. Empty when the layer has no key means, is not held, or lacks its profile.
  VectorRecord KeyMean(uint32_t layer, uint32_t kv_head) const;
  // FAILED_PRECONDITION: the layer's key means are in a profile that this view was not given.
  absl::Status CheckMeans(uint32_t layer) const;
  const KeyMeanProfilePtr& profile() const { return profile_; }  // null: not given, or of no use for this block
  // The band table of a head (band_table.h). Empty when the layer's keys are not in bands, or it is not held.
  std::span<const uint8_t> BandTableOf(uint32_t layer, uint32_t kv_head) const;
  // Escape record `index` of a layer: the first of a tile is TileHead::first_escape, those of its keys come before those
  // of its values, both by ascending token. Empty when the layer has not so many, or is not held.
  VectorRecord EscapeRecord(uint32_t layer, uint32_t index) const;

 private:
  uint64_t HeldOffset(uint32_t layer, PlaneKind kind) const;
  VectorRecord RecordAt(uint32_t layer, uint64_t offset) const;
  absl::Status TakeProfile(KeyMeanProfilePtr profile);

  BlockSpec spec_;
  BlockLayout layout_;
  std::span<const uint8_t> bytes_;
  uint32_t layer_begin_ = 0, layer_end_ = 0;
  PlaneMask planes_ = 0;
  std::vector<uint64_t> held_layer_offset_;  // of the layers held, in bytes_
  KeyMeanProfilePtr profile_;
};

// Reads the header alone (first 128 bytes): magic, version, checksum, every field's range. Same statuses as Parse. What
// the extension says of single layers is missing in the spec; the header's total_bytes is right with it.
absl::StatusOr<BlockSpec> ParseBlockHeader(std::span<const uint8_t> bytes);
// Checks header, extension and directory: `bytes` begins with the first payload_offset() bytes of a block. Same statuses
// as Parse.
absl::StatusOr<BlockLayout> ParseBlockPrefix(std::span<const uint8_t> bytes);

// A run of bytes of a whole block.
struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};
// The ranges of the whole block that make up a selection, in order, adjacent ones merged; the first one is
// [0, payload_offset). INVALID_ARGUMENT: no such layers.
absl::StatusOr<std::vector<ByteRange>> SelectionRanges(const BlockLayout& layout, const BlockSelection& selection);

// Completes a block whose segments are written: fills header, extension, directory and checksums. `layout` is that of `spec`, `bytes`
// has layout.total_bytes().
void SealBlock(const BlockSpec& spec, const BlockLayout& layout, std::span<uint8_t> bytes);
// Rewrites the namespace and key tags of a sealed block and its header checksum; the payload is not touched.
void TagBlock(std::span<uint8_t> bytes, std::span<const uint8_t, 16> namespace_tag, std::span<const uint8_t, 8> key_tag);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_VIEW_H_
