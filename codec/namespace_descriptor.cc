#include "codec/namespace_descriptor.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "codec/block_layout.h"
#include "codec/canonical_bytes.h"
#include "codec/key_mean_profile.h"

namespace polarkv {
namespace {

constexpr size_t kMaxName = 128;
constexpr size_t kMaxText = 1024;

absl::string_view ForAbsl(std::string_view text) { return {text.data(), text.size()}; }

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("namespace descriptor: ", what));
}

bool IsNameCharacter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '/' || c == '-';
}

absl::Status CheckName(std::string_view name) {
  if (name.empty() || name.size() > kMaxName) {
    return Invalid(absl::StrCat("name has ", name.size(), " characters; valid: 1 to ", kMaxName));
  }
  if (!std::ranges::all_of(name, IsNameCharacter)) {
    return Invalid(
        absl::StrCat("name \"", absl::CEscape(ForAbsl(name)), "\" has a character outside A-Z a-z 0-9 . _ / -"));
  }
  return absl::OkStatus();
}

absl::Status CheckText(absl::string_view field, std::string_view text) {
  if (text.size() > kMaxText)
    return Invalid(absl::StrCat(field, " has ", text.size(), " bytes; valid: 0 to ", kMaxText));
  // They end up in logs and error messages.
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::ranges::any_of(text, is_control)) return Invalid(absl::StrCat(field, " has a control character"));
  return absl::OkStatus();
}

absl::Status CheckTexts(const NamespaceDescriptor& d) {
  if (absl::Status s = CheckName(d.name); !s.ok()) return s;
  if (absl::Status s = CheckText("tenant", d.tenant); !s.ok()) return s;
  if (absl::Status s = CheckText("model", d.model); !s.ok()) return s;
  if (absl::Status s = CheckText("weights_digest", d.weights_digest); !s.ok()) return s;
  if (absl::Status s = CheckText("tokenizer_digest", d.tokenizer_digest); !s.ok()) return s;
  return CheckText("rope_scaling", d.rope_scaling);
}

// Ranges that the block header cannot see, because its fields are narrower or hold one shard only.
absl::Status CheckCounts(const NamespaceDescriptor& d) {
  if (d.layers < 1 || d.layers > kMaxLayers)
    return Invalid(absl::StrCat("layers is ", d.layers, "; valid: 1 to ", kMaxLayers));
  if (d.kv_heads < 1 || d.kv_heads > kMaxKvHeads) {
    return Invalid(absl::StrCat("kv_heads is ", d.kv_heads, "; valid: 1 to ", kMaxKvHeads));
  }
  if (!IsKnownHeadDim(d.head_dim))
    return Invalid(absl::StrCat("head_dim is ", d.head_dim, "; valid: 64, 80, 96, 128, 192, 256"));
  if (d.block_tokens < kTileTokens || d.block_tokens > kMaxBlockTokens || d.block_tokens % kTileTokens != 0) {
    return Invalid(absl::StrCat("block_tokens is ", d.block_tokens, "; valid: multiples of ", kTileTokens, " up to ",
                                kMaxBlockTokens));
  }
  if (d.shards < 1 || d.kv_heads % d.shards != 0) {
    return Invalid(absl::StrCat("shards is ", d.shards, "; valid: divisors of kv_heads (", d.kv_heads, ")"));
  }
  return absl::OkStatus();
}

struct FieldText {
  const char* name;
  std::string value;
};

std::string Quoted(std::string_view text) { return absl::StrCat("\"", absl::CEscape(ForAbsl(text)), "\""); }
template <size_t N>
std::string Hex(const std::array<uint8_t, N>& bytes) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes.data()), N));
}

absl::string_view DtypeName(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF16:
      return "F16";
    case Dtype::kBF16:
      return "BF16";
    case Dtype::kF32:
      return "F32";
  }
  return "unknown";
}

absl::string_view PairingName(RopePairing pairing) {
  switch (pairing) {
    case RopePairing::kNone:
      return "none";
    case RopePairing::kHalf:
      return "half";
    case RopePairing::kInterleaved:
      return "interleaved";
  }
  return "unknown";
}

// Nine digits tell any two floats apart.
std::string FloatText(float value) { return absl::StrFormat("%.9g", value); }

