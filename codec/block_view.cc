#include "codec/block_view.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "codec/band_table.h"
#include "codec/block_extension.h"
#include "codec/block_header.h"
#include "codec/key_mean_profile.h"
#include "codec/tile_check.h"

namespace polarkv {
namespace {

// A block's first bytes, down to the payload.
struct ParsedPrefix {
  BlockSpec spec;
  BlockLayout layout;
};

absl::Status CheckEntry(const DirectoryEntry& entry, const BlockLayout& layout, uint32_t layer, uint32_t plane,
                        uint64_t previous_end) {
  const PlaneKind kind = layout.plane_kind(plane);
  const uint64_t expected_offset = layout.SegmentOffset(layer, kind);
  const uint32_t expected_length = layout.SegmentBytes(layer, kind);
  const uint64_t offset = uint64_t{entry.offset_units} * kSegmentAlignment;
  const auto damaged = [&](absl::string_view what, uint64_t value, uint64_t expected) {
    return Damaged(absl::StrCat("directory entry of layer ", layer, ", plane ", plane, ": ", what, " (", value,
                                ", expected ", expected, ")"));
  };
  if (offset + entry.length > layout.total_bytes()) {
    return damaged("segment ends outside the block", offset + entry.length, expected_offset + expected_length);
  }
  if (offset < previous_end) return damaged("segment overlaps what is before it", offset, previous_end);
  if (entry.length != expected_length) return damaged("wrong segment length", entry.length, expected_length);
  if (offset != expected_offset) return damaged("gap before the segment", offset, previous_end);
  return absl::OkStatus();
}

absl::Status CheckDirectory(std::span<const uint8_t> bytes, const BlockLayout& layout) {
  const uint8_t* in = bytes.data() + layout.directory_offset();
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

// Lengths follow from the header alone, so that the checksum comes before anything in the extension is believed.
absl::Status CheckPrefixBytes(std::span<const uint8_t> bytes, const BlockHeader& header) {
  const uint64_t directory = sizeof header + header.extension_bytes;
  const uint64_t directory_end = directory + uint64_t{header.layers} * header.planes * sizeof(DirectoryEntry);
  const uint64_t payload = (directory_end + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
  if (bytes.size() < payload) {
    const char* where = bytes.size() < directory ? "extension" : "directory";
    return Damaged(absl::StrCat("cut off in the ", where, ", ", bytes.size(), " of ", payload, " bytes"));
  }
  if (BlockChecksum(bytes.subspan(sizeof header, directory_end - sizeof header)) != header.directory_xxh3) {
    return Damaged("directory checksum does not match");
  }
  return absl::OkStatus();
}

absl::StatusOr<ParsedPrefix> ParsePrefix(std::span<const uint8_t> bytes) {
  absl::StatusOr<ParsedHeader> parsed = ParseHeader(bytes);
  if (!parsed.ok()) return parsed.status();
  const BlockHeader& header = parsed->header;
  if (absl::Status s = CheckPrefixBytes(bytes, header); !s.ok()) return s;
  ParsedPrefix prefix;
  prefix.spec = std::move(parsed->spec);
  const auto extension = bytes.subspan(sizeof header, header.extension_bytes);
  if (absl::Status s = ParseExtension(extension, header.features, prefix.spec); !s.ok()) return s;
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(prefix.spec);
  if (!layout.ok()) return Damaged(layout.status().message());
  prefix.layout = *std::move(layout);
  if (absl::Status s = CheckDerived(header, prefix.spec, prefix.layout); !s.ok()) return s;
  if (absl::Status s = CheckDirectory(bytes, prefix.layout); !s.ok()) return s;
  return prefix;
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
  const LayerLayout& layout = view.layout().layer(layer);
  const uint32_t tiles = spec.tiles();
  TileFacts facts;
  for (uint32_t head = 0; head < spec.kv_heads; ++head) {
    for (uint32_t tile = 0; tile < tiles; ++tile) {
      const auto damaged = [&](const char* defect) {
        return Damaged(absl::StrCat("tile of layer ", layer, ", head ", head, ", tile ", tile, ": ", defect));
      };
      facts.tokens = std::min(kTileTokens, spec.tokens - tile * kTileTokens);
      const auto base = view.Tile(layer, PlaneKind::kBase, head, tile);
      if (const char* defect = TileDefect(layout, spec.head_dim, base, facts)) return damaged(defect);
      facts.first_escape += TileEscapes(base);
      const auto residual = view.Tile(layer, PlaneKind::kKeyResidual, head, tile);
      if (residual.empty()) continue;
      if (const char* defect = ResidualTileDefect(base, residual, facts.tokens)) return damaged(defect);
    }
  }
  if (facts.first_escape != layout.escapes) {
    return Damaged(absl::StrCat("layer ", layer, ": ", layout.escapes, " escape records for ", facts.first_escape,
                                " escaped keys and values"));
  }
  return absl::OkStatus();
}

// What the base segment of a layer holds before and after its tiles.
absl::Status CheckRecords(const BlockView& view, uint32_t layer) {
  const LayerLayout& layout = view.layout().layer(layer);
  const uint32_t bytes = VectorRecordBytes(view.spec().head_dim);
  const std::span<const uint8_t> segment = view.Segment(layer, PlaneKind::kBase);
  const auto check = [&](std::span<const uint8_t> area, uint32_t records, const char* name) {
    for (uint32_t i = 0; i < records; ++i) {
      if (const char* defect = VectorRecordDefect(area.subspan(size_t{i} * bytes, bytes)))
        return Damaged(absl::StrCat(name, " ", i, " of layer ", layer, ": ", defect));
    }
    const auto padding = area.subspan(size_t{records} * bytes);
    if (std::ranges::any_of(padding, [](uint8_t byte) { return byte != 0; }))
      return Damaged(absl::StrCat("layer ", layer, ": padding after the ", name, "s is not zero"));
    return absl::OkStatus();
  };
  const uint32_t means = layout.first_band != 0 ? view.spec().kv_heads : 0;
  if (absl::Status s = check(segment.first(layout.first_band), means, "key mean"); !s.ok()) return s;
  return check(segment.subspan(layout.first_escape), layout.escapes, "escape record");
}

absl::Status CheckBands(const BlockView& view, uint32_t layer) {
  const LayerLayout& layout = view.layout().layer(layer);
  if (!IsBanded(layout.codec.k)) return absl::OkStatus();
  for (uint32_t head = 0; head < view.spec().kv_heads; ++head) {
    if (const char* defect = BandTableDefect(view.BandTableOf(layer, head), layout.codec.k, view.spec().head_dim))
      return Damaged(absl::StrCat("band table ", head, " of layer ", layer, ": ", defect));
  }
  const uint32_t end = layout.first_band + view.spec().kv_heads * BandTableBytes(view.spec().head_dim);
  const auto padding = view.Segment(layer, PlaneKind::kBase).first(layout.first_tile).subspan(end);
  if (std::ranges::any_of(padding, [](uint8_t byte) { return byte != 0; }))
    return Damaged(absl::StrCat("layer ", layer, ": padding after the band tables is not zero"));
  return absl::OkStatus();
}

absl::Status CheckPayload(const BlockView& view) {
  const BlockLayout& layout = view.layout();
  for (uint32_t layer = view.layer_begin(); layer < view.layer_end(); ++layer) {
    for (uint32_t plane = 0; plane < layout.planes(); ++plane) {
      const PlaneKind kind = layout.plane_kind(plane);
      if ((view.planes() & PlaneBit(kind)) == 0) continue;
      if (BlockChecksum(view.Segment(layer, kind)) != view.entry(layer, plane).xxh3) {
        return Damaged(absl::StrCat("segment checksum of layer ", layer, ", plane ", plane, " does not match"));
      }
    }
    // Right after the checksum pass: the tiles are in the cache.
    if (absl::Status s = CheckTiles(view, layer); !s.ok()) return s;
    if (absl::Status s = CheckRecords(view, layer); !s.ok()) return s;
    if (absl::Status s = CheckBands(view, layer); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// Bytes of a layer's segments that come before `kind`, of the planes in `held`.
uint64_t HeldBytesBefore(const LayerLayout& layer, uint32_t kind, PlaneMask held) {
  uint64_t bytes = 0;
  for (uint32_t before = 0; before < kind; ++before) {
    if ((held >> before & 1) != 0) bytes += layer.segment_bytes[before];
  }
  return bytes;
}

}  // namespace

absl::StatusOr<BlockView> BlockView::Parse(std::span<const uint8_t> bytes, VerifyPayload verify,
                                           KeyMeanProfilePtr profile) {
  return ParseSelection(bytes, BlockSelection{}, verify, std::move(profile));
}

absl::StatusOr<BlockView> BlockView::ParseSelection(std::span<const uint8_t> bytes, const BlockSelection& selection,
                                                    VerifyPayload verify, KeyMeanProfilePtr profile) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(BlockHeader) != 0) {
    return absl::InvalidArgumentError(
        "a block's bytes must be 8-byte aligned in memory; copy them into aligned memory first");
  }
  absl::StatusOr<ParsedPrefix> parsed = ParsePrefix(bytes);
  if (!parsed.ok()) return parsed.status();
  const BlockLayout& layout = parsed->layout;
  absl::StatusOr<BlockSelection> held = Resolve(layout, selection);
  if (!held.ok()) return held.status();

  uint64_t end = layout.payload_offset();
  BlockView view;
  for (uint32_t layer = held->layer_begin; layer < held->layer_end; ++layer) {
    view.held_layer_offset_.push_back(end);
    end += HeldBytesBefore(layout.layer(layer), kMaxPlanes, held->planes);
  }
  if (absl::Status s = CheckSize(bytes.size(), end); !s.ok()) return s;
  view.spec_ = std::move(parsed->spec);
  view.layout_ = std::move(parsed->layout);
  view.bytes_ = bytes;
  view.layer_begin_ = held->layer_begin;
  view.layer_end_ = held->layer_end;
  view.planes_ = held->planes;
  if (verify == VerifyPayload::kYes) {
    if (absl::Status s = CheckPayload(view); !s.ok()) return s;
  }
  if (absl::Status s = view.TakeProfile(std::move(profile)); !s.ok()) return s;
  return view;
}

absl::Status BlockView::TakeProfile(KeyMeanProfilePtr profile) {
  if (profile == nullptr || !spec_.HasProfile()) return absl::OkStatus();
  if (profile->digest() != spec_.profile_digest) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the block's key means are in profile ", ProfileDigestText(spec_.profile_digest), ", the one given is ",
        ProfileDigestText(profile->digest()), "; give the one that the block names, which its namespace has"));
  }
  if (absl::Status s = profile->CheckFits(spec_); !s.ok()) return s;
  spec_.phases = profile->shape().phases;
  profile_ = std::move(profile);
  return absl::OkStatus();
}

absl::Status BlockView::CheckMeans(uint32_t layer) const {
  if (profile_ != nullptr || !spec_.HasProfile() || !layout_.layer(layer).key_mean) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the key means of layer ", layer, " are in profile ", ProfileDigestText(spec_.profile_digest),
      ", which was not given with the block; opening the block's namespace gives it, and polarkv profile writes it to "
      "a file"));
}

