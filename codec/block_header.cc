#include "codec/block_header.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace polarkv {
namespace {

constexpr uint16_t kCodebook = 1;

// Values that a later version may give a meaning to. Whoever reads them wrongly would read the rest wrongly.
absl::Status CheckKnown(const BlockHeader& h) {
  if (h.version != kBlockVersion) {
    return Unsupported(absl::StrCat("format version ", h.version, ", this build reads version ", kBlockVersion));
  }
  if (const int unknown = h.features & ~kKnownFeatures; unknown != 0)
    return Unsupported(absl::StrFormat("feature bits 0x%04x are not known to this build", unknown));
  if (absl::Status s = CheckKnownCodecs(h.k_codec, h.v_codec, ""); !s.ok()) return s;
  if (h.codebook != kCodebook)
    return Unsupported(absl::StrCat("codebook ", h.codebook, ", this build has codebook ", kCodebook));
  if (h.source_dtype < 1 || h.source_dtype > 3)
    return Unsupported(absl::StrCat("source_dtype ", h.source_dtype, " is not known to this build"));
  if (h.rope_pairing > 2)
    return Unsupported(absl::StrCat("rope_pairing ", h.rope_pairing, " is not known to this build"));
  if (h.rotation_kind > 1)
    return Unsupported(absl::StrCat("rotation_kind ", h.rotation_kind, " is not known to this build"));
  if (!IsKnownHeadDim(h.head_dim))
    return Unsupported(absl::StrCat("head_dim ", h.head_dim, " is not one of 64, 80, 96, 128, 192, 256"));
  return absl::OkStatus();
}

BlockSpec SpecOf(const BlockHeader& h) {
  BlockSpec spec;
  spec.layers = h.layers;
  spec.kv_heads = h.kv_heads;
  spec.first_kv_head = h.first_kv_head;
  spec.head_dim = h.head_dim;
  spec.tokens = h.tokens;
  spec.first_position = h.first_position;
  spec.codec = {static_cast<CodecId>(h.k_codec), static_cast<CodecId>(h.v_codec)};
  spec.source_dtype = static_cast<Dtype>(h.source_dtype);
  spec.rope = {static_cast<RopePairing>(h.rope_pairing), h.rope_base, h.rope_dims};
  if (h.rotation_kind != 0) spec.rotation_seed = h.rotation_seed;
  std::ranges::copy(h.profile_digest, spec.profile_digest.begin());
  std::ranges::copy(h.namespace_tag, spec.namespace_tag.begin());
  std::ranges::copy(h.key_tag, spec.key_tag.begin());
  return spec;
}

// The features' own consistency, and the extension's length, which follows from them.
absl::Status CheckExtensionLength(const BlockHeader& h) {
  const bool layer_table = (h.features & kFeatureLayerTable) != 0;
  const bool phase_table = (h.features & kFeaturePhaseTable) != 0;
  if (phase_table && !layer_table) return Damaged("a phase table without a layer table");
  if (phase_table && h.rope_pairing == 0) return Damaged("a phase table without RoPE");
  const bool profile = (h.features & kFeatureProfile) != 0;
  const bool digest = std::ranges::any_of(h.profile_digest, [](uint8_t byte) { return byte != 0; });
  if (profile && !digest) return Damaged("a profile without a digest");
  if (digest && !profile) return Damaged("the digest of a profile without its feature bit");
  if (phase_table && profile) return Damaged("a phase table beside a profile, which has its own");
  const uint32_t tables = (layer_table ? h.layers * uint32_t{sizeof(LayerEntry)} : 0) +
                          (phase_table ? h.rope_dims / 2 * uint32_t{sizeof(uint64_t)} : 0);
  const uint32_t expected = (tables + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
  if (h.extension_bytes != expected) {
    return Damaged(absl::StrCat("extension_bytes is ", h.extension_bytes, ", this block's features need ", expected));
  }
  return absl::OkStatus();
}

absl::Status CheckRotation(const BlockHeader& h, bool rotates) {
  if (h.rotation_kind != (rotates ? 1 : 0)) {
    return Damaged(absl::StrCat("rotation_kind is ", h.rotation_kind, ", the codecs need ", rotates ? 1 : 0));
  }
  return absl::OkStatus();
}

// What the header tells of rotation without the layer table.
absl::Status CheckRotationFields(const BlockHeader& h) {
  const bool rotates = h.rotation_kind != 0;
  if (!rotates && h.rotation_seed != 0) return Damaged("rotation_seed is not 0 in a block without rotation");
  const uint16_t rotation_block = rotates ? RotationBlock(h.head_dim) : uint16_t{0};
  if (h.rotation_block != rotation_block) {
    return Damaged(absl::StrCat("rotation_block is ", h.rotation_block, ", this block needs ", rotation_block));
  }
  if (h.reserved != 0) return Damaged("reserved header bytes are not zero");
  return absl::OkStatus();
}

}  // namespace

absl::Status Damaged(absl::string_view what) { return absl::DataLossError(absl::StrCat("damaged block: ", what)); }

absl::Status Unsupported(absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat("unsupported block: ", what));
}