// Every field as text, in the canonical order.
std::vector<FieldText> Fields(const NamespaceDescriptor& d) {
  return {{"name", Quoted(d.name)},
          {"tenant", Quoted(d.tenant)},
          {"model", Quoted(d.model)},
          {"weights_digest", Quoted(d.weights_digest)},
          {"tokenizer_digest", Quoted(d.tokenizer_digest)},
          {"layers", absl::StrCat(d.layers)},
          {"kv_heads", absl::StrCat(d.kv_heads)},
          {"head_dim", absl::StrCat(d.head_dim)},
          {"rope_pairing", std::string(PairingName(d.rope.pairing))},
          {"rope_base", FloatText(d.rope.base)},
          {"rope_dims", absl::StrCat(d.rope.dims)},
          {"rope_scaling", Quoted(d.rope_scaling)},
          {"source_dtype", std::string(DtypeName(d.source_dtype))},
          {"block_tokens", absl::StrCat(d.block_tokens)},
          {"shards", absl::StrCat(d.shards)},
          {"codec", CodecPairName(d.codec)},
          {"rotation_seed", absl::StrCat(d.rotation_seed)},
          {"profile_digest", Hex(d.profile_digest)}};
}

std::vector<FieldText> Fields(const BlockSpec& s) {
  return {{"layers", absl::StrCat(s.layers)},
          {"kv_heads", absl::StrCat(s.kv_heads)},
          {"head_dim", absl::StrCat(s.head_dim)},
          {"tokens", absl::StrCat(s.tokens)},
          {"codec", CodecPairName(s.codec)},
          {"source_dtype", std::string(DtypeName(s.source_dtype))},
          {"rope_pairing", std::string(PairingName(s.rope.pairing))},
          {"rope_base", FloatText(s.rope.base)},
          {"rope_dims", absl::StrCat(s.rope.dims)},
          {"rotation_seed", absl::StrCat(s.rotation_seed)},
          {"profile_digest", Hex(s.profile_digest)},
          {"namespace_tag", Hex(s.namespace_tag)},
          {"key_tag", Hex(s.key_tag)}};
}

// NamespaceBlockSpec with the fingerprint at hand, which is a hash of the whole descriptor.
BlockSpec TaggedSpec(const NamespaceDescriptor& d, const Fingerprint& fingerprint, const BlockKey& key,
                     uint64_t block_index, uint32_t shard) {
  const uint32_t heads = d.kv_heads / d.shards;
  BlockSpec spec;
  spec.layers = static_cast<uint16_t>(d.layers);
  spec.kv_heads = static_cast<uint16_t>(heads);
  spec.first_kv_head = static_cast<uint16_t>(shard * heads);
  spec.head_dim = static_cast<uint16_t>(d.head_dim);
  spec.tokens = d.block_tokens;
  spec.first_position = block_index * d.block_tokens;
  spec.codec = d.codec;
  spec.source_dtype = d.source_dtype;
  spec.rope = d.rope;
  spec.rotation_seed = d.rotation_seed;
  spec.profile_digest = d.profile_digest;
  std::copy_n(fingerprint.begin(), spec.namespace_tag.size(), spec.namespace_tag.begin());
  std::copy_n(key.bytes.begin(), spec.key_tag.size(), spec.key_tag.begin());
  return spec;
}

absl::Status DoesNotBelong(absl::string_view field, absl::string_view block, absl::string_view expected) {
  return absl::FailedPreconditionError(absl::StrCat("the block does not belong to this namespace and key: ", field,
                                                    " is ", block, ", expected ", expected));
}

}  // namespace

absl::Status ValidateNamespaceDescriptor(const NamespaceDescriptor& descriptor) {
  if (absl::Status s = CheckTexts(descriptor); !s.ok()) return s;
  if (absl::Status s = CheckCounts(descriptor); !s.ok()) return s;
  // The rest is what the header of a block must be able to say; this also bounds the block's size.
  const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(NamespaceBlockSpec(descriptor, BlockKey{}, 0));
  if (!layout.ok()) return Invalid(layout.status().message());
  return absl::OkStatus();
}

std::string CanonicalDescriptor(const NamespaceDescriptor& d) {
  CanonicalBytes out("polarkv.namespace.1");
  out.Text(d.name).Text(d.tenant).Text(d.model).Text(d.weights_digest).Text(d.tokenizer_digest);
  out.Integer(d.layers).Integer(d.kv_heads).Integer(d.head_dim);
  out.Integer(static_cast<uint8_t>(d.rope.pairing)).Float(d.rope.base).Integer(d.rope.dims).Text(d.rope_scaling);
  out.Integer(static_cast<uint8_t>(d.source_dtype)).Integer(d.block_tokens).Integer(d.shards);
  out.Integer(static_cast<uint8_t>(d.codec.k)).Integer(static_cast<uint8_t>(d.codec.v));
  out.Integer(d.rotation_seed).Raw(d.profile_digest);
  return out.bytes();
}

