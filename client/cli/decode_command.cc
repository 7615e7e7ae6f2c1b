#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/device_option.h"
#include "client/cli/format_names.h"
#include "client/cli/pkv_file.h"
#include "client/cli/profile_file.h"
#include "client/cli/progress_line.h"
#include "client/cli/safetensors.h"
#include "client/cli/selected_block.h"
#include "client/cli/text_format.h"
#include "kernels/device_kernels.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

struct DecodeOptions {
  std::string in, out, profile, device = "auto";
  bool json = false;
};

constexpr char kFooter[] =
    R"(Output: a safetensors file with tensors `k` and `v`, F32, [layers, kv_heads, tokens, head_dim], all blocks of the input
joined along the tokens, and the metadata that block headers hold: rope, rope_base, rope_dims, first_position, codec,
source_dtype. Every checksum of the input is verified first; the same input always gives the same bytes,
whatever the --device; the summary says which did it.

The blocks must be one run of tokens of one model. A damaged file is refused: `polarkv inspect` says what is wrong.

Example:
  polarkv decode --in kv.pkv --out kv.safetensors)";

absl::Status CheckOneRun(const PkvFile& file) {
  const BlockSpec& first = file.blocks().front().spec();
  uint64_t position = first.first_position;
  for (size_t i = 0; i < file.blocks().size(); ++i) {
    const BlockSpec& spec = file.blocks()[i].spec();
    const std::string where = file.path() + ": block " + std::to_string(i);
    if (absl::Status s = CheckSameShape(first, spec); !s.ok()) return Annotate(s, where);
    if (spec.first_position != position) {
      return absl::InvalidArgumentError(where + " begins at position " + std::to_string(spec.first_position) +
                                        ", but the block before it ends at " + std::to_string(position) +
                                        "; decode joins one run of tokens, so split the file");
    }
    position += spec.tokens;
  }
  return absl::OkStatus();
}

std::map<std::string, std::string> Metadata(const BlockSpec& spec) {
  std::map<std::string, std::string> metadata = {{"codec", CodecPairName(spec.codec)},
                                                 {"first_position", std::to_string(spec.first_position)},
                                                 {"rope", RopePairingName(spec.rope.pairing)},
                                                 {"source_dtype", DtypeName(spec.source_dtype)}};
  if (spec.rope.pairing == RopePairing::kNone) return metadata;
  metadata["rope_base"] = nlohmann::json(spec.rope.base).dump();  // exact
  metadata["rope_dims"] = std::to_string(spec.rope.dims);
  return metadata;
}

// One layer at a time, so that memory holds one layer of one block, whatever the file's size.
absl::Status DecodeLayer(const BlockView& block, uint32_t layer, uint64_t first_token, uint64_t total_tokens,
                         DeviceKernels& kernels, SafetensorsWriter* out) {
  const absl::StatusOr<SelectedBlock> selected = SelectedBlock::Copy(block, {layer, layer + 1, kAllPlanes});
  if (!selected.ok()) return selected.status();
  const BlockSpec& spec = block.spec();
  const size_t head_elements = size_t{spec.tokens} * spec.head_dim;
  std::vector<float> k(head_elements * spec.kv_heads), v(head_elements * spec.kv_heads);
  if (absl::Status s = kernels.DecodeBlock(selected->view(), k, v); !s.ok()) return s;
  for (uint32_t head = 0; head < spec.kv_heads; ++head) {
    const uint64_t first_row = (uint64_t{layer} * spec.kv_heads + head) * total_tokens + first_token;
    const auto write = [&](size_t tensor, const std::vector<float>& values) {
      return out->Write(tensor, first_row * spec.head_dim,
                        std::span(values).subspan(head * head_elements, head_elements));
    };
    if (absl::Status s = write(0, k); !s.ok()) return s;
    if (absl::Status s = write(1, v); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status DecodeAll(const PkvFile& file, DeviceKernels& kernels, SafetensorsWriter* out) {
  ProgressLine progress("decoding", file.tokens(), "tokens");
  uint64_t first_token = 0;
  for (const BlockView& block : file.blocks()) {
    for (uint32_t layer = 0; layer < block.spec().layers; ++layer) {
      if (absl::Status s = DecodeLayer(block, layer, first_token, file.tokens(), kernels, out); !s.ok()) {
        return s;
      }
    }
    first_token += block.spec().tokens;
    progress.Update(first_token);
  }
  return absl::OkStatus();
}

absl::Status RunDecode(const DecodeOptions& options) {
  if (IsSameFile(options.in, options.out)) {
    return UsageError("--in and --out are the same file; the output would replace the input");
  }
  const absl::StatusOr<std::unique_ptr<DeviceKernels>> kernels = OpenDevice(options.device);
  if (!kernels.ok()) return kernels.status();
  const absl::StatusOr<KeyMeanProfilePtr> profile = LoadProfile(options.profile);
  if (!profile.ok()) return profile.status();
  const absl::StatusOr<PkvFile> file = PkvFile::Open(options.in, *profile);
  if (!file.ok()) return file.status();
  if (absl::Status s = CheckProfileGiven(*file); !s.ok()) return s;
  if (absl::Status s = CheckOneRun(*file); !s.ok()) return s;
  const BlockSpec& spec = file->blocks().front().spec();
  const std::vector<uint64_t> shape = {spec.layers, spec.kv_heads, file->tokens(), spec.head_dim};
  const std::vector<SafetensorsSpec> tensors = {{"k", shape}, {"v", shape}};
  absl::StatusOr<SafetensorsWriter> out = SafetensorsWriter::Create(options.out, tensors, Metadata(spec));
  if (!out.ok()) return out.status();
  if (absl::Status s = DecodeAll(*file, **kernels, &*out); !s.ok()) {
    return Annotate(AdviseOnDevice(s, options.device), options.in);
  }
  if (absl::Status s = out->Commit(); !s.ok()) return s;

  if (options.json) {
    nlohmann::ordered_json json = {
        {"out", options.out}, {"shape", shape}, {"blocks", file->blocks().size()}, {"bytes", out->size()}};
    AddDeviceUse((*kernels)->use(), json);
    PrintJson(json);
  } else {
    std::printf("%s: k and v, F32 %s, from %s; %s\n", options.out.c_str(), ShapeText(shape).c_str(),
                Plural(file->blocks().size(), "block").c_str(), HumanBytes(out->size()).c_str());
    PrintDeviceUse((*kernels)->use());
  }
  return absl::OkStatus();
}

}  // namespace

void AddDecodeCommand(CommandLine& line) {
  auto options = std::make_shared<DecodeOptions>();
  Subcommand command = line.Add("decode", "Turn a file of blocks back into a safetensors file",
                                [options] { return RunDecode(*options); });
  command.RequiredText("--in", &options->in, "FILE", "File of blocks (.pkv)");
  command.RequiredText("--out", &options->out, "FILE", "Safetensors file to write");
  command.Text("--profile", &options->profile, "FILE", "Key-mean profile that the blocks name (.pkm)");
  AddDeviceOption(command, &options->device);
  command.Flag("--json", &options->json, "Print the summary as JSON");
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
