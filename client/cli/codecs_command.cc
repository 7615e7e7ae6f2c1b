#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/text_format.h"
#include "codec/band_table.h"
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
directory come on top, once a block, and so do keys and values that are stored raw and mean keys, where a block has them
(`polarkv inspect` shows the total). Keys and values may use different codecs: write k=CODEC,v=CODEC, or an alias,
wherever a codec is asked for.

Which one: default, which is close to fp16 and fastest to attend on at its quality; compact and then small where memory or
the network is what you lack; tiny where a rough prefix is better than none; archive, slow to encode and to read, for
what is seldom fetched. turbo4 can also be fetched at 3 or 2 bits.

Examples:
  polarkv codecs
  polarkv codecs --head-dim 64
  polarkv codecs --json
  polarkv encode --codec k=polar44,v=turbo3 --in kv.safetensors --out kv.pkv)";

// Bits of codes, as people write them: "4".
std::string CodeBits(const CodecTraits& codec) { return std::to_string(codec.eighth_bits / 8); }

std::string TurboDescription(const CodecTraits& codec) {
  std::string text = "rotated Lloyd-Max codes, " + CodeBits(codec) + (codec.eighth_bits == 8 ? " bit" : " bits");
  const uint32_t bits = codec.eighth_bits / 8;
  if (codec.refine_planes == 1) text += "; can be read at " + std::to_string(bits - 1);
  if (codec.refine_planes == 2)
    text += "; can be read at " + std::to_string(bits - 1) + " or " + std::to_string(bits - 2);
  return text;
}

std::string Description(const CodecTraits& codec) {
  switch (codec.kind) {
    case CodecKind::kFp16:
      return "half precision as it is, for comparison";
    case CodecKind::kTurbo:
      return TurboDescription(codec);
    case CodecKind::kTrellis:
      return "rotated, 16-entry trellis code: less error than Lloyd-Max at the same bits";
    case CodecKind::kDeep:
      return "rotated, trellis code of 12-bit windows: least error, slow; for what is seldom read";
    case CodecKind::kPolar:
      return "PolarQuant of RoPE pairs, radius of " + std::to_string(PolarRadiusBits(codec.id)) + " and angle of " +
             std::to_string(PolarAngleBits(codec.id)) + " bits; meant for keys";
    case CodecKind::kPolarRecursive:
      return "rotated, recursive PolarQuant: angles and an fp16 radius of 16 coordinates";
    case CodecKind::kQjl:
      return "signs of a projection (QJL)";
    case CodecKind::kQjlOutliers:
      return "signs of a projection, those of 8 outlier channels of 32 tokens apart (QJL)";
    case CodecKind::kBand:
      return "RoPE pairs of like variance in bands, each at bits of its own; where that gains nothing, " +
             std::string(CodecName(PlainCodecOf(codec.id)));
    case CodecKind::kTurboQjl:
      return "Lloyd-Max codes and the signs of what they leave over";
  }
  return "";
}

struct Row {
  const CodecTraits* codec;
  BitsPerCoordinate bits;
  double ratio;
  std::string description;
};

struct AliasRow {
  CodecAlias alias;
  BitsPerCoordinate bits;
  double ratio;
};

void PrintTable(const std::vector<Row>& rows, const std::vector<AliasRow>& aliases, uint32_t head_dim) {
  std::printf("Bits per coordinate at head_dim %u, everything counted:\n\n", head_dim);
  std::printf("%-8s  %6s  %6s  %8s  %s\n", "codec", "K", "V", "to fp16", "what it is");
  for (const Row& row : rows) {
    std::printf("%-8s  %6.3f  %6s  %7.2fx  %s\n", std::string(CodecName(row.codec->id)).c_str(), row.bits.k,
                row.codec->keys_only ? "-" : Fixed(row.bits.v, 3).c_str(), row.ratio, row.description.c_str());
  }
  std::printf("\n%-8s  %6s  %6s  %8s  %s\n", "alias", "K", "V", "to fp16", "stands for");
  for (const AliasRow& row : aliases) {
    std::printf("%-8s  %6.3f  %6.3f  %7.2fx  %s\n", std::string(row.alias.name).c_str(), row.bits.k, row.bits.v,
                row.ratio, CodecPairName(row.alias.codec).c_str());
  }
  std::printf("\nKeys and values choose apart: --codec k=polar44,v=turbo4\n");
}

void PrintTableAsJson(const std::vector<Row>& rows, const std::vector<AliasRow>& aliases, uint32_t head_dim) {
  using Json = nlohmann::ordered_json;
  Json codecs = Json::array();
  for (const Row& row : rows) {
    codecs.push_back({{"name", std::string(CodecName(row.codec->id))},
                      {"id", static_cast<int>(row.codec->id)},
                      {"keys_only", row.codec->keys_only},
                      {"k_bits_per_coordinate", row.bits.k},
                      {"v_bits_per_coordinate", row.codec->keys_only ? Json() : Json(row.bits.v)},
                      {"ratio_to_fp16", row.ratio},
                      {"description", row.description}});
  }
  Json names = Json::array();
  for (const AliasRow& row : aliases) {
    names.push_back({{"name", std::string(row.alias.name)},
                     {"codec", CodecPairName(row.alias.codec)},
                     {"k_bits_per_coordinate", row.bits.k},
                     {"v_bits_per_coordinate", row.bits.v},
                     {"ratio_to_fp16", row.ratio}});
  }
  PrintJson({{"head_dim", head_dim}, {"codecs", codecs}, {"aliases", names}});
}

absl::Status RunCodecs(const CodecsOptions& options) {
  if (!IsKnownHeadDim(options.head_dim)) {
    std::string known;
    for (const uint32_t head_dim : kHeadDims) known += (known.empty() ? "" : ", ") + std::to_string(head_dim);
    return UsageError("--head-dim is " + std::to_string(options.head_dim) + "; blocks have one of " + known);
  }
  std::vector<Row> rows;
  for (const CodecTraits& codec : AllCodecTraits()) {
    const BitsPerCoordinate bits = CodecBits({codec.id, codec.id}, options.head_dim);
    rows.push_back({&codec, bits, 32 / (bits.k + bits.v), Description(codec)});
  }
  std::vector<AliasRow> aliases;
  for (const CodecAlias& alias : CodecAliases()) {
    const BitsPerCoordinate bits = CodecBits(alias.codec, options.head_dim);
    aliases.push_back({alias, bits, 32 / (bits.k + bits.v)});
  }
  if (options.json) {
    PrintTableAsJson(rows, aliases, options.head_dim);
  } else {
    PrintTable(rows, aliases, options.head_dim);
  }
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
