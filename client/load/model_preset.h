// Published shapes of models, and what of them the load tester stores.
#ifndef POLARKV_CLIENT_LOAD_MODEL_PRESET_H_
#define POLARKV_CLIENT_LOAD_MODEL_PRESET_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "codec/namespace_descriptor.h"

namespace polarkv::load {

// Sizes as in the model's published configuration. `compute_model` says whose compute the estimates assume: the model
// itself, but for "tiny", which stores next to nothing on behalf of a model of ordinary size.
struct ModelPreset {
  std::string_view name;
  std::string_view compute_model;
  uint32_t layers;
  uint32_t kv_heads;
  uint32_t q_heads;
  uint32_t head_dim;
  float rope_base;
  uint32_t block_tokens;  // default of the store
};

// What it costs to compute a prompt, and to ship its cache at full size.
struct ModelCompute {
  std::string model;
  double flops_per_token = 0;             // 2 x parameters: every weight takes part in one multiply-add
  double flops_per_token_pair = 0;        // attention: 4 x layers x query heads x head_dim for each (query, key) pair
  double fp16_cache_bytes_per_token = 0;  // 4 x layers x KV heads x head_dim: K and V, two bytes each
};

// What is stored. Smaller than the model where flags say so.
struct Geometry {
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t q_heads = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = 0;
  float rope_base = 0;
  CodecPair codec;
};

std::span<const ModelPreset> ModelPresets();
// INVALID_ARGUMENT names the presets that exist.
absl::StatusOr<ModelPreset> FindModelPreset(std::string_view name);
ModelCompute PresetCompute(const ModelPreset& preset);

// Keeps the fraction of layers and of heads (query heads in proportion), at least one of each.
// INVALID_ARGUMENT: a fraction is not in (0, 1].
absl::StatusOr<Geometry> ScaledGeometry(const ModelPreset& preset, double layer_fraction, double head_fraction);

// The namespace that holds such blocks. `name`: empty for one made from the model and the geometry.
// INVALID_ARGUMENT as ValidateNamespaceDescriptor.
absl::StatusOr<NamespaceDescriptor> LoadNamespace(std::string_view model, const Geometry& geometry,
                                                  std::string_view name);

// Bytes of one token's keys and values in fp16 at this geometry.
uint64_t Fp16BytesPerToken(const Geometry& geometry);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_MODEL_PRESET_H_
