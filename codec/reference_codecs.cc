#include "absl/strings/str_cat.h"
#include "codec/reference_codec.h"

namespace polarkv::reference {

bool HasReference(CodecId codec) {
  const CodecKind kind = TraitsOf(codec).kind;
  return kind == CodecKind::kFp16 || kind == CodecKind::kTurbo || kind == CodecKind::kTrellis ||
         codec == CodecId::kPolar44;
}

absl::Status CheckReferences(const BlockSpec& spec, uint32_t layer_begin, uint32_t layer_end) {
  for (uint32_t layer = layer_begin; layer < layer_end; ++layer) {
    const LayerPart part = spec.layer_part(layer);
    for (const CodecId codec : {part.codec.k, part.codec.v}) {
      if (HasReference(codec)) continue;
      const std::string_view name = CodecName(codec);
      return absl::UnimplementedError(absl::StrCat("codec ", absl::string_view(name.data(), name.size()), " of layer ",
                                                   layer, " has no quantizer in this build; choose another codec"));
    }
  }
  return absl::OkStatus();
}

}  // namespace polarkv::reference