absl::Status CheckKnownCodecs(uint8_t k_codec, uint8_t v_codec, absl::string_view prefix) {
  if (!IsKnownCodec(k_codec))
    return Unsupported(absl::StrCat(prefix, "k_codec ", k_codec, " is not known to this build"));
  if (!IsKnownCodec(v_codec))
    return Unsupported(absl::StrCat(prefix, "v_codec ", v_codec, " is not known to this build"));
  return absl::OkStatus();
}

absl::Status CheckDerived(const BlockHeader& h, const BlockSpec& spec, const BlockLayout& layout) {
  if (absl::Status s = CheckRotation(h, spec.Rotates()); !s.ok()) return s;
  if (h.planes != layout.planes()) {
    return Damaged(absl::StrCat("planes is ", h.planes, ", the codecs have ", layout.planes()));
  }
  if (h.total_bytes != layout.total_bytes()) {
    return Damaged(
        absl::StrCat("total_bytes is ", h.total_bytes, ", a block of this shape has ", layout.total_bytes()));
  }
  return absl::OkStatus();
}

uint64_t BlockChecksum(std::span<const uint8_t> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t HeaderChecksum(const BlockHeader& header) { return XXH3_64bits(&header, offsetof(BlockHeader, header_xxh3)); }

BlockHeader EncodeHeader(const BlockSpec& spec, const BlockLayout& layout, uint64_t directory_xxh3) {
  BlockHeader h{};
  h.magic = kBlockMagic;
  h.version = kBlockVersion;
  if (spec.HasLayerTable()) h.features |= kFeatureLayerTable;
  if (spec.HasPhaseTable()) h.features |= kFeaturePhaseTable;
  if (spec.HasProfile()) h.features |= kFeatureProfile;
  h.extension_bytes = layout.extension_bytes();
  h.total_bytes = layout.total_bytes();
  h.layers = spec.layers;
  h.kv_heads = spec.kv_heads;
  h.first_kv_head = spec.first_kv_head;
  h.head_dim = spec.head_dim;
  h.tokens = spec.tokens;
  h.k_codec = static_cast<uint8_t>(spec.codec.k);
  h.v_codec = static_cast<uint8_t>(spec.codec.v);
  h.source_dtype = static_cast<uint8_t>(spec.source_dtype);
  h.rope_pairing = static_cast<uint8_t>(spec.rope.pairing);
  h.first_position = spec.first_position;
  h.rope_base = spec.rope.base;
  h.rope_dims = spec.rope.dims;
  h.planes = static_cast<uint8_t>(layout.planes());
  if (spec.Rotates()) {
    h.rotation_kind = static_cast<uint8_t>(RotationKind::kSignedBlockHadamard);
    h.rotation_seed = spec.rotation_seed;
    h.rotation_block = RotationBlock(spec.head_dim);
  }
  h.codebook = kCodebook;
  std::ranges::copy(spec.profile_digest, h.profile_digest);
  std::ranges::copy(spec.namespace_tag, h.namespace_tag);
  std::ranges::copy(spec.key_tag, h.key_tag);
  h.directory_xxh3 = directory_xxh3;
  h.header_xxh3 = HeaderChecksum(h);
  return h;
}

absl::StatusOr<ParsedHeader> ParseHeader(std::span<const uint8_t> bytes) {
  ParsedHeader parsed;
  BlockHeader& h = parsed.header;
  if (bytes.size() < sizeof h) {
    return Damaged(absl::StrCat("cut off in the header, ", bytes.size(), " of 128 bytes"));
  }
  std::memcpy(&h, bytes.data(), sizeof h);
  if (h.magic != kBlockMagic)
    return Damaged(absl::StrFormat("not a block, magic is 0x%08x instead of 0x%08x", h.magic, kBlockMagic));
  // Magic, version and the checksum's place hold for every version, so damage is told from a newer version.
  if (h.header_xxh3 != HeaderChecksum(h)) return Damaged("header checksum does not match");
  if (absl::Status s = CheckKnown(h); !s.ok()) return s;
  parsed.spec = SpecOf(h);
  if (absl::Status s = ValidateBlockFields(parsed.spec); !s.ok()) return Damaged(s.message());
  if (absl::Status s = CheckExtensionLength(h); !s.ok()) return s;
  if (parsed.HasLayerTable()) {
    // The codecs of single layers decide the rest; what can be told already bounds what a reader has to hold.
    if (PairRotates(parsed.spec.codec)) {
      if (absl::Status s = CheckRotation(h, true); !s.ok()) return s;
    }
    if (absl::Status s = CheckRotationFields(h); !s.ok()) return s;
    if (h.planes < 1 || h.planes > kMaxPlanes) {
      return Damaged(absl::StrCat("planes is ", h.planes, "; valid: 1 to ", kMaxPlanes));
    }
    if (h.total_bytes > kMaxBlockBytes) {
      return Damaged(absl::StrCat("total_bytes is ", h.total_bytes, "; valid: up to ", kMaxBlockBytes));
    }
    return parsed;
  }
  if (absl::Status s = CheckRotation(h, parsed.spec.Rotates()); !s.ok()) return s;
  if (absl::Status s = CheckRotationFields(h); !s.ok()) return s;
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(parsed.spec);
  if (!layout.ok()) return Damaged(layout.status().message());
  if (absl::Status s = CheckDerived(h, parsed.spec, *layout); !s.ok()) return s;
  return parsed;
}

}  // namespace polarkv
