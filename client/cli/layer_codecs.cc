#include "client/cli/layer_codecs.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "client/cli/cli_status.h"
#include "client/cli/text_format.h"

namespace polarkv::cli {
namespace {

absl::Status Wrong(const std::string& text, const std::string& why) {
  return UsageError("--layer-codec " + text + ": " + why);
}

bool ParseLayer(std::string_view text, uint32_t* layer) {
  const std::from_chars_result result = std::from_chars(text.data(), text.data() + text.size(), *layer);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

// "3" or "0-3"
bool ParseRun(std::string_view text, std::pair<uint32_t, uint32_t>* run) {
  const size_t dash = text.find('-');
  if (!ParseLayer(text.substr(0, dash), &run->first)) return false;
  run->second = run->first;
  if (dash != std::string_view::npos && !ParseLayer(text.substr(dash + 1), &run->second)) return false;
  return run->first <= run->second;
}

absl::StatusOr<LayerCodec> ParseOne(const std::string& text) {
  LayerCodec parsed{text, {}, {}};
  const size_t equals = text.find('=');  // codecs may have more of them
  if (equals == std::string::npos) {
    return Wrong(text, "expected LAYERS=CODEC, such as 0,1=fp16 or 0-3=k=turbo5,v=turbo4");
  }
  const std::string_view layers = std::string_view(text).substr(0, equals);
  for (size_t begin = 0; begin <= layers.size();) {
    const size_t end = std::min(layers.find(',', begin), layers.size());
    if (!ParseRun(layers.substr(begin, end - begin), &parsed.runs.emplace_back())) {
      return Wrong(text, Quoted(layers.substr(begin, end - begin)) +
                             " is neither a layer nor a range of layers such as 0-3; the first layer is 0");
    }
    begin = end + 1;
  }
  const absl::StatusOr<CodecPair> codec = ParseCodecPair(std::string_view(text).substr(equals + 1));
  if (!codec.ok()) return Wrong(text, MessageOf(codec.status()));
  parsed.codec = *codec;
  return parsed;
}

}  // namespace

absl::StatusOr<std::vector<LayerCodec>> ParseLayerCodecs(std::span<const std::string> texts) {
  std::vector<LayerCodec> all;
  for (const std::string& text : texts) {
    absl::StatusOr<LayerCodec> parsed = ParseOne(text);
    if (!parsed.ok()) return parsed.status();
    all.push_back(*std::move(parsed));
  }
  return all;
}

absl::StatusOr<std::vector<LayerPart>> LayerPartsOf(std::span<const LayerCodec> wanted, CodecPair codec, uint32_t layers) {
  if (wanted.empty()) return std::vector<LayerPart>();
  std::vector<LayerPart> parts(layers, LayerPart{codec});
  std::vector<bool> named(layers);
  for (const LayerCodec& one : wanted) {
    for (const auto& [first, last] : one.runs) {
      if (last >= layers) {
        return Wrong(one.text, "there is no layer " + std::to_string(last) + "; the file has " +
                                   Plural(layers, "layer") + ", 0 to " + std::to_string(layers - 1));
      }
      for (uint32_t layer = first; layer <= last; ++layer) {
        if (named[layer]) return Wrong(one.text, "layer " + std::to_string(layer) + " is named twice");
        named[layer] = true;
        parts[layer].codec = one.codec;
      }
    }
  }
  return parts;
}

}  // namespace polarkv::cli