Fingerprint NamespaceFingerprint(const NamespaceDescriptor& descriptor) {
  return Sha256Of(CanonicalDescriptor(descriptor));
}

std::string FirstDifference(const NamespaceDescriptor& here, const NamespaceDescriptor& offered) {
  const std::vector<FieldText> a = Fields(here);
  const std::vector<FieldText> b = Fields(offered);
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].value != b[i].value) return absl::StrCat(a[i].name, ": ", a[i].value, " here, ", b[i].value, " offered");
  }
  return "";
}

BlockSpec NamespaceBlockSpec(const NamespaceDescriptor& d, const BlockKey& key, uint64_t block_index, uint32_t shard) {
  return TaggedSpec(d, NamespaceFingerprint(d), key, block_index, shard);
}

uint64_t LargestBlockBytes(const NamespaceDescriptor& d) {
  BlockSpec spec = NamespaceBlockSpec(d, BlockKey{}, 0);
  spec.codec = {CodecId::kFp16, CodecId::kFp16};
  const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(spec);
  if (!layout.ok()) return kMaxBlockBytes;
  const uint64_t layer = spec.kv_heads * VectorRecordBytes(spec.head_dim) + kSegmentAlignment + sizeof(LayerEntry) +
                         kMaxPlanes * sizeof(DirectoryEntry);
  const uint64_t phases = spec.rope.dims / 2 * sizeof(uint64_t) + 2 * kSegmentAlignment;
  return std::min(layout->total_bytes() + spec.layers * layer + phases, kMaxBlockBytes);
}

absl::Status CheckProfileBelongs(const KeyMeanProfile& profile, const NamespaceDescriptor& d) {
  if (profile.digest() != d.profile_digest) {
    return Invalid(absl::StrCat("profile_digest is ", Hex(d.profile_digest), ", the profile given is ",
                                ProfileDigestText(profile.digest())));
  }
  if (profile.shape().kv_heads != d.kv_heads) {
    return Invalid(absl::StrCat("kv_heads is ", d.kv_heads, ", the profile is of a model with ", profile.shape().kv_heads));
  }
  if (absl::Status s = profile.CheckFits(NamespaceBlockSpec(d, BlockKey{}, 0)); !s.ok()) return Invalid(s.message());
  return absl::OkStatus();
}

absl::Status CheckBlockBelongs(const BlockSpec& block, const NamespaceDescriptor& descriptor,
                               const Fingerprint& fingerprint, const BlockKey& key) {
  BlockSpec expected = TaggedSpec(descriptor, fingerprint, key, 0, 0);
  // A block without rotation stores no seed, and says nothing about it.
  if (!block.Rotates() && block.rotation_seed == BlockSpec::kDefaultRotationSeed) {
    expected.rotation_seed = block.rotation_seed;
  }
  if (block.first_kv_head % expected.kv_heads != 0 || block.first_kv_head >= descriptor.kv_heads) {
    return DoesNotBelong("first_kv_head", absl::StrCat(block.first_kv_head),
                         absl::StrCat("a multiple of ", expected.kv_heads, " below ", descriptor.kv_heads));
  }
  if (block.first_position % descriptor.block_tokens != 0) {
    return DoesNotBelong("first_position", absl::StrCat(block.first_position),
                         absl::StrCat("a multiple of ", descriptor.block_tokens));
  }
  expected.first_kv_head = block.first_kv_head;
  expected.first_position = block.first_position;
  // Each block chooses for itself what its layers have of their own.
  expected.layer_parts = block.layer_parts;
  expected.phases = block.phases;
  if (block == expected) return absl::OkStatus();
  const std::vector<FieldText> actual = Fields(block);
  const std::vector<FieldText> wanted = Fields(expected);
  const auto differs = std::ranges::mismatch(actual, wanted, {}, &FieldText::value, &FieldText::value).in1;
  const size_t i = static_cast<size_t>(differs - actual.begin());
  return DoesNotBelong(actual[i].name, actual[i].value, wanted[i].value);
}

}  // namespace polarkv
