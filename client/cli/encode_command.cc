#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/block_description.h"
#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/device_option.h"
#include "client/cli/format_names.h"
#include "client/cli/kv_tensors.h"
#include "client/cli/layer_codecs.h"
#include "client/cli/output_file.h"
#include "client/cli/pkv_file.h"
#include "client/cli/profile_file.h"
#include "client/cli/progress_line.h"
#include "client/cli/text_format.h"
#include "kernels/device_kernels.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

struct EncodeOptions {
  std::string codec, in, out, profile, device = "auto";
  std::vector<std::string> layer_codecs;
  uint32_t block_tokens = 256;
  uint32_t first_kv_head = 0;
  KvMetadata metadata;
  bool json = false;
};

constexpr char kFooter[] =
    R"(Input: a safetensors file with tensors `k` and `v`, both [layers, kv_heads, tokens, head_dim], F16, BF16 or F32, and
these entries of its string metadata (options of the same name win over them):
  rope            half (Llama, Qwen), interleaved (GPT-J), or none; how positions were rotated into k. Default: none.
                  polar codecs pair coordinates by it, and others take a mean off keys by it.
  rope_base       theta of RoPE, such as 10000 or 500000; needed when rope is half or interleaved
  rope_dims       leading coordinates that RoPE rotates; default: head_dim
  first_position  position of token 0 in the sequence; default 0
  model           shown, not stored

With --profile (`polarkv profile` makes one), keys lose the model's mean keys, which are in that file and not in the
blocks: for models that add a bias to keys, and blocks of fewer than 256 tokens. Who decodes the blocks needs it too.

--layer-codec gives layers codecs of their own, such as more bits for the first ones: layers, which count from 0, and ranges
of them, with commas between them, then = and the codec. `polarkv inspect` shows them. Servers take such blocks, too.

Output: blocks of --block-tokens tokens back to back. Each describes itself; the last one may be short. Only full blocks
can be stored on a server (`polarkv put`). `polarkv codecs` lists the codecs.

--device: the blocks are the same bytes wherever they are encoded. The summary says where that was.

Examples:
  polarkv encode --codec turbo4 --in kv.safetensors --out kv.pkv
  polarkv encode --codec k=polar44,v=turbo3 --rope half --rope-base 500000 --in kv.safetensors --out kv.pkv
  polarkv encode --codec small --layer-codec 0,1=fp16 --layer-codec 2-5,31=default --in kv.safetensors --out kv.pkv)";

absl::Status CheckOptions(const EncodeOptions& options) {
  if (options.block_tokens == 0 || options.block_tokens % kTileTokens != 0 || options.block_tokens > kMaxBlockTokens) {
    return UsageError("--block-tokens is " + std::to_string(options.block_tokens) + "; it must be a multiple of " +
                      std::to_string(kTileTokens) + " up to " + std::to_string(kMaxBlockTokens));
  }
  if (options.first_kv_head >= kMaxKvHeads) {
    return UsageError("--first-kv-head is " + std::to_string(options.first_kv_head) + "; it must be below " +
                      std::to_string(kMaxKvHeads));
  }
  if (IsSameFile(options.in, options.out)) {
    return UsageError("--in and --out are the same file; the output would replace the input");
  }
  return absl::OkStatus();
}

// What all blocks have in common; tokens and position are those of a block yet to be chosen.
BlockSpec CommonSpec(const KvTensors& tensors, CodecPair codec, uint32_t first_kv_head) {
  BlockSpec spec;
  spec.layers = static_cast<uint16_t>(tensors.k().shape[0]);
  spec.kv_heads = static_cast<uint16_t>(tensors.k().shape[1]);
  spec.head_dim = static_cast<uint16_t>(tensors.k().shape[3]);
  spec.first_kv_head = static_cast<uint16_t>(first_kv_head);
  spec.codec = codec;
  spec.source_dtype = tensors.k().dtype;
  spec.rope = tensors.placement().rope;
  return spec;
}

TensorView SliceTokens(const TensorView& tensor, uint64_t first, uint32_t count) {
  TensorView slice = tensor;
  slice.data = static_cast<const uint8_t*>(tensor.data) +
               first * static_cast<uint64_t>(tensor.stride[2]) * DtypeBytes(tensor.dtype);
  slice.shape[2] = count;
  return slice;
}

