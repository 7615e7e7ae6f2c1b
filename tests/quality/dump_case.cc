#include "tests/quality/dump_case.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>

#include "client/cli/cli_status.h"
#include "client/cli/kv_tensors.h"
#include "client/cli/query_tensor.h"
#include "codec/half_float.h"
#include "tests/quality/random_source.h"

namespace polarkv::quality {
namespace {

constexpr uint32_t kDrawnQueries = 64;

std::vector<float> LayerOf(const TensorView& tensor, uint32_t layer) {
  const size_t count = static_cast<size_t>(tensor.stride[0]), first = size_t{layer} * count;
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    switch (tensor.dtype) {
      case Dtype::kF32:
        values[i] = static_cast<const float*>(tensor.data)[first + i];
        break;
      case Dtype::kF16:
        values[i] = HalfToFloat(static_cast<const uint16_t*>(tensor.data)[first + i]);
        break;
      case Dtype::kBF16:
        values[i] = BFloat16ToFloat(static_cast<const uint16_t*>(tensor.data)[first + i]);
        break;
    }
  }
  return values;
}

BlockSpec SpecOf(const cli::KvTensors& tensors) {
  BlockSpec spec;
  spec.layers = static_cast<uint16_t>(tensors.k().shape[0]);
  spec.kv_heads = static_cast<uint16_t>(tensors.k().shape[1]);
  spec.head_dim = static_cast<uint16_t>(tensors.k().shape[3]);
  spec.tokens = static_cast<uint32_t>(std::min<uint64_t>(tensors.tokens(), kMaxBlockTokens));
  spec.rope = tensors.placement().rope;
  spec.first_position = tensors.placement().first_position;
  return spec;
}

absl::Status CheckFinite(const KvCase& kv) {
  for (const auto& [name, tensor] : {std::pair{"k", &kv.k}, std::pair{"v", &kv.v}, std::pair{"q", &kv.q}}) {
    if (!std::ranges::all_of(*tensor, [](float x) { return std::isfinite(x); })) {
      return absl::InvalidArgumentError(kv.name + ": tensor " + name + " holds a NaN or an infinity");
    }
  }
  return absl::OkStatus();
}

// Whether the file has a tensor q; KvTensors lists those that it does not read itself.
bool HasQueries(const cli::KvTensors& tensors) { return std::ranges::count(tensors.ignored(), "q") != 0; }

KvCase LayerCase(const std::string& name, const cli::KvTensors& tensors, const BlockSpec& spec, uint32_t layer) {
  KvCase kv;
  kv.name = "dump/" + name + "/layer" + std::to_string(layer);
  kv.group = "dump";
  kv.kv_heads = kv.q_heads = spec.kv_heads;
  kv.tokens = static_cast<uint32_t>(tensors.tokens());
  kv.head_dim = spec.head_dim;
  kv.rope = spec.rope;
  kv.first_position = spec.first_position;
  kv.k = LayerOf(tensors.k(), layer);
  kv.v = LayerOf(tensors.v(), layer);
  return kv;
}

void DrawQueries(uint32_t layer, KvCase& kv) {
  kv.queries = kv.independent_queries = kDrawnQueries;
  kv.q = RandomSource(100 + layer).Normals(kv.rows() * kv.head_dim);
}

}  // namespace

absl::StatusOr<std::vector<KvCase>> LoadDumpCases(const std::string& path) {
  const absl::StatusOr<cli::KvTensors> tensors = cli::KvTensors::Load(path, {});
  if (!tensors.ok()) return tensors.status();
  const BlockSpec spec = SpecOf(*tensors);
  if (absl::Status s = ValidateBlockSpec(spec); !s.ok()) return cli::Annotate(s, path);
  const std::string name = std::filesystem::path(path).stem().string();
  std::vector<KvCase> cases;
  for (uint32_t layer = 0; layer < spec.layers; ++layer) cases.push_back(LayerCase(name, *tensors, spec, layer));
  if (HasQueries(*tensors)) {
    const absl::StatusOr<cli::QueryTensor> queries = cli::QueryTensor::Load(path, spec);
    if (!queries.ok()) return queries.status();
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      cases[layer].q_heads = queries->heads();
      cases[layer].queries = queries->queries();
      cases[layer].q = queries->Layer(layer);
    }
  } else {
    for (uint32_t layer = 0; layer < spec.layers; ++layer) DrawQueries(layer, cases[layer]);
  }
  for (const KvCase& kv : cases) {
    if (absl::Status s = CheckFinite(kv); !s.ok()) return cli::Annotate(s, path);
  }
  return cases;
}

}  // namespace polarkv::quality
