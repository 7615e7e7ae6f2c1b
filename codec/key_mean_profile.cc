#include "codec/key_mean_profile.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "codec/block_header.h"
#include "codec/canonical_bytes.h"
#include "codec/tile_check.h"

namespace polarkv {
namespace {

absl::Status DamagedProfile(absl::string_view what) { return absl::DataLossError(absl::StrCat("damaged profile: ", what)); }
absl::Status UnsupportedProfile(absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat("unsupported profile: ", what));
}

uint64_t ProfileHeaderChecksum(const ProfileHeader& header) {
  return BlockChecksum({reinterpret_cast<const uint8_t*>(&header), offsetof(ProfileHeader, header_xxh3)});
}

uint64_t PhaseBytes(const ProfileShape& shape) { return uint64_t{shape.rope.dims} / 2 * sizeof(uint64_t); }

// Ranges of a header's fields, and of what an encoder gives.
absl::Status CheckShape(const ProfileShape& shape) {
  const auto count = [](const char* field, uint32_t value, uint32_t limit) -> absl::Status {
    if (value >= 1 && value <= limit) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, "; valid: 1 to ", limit));
  };
  if (absl::Status s = count("layers", shape.layers, kMaxLayers); !s.ok()) return s;
  if (absl::Status s = count("kv_heads", shape.kv_heads, kMaxKvHeads); !s.ok()) return s;
  if (absl::Status s = ValidateRope(shape.rope, shape.head_dim); !s.ok()) return s;
  if (const uint64_t bytes = ProfileBytes(shape); bytes > kMaxProfileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a profile of this shape has ", bytes, " bytes; the limit is ", kMaxProfileBytes));
  }
  return absl::OkStatus();
}

// What a later version may give a meaning to.
absl::Status CheckKnown(const ProfileHeader& h) {
  if (h.version != kProfileVersion)
    return UnsupportedProfile(absl::StrCat("version ", h.version, ", this build reads version ", kProfileVersion));
  if (h.rope_pairing > 2)
    return UnsupportedProfile(absl::StrCat("rope_pairing ", h.rope_pairing, " is not known to this build"));
  if (!IsKnownHeadDim(h.head_dim))
    return UnsupportedProfile(absl::StrCat("head_dim ", h.head_dim, " is not one of 64, 80, 96, 128, 192, 256"));
  return absl::OkStatus();
}

absl::StatusOr<ProfileHeader> ParseProfileHeader(std::span<const uint8_t> bytes) {
  ProfileHeader h;
  if (bytes.size() < sizeof h) {
    return DamagedProfile(absl::StrCat("cut off in the header, ", bytes.size(), " of ", sizeof h, " bytes"));
  }
  std::memcpy(&h, bytes.data(), sizeof h);
  if (h.magic != kProfileMagic)
    return DamagedProfile(absl::StrFormat("not a profile, magic is 0x%08x instead of 0x%08x", h.magic, kProfileMagic));
  if (h.header_xxh3 != ProfileHeaderChecksum(h)) return DamagedProfile("header checksum does not match");
  if (absl::Status s = CheckKnown(h); !s.ok()) return s;
  const auto zero = [](uint8_t byte) { return byte == 0; };
  if (h.reserved0 != 0 || !std::ranges::all_of(h.reserved1, zero)) {
    return DamagedProfile("reserved header bytes are not zero");
  }
  return h;
}

std::string RopeText(const Rope& rope) {
  const char* const pairing[] = {"none", "half", "interleaved"};
  return absl::StrFormat("%s, base %.9g, %d dims", pairing[static_cast<int>(rope.pairing)], rope.base, rope.dims);
}

}  // namespace

uint64_t ProfileBytes(const ProfileShape& shape) {
  return sizeof(ProfileHeader) + PhaseBytes(shape) +
         uint64_t{shape.layers} * shape.kv_heads * VectorRecordBytes(shape.head_dim);
}

ProfileDigest ProfileDigestOf(std::span<const uint8_t> bytes) {
  const auto hash = Sha256Of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  ProfileDigest digest;
  std::copy_n(hash.begin(), digest.size(), digest.begin());
  return digest;
}