const BlockHeader& BlockView::header() const { return *reinterpret_cast<const BlockHeader*>(bytes_.data()); }

const DirectoryEntry& BlockView::entry(uint32_t layer, uint32_t plane) const {
  const uint8_t* directory = bytes_.data() + layout_.directory_offset();
  return reinterpret_cast<const DirectoryEntry*>(directory)[layer * layout_.planes() + plane];
}

uint64_t BlockView::HeldOffset(uint32_t layer, PlaneKind kind) const {
  return held_layer_offset_[layer - layer_begin_] +
         HeldBytesBefore(layout_.layer(layer), static_cast<uint32_t>(kind), planes_);
}

std::span<const uint8_t> BlockView::Segment(uint32_t layer, PlaneKind kind) const {
  if ((planes_ & PlaneBit(kind)) == 0 || !HasLayer(layer)) return {};
  return bytes_.subspan(HeldOffset(layer, kind), layout_.SegmentBytes(layer, kind));
}

std::span<const uint8_t> BlockView::Tile(uint32_t layer, PlaneKind kind, uint32_t kv_head, uint32_t tile) const {
  const std::span<const uint8_t> segment = Segment(layer, kind);
  if (segment.empty() || kv_head >= spec_.kv_heads || tile >= layout_.tiles()) return {};
  return segment.subspan(layout_.TileOffset(layer, kind, kv_head, tile), layout_.layer(layer).TileBytes(kind));
}

