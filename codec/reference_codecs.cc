#include "absl/strings/str_cat.h"
#include "codec/reference_codec.h"

namespace polarkv::reference {

bool HasReference(CodecId codec) { return codec == CodecId::kFp16 || codec == CodecId::kPolar44; }

absl::Status CheckReferences(const BlockSpec& spec, uint32_t layer_begin, uint32_t layer_end) {
  for (uint32_t layer = layer_begin; layer < layer_end; ++layer) {
    const LayerPart part = spec.layer_part(layer);
    for (const CodecId codec : {part.codec.k, part.codec.v}) {
      if (HasReference(codec)) continue;
      const std::string_view name = CodecName(codec);
      return absl::UnimplementedError(absl::StrCat("codec ", absl::string_view(name.data(), name.size()), " of layer ",
                                                   layer, " has no quantizer in this build; choose another codec"));
    }
    if (part.key_mean || part.escapes != 0) {
      return absl::UnimplementedError(
          absl::StrCat("layer ", layer, " has key means or escapes, which this build does not read"));
    }
  }
  return absl::OkStatus();
}

}  // namespace polarkv::reference