absl::Status EncodeOne(const KvTensors& tensors, BlockSpec spec, uint64_t first_token, const KeyMeanProfilePtr& profile,
                       DeviceKernels& kernels, OutputFile* out) {
  spec.first_position = tensors.placement().first_position + first_token;
  polarkv::EncodeOptions how;
  how.profile = profile.get();
  std::vector<uint8_t> block;
  const absl::Status encoded = kernels.EncodeBlock(spec, SliceTokens(tensors.k(), first_token, spec.tokens),
                                                   SliceTokens(tensors.v(), first_token, spec.tokens), how, block);
  if (encoded.ok()) return out->Append(block);
  if (first_token == 0) return encoded;
  return Annotate(encoded, "in the block that begins at token " + std::to_string(first_token) +
                                      " (token numbers count from there)");
}

// Returns the number of blocks.
absl::StatusOr<uint64_t> EncodeAll(const KvTensors& tensors, const BlockSpec& common, uint32_t block_tokens,
                                   const KeyMeanProfilePtr& profile, DeviceKernels& kernels, OutputFile* out) {
  ProgressLine progress("encoding", tensors.tokens(), "tokens");
  uint64_t blocks = 0;
  for (uint64_t first = 0; first < tensors.tokens(); first += block_tokens, ++blocks) {
    BlockSpec spec = common;
    spec.tokens = static_cast<uint32_t>(std::min<uint64_t>(block_tokens, tensors.tokens() - first));
    if (absl::Status s = EncodeOne(tensors, spec, first, profile, kernels, out); !s.ok()) return s;
    progress.Update(first + spec.tokens);
  }
  return blocks;
}

// Of the layers that have another codec than the block.
nlohmann::ordered_json OwnCodecs(const BlockSpec& spec) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& [layer, part] : LayersWithOwnParts(spec)) {
    list.push_back({{"layer", layer}, {"codec", CodecPairName(part.codec)}});
  }
  return list;
}

void Report(const EncodeOptions& options, const KvTensors& tensors, BlockSpec spec, uint64_t blocks, uint64_t bytes,
            const DeviceUse& device) {
  const double coordinates = 2.0 * spec.layers * spec.kv_heads * spec.head_dim * static_cast<double>(tensors.tokens());
  const double bits = 8.0 * static_cast<double>(bytes) / coordinates;
  const uint64_t fp16_bytes = static_cast<uint64_t>(coordinates) * 2;
  if (options.json) {
    nlohmann::ordered_json json = {{"out", options.out},
                                   {"codec", CodecPairName(spec.codec)},
                                   {"layer_codecs", OwnCodecs(spec)},
                                   {"model", tensors.model()},
                                   {"layers", spec.layers},
                                   {"kv_heads", spec.kv_heads},
                                   {"head_dim", spec.head_dim},
                                   {"tokens", tensors.tokens()},
                                   {"blocks", blocks},
                                   {"bytes", bytes},
                                   {"fp16_bytes", fp16_bytes},
                                   {"bits_per_coordinate", bits},
                                   {"ratio_to_fp16", 16 / bits}};
    AddDeviceUse(device, json);
    PrintJson(json);
    return;
  }
  const size_t own = LayersWithOwnParts(spec).size();
  const std::string others = own == 0 ? "" : ", " + Plural(own, "layer") + " of " + std::to_string(spec.layers) + " otherwise";
  std::printf("%s: %llu tokens in %s, %s%s%s\n", options.out.c_str(), static_cast<unsigned long long>(tensors.tokens()),
              Plural(blocks, "block").c_str(), CodecPairName(spec.codec).c_str(), others.c_str(),
              tensors.model().empty() ? "" : (", model " + Quoted(tensors.model())).c_str());
  std::printf("  %s, in fp16 %s: ratio %.2f, %.3f bits per coordinate, all included\n", HumanBytes(bytes).c_str(),
              HumanBytes(fp16_bytes).c_str(), 16 / bits, bits);
  PrintDeviceUse(device);
}