std::string ProfileDigestText(const ProfileDigest& digest) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

KeyMeanProfile::KeyMeanProfile(ProfileShape shape, std::vector<uint8_t> bytes)
    : shape_(std::move(shape)), bytes_(std::move(bytes)), digest_(ProfileDigestOf(bytes_)) {}

absl::StatusOr<KeyMeanProfilePtr> KeyMeanProfile::Parse(std::span<const uint8_t> bytes) {
  const absl::StatusOr<ProfileHeader> header = ParseProfileHeader(bytes);
  if (!header.ok()) return header.status();
  const ProfileHeader& h = *header;
  ProfileShape shape{h.layers, h.kv_heads, h.head_dim,
                     {static_cast<RopePairing>(h.rope_pairing), h.rope_base, h.rope_dims}, {}};
  if (absl::Status s = CheckShape(shape); !s.ok()) return DamagedProfile(s.message());
  const uint64_t expected = ProfileBytes(shape);
  if (h.total_bytes != expected) {
    return DamagedProfile(absl::StrCat("total_bytes is ", h.total_bytes, ", a profile of this shape has ", expected));
  }
  if (bytes.size() < expected) {
    return DamagedProfile(absl::StrCat("cut off after the header, ", bytes.size(), " of ", expected, " bytes"));
  }
  if (bytes.size() > expected) {
    return DamagedProfile(absl::StrCat(bytes.size() - expected, " bytes after the end of a profile of ", expected, " bytes"));
  }
  const std::span<const uint8_t> body = bytes.subspan(sizeof h);
  if (BlockChecksum(body) != h.body_xxh3) return DamagedProfile("checksum of the means does not match");
  shape.phases.resize(shape.rope.dims / 2u);
  if (!shape.phases.empty()) std::memcpy(shape.phases.data(), body.data(), PhaseBytes(shape));
  KeyMeanProfilePtr profile(new KeyMeanProfile(std::move(shape), {bytes.begin(), bytes.end()}));
  for (uint32_t layer = 0; layer < h.layers; ++layer) {
    for (uint32_t head = 0; head < h.kv_heads; ++head) {
      if (const char* defect = VectorRecordDefect(profile->Record(layer, head))) {
        return DamagedProfile(absl::StrCat("mean of layer ", layer, ", head ", head, ": ", defect));
      }
    }
  }
  return profile;
}

absl::StatusOr<KeyMeanProfilePtr> KeyMeanProfile::Make(const ProfileShape& shape, std::span<const uint8_t> records) {
  const auto invalid = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("key-mean profile: ", what));
  };
  if (!IsKnownHeadDim(shape.head_dim))
    return invalid(absl::StrCat("head_dim is ", shape.head_dim, "; valid: 64, 80, 96, 128, 192, 256"));
  if (absl::Status s = CheckShape(shape); !s.ok()) return invalid(s.message());
  const uint64_t total = ProfileBytes(shape), phases = PhaseBytes(shape);
  if (shape.phases.size() != shape.rope.dims / 2u) {
    return invalid(absl::StrCat("number of phases is ", shape.phases.size(), "; valid: rope_dims / 2 (",
                                shape.rope.dims / 2, ")"));
  }
  if (records.size() != total - sizeof(ProfileHeader) - phases) {
    return invalid(absl::StrCat("records have ", records.size(), " bytes, this shape needs ",
                                total - sizeof(ProfileHeader) - phases));
  }
  std::vector<uint8_t> bytes(total);
  if (phases != 0) std::memcpy(bytes.data() + sizeof(ProfileHeader), shape.phases.data(), phases);
  std::ranges::copy(records, bytes.data() + sizeof(ProfileHeader) + phases);
  ProfileHeader h{};
  h.magic = kProfileMagic;
  h.version = kProfileVersion;
  h.rope_pairing = static_cast<uint8_t>(shape.rope.pairing);
  h.total_bytes = total;
  h.layers = shape.layers;
  h.kv_heads = shape.kv_heads;
  h.head_dim = shape.head_dim;
  h.rope_dims = shape.rope.dims;
  h.rope_base = shape.rope.base;
  h.body_xxh3 = BlockChecksum(std::span<const uint8_t>(bytes).subspan(sizeof h));
  h.header_xxh3 = ProfileHeaderChecksum(h);
  std::memcpy(bytes.data(), &h, sizeof h);
  absl::StatusOr<KeyMeanProfilePtr> profile = Parse(bytes);
  if (!profile.ok()) return invalid(profile.status().message());
  return profile;
}

