#include "client/cli/kv_tensors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "client/cli/cli_status.h"
#include "client/cli/format_names.h"
#include "client/cli/text_format.h"

namespace polarkv::cli {
namespace {

constexpr char kKvDimensions[] = "[layers, kv_heads, tokens, head_dim]";

template <typename T>
bool ParseNumber(const std::string& text, T* value) {
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, *value);
  return result.ec == std::errc() && result.ptr == end;
}

absl::Status BadEntry(const char* name, const std::string& value, const std::string& expected) {
  return absl::InvalidArgumentError(std::string(name) + " is " + Quoted(value) + "; expected " + expected);
}

absl::Status ParsePairing(const KvMetadata& metadata, KvPlacement* placement) {
  placement->rope_stated = metadata.rope.has_value();
  const std::string rope = metadata.rope.value_or("none");
  if (rope == "half") {
    placement->rope.pairing = RopePairing::kHalf;
  } else if (rope == "interleaved") {
    placement->rope.pairing = RopePairing::kInterleaved;
  } else if (rope != "none") {
    return BadEntry("rope", rope, "half, interleaved or none");
  }
  return absl::OkStatus();
}

absl::Status ParseBaseAndDims(const KvMetadata& metadata, uint32_t head_dim, Rope* rope) {
  double base = 0;
  if (metadata.rope_base.has_value() && (!ParseNumber(*metadata.rope_base, &base) || !std::isfinite(base))) {
    return BadEntry("rope_base", *metadata.rope_base, "a number such as 10000 or 500000");
  }
  uint32_t dims = rope->pairing == RopePairing::kNone ? 0 : head_dim;
  if (metadata.rope_dims.has_value() &&
      (!ParseNumber(*metadata.rope_dims, &dims) || dims > head_dim || dims % 2 != 0)) {
    return BadEntry("rope_dims", *metadata.rope_dims, "an even number up to head_dim = " + std::to_string(head_dim));
  }
  if (rope->pairing == RopePairing::kNone) {
    if (base == 0 && dims == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "rope_base or rope_dims is given, but rope is none or missing; say rope half or interleaved (--rope), or leave "
        "them out");
  }
  if (!metadata.rope_base.has_value()) {
    return absl::InvalidArgumentError(
        "rope is given without rope_base; add the model's rope theta to the metadata, or pass it (--rope-base 10000)");
  }
  if (!(static_cast<float>(base) > 0) || !std::isfinite(static_cast<float>(base))) {
    return BadEntry("rope_base", *metadata.rope_base, "a positive number such as 10000 or 500000");
  }
  if (dims == 0) return BadEntry("rope_dims", *metadata.rope_dims, "at least 2, or rope none");
  rope->base = static_cast<float>(base);
  rope->dims = static_cast<uint16_t>(dims);
  return absl::OkStatus();
}

absl::StatusOr<TensorView> RequireTensor(const SafetensorsContent& content, const char* name, AlignedBuffer* copy) {
  const SafetensorsEntry* entry = content.Find(name);
  if (entry != nullptr) return ViewTensor(*entry, kKvDimensions, copy);
  std::string names;
  for (const SafetensorsEntry& tensor : content.tensors) names += (names.empty() ? "" : ", ") + Quoted(tensor.name);
  return absl::InvalidArgumentError("no tensor '" + std::string(name) + "'; encode needs `k` and `v`, " +
                                    kKvDimensions + "; the file holds " +
                                    (names.empty() ? "no tensor" : names.substr(0, 200)));
}

absl::Status CheckExtents(const TensorView& k) {
  const auto check = [](const char* name, int64_t value, int64_t limit) {
    if (value <= limit) return absl::OkStatus();
    return absl::InvalidArgumentError(std::string(name) + " is " + std::to_string(value) + "; a block holds at most " +
                                      std::to_string(limit) + "; is the order " + kKvDimensions + "?");
  };
  if (absl::Status s = check("layers", k.shape[0], kMaxLayers); !s.ok()) return s;
  if (absl::Status s = check("kv_heads", k.shape[1], kMaxKvHeads); !s.ok()) return s;
  return check("head_dim", k.shape[3], 256);
}

}  // namespace