VectorRecord BlockView::RecordAt(uint32_t layer, uint64_t offset) const {
  const uint8_t* record = Segment(layer, PlaneKind::kBase).data() + offset;
  VectorRecordHead head;
  std::memcpy(&head, record, sizeof head);
  return {head.exponent, {reinterpret_cast<const uint16_t*>(record + sizeof head), spec_.head_dim}};
}

VectorRecord BlockView::KeyMean(uint32_t layer, uint32_t kv_head) const {
  if (!HasLayer(layer) || kv_head >= spec_.kv_heads || !layout_.layer(layer).key_mean) return {};
  if (spec_.HasProfile()) return profile_ ? profile_->Mean(layer, spec_.first_kv_head + kv_head) : VectorRecord{};
  return RecordAt(layer, uint64_t{kv_head} * VectorRecordBytes(spec_.head_dim));
}

std::span<const uint8_t> BlockView::BandTableOf(uint32_t layer, uint32_t kv_head) const {
  if (!HasLayer(layer) || kv_head >= spec_.kv_heads || !IsBanded(layout_.layer(layer).codec.k)) return {};
  const uint64_t bytes = BandTableBytes(spec_.head_dim);
  return Segment(layer, PlaneKind::kBase).subspan(layout_.layer(layer).first_band + kv_head * bytes, bytes);
}

