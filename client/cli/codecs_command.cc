#include <cstdio>
#include <memory>
#include <string>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/text_format.h"
#include "codec/block_layout.h"
#include "codec/codec_id.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

struct CodecsOptions {
  uint32_t head_dim = 128;
  bool json = false;
};

constexpr char kFooter[] =
    R"(Bits count everything that a full block stores for a coordinate: codes, scales, parameters and tile heads. Header and
directory come on top, once a block (`polarkv inspect` shows the total). Keys and values may use different codecs: write
k=CODEC,v=CODEC wherever a codec is asked for.

Examples:
  polarkv codecs
  polarkv codecs --head-dim 64
  polarkv codecs --json
  polarkv encode --codec k=polar44,v=turbo3 --in kv.safetensors --out kv.pkv)";

const char* Description(CodecId codec) {
  switch (codec) {
    case CodecId::kFp16:
      return "half precision as it is, for comparison";
    case CodecId::kTurbo2:
      return "rotated Lloyd-Max codes, 2 bits: smallest";
    case CodecId::kTurbo3:
      return "rotated Lloyd-Max codes, 3 bits; can be read at 2";
    case CodecId::kTurbo4:
      return "rotated Lloyd-Max codes, 4 bits; can be read at 3 or 2; a good default";
    case CodecId::kPolar44:
      return "PolarQuant: 4-bit angle and 4-bit radius of RoPE pairs; meant for keys";
  }
  return "";
}

struct Row {
  std::string name;
  BitsPerCoordinate bits;
  double ratio;
  std::string description;
};

void PrintTable(const std::vector<Row>& rows, uint32_t head_dim) {
  std::printf("Bits per coordinate at head_dim %u, everything counted:\n\n", head_dim);
  std::printf("%-8s  %6s  %6s  %8s  %s\n", "codec", "K", "V", "to fp16", "what it is");
  for (const Row& row : rows) {
    std::printf("%-8s  %6.3f  %6.3f  %7.2fx  %s\n", row.name.c_str(), row.bits.k, row.bits.v, row.ratio,
                row.description.c_str());
  }
  std::printf("\nKeys and values choose apart: --codec k=polar44,v=turbo4\n");
}

absl::Status RunCodecs(const CodecsOptions& options) {
  if (!IsKnownHeadDim(options.head_dim)) {
    std::string known;
    for (const uint32_t head_dim : kHeadDims) known += (known.empty() ? "" : ", ") + std::to_string(head_dim);
    return UsageError("--head-dim is " + std::to_string(options.head_dim) + "; blocks have one of " + known);
  }
  std::vector<Row> rows;
  for (const CodecId codec : AllCodecs()) {
    const BitsPerCoordinate bits = CodecBits({codec, codec}, options.head_dim);
    rows.push_back({std::string(CodecName(codec)), bits, 32 / (bits.k + bits.v), Description(codec)});
  }
  if (!options.json) {
    PrintTable(rows, options.head_dim);
    return absl::OkStatus();
  }
  nlohmann::ordered_json codecs = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    codecs.push_back({{"name", row.name},
                      {"k_bits_per_coordinate", row.bits.k},
                      {"v_bits_per_coordinate", row.bits.v},
                      {"ratio_to_fp16", row.ratio},
                      {"description", row.description}});
  }
  PrintJson({{"head_dim", options.head_dim}, {"codecs", codecs}});
  return absl::OkStatus();
}

}  // namespace

void AddCodecsCommand(CommandLine& line) {
  auto options = std::make_shared<CodecsOptions>();
  Subcommand command =
      line.Add("codecs", "List the codecs and what they take", [options] { return RunCodecs(*options); });
  command.Number("--head-dim", &options->head_dim, "Head dimension to compute for");
  command.Flag("--json", &options->json, "Print JSON");
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