absl::StatusOr<KvPlacement> ParsePlacement(const KvMetadata& metadata, uint32_t head_dim) {
  KvPlacement placement;
  if (absl::Status s = ParsePairing(metadata, &placement); !s.ok()) return s;
  if (absl::Status s = ParseBaseAndDims(metadata, head_dim, &placement.rope); !s.ok()) return s;
  if (metadata.first_position.has_value() && !ParseNumber(*metadata.first_position, &placement.first_position)) {
    return BadEntry("first_position", *metadata.first_position, "a non-negative integer");
  }
  return placement;
}

absl::StatusOr<TensorView> ViewTensor(const SafetensorsEntry& entry, const char* dimensions, AlignedBuffer* copy) {
  const std::string tensor = "tensor " + Quoted(entry.name);
  const absl::StatusOr<Dtype> dtype = FloatDtype(entry);
  if (!dtype.ok()) return dtype.status();
  if (entry.shape.size() != 4) {
    return absl::InvalidArgumentError(tensor + " has shape " + ShapeText(entry.shape) + "; expected four dimensions, " +
                                      dimensions);
  }
  if (entry.bytes.empty()) {
    return absl::InvalidArgumentError(tensor + " is empty: shape " + ShapeText(entry.shape));
  }
  const uint8_t* data = entry.bytes.data();
  if (reinterpret_cast<uintptr_t>(data) % DtypeBytes(*dtype) != 0) {
    *copy = AlignedBuffer(entry.bytes.size());
    std::memcpy(copy->span().data(), data, entry.bytes.size());
    data = copy->span().data();
  }
  // The extents fit: their product times the element size is the length of a file in memory.
  std::array<int64_t, 4> shape{};
  std::copy(entry.shape.begin(), entry.shape.end(), shape.begin());
  return TensorView::Contiguous(data, *dtype, shape);
}

absl::StatusOr<KvTensors> KvTensors::Load(const std::string& path, const KvMetadata& overrides) {
  absl::StatusOr<InputFile> file = InputFile::Open(path);
  if (!file.ok()) return file.status();
  KvTensors tensors(*std::move(file));
  const absl::StatusOr<SafetensorsContent> content = ParseSafetensors(tensors.file_.bytes());
  if (!content.ok()) return Annotate(content.status(), path);
  if (absl::Status s = tensors.Read(*content, overrides); !s.ok()) return Annotate(s, path);
  return tensors;
}

absl::Status KvTensors::Read(const SafetensorsContent& content, const KvMetadata& overrides) {
  const absl::StatusOr<TensorView> k = RequireTensor(content, "k", &k_copy_);
  if (!k.ok()) return k.status();
  const absl::StatusOr<TensorView> v = RequireTensor(content, "v", &v_copy_);
  if (!v.ok()) return v.status();
  k_ = *k;
  v_ = *v;
  if (k_.shape != v_.shape) {
    return absl::InvalidArgumentError("k has shape " + ShapeText(content.Find("k")->shape) + " but v has " +
                                      ShapeText(content.Find("v")->shape) + "; they must be equal");
  }
  if (k_.dtype != v_.dtype) {
    return absl::InvalidArgumentError(std::string("k is ") + DtypeName(k_.dtype) + " but v is " + DtypeName(v_.dtype) +
                                      "; store both in one dtype");
  }
  if (absl::Status s = CheckExtents(k_); !s.ok()) return s;
  const auto value = [&content](const char* key, const std::optional<std::string>& override_value) {
    const auto found = content.metadata.find(key);
    if (override_value.has_value() || found == content.metadata.end()) return override_value;
    return std::optional(found->second);
  };
  const absl::StatusOr<KvPlacement> placement =
      ParsePlacement({value("rope", overrides.rope), value("rope_base", overrides.rope_base),
                      value("rope_dims", overrides.rope_dims), value("first_position", overrides.first_position)},
                     static_cast<uint32_t>(k_.shape[3]));
  if (!placement.ok()) return placement.status();
  placement_ = *placement;
  model_ = value("model", std::nullopt).value_or("");
  for (const SafetensorsEntry& entry : content.tensors) {
    if (entry.name != "k" && entry.name != "v") ignored_.push_back(entry.name);
  }
  return absl::OkStatus();
}

}  // namespace polarkv::cli