std::span<const uint8_t> KeyMeanProfile::Record(uint32_t layer, uint32_t kv_head) const {
  const uint64_t bytes = VectorRecordBytes(shape_.head_dim);
  const uint64_t index = uint64_t{layer} * shape_.kv_heads + kv_head;
  return std::span(bytes_).subspan(sizeof(ProfileHeader) + PhaseBytes(shape_) + index * bytes, bytes);
}

VectorRecord KeyMeanProfile::Mean(uint32_t layer, uint32_t kv_head) const {
  const std::span<const uint8_t> record = Record(layer, kv_head);
  VectorRecordHead head;
  std::memcpy(&head, record.data(), sizeof head);
  return {head.exponent, {reinterpret_cast<const uint16_t*>(record.data() + sizeof head), shape_.head_dim}};
}

bool KeyMeanProfile::HasMean(uint32_t layer, uint32_t kv_head) const {
  return std::ranges::any_of(Record(layer, kv_head), [](uint8_t byte) { return byte != 0; });
}

bool KeyMeanProfile::HasMeans(const BlockSpec& block, uint32_t layer) const {
  for (uint32_t head = 0; head < block.kv_heads; ++head) {
    if (HasMean(layer, block.first_kv_head + head)) return true;
  }
  return false;
}

absl::Status KeyMeanProfile::CheckFits(const BlockSpec& block) const {
  const auto differs = [this](const char* field, const auto& here, const auto& there) {
    return absl::FailedPreconditionError(absl::StrCat("profile ", ProfileDigestText(digest_), " is of another model: ",
                                                      field, " is ", here, ", the block's ", there));
  };
  if (shape_.layers != block.layers) return differs("layers", shape_.layers, block.layers);
  if (shape_.head_dim != block.head_dim) return differs("head_dim", shape_.head_dim, block.head_dim);
  if (block.first_kv_head + block.kv_heads > shape_.kv_heads) {
    return differs("kv_heads", shape_.kv_heads, absl::StrCat("heads end at ", block.first_kv_head + block.kv_heads));
  }
  if (shape_.rope != block.rope) return differs("RoPE", RopeText(shape_.rope), RopeText(block.rope));
  return absl::OkStatus();
}

absl::Status SettleProfile(const EncodeOptions& options, BlockSpec& spec) {
  const KeyMeanProfile* profile = options.profile;
  if (profile == nullptr) {
    if (!spec.HasProfile() || options.key_mean == KeyMeanPolicy::kNever) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the spec names profile ", ProfileDigestText(spec.profile_digest),
                     "; give it in EncodeOptions::profile, or say KeyMeanPolicy::kNever"));
  }
  if (spec.HasProfile() && spec.profile_digest != profile->digest()) {
    return absl::InvalidArgumentError(absl::StrCat("the spec names profile ", ProfileDigestText(spec.profile_digest),
                                                   ", EncodeOptions::profile is ", ProfileDigestText(profile->digest())));
  }
  if (absl::Status s = profile->CheckFits(spec); !s.ok()) return absl::InvalidArgumentError(s.message());
  const bool has_rope = spec.rope.pairing != RopePairing::kNone;
  if (has_rope && !spec.phases.empty() && spec.phases != profile->shape().phases) {
    return absl::InvalidArgumentError(absl::StrCat("the spec's phases are not those of profile ",
                                                   ProfileDigestText(profile->digest()),
                                                   ": keys under another RoPE need a profile of their own"));
  }
  spec.profile_digest = profile->digest();
  spec.phases = profile->shape().phases;
  return absl::OkStatus();
}

}  // namespace polarkv