VectorRecord BlockView::EscapeRecord(uint32_t layer, uint32_t index) const {
  if (!HasLayer(layer) || index >= layout_.layer(layer).escapes) return {};
  return RecordAt(layer, layout_.layer(layer).first_escape + uint64_t{index} * VectorRecordBytes(spec_.head_dim));
}

absl::StatusOr<BlockSpec> ParseBlockHeader(std::span<const uint8_t> bytes) {
  absl::StatusOr<ParsedHeader> parsed = ParseHeader(bytes);
  if (!parsed.ok()) return parsed.status();
  return parsed->spec;
}

absl::StatusOr<BlockLayout> ParseBlockPrefix(std::span<const uint8_t> bytes) {
  absl::StatusOr<ParsedPrefix> parsed = ParsePrefix(bytes);
  if (!parsed.ok()) return parsed.status();
  return std::move(parsed->layout);
}

absl::StatusOr<std::vector<ByteRange>> SelectionRanges(const BlockLayout& layout, const BlockSelection& selection) {
  absl::StatusOr<BlockSelection> held = Resolve(layout, selection);
  if (!held.ok()) return held.status();
  std::vector<ByteRange> ranges = {{0, layout.payload_offset()}};
  for (uint32_t layer = held->layer_begin; layer < held->layer_end; ++layer) {
    for (uint32_t plane = 0; plane < layout.planes(); ++plane) {
      const PlaneKind kind = layout.plane_kind(plane);
      const uint64_t length = layout.SegmentBytes(layer, kind);
      if ((held->planes & PlaneBit(kind)) == 0 || length == 0) continue;
      const uint64_t offset = layout.SegmentOffset(layer, kind);
      ByteRange& last = ranges.back();
      if (last.offset + last.length == offset) {
        last.length += length;
      } else {
        ranges.push_back({offset, length});
      }
    }
  }
  return ranges;
}

}  // namespace polarkv
