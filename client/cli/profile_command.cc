#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/kv_tensors.h"
#include "client/cli/output_file.h"
#include "client/cli/progress_line.h"
#include "client/cli/text_format.h"
#include "codec/key_mean_profile_builder.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

// A mean of fewer keys has more noise of theirs than is worth having.
constexpr uint64_t kFewTokens = 512;

struct ProfileOptions {
  std::vector<std::string> in;
  std::string out;
  KvMetadata metadata;
  bool json = false;
};

constexpr char kFooter[] =
    R"(Many models add a bias to keys (Qwen2 and its like). RoPE turns it to every position, and codes of few bits then spend
themselves on it. A profile holds that bias: the mean key before RoPE, of every layer and head. Blocks that are encoded with
it (`polarkv encode --profile`) store keys without it, at no cost of their own. Without a profile a block takes its own
means off, which pays from some 256 tokens a block on.

Input: files as `polarkv encode` takes them, with all of the model's KV heads, of any text: some thousand tokens are plenty,
best of several sequences. The first four positions of a sequence are left out. Files are taken in the order given; the same
files give the same profile.

Output: a profile (.pkm) and its digest, which blocks and their namespace name. Shown is the part of the energy that the
means take off keys like those, which were not in the input. Heads where it is less than a tenth get no mean.

A namespace is opened with the profile once (`polarkv put --profile`); its server gives it to other workers.

Examples:
  polarkv profile --in a.safetensors --in b.safetensors --out model.pkm
  polarkv encode --codec default --block-tokens 64 --profile model.pkm --in kv.safetensors --out kv.pkv
  polarkv decode --profile model.pkm --in kv.pkv --out back.safetensors)";

struct Built {
  std::unique_ptr<KeyMeanProfileBuilder> builder;
  ProfileShape shape;
  uint64_t tokens = 0;
};

ProfileShape ShapeOf(const KvTensors& tensors) {
  const auto& shape = tensors.k().shape;
  return {static_cast<uint16_t>(std::min<int64_t>(shape[0], UINT16_MAX)),
          static_cast<uint16_t>(std::min<int64_t>(shape[1], UINT16_MAX)),
          static_cast<uint16_t>(std::min<int64_t>(shape[3], UINT16_MAX)), tensors.placement().rope, {}};
}

absl::Status AddFile(const std::string& path, const KvMetadata& metadata, Built* built) {
  const absl::StatusOr<KvTensors> tensors = KvTensors::Load(path, metadata);
  if (!tensors.ok()) return tensors.status();
  if (!tensors->placement().rope_stated) {
    PrintNote("no rope in the metadata of " + path + "; taking keys as they are (--rope says otherwise)");
  }
  const ProfileShape shape = ShapeOf(*tensors);
  if (built->builder == nullptr) {
    absl::StatusOr<std::unique_ptr<KeyMeanProfileBuilder>> builder = KeyMeanProfileBuilder::Create(shape);
    if (!builder.ok()) return Annotate(builder.status(), path);
    built->builder = *std::move(builder);
    built->shape = shape;
  }
  if (!(shape == built->shape)) {
    return absl::InvalidArgumentError(path + ": layers, KV heads, head_dim or RoPE differ from those of the first file");
  }
  built->tokens += tensors->tokens();
  return Annotate(built->builder->Add(tensors->k(), tensors->placement().first_position), path);
}

// Of the energy of a layer's keys, what the means that the profile has take off.
struct LayerGain {
  double removed = 0;  // 0 to 1
  uint32_t heads = 0;  // with a mean
};

LayerGain GainOf(const Built& built, const KeyMeanProfile& profile, uint32_t layer) {
  LayerGain gain;
  double energy = 0, removed = 0;
  for (uint32_t head = 0; head < built.shape.kv_heads; ++head) {
    const KeyMeanProfileBuilder::Gain of_head = built.builder->GainOf(layer, head);
    energy += of_head.energy;
    if (!profile.HasMean(layer, head)) continue;
    removed += of_head.removed;
    ++gain.heads;
  }
  gain.removed = energy > 0 ? removed / energy : 0;
  return gain;
}

void Report(const ProfileOptions& options, const Built& built, const KeyMeanProfile& profile) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  uint64_t means = 0;
  if (!options.json) std::printf("%5s  %14s  %s\n", "layer", "energy removed", "heads with a mean");
  for (uint32_t layer = 0; layer < built.shape.layers; ++layer) {
    const LayerGain gain = GainOf(built, profile, layer);
    means += gain.heads;
    layers.push_back({{"layer", layer}, {"energy_removed", gain.removed}, {"heads_with_mean", gain.heads}});
    if (options.json) continue;
    std::printf("%5u  %12.1f %%  %u of %u\n", layer, 100 * gain.removed, gain.heads, built.shape.kv_heads);
  }
  if (means == 0) PrintNote("no head's keys have a mean worth taking off; blocks gain nothing by this profile");
  if (built.tokens < kFewTokens) {
    PrintNote("means of " + Plural(built.tokens, "token") + " are noisy; take some thousand");
  }
  if (options.json) {
    PrintJson({{"out", options.out},
               {"digest", ProfileDigestText(profile.digest())},
               {"bytes", profile.bytes().size()},
               {"tokens", built.tokens},
               {"heads_with_mean", means},
               {"layers", layers}});
    return;
  }
  std::printf("%s: profile %s of %s, %s\n", options.out.c_str(), ProfileDigestText(profile.digest()).c_str(),
              Plural(built.tokens, "token").c_str(), HumanBytes(profile.bytes().size()).c_str());
}

absl::Status RunProfile(const ProfileOptions& options) {
  for (const std::string& path : options.in) {
    if (IsSameFile(path, options.out)) return UsageError("--in " + path + " and --out are the same file");
  }
  Built built;
  ProgressLine progress("adding", options.in.size(), "files");
  for (size_t i = 0; i < options.in.size(); ++i) {
    if (absl::Status s = AddFile(options.in[i], options.metadata, &built); !s.ok()) return s;
    progress.Update(i + 1);
  }
  const absl::StatusOr<KeyMeanProfilePtr> profile = built.builder->Build();
  if (!profile.ok()) return profile.status();
  absl::StatusOr<OutputFile> out = OutputFile::Create(options.out);
  if (!out.ok()) return out.status();
  if (absl::Status s = out->Append((*profile)->bytes()); !s.ok()) return s;
  if (absl::Status s = out->Commit(); !s.ok()) return s;
  Report(options, built, **profile);
  return absl::OkStatus();
}

}  // namespace

void AddProfileCommand(CommandLine& line) {
  auto options = std::make_shared<ProfileOptions>();
  Subcommand command = line.Add("profile", "Learn a model's key means, which its blocks need not store",
                                [options] { return RunProfile(*options); });
  command.RepeatedText("--in", &options->in, "FILE", "Safetensors file with tensors k and v; may be repeated");
  command.RequiredText("--out", &options->out, "FILE", "Profile to write (.pkm)");
  command.OptionalText("--rope", &options->metadata.rope, "KIND", "half, interleaved or none");
  command.OptionalText("--rope-base", &options->metadata.rope_base, "NUMBER", "RoPE's theta");
  command.OptionalText("--rope-dims", &options->metadata.rope_dims, "N", "Coordinates that RoPE rotates");
  command.Flag("--json", &options->json, "Print the summary as JSON");
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
