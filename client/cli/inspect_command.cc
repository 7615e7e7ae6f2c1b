#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/block_description.h"
#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/input_file.h"
#include "client/cli/pkv_file.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string in;
  bool directory = false;
  bool json = false;
};

constexpr char kFooter[] =
    R"(Verifies every checksum and every field of every block. A defect in one block does not hide the others: as long as a
block's header is sound, its length is known, and the next block is looked at. Exit code 1 when there is any defect.

Shown are the first block's header, in full, its layers with codecs of their own, key means (yes: in the block; profile: in
the profile whose digest the header has) or keys and values that are stored raw (escapes), one line for every block, and the
bits that a coordinate takes as stored. --directory adds the first block's segments (layer, plane, offset, length, XXH3-64).
--json has it all for every block.

Examples:
  polarkv inspect kv.pkv
  polarkv inspect kv.pkv --directory
  polarkv inspect kv.pkv --json)";

// The block's bytes as far as the file holds them.
std::span<const uint8_t> BytesOf(const PkvBlock& block, std::span<const uint8_t> file) {
  return file.subspan(block.offset, block.bytes);
}

void PrintHeader(const PkvBlock& block, std::span<const uint8_t> file) {
  std::printf("\nheader of the first block\n");
  const Json header = DescribeHeader(BytesOf(block, file));
  for (const auto& [name, value] : header.items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    std::printf("  %-18s %s\n", name.c_str(), text.c_str());
  }
}

void PrintLayers(const BlockSpec& spec) {
  const std::vector<OwnParts> layers = LayersWithOwnParts(spec);
  if (layers.empty()) return;
  std::printf("\nlayers of the first block with parts of their own\n  %5s  %-24s %9s %8s\n", "layer", "codec", "key means",
              "escapes");
  for (const auto& [layer, part] : layers) {
    std::printf("  %5u  %-24s %9s %8u\n", layer, CodecPairName(part.codec).c_str(), !part.key_mean ? "-" : spec.HasProfile() ? "profile" : "yes",
                part.escapes);
  }
}

// What a block's layers have beside their codes.
struct Extras {
  uint64_t overrides = 0;  // layers with other codecs than the header's
  uint64_t key_means = 0;  // layers
  uint64_t escapes = 0;    // keys and values
};
Extras ExtrasOf(const BlockSpec& spec) {
  Extras extras;
  for (const LayerPart& part : spec.layer_parts) {
    extras.overrides += part.codec != spec.codec ? 1 : 0;
    extras.key_means += part.key_mean ? 1 : 0;
    extras.escapes += part.escapes;
  }
  return extras;
}

void PrintDirectory(const PkvBlock& block, std::span<const uint8_t> file) {
  std::printf("\ndirectory of the first block\n  %5s  %-14s %12s %12s  %s\n", "layer", "plane", "offset", "length",
              "xxh3");
  for (const Segment& segment : DescribeDirectory(BytesOf(block, file))) {
    std::printf("  %5u  %-14s %12llu %12llu  %s\n", segment.layer, segment.plane.c_str(),
                static_cast<unsigned long long>(segment.offset), static_cast<unsigned long long>(segment.length),
                segment.xxh3.c_str());
  }
}

void PrintBlocks(const std::vector<PkvBlock>& blocks) {
  std::printf("\n%5s %14s %12s %8s %12s %8s %9s %8s  %s\n", "block", "at byte", "bytes", "tokens", "position", "bits",
              "key means", "escapes", "checks");
  for (size_t i = 0; i < blocks.size(); ++i) {
    const PkvBlock& block = blocks[i];
    const bool known = block.spec.has_value();
    const Extras extras = block.view.has_value() ? ExtrasOf(block.view->spec()) : Extras{};
    std::printf("%5zu %14llu %12llu %8s %12s %8s %9llu %8llu  %s\n", i, static_cast<unsigned long long>(block.offset),
                static_cast<unsigned long long>(block.bytes), known ? std::to_string(block.spec->tokens).c_str() : "-",
                known ? std::to_string(block.spec->first_position).c_str() : "-",
                block.view.has_value() ? Fixed(BitsPerCoordinate(block.bytes, *block.spec), 3).c_str() : "-",
                static_cast<unsigned long long>(extras.key_means), static_cast<unsigned long long>(extras.escapes),
                block.status.ok() ? "ok" : MessageOf(block.status).c_str());
  }
}

// Over the sound blocks alone.
double StoredBits(const std::vector<PkvBlock>& blocks) {
  double bits = 0, coordinates = 0;
  for (const PkvBlock& block : blocks) {
    if (!block.view.has_value()) continue;
    bits += 8.0 * static_cast<double>(block.bytes);
    coordinates += static_cast<double>(Coordinates(*block.spec));
  }
  return coordinates == 0 ? 0 : bits / coordinates;
}

