#include "codec/block_view.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "codec/block_header.h"
#include "codec/tile_check.h"

namespace polarkv {
namespace {

absl::Status CheckEntry(const DirectoryEntry& entry, const BlockLayout& layout, uint32_t layer, uint32_t plane,
                        uint64_t previous_end) {
  const uint64_t offset = uint64_t{entry.offset_units} * kSegmentAlignment;
  const auto damaged = [&](absl::string_view what, uint64_t value, uint64_t expected) {
    return Damaged(absl::StrCat("directory entry of layer ", layer, ", plane ", plane, ": ", what, " (", value,
                                ", expected ", expected, ")"));
  };
  if (offset + entry.length > layout.total_bytes()) {
    return damaged("segment ends outside the block", offset + entry.length,
                   layout.SegmentOffset(layer, plane) + layout.SegmentBytes(plane));
  }
  if (offset < previous_end) return damaged("segment overlaps what is before it", offset, previous_end);
  if (entry.length != layout.SegmentBytes(plane))
    return damaged("wrong segment length", entry.length, layout.SegmentBytes(plane));
  if (offset != layout.SegmentOffset(layer, plane)) return damaged("gap before the segment", offset, previous_end);
  return absl::OkStatus();
}

absl::Status CheckDirectory(std::span<const uint8_t> bytes, const ParsedHeader& parsed) {
  const BlockLayout& layout = parsed.layout;
  if (bytes.size() < layout.payload_offset()) {
    return Damaged(absl::StrCat("cut off in the directory, ", bytes.size(), " of ", layout.payload_offset(), " bytes"));
  }
  const auto directory = bytes.subspan(layout.directory_offset(), layout.directory_entries() * sizeof(DirectoryEntry));
  if (BlockChecksum(directory) != parsed.header.directory_xxh3) return Damaged("directory checksum does not match");
  const uint8_t* in = directory.data();
  uint64_t previous_end = layout.payload_offset();
  for (uint32_t layer = 0; layer < layout.layers(); ++layer) {
    for (uint32_t plane = 0; plane < layout.planes(); ++plane, in += sizeof(DirectoryEntry)) {
      DirectoryEntry entry;
      std::memcpy(&entry, in, sizeof entry);
      if (absl::Status s = CheckEntry(entry, layout, layer, plane, previous_end); !s.ok()) return s;
      previous_end += entry.length;
    }
  }
  if (std::any_of(in, bytes.data() + layout.payload_offset(), [](uint8_t byte) { return byte != 0; })) {
    return Damaged("padding after the directory is not zero");
  }
  return absl::OkStatus();
}

absl::StatusOr<ParsedHeader> ParsePrefix(std::span<const uint8_t> bytes) {
  absl::StatusOr<ParsedHeader> parsed = ParseHeader(bytes);
  if (!parsed.ok()) return parsed;
  if (absl::Status s = CheckDirectory(bytes, *parsed); !s.ok()) return s;
  return parsed;
}

// The selection with its defaults spelled out: layer_end > layer_begin, planes that exist, the base plane among them.
absl::StatusOr<BlockSelection> Resolve(const BlockLayout& layout, BlockSelection selection) {
  if (selection.layer_end == 0) selection.layer_end = layout.layers();
  if (selection.layer_begin >= selection.layer_end || selection.layer_end > layout.layers()) {
    return absl::InvalidArgumentError(absl::StrCat("no such layers: [", selection.layer_begin, ", ",
                                                   selection.layer_end, ") of a block of ", layout.layers(),
                                                   " layers"));
  }
  selection.planes = (selection.planes | PlaneBit(PlaneKind::kBase)) & layout.plane_mask();
  return selection;
}

absl::Status CheckSize(uint64_t have, uint64_t want) {
  if (have < want) return Damaged(absl::StrCat("cut off in the segments, ", have, " of ", want, " bytes"));
  if (have > want) return Damaged(absl::StrCat(have - want, " bytes after the end of a block of ", want, " bytes"));
  return absl::OkStatus();
}

absl::Status CheckTiles(const BlockView& view, uint32_t layer) {
  const BlockSpec& spec = view.spec();
  const uint32_t tiles = spec.tiles();
  for (uint32_t head = 0; head < spec.kv_heads; ++head) {
    for (uint32_t tile = 0; tile < tiles; ++tile) {
      const uint32_t tokens = std::min(kTileTokens, spec.tokens - tile * kTileTokens);
      const char* defect =
          TileDefect(spec, view.layout().base_tile(), view.Tile(layer, PlaneKind::kBase, head, tile), tokens);
      if (defect != nullptr)
        return Damaged(absl::StrCat("tile of layer ", layer, ", head ", head, ", tile ", tile, ": ", defect));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPayload(const BlockView& view) {
  const BlockLayout& layout = view.layout();
  for (uint32_t layer = view.layer_begin(); layer < view.layer_end(); ++layer) {
    for (uint32_t plane = 0; plane < layout.planes(); ++plane) {
      const auto segment = view.Segment(layer, layout.plane_kind(plane));
      if (!segment.empty() && BlockChecksum(segment) != view.entry(layer, plane).xxh3) {
        return Damaged(absl::StrCat("segment checksum of layer ", layer, ", plane ", plane, " does not match"));
      }
    }
    // Right after the checksum pass: the tiles are in the cache.
    if (absl::Status s = CheckTiles(view, layer); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BlockView> BlockView::Parse(std::span<const uint8_t> bytes, VerifyPayload verify) {
  return ParseSelection(bytes, BlockSelection{}, verify);
}

absl::StatusOr<BlockView> BlockView::ParseSelection(std::span<const uint8_t> bytes, const BlockSelection& selection,
                                                    VerifyPayload verify) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(BlockHeader) != 0) {
    return absl::InvalidArgumentError(
        "a block's bytes must be 8-byte aligned in memory; copy them into aligned memory first");
  }
  absl::StatusOr<ParsedHeader> parsed = ParsePrefix(bytes);
  if (!parsed.ok()) return parsed.status();
  const BlockLayout& layout = parsed->layout;
  absl::StatusOr<BlockSelection> held = Resolve(layout, selection);
  if (!held.ok()) return held.status();

  BlockView view;
  view.spec_ = parsed->spec;
  view.layout_ = layout;
  view.bytes_ = bytes;
  view.layer_begin_ = held->layer_begin;
  view.layer_end_ = held->layer_end;
  view.planes_ = held->planes;
  for (uint32_t plane = 0; plane < layout.planes(); ++plane) {
    if ((held->planes & PlaneBit(layout.plane_kind(plane))) == 0) continue;
    view.held_offset_[plane] = view.held_layer_bytes_;
    view.held_layer_bytes_ += layout.SegmentBytes(plane);
  }
  const uint64_t layers = held->layer_end - held->layer_begin;
  if (absl::Status s = CheckSize(bytes.size(), layout.payload_offset() + layers * view.held_layer_bytes_); !s.ok())
    return s;
  if (verify == VerifyPayload::kYes) {
    if (absl::Status s = CheckPayload(view); !s.ok()) return s;
  }
  return view;
}

const BlockHeader& BlockView::header() const { return *reinterpret_cast<const BlockHeader*>(bytes_.data()); }

const DirectoryEntry& BlockView::entry(uint32_t layer, uint32_t plane) const {
  const uint8_t* directory = bytes_.data() + layout_.directory_offset();
  return reinterpret_cast<const DirectoryEntry*>(directory)[layer * layout_.planes() + plane];
}

std::span<const uint8_t> BlockView::Segment(uint32_t layer, PlaneKind kind) const {
  if ((planes_ & PlaneBit(kind)) == 0 || !HasLayer(layer)) return {};
  const uint32_t plane = static_cast<uint32_t>(layout_.PlaneIndex(kind));
  const uint64_t offset = layout_.payload_offset() + (layer - layer_begin_) * held_layer_bytes_ + held_offset_[plane];
  return bytes_.subspan(offset, layout_.SegmentBytes(plane));
}

std::span<const uint8_t> BlockView::Tile(uint32_t layer, PlaneKind kind, uint32_t kv_head, uint32_t tile) const {
  const std::span<const uint8_t> segment = Segment(layer, kind);
  if (segment.empty() || kv_head >= spec_.kv_heads || tile >= layout_.tiles()) return {};
  const uint32_t plane = static_cast<uint32_t>(layout_.PlaneIndex(kind));
  return segment.subspan(layout_.TileOffset(plane, kv_head, tile), layout_.TileBytes(plane));
}

absl::StatusOr<BlockSpec> ParseBlockHeader(std::span<const uint8_t> bytes) {
  absl::StatusOr<ParsedHeader> parsed = ParseHeader(bytes);
  if (!parsed.ok()) return parsed.status();
  return parsed->spec;
}

absl::StatusOr<BlockLayout> ParseBlockPrefix(std::span<const uint8_t> bytes) {
  absl::StatusOr<ParsedHeader> parsed = ParsePrefix(bytes);
  if (!parsed.ok()) return parsed.status();
  return parsed->layout;
}

absl::StatusOr<std::vector<ByteRange>> SelectionRanges(const BlockLayout& layout, const BlockSelection& selection) {
  absl::StatusOr<BlockSelection> held = Resolve(layout, selection);
  if (!held.ok()) return held.status();
  std::vector<ByteRange> ranges = {{0, layout.payload_offset()}};
  for (uint32_t layer = held->layer_begin; layer < held->layer_end; ++layer) {
    for (uint32_t plane = 0; plane < layout.planes(); ++plane) {
      if ((held->planes & PlaneBit(layout.plane_kind(plane))) == 0) continue;
      const uint64_t offset = layout.SegmentOffset(layer, plane);
      ByteRange& last = ranges.back();
      if (last.offset + last.length == offset) {
        last.length += layout.SegmentBytes(plane);
      } else {
        ranges.push_back({offset, layout.SegmentBytes(plane)});
      }
    }
  }
  return ranges;
}

}  // namespace polarkv
