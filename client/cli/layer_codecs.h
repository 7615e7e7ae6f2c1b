// Codecs that single layers of a block have in place of the block's.
#ifndef POLARKV_CLIENT_CLI_LAYER_CODECS_H_
#define POLARKV_CLIENT_CLI_LAYER_CODECS_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_spec.h"

namespace polarkv::cli {

struct LayerCodec {
  std::string text;                                  // as given, for messages
  std::vector<std::pair<uint32_t, uint32_t>> runs;  // of layers: first and last
  CodecPair codec;
};

// LAYERS=CODEC: "0,1=fp16", "0-3,31=k=turbo5,v=turbo4". A usage error says what is wrong with which text.
absl::StatusOr<std::vector<LayerCodec>> ParseLayerCodecs(std::span<const std::string> texts);

// The parts of all layers of a block whose others have `codec`; none if none is wanted. A usage error: there is no
// such layer, or one is named twice.
absl::StatusOr<std::vector<LayerPart>> LayerPartsOf(std::span<const LayerCodec> wanted, CodecPair codec, uint32_t layers);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_LAYER_CODECS_H_
