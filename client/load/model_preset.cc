#include "client/load/model_preset.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace polarkv::load {
namespace {

// From the models' published config.json files.
constexpr std::array<ModelPreset, 6> kPresets{{
    {"llama-3-8b", "llama-3-8b", 32, 8, 32, 128, 500000.0f, 256},
    {"llama-3-70b", "llama-3-70b", 80, 8, 64, 128, 500000.0f, 256},
    {"llama-3.2-1b", "llama-3.2-1b", 16, 8, 32, 64, 500000.0f, 256},
    {"qwen2.5-7b", "qwen2.5-7b", 28, 4, 28, 128, 1000000.0f, 256},
    {"mistral-7b-v0.3", "mistral-7b-v0.3", 32, 8, 32, 128, 1000000.0f, 256},
    {"tiny", "llama-3-8b", 1, 1, 4, 64, 500000.0f, 64},
}};

struct Parameters {
  std::string_view model;
  double count;
};
constexpr std::array<Parameters, 5> kParameters{{
    {"llama-3-8b", 8.03e9},
    {"llama-3-70b", 70.6e9},
    {"llama-3.2-1b", 1.24e9},
    {"qwen2.5-7b", 7.62e9},
    {"mistral-7b-v0.3", 7.25e9},
}};

absl::string_view View(std::string_view text) { return absl::string_view(text.data(), text.size()); }

uint32_t Keep(uint32_t count, double fraction) {
  return std::max(1u, static_cast<uint32_t>(std::lround(count * fraction)));
}

}  // namespace

std::span<const ModelPreset> ModelPresets() { return kPresets; }

absl::StatusOr<ModelPreset> FindModelPreset(std::string_view name) {
  std::string known;
  for (const ModelPreset& preset : kPresets) {
    if (preset.name == name) return preset;
    absl::StrAppend(&known, known.empty() ? "" : ", ", View(preset.name));
  }
  return absl::InvalidArgumentError(absl::StrCat("no model preset \"", View(name), "\"; there are ", known));
}

ModelCompute PresetCompute(const ModelPreset& preset) {
  const auto model = std::ranges::find(kPresets, preset.compute_model, &ModelPreset::name);
  const auto parameters = std::ranges::find(kParameters, preset.compute_model, &Parameters::model);
  ModelCompute compute;
  compute.model = std::string(preset.compute_model);
  compute.flops_per_token = 2 * parameters->count;
  compute.flops_per_token_pair = 4.0 * model->layers * model->q_heads * model->head_dim;
  compute.fp16_cache_bytes_per_token = 4.0 * model->layers * model->kv_heads * model->head_dim;
  return compute;
}

absl::StatusOr<Geometry> ScaledGeometry(const ModelPreset& preset, double layer_fraction, double head_fraction) {
  for (const double fraction : {layer_fraction, head_fraction}) {
    if (!(fraction > 0) || fraction > 1) {
      return absl::InvalidArgumentError(absl::StrCat("a scale must be above 0 and at most 1, not ", fraction));
    }
  }
  Geometry geometry;
  geometry.layers = Keep(preset.layers, layer_fraction);
  geometry.kv_heads = Keep(preset.kv_heads, head_fraction);
  geometry.q_heads = geometry.kv_heads * (preset.q_heads / preset.kv_heads);
  geometry.head_dim = preset.head_dim;
  geometry.block_tokens = preset.block_tokens;
  geometry.rope_base = preset.rope_base;
  return geometry;
}

absl::StatusOr<NamespaceDescriptor> LoadNamespace(std::string_view model, const Geometry& geometry,
                                                  std::string_view name) {
  NamespaceDescriptor descriptor;
  descriptor.name = std::string(name);
  if (name.empty()) {
    std::string codec = CodecPairName(geometry.codec);
    std::ranges::replace_if(
        codec, [](char c) { return c == '=' || c == ','; }, '-');
    descriptor.name = absl::StrCat("load/", View(model), "-", geometry.layers, "x", geometry.kv_heads, "x",
                                   geometry.head_dim, "-", geometry.block_tokens, "-", codec);
  }
  descriptor.model = std::string(model);
  descriptor.weights_digest = "synthetic";
  descriptor.tokenizer_digest = "synthetic";
  descriptor.layers = geometry.layers;
  descriptor.kv_heads = geometry.kv_heads;
  descriptor.head_dim = geometry.head_dim;
  descriptor.rope = {RopePairing::kHalf, geometry.rope_base, static_cast<uint16_t>(geometry.head_dim)};
  descriptor.source_dtype = Dtype::kF16;  // block contents are made of fp16 values
  descriptor.block_tokens = geometry.block_tokens;
  descriptor.codec = geometry.codec;
  if (absl::Status status = ValidateNamespaceDescriptor(descriptor); !status.ok()) return status;
  return descriptor;
}

uint64_t Fp16BytesPerToken(const Geometry& geometry) {
  return uint64_t{4} * geometry.layers * geometry.kv_heads * geometry.head_dim;
}

}  // namespace polarkv::load