absl::Status RunEncode(const EncodeOptions& options) {
  const absl::StatusOr<CodecPair> codec = ParseCodecPair(options.codec);
  if (!codec.ok()) return UsageError("--codec: " + MessageOf(codec.status()));
  const absl::StatusOr<std::vector<LayerCodec>> layer_codecs = ParseLayerCodecs(options.layer_codecs);
  if (!layer_codecs.ok()) return layer_codecs.status();
  if (absl::Status s = CheckOptions(options); !s.ok()) return s;
  const absl::StatusOr<std::unique_ptr<DeviceKernels>> kernels = OpenDevice(options.device);
  if (!kernels.ok()) return kernels.status();
  const absl::StatusOr<KvTensors> tensors = KvTensors::Load(options.in, options.metadata);
  if (!tensors.ok()) return tensors.status();
  for (const std::string& name : tensors->ignored()) PrintNote(options.in + ": tensor " + Quoted(name) + " is not encoded");
  if (!tensors->placement().rope_stated) {
    PrintNote("no rope in the metadata of " + options.in + "; recording none (--rope says otherwise)");
  }
  const absl::StatusOr<KeyMeanProfilePtr> profile = LoadProfile(options.profile);
  if (!profile.ok()) return profile.status();
  BlockSpec spec = CommonSpec(*tensors, *codec, options.first_kv_head);
  absl::StatusOr<std::vector<LayerPart>> parts = LayerPartsOf(*layer_codecs, *codec, spec.layers);
  if (!parts.ok()) return parts.status();
  spec.layer_parts = *std::move(parts);
  if (*profile != nullptr) {
    if (absl::Status s = (*profile)->CheckFits(spec); !s.ok()) return Annotate(s, options.profile);
    spec.profile_digest = (*profile)->digest();
  }
  spec.tokens = static_cast<uint32_t>(std::min<uint64_t>(options.block_tokens, tensors->tokens()));
  spec.first_position = tensors->placement().first_position;
  if (const auto layout = BlockLayout::Make(spec); !layout.ok()) return Annotate(layout.status(), options.in);

  absl::StatusOr<OutputFile> out = OutputFile::Create(options.out);
  if (!out.ok()) return out.status();
  const absl::StatusOr<uint64_t> blocks = EncodeAll(*tensors, spec, options.block_tokens, *profile, **kernels, &*out);
  if (!blocks.ok()) return Annotate(AdviseOnDevice(blocks.status(), options.device), options.in);
  if (absl::Status s = out->Commit(); !s.ok()) return s;
  Report(options, *tensors, spec, *blocks, out->size(), (*kernels)->use());
  return absl::OkStatus();
}

}  // namespace

void AddEncodeCommand(CommandLine& line) {
  auto options = std::make_shared<EncodeOptions>();
  Subcommand command = line.Add("encode", "Compress the keys and values of a safetensors file",
                                [options] { return RunEncode(*options); });
  command.RequiredText("--codec", &options->codec, "CODEC",
                       "default, compact, small, tiny, archive, or a codec: turbo4, k=polar44,v=turbo3, ...");
  command.SeveralTexts("--layer-codec", &options->layer_codecs, "LAYERS=CODEC",
                       "Codec of some layers: 0,1=fp16 or 0-3=turbo5; may be repeated");
  command.RequiredText("--in", &options->in, "FILE", "Safetensors file with tensors k and v");
  command.RequiredText("--out", &options->out, "FILE", "File of blocks to write (.pkv)");
  command.Number("--block-tokens", &options->block_tokens, "Tokens in a block, a multiple of 64");
  command.OptionalText("--rope", &options->metadata.rope, "KIND", "half, interleaved or none");
  command.OptionalText("--rope-base", &options->metadata.rope_base, "NUMBER", "RoPE's theta");
  command.OptionalText("--rope-dims", &options->metadata.rope_dims, "N", "Coordinates that RoPE rotates");
  command.OptionalText("--first-position", &options->metadata.first_position, "N", "Position of token 0");
  command.Number("--first-kv-head", &options->first_kv_head,
                 "Global index of the first head, for a shard of a tensor-parallel model");
  command.Text("--profile", &options->profile, "FILE", "Key-mean profile of the model (.pkm), of `polarkv profile`");
  AddDeviceOption(command, &options->device);
  command.Flag("--json", &options->json, "Print the summary as JSON");
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
