#include "proto/descriptor_conversion.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

// Protobuf refuses to parse a string field that is not UTF-8: found here, the sender learns which one.
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || text.size() - i < length) return false;
    uint32_t point = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t j = 1; j < length; ++j) {
      const auto byte = static_cast<unsigned char>(text[i + j]);
      if ((byte & 0xC0) != 0x80) return false;
      point = point << 6 | (byte & 0x3F);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

absl::Status CheckText(const NamespaceDescriptor& descriptor) {
  const std::pair<const char*, const std::string*> fields[] = {{"name", &descriptor.name},
                                                               {"tenant", &descriptor.tenant},
                                                               {"model", &descriptor.model},
                                                               {"weights_digest", &descriptor.weights_digest},
                                                               {"tokenizer_digest", &descriptor.tokenizer_digest},
                                                               {"rope_scaling", &descriptor.rope_scaling}};
  for (const auto& [field, text] : fields) {
    if (!IsUtf8(*text)) return absl::InvalidArgumentError(absl::StrCat(field, ": not UTF-8 text"));
  }
  return absl::OkStatus();
}

absl::StatusOr<RopePairing> PairingFromProto(v1::RopePairing pairing) {
  switch (pairing) {
    case v1::ROPE_PAIRING_NONE:
      return RopePairing::kNone;
    case v1::ROPE_PAIRING_HALF:
      return RopePairing::kHalf;
    case v1::ROPE_PAIRING_INTERLEAVED:
      return RopePairing::kInterleaved;
    default:
      return absl::InvalidArgumentError(absl::StrCat("rope_pairing: value ", pairing, " is not known"));
  }
}

absl::StatusOr<Dtype> DtypeFromProto(v1::Dtype dtype) {
  switch (dtype) {
    case v1::DTYPE_F16:
      return Dtype::kF16;
    case v1::DTYPE_BF16:
      return Dtype::kBF16;
    case v1::DTYPE_F32:
      return Dtype::kF32;
    case v1::DTYPE_UNSPECIFIED:
      return absl::InvalidArgumentError("source_dtype: missing; set DTYPE_F16, DTYPE_BF16 or DTYPE_F32");
    default:
      return absl::InvalidArgumentError(absl::StrCat("source_dtype: value ", dtype, " is not known"));
  }
}

v1::RopePairing PairingToProto(RopePairing pairing) {
  switch (pairing) {
    case RopePairing::kHalf:
      return v1::ROPE_PAIRING_HALF;
    case RopePairing::kInterleaved:
      return v1::ROPE_PAIRING_INTERLEAVED;
    case RopePairing::kNone:
      break;
  }
  return v1::ROPE_PAIRING_NONE;
}

v1::Dtype DtypeToProto(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF16:
      return v1::DTYPE_F16;
    case Dtype::kBF16:
      return v1::DTYPE_BF16;
    case Dtype::kF32:
      return v1::DTYPE_F32;
  }
  return v1::DTYPE_UNSPECIFIED;
}

absl::StatusOr<Rope> RopeFromProto(const v1::NamespaceDescriptor& proto) {
  const absl::StatusOr<RopePairing> pairing = PairingFromProto(proto.rope_pairing());
  if (!pairing.ok()) return pairing.status();
  if (proto.rope_dims() > std::numeric_limits<uint16_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("rope_dims: ", proto.rope_dims(), " is over 65535"));
  }
  return Rope{*pairing, proto.rope_base(), static_cast<uint16_t>(proto.rope_dims())};
}

absl::Status ProfileDigestFromProto(const std::string& bytes, std::array<uint8_t, 16>& digest) {
  if (bytes.empty()) return absl::OkStatus();
  if (bytes.size() != digest.size()) {
    return absl::InvalidArgumentError(absl::StrCat("profile_digest: ", bytes.size(), " bytes, a digest has 16"));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::NamespaceDescriptor> DescriptorToProto(const NamespaceDescriptor& descriptor) {
  if (absl::Status status = ValidateNamespaceDescriptor(descriptor); !status.ok()) return status;
  if (absl::Status status = CheckText(descriptor); !status.ok()) return status;
  if (descriptor.rotation_seed == 0) {
    return absl::InvalidArgumentError("rotation_seed: 0 means the format's default on the wire; choose another seed");
  }
  v1::NamespaceDescriptor proto;
  proto.set_name(descriptor.name);
  proto.set_tenant(descriptor.tenant);
  proto.set_model(descriptor.model);
  proto.set_weights_digest(descriptor.weights_digest);
  proto.set_tokenizer_digest(descriptor.tokenizer_digest);
  proto.set_layers(descriptor.layers);
  proto.set_kv_heads(descriptor.kv_heads);
  proto.set_head_dim(descriptor.head_dim);
  proto.set_rope_pairing(PairingToProto(descriptor.rope.pairing));
  proto.set_rope_base(descriptor.rope.base);
  proto.set_rope_dims(descriptor.rope.dims);
  proto.set_rope_scaling(descriptor.rope_scaling);
  proto.set_source_dtype(DtypeToProto(descriptor.source_dtype));
  proto.set_block_tokens(descriptor.block_tokens);
  proto.set_shards(descriptor.shards);
  proto.set_codec(CodecPairName(descriptor.codec));
  proto.set_rotation_seed(descriptor.rotation_seed);
  if (descriptor.profile_digest != decltype(descriptor.profile_digest){}) {
    proto.set_profile_digest(descriptor.profile_digest.data(), descriptor.profile_digest.size());
  }
  return proto;
}

absl::StatusOr<NamespaceDescriptor> DescriptorFromProto(const v1::NamespaceDescriptor& proto) {
  NamespaceDescriptor descriptor;
  descriptor.name = proto.name();
  descriptor.tenant = proto.tenant();
  descriptor.model = proto.model();
  descriptor.weights_digest = proto.weights_digest();
  descriptor.tokenizer_digest = proto.tokenizer_digest();
  descriptor.layers = proto.layers();
  descriptor.kv_heads = proto.kv_heads();
  descriptor.head_dim = proto.head_dim();
  descriptor.rope_scaling = proto.rope_scaling();
  descriptor.block_tokens = proto.block_tokens();
  descriptor.shards = proto.shards() == 0 ? 1 : proto.shards();
  descriptor.rotation_seed = proto.rotation_seed() == 0 ? BlockSpec::kDefaultRotationSeed : proto.rotation_seed();

  const absl::StatusOr<Rope> rope = RopeFromProto(proto);
  if (!rope.ok()) return rope.status();
  descriptor.rope = *rope;
  const absl::StatusOr<Dtype> dtype = DtypeFromProto(proto.source_dtype());
  if (!dtype.ok()) return dtype.status();
  descriptor.source_dtype = *dtype;
  const absl::StatusOr<CodecPair> codec = ParseCodecPair(proto.codec());
  if (!codec.ok()) return absl::InvalidArgumentError(absl::StrCat("codec: ", codec.status().message()));
  descriptor.codec = *codec;
  if (absl::Status status = ProfileDigestFromProto(proto.profile_digest(), descriptor.profile_digest); !status.ok()) {
    return status;
  }
  if (absl::Status status = ValidateNamespaceDescriptor(descriptor); !status.ok()) return status;
  return descriptor;
}

}  // namespace polarkv
