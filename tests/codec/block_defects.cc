#include "tests/codec/block_defects.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/codec/test_block.h"

namespace polarkv::testing {
namespace {

constexpr absl::StatusCode kDamaged = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kUnsupported = absl::StatusCode::kFailedPrecondition;
constexpr size_t kDirectory = sizeof(BlockHeader);

BlockDefect InHeader(std::string name, absl::StatusCode code, std::string message,
                     std::function<void(BlockHeader&)> change, CodecPair codec = {CodecId::kTurbo3, CodecId::kTurbo2}) {
  return HeaderDefect(std::move(name), code, std::move(message), std::move(change), DefectSpec(codec));
}

BlockDefect InDirectory(std::string name, std::string message, std::function<void(DirectoryEntry*)> change) {
  return {std::move(name), DefectPlace::kPrefix, kDamaged, std::move(message), [change] {
            BlockBytes block = MakeBlock(DefectSpec());
            DirectoryEntry entries[2];
            std::memcpy(entries, block.data() + kDirectory, sizeof entries);
            change(entries);
            std::memcpy(block.data() + kDirectory, entries, sizeof entries);
            ResealDirectory(block);
            return block;
          }};
}

// A good block whose bytes are changed without sealing it again.
BlockDefect InBytes(std::string name, DefectPlace place, std::string message, std::function<void(BlockBytes&)> change) {
  return {std::move(name), place, kDamaged, std::move(message), [change] {
            BlockBytes block = MakeBlock(DefectSpec());
            change(block);
            return block;
          }};
}

void AddUnsupported(std::vector<BlockDefect>& all) {
  const auto add = [&all](std::string name, std::string message, std::function<void(BlockHeader&)> change) {
    all.push_back(InHeader(std::move(name), kUnsupported, "unsupported block: " + message, std::move(change)));
  };
  add("version", "format version 1, this build reads version 2", [](BlockHeader& h) { h.version = 1; });
  add("features", "feature bits 0x0008 are not known to this build", [](BlockHeader& h) { h.features = 8; });
  add("k-codec", "k_codec 7 is not known to this build", [](BlockHeader& h) { h.k_codec = 7; });
  add("v-codec", "v_codec 0 is not known to this build", [](BlockHeader& h) { h.v_codec = 0; });
  add("codebook", "codebook 2, this build has codebook 1", [](BlockHeader& h) { h.codebook = 2; });
  add("source-dtype", "source_dtype 4 is not known to this build", [](BlockHeader& h) { h.source_dtype = 4; });
  add("rope-pairing", "rope_pairing 3 is not known to this build", [](BlockHeader& h) { h.rope_pairing = 3; });
  add("rotation-kind", "rotation_kind 2 is not known to this build", [](BlockHeader& h) { h.rotation_kind = 2; });
  add("head-dim", "head_dim 112 is not one of 64, 80, 96, 128, 192, 256", [](BlockHeader& h) { h.head_dim = 112; });
}

void AddRanges(std::vector<BlockDefect>& all) {
  const auto add = [&all](std::string name, std::string message, std::function<void(BlockHeader&)> change) {
    all.push_back(InHeader(std::move(name), kDamaged, "damaged block: " + message, std::move(change)));
  };
  add("no-layers", "layers is 0; valid: 1 to 1024", [](BlockHeader& h) { h.layers = 0; });
  add("many-layers", "layers is 1025; valid: 1 to 1024", [](BlockHeader& h) { h.layers = 1025; });
  add("no-heads", "kv_heads is 0; valid: 1 to 1024", [](BlockHeader& h) { h.kv_heads = 0; });
  add("many-heads", "kv_heads is 1025; valid: 1 to 1024", [](BlockHeader& h) { h.kv_heads = 1025; });
  add("first-head", "first_kv_head is 1024; valid: 0 to 1024 - kv_heads (1)",
      [](BlockHeader& h) { h.first_kv_head = 1024; });
  add("no-tokens", "tokens is 0; valid: 1 to 65536", [](BlockHeader& h) { h.tokens = 0; });
  add("many-tokens", "tokens is 65537; valid: 1 to 65536", [](BlockHeader& h) { h.tokens = 65537; });
  add("first-position", "first_position is 9007199254740987; valid: 0 to 2^53 - tokens (6)",
      [](BlockHeader& h) { h.first_position = (uint64_t{1} << 53) - 5; });
  add("rope-base", "rope_base is nan; valid: finite and above 0 with RoPE", [](BlockHeader& h) { h.rope_base = NAN; });
  add("rope-base-without-rope", "rope_base is 10000; valid: 0 without RoPE",
      [](BlockHeader& h) { h.rope_pairing = 0; });
  add("rope-dims", "rope_dims is 66; valid: even, 2 to head_dim (64)", [](BlockHeader& h) { h.rope_dims = 66; });
  add("rope-dims-odd", "rope_dims is 3; valid: even, 2 to head_dim (64)", [](BlockHeader& h) { h.rope_dims = 3; });
  add("rope-dims-without-rope", "rope_dims is 64; valid: 0 without RoPE", [](BlockHeader& h) {
    h.rope_pairing = 0;
    h.rope_base = 0;
  });
  add("rotation-missing", "rotation_kind is 0, the codecs need 1", [](BlockHeader& h) { h.rotation_kind = 0; });
  add("rotation-block", "rotation_block is 32, this block needs 64", [](BlockHeader& h) { h.rotation_block = 32; });
  add("keys-only-codec", "v_codec is qjl2; valid: codecs that are not for keys only",
      [](BlockHeader& h) { h.v_codec = static_cast<uint8_t>(CodecId::kQjl2); });
  add("extension", "extension_bytes is 64, this block's features need 0",
      [](BlockHeader& h) { h.extension_bytes = 64; });
  add("phases-without-layers", "a phase table without a layer table",
      [](BlockHeader& h) { h.features = kFeaturePhaseTable; });
  add("profile-without-digest", "a profile without a digest", [](BlockHeader& h) { h.features = kFeatureProfile; });
  add("digest-without-profile", "the digest of a profile without its feature bit",
      [](BlockHeader& h) { h.profile_digest[15] = 1; });
  add("reserved-header", "reserved header bytes are not zero", [](BlockHeader& h) { h.reserved = 1; });
  add("planes", "planes is 3, the codecs have 2", [](BlockHeader& h) { h.planes = 3; });
  add("total-bytes", "total_bytes is 3073, a block of this shape has 2944",
      [](BlockHeader& h) { h.total_bytes = 3073; });
  add("over-the-limit",
      "a block of 1024 layers, 1024 heads and 65536 tokens would have 2954937532544 bytes; the limit is 1073741824: "
      "use "
      "fewer tokens a block or more shards",
      [](BlockHeader& h) {
        h.layers = 1024;
        h.kv_heads = 1024;
        h.tokens = 65536;
      });
  const CodecPair unrotated = {CodecId::kPolar44, CodecId::kPolar44};
  all.push_back(InHeader(
      "rotation-seed", kDamaged, "damaged block: rotation_seed is not 0 in a block without rotation",
      [](BlockHeader& h) { h.rotation_seed = 1; }, unrotated));
  all.push_back(InHeader(
      "rotation-unused", kDamaged, "damaged block: rotation_kind is 1, the codecs need 0",
      [](BlockHeader& h) { h.rotation_kind = 1; }, unrotated));
}

void AddDamage(std::vector<BlockDefect>& all) {
  const auto add = [&all](std::string name, DefectPlace place, std::string message,
                          std::function<void(BlockBytes&)> change) {
    all.push_back(InBytes(std::move(name), place, "damaged block: " + message, std::move(change)));
  };
  using enum DefectPlace;
  add("empty", kHeader, "cut off in the header, 0 of 128 bytes", [](BlockBytes& b) { b.clear(); });
  add("cut-in-header", kHeader, "cut off in the header, 127 of 128 bytes", [](BlockBytes& b) { b.resize(127); });
  add("magic", kHeader, "not a block, magic is 0x42564b51 instead of 0x42564b50", [](BlockBytes& b) { b[0] ^= 1; });
  add("header-checksum", kHeader, "header checksum does not match", [](BlockBytes& b) { b[40] ^= 1; });
  add("cut-in-directory", kPrefix, "cut off in the directory, 191 of 192 bytes", [](BlockBytes& b) { b.resize(191); });
  add("directory-checksum", kPrefix, "directory checksum does not match", [](BlockBytes& b) { b[kDirectory] ^= 1; });
  add("directory-padding", kPrefix, "padding after the directory is not zero", [](BlockBytes& b) { b[191] = 1; });
  add("cut-in-segments", kPrefix, "cut off in the segments, 2943 of 2944 bytes", [](BlockBytes& b) { b.pop_back(); });
  add("trailing-bytes", kPrefix, "1 bytes after the end of a block of 2944 bytes",
      [](BlockBytes& b) { b.push_back(0); });
  add("segment-checksum", kPayload, "segment checksum of layer 0, plane 1 does not match",
      [](BlockBytes& b) { b.back() ^= 1; });
}

void AddDirectory(std::vector<BlockDefect>& all) {
  const auto add = [&all](std::string name, std::string message, std::function<void(DirectoryEntry*)> change) {
    all.push_back(InDirectory(std::move(name), "damaged block: directory entry of layer 0, plane " + message, change));
  };
  add("segment-outside", "1: segment ends outside the block (3008, expected 2944)",
      [](DirectoryEntry* e) { e[1].offset_units += 1; });
  add("segment-offset-overflow", "0: segment ends outside the block (274877909120, expected 2432)",
      [](DirectoryEntry* e) { e[0].offset_units = 0xFFFFFFFF; });
  add("segment-length-overflow", "0: segment ends outside the block (4294967487, expected 2432)",
      [](DirectoryEntry* e) { e[0].length = 0xFFFFFFFF; });
  add("segment-in-header", "0: segment overlaps what is before it (128, expected 192)",
      [](DirectoryEntry* e) { e[0].offset_units = 2; });
  add("segment-overlap", "1: segment overlaps what is before it (2368, expected 2432)",
      [](DirectoryEntry* e) { e[1].offset_units -= 1; });
  add("segment-length", "0: wrong segment length (2176, expected 2240)", [](DirectoryEntry* e) { e[0].length -= 64; });
  add("segment-gap", "0: gap before the segment (256, expected 192)",
      [](DirectoryEntry* e) { e[0].offset_units += 1; });
}

}  // namespace

BlockDefect HeaderDefect(std::string name, absl::StatusCode code, std::string message,
                         std::function<void(BlockHeader&)> change, const BlockSpec& spec) {
  return {std::move(name), DefectPlace::kHeader, code, std::move(message), [change, spec] {
            BlockBytes block = MakeBlock(spec);
            BlockHeader header;
            std::memcpy(&header, block.data(), sizeof header);
            change(header);
            std::memcpy(block.data(), &header, sizeof header);
            ResealHeader(block);
            return block;
          }};
}

BlockSpec DefectSpec(CodecPair codec) {
  BlockSpec spec;
  spec.layers = 1;
  spec.kv_heads = 1;
  spec.head_dim = 64;
  spec.tokens = 6;
  spec.codec = codec;
  spec.rope = {RopePairing::kHalf, 10000.0f, 64};
  return spec;
}

BlockSpec LayeredDefectSpec(CodecPair codec) {
  BlockSpec spec = DefectSpec(codec);
  spec.layer_parts = {{codec, true, 3}};
  spec.phases.assign(32, 1);
  return spec;
}

void ResealHeader(BlockBytes& block) {
  const uint64_t checksum = XXH3_64bits(block.data(), offsetof(BlockHeader, header_xxh3));
  std::memcpy(block.data() + offsetof(BlockHeader, header_xxh3), &checksum, sizeof checksum);
}

void ResealDirectory(BlockBytes& block) {
  BlockHeader header;
  std::memcpy(&header, block.data(), sizeof header);
  const uint64_t bytes = header.extension_bytes + uint64_t{header.layers} * header.planes * sizeof(DirectoryEntry);
  const uint64_t checksum = XXH3_64bits(block.data() + sizeof header, std::min(bytes, block.size() - sizeof header));
  std::memcpy(block.data() + offsetof(BlockHeader, directory_xxh3), &checksum, sizeof checksum);
  ResealHeader(block);
}

void ResealSegment(BlockBytes& block, uint64_t offset, uint64_t length, uint32_t entry) {
  BlockHeader header;
  std::memcpy(&header, block.data(), sizeof header);
  const uint64_t checksum = XXH3_64bits(block.data() + offset, length);
  std::memcpy(block.data() + kDirectory + header.extension_bytes + entry * sizeof(DirectoryEntry) +
                  offsetof(DirectoryEntry, xxh3),
              &checksum, sizeof checksum);
  ResealDirectory(block);
}

const std::vector<BlockDefect>& AllBlockDefects() {
  static const auto* all = [] {
    auto* defects = new std::vector<BlockDefect>;
    AddDamage(*defects);
    AddUnsupported(*defects);
    AddRanges(*defects);
    AddDirectory(*defects);
    AddExtensionDefects(*defects);
    AddPayloadDefects(*defects);
    return defects;
  }();
  return *all;
}

}  // namespace polarkv::testing