void PrintText(const InspectOptions& options, const std::vector<PkvBlock>& blocks, std::span<const uint8_t> file) {
  std::printf("%s: %s, %s\n", options.in.c_str(), Plural(blocks.size(), "block").c_str(),
              HumanBytes(file.size()).c_str());
  if (blocks.front().spec.has_value()) PrintHeader(blocks.front(), file);
  if (blocks.front().view.has_value()) PrintLayers(blocks.front().view->spec());
  if (options.directory && blocks.front().view.has_value()) PrintDirectory(blocks.front(), file);
  PrintBlocks(blocks);
  const double bits = StoredBits(blocks);
  if (bits > 0) std::printf("\n%.3f bits per coordinate as stored, ratio to fp16 %.2f\n", bits, 16 / bits);
}

Json DescribeBlock(const PkvBlock& block, size_t index, std::span<const uint8_t> file) {
  Json json = {{"index", index}, {"offset", block.offset}, {"bytes", block.bytes}, {"ok", block.status.ok()}};
  json["defect"] = block.status.ok() ? Json() : Json(MessageOf(block.status));
  if (block.spec.has_value()) json["header"] = DescribeHeader(BytesOf(block, file));
  if (!block.view.has_value()) return json;
  json["bits_per_coordinate"] = BitsPerCoordinate(block.bytes, *block.spec);
  const Extras extras = ExtrasOf(block.view->spec());
  json["layers_with_key_means"] = extras.key_means;
  json["layers_with_own_codecs"] = extras.overrides;
  json["escapes"] = extras.escapes;
  Json layers = Json::array();
  for (const auto& [layer, part] : LayersWithOwnParts(block.view->spec())) {
    layers.push_back({{"layer", layer},
                      {"codec", CodecPairName(part.codec)},
                      {"key_mean", part.key_mean},
                      {"key_mean_in_profile", part.key_mean && block.view->spec().HasProfile()},
                      {"escapes", part.escapes}});
  }
  json["layer_parts"] = layers;
  Json directory = Json::array();
  for (const Segment& segment : DescribeDirectory(BytesOf(block, file))) {
    directory.push_back({{"layer", segment.layer},
                         {"plane", segment.plane},
                         {"offset", segment.offset},
                         {"length", segment.length},
                         {"xxh3", segment.xxh3}});
  }
  json["directory"] = directory;
  return json;
}

void PrintAsJson(const InspectOptions& options, const std::vector<PkvBlock>& blocks, std::span<const uint8_t> file,
                 uint64_t defects) {
  Json list = Json::array();
  for (size_t i = 0; i < blocks.size(); ++i) list.push_back(DescribeBlock(blocks[i], i, file));
  PrintJson({{"file", options.in},
             {"bytes", file.size()},
             {"ok", defects == 0},
             {"defects", defects},
             {"bits_per_coordinate", StoredBits(blocks)},
             {"blocks", list}});
}

absl::Status RunInspect(const InspectOptions& options) {
  const absl::StatusOr<InputFile> file = InputFile::Open(options.in);
  if (!file.ok()) return file.status();
  if (file->bytes().empty()) return absl::DataLossError(options.in + ": the file is empty; it holds no block");
  if (absl::Status s = CheckNotSafetensors(file->bytes()); !s.ok()) return Annotate(s, options.in);
  const std::vector<PkvBlock> blocks = WalkBlocks(file->bytes());
  const auto defects = static_cast<uint64_t>(
      std::count_if(blocks.begin(), blocks.end(), [](const PkvBlock& block) { return !block.status.ok(); }));
  if (options.json) {
    PrintAsJson(options, blocks, file->bytes(), defects);
  } else {
    PrintText(options, blocks, file->bytes());
  }
  if (defects == 0) return absl::OkStatus();
  return absl::DataLossError(options.in + ": " + Plural(defects, "defect") + " in " + Plural(blocks.size(), "block") +
                             "; encode or fetch the damaged blocks again");
}

}  // namespace

void AddInspectCommand(CommandLine& line) {
  auto options = std::make_shared<InspectOptions>();
  Subcommand command =
      line.Add("inspect", "Show what a file of blocks holds and check it", [options] { return RunInspect(*options); });
  command.RequiredText("file", &options->in, "FILE", "File of blocks (.pkv)");
  command.Flag("--directory", &options->directory, "List the first block's segments");
  command.Flag("--json", &options->json, "Print JSON");
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
