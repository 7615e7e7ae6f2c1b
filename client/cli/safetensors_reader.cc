#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

#include "client/cli/safetensors.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

using Json = nlohmann::json;

struct DtypeSize {
  const char* name;
  uint64_t bytes;
};
constexpr std::array<DtypeSize, 15> kDtypes = {{{"BOOL", 1},
                                                {"U8", 1},
                                                {"I8", 1},
                                                {"F8_E5M2", 1},
                                                {"F8_E4M3", 1},
                                                {"I16", 2},
                                                {"U16", 2},
                                                {"F16", 2},
                                                {"BF16", 2},
                                                {"I32", 4},
                                                {"U32", 4},
                                                {"F32", 4},
                                                {"F64", 8},
                                                {"I64", 8},
                                                {"U64", 8}}};

absl::Status Defect(const std::string& message) { return absl::DataLossError(message); }

// The header's JSON text, after the checks of its length.
absl::StatusOr<std::string_view> HeaderText(std::span<const uint8_t> file) {
  const std::string not_safetensors = "; this is not a safetensors file, or a damaged one";
  if (file.size() >= 4 && std::memcmp(file.data(), &kBlockMagic, 4) == 0) {
    return Defect("this is a .pkv file, not a safetensors file; `polarkv decode` makes one of it");
  }
  if (file.empty()) return Defect("the file is empty");
  if (file.size() < 8) return Defect("only " + std::to_string(file.size()) + " bytes" + not_safetensors);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > kMaxSafetensorsHeader) {
    return Defect("header length " + std::to_string(length) + " is over the limit of " +
                  std::to_string(kMaxSafetensorsHeader) + not_safetensors);
  }
  if (length > file.size() - 8) {
    return Defect("header length " + std::to_string(length) + ", but only " + std::to_string(file.size() - 8) +
                  " bytes follow; the file is cut short");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (text.empty() || text.front() != '{') return Defect("the header does not begin with '{'" + not_safetensors);
  return text;
}

// Header object, tensor object, array, number; what is nested deeper is not kept in memory.
constexpr int kMaxDepth = 3;

// A JSON parser would let the last of two equal keys win without a word.
absl::StatusOr<Json> ParseHeader(std::string_view text) {
  std::vector<std::set<std::string>> keys;  // one set per open object
  std::string duplicate;
  bool too_deep = false;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) {
      too_deep = true;
      return false;
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const std::string* key = parsed.get_ptr<const std::string*>();
      if (key != nullptr && !keys.back().insert(*key).second && duplicate.empty()) duplicate = *key;
    }
    return true;
  };
  Json header = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (too_deep) return Defect("the header is nested deeper than the format allows");
  if (header.is_discarded()) return Defect("the header is not valid JSON");
  if (!header.is_object()) return Defect("the header is not a JSON object");
  if (!duplicate.empty()) return Defect("the header names " + Quoted(duplicate) + " twice");
  return header;
}

absl::Status ReadMetadata(const Json& value, std::map<std::string, std::string>* metadata) {
  if (!value.is_object()) return Defect("__metadata__ is not a JSON object");
  for (const auto& [key, text] : value.items()) {
    const std::string* content = text.get_ptr<const std::string*>();
    if (content == nullptr) {
      return Defect("__metadata__ " + Quoted(key) + " is not a string; this format holds numbers as strings, too");
    }
    metadata->emplace(key, *content);
  }
  return absl::OkStatus();
}

const Json* Member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

absl::Status ReadShape(const Json* shape, SafetensorsEntry* entry) {
  if (shape == nullptr || !shape->is_array()) return Defect("tensor " + Quoted(entry->name) + " has no shape array");
  for (const Json& extent : *shape) {
    if (!extent.is_number_unsigned()) {
      return Defect("tensor " + Quoted(entry->name) + ": a shape entry is not a non-negative integer");
    }
    entry->shape.push_back(extent.get<uint64_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadOffsets(const Json* offsets, uint64_t data_bytes, SafetensorsEntry* entry) {
  const std::string tensor = "tensor " + Quoted(entry->name);
  if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return Defect(tensor + ": data_offsets is not an array of two non-negative integers");
  }
  entry->begin = (*offsets)[0].get<uint64_t>();
  entry->end = (*offsets)[1].get<uint64_t>();
  const std::string range = "[" + std::to_string(entry->begin) + ", " + std::to_string(entry->end) + "]";
  if (entry->begin > entry->end) return Defect(tensor + ": data_offsets " + range + " run backwards");
  if (entry->end > data_bytes) {
    return Defect(tensor + ": data_offsets " + range + " reach outside the file's " + std::to_string(data_bytes) +
                  " data bytes; the file is cut short or damaged");
  }
  return absl::OkStatus();
}

absl::Status CheckByteCount(const SafetensorsEntry& entry) {
  const std::string tensor = "tensor " + Quoted(entry.name);
  const auto dtype =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeSize& d) { return d.name == entry.dtype; });
  if (dtype == kDtypes.end()) return Defect(tensor + ": unknown dtype " + Quoted(entry.dtype));
  uint64_t bytes = dtype->bytes;
  for (const uint64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      return Defect(tensor + ": the size of shape " + ShapeText(entry.shape) + " overflows 64 bits");
    }
  }
  if (bytes != entry.end - entry.begin) {
    return Defect(tensor + ": shape " + ShapeText(entry.shape) + " of " + entry.dtype + " takes " +
                  std::to_string(bytes) + " bytes, but data_offsets span " + std::to_string(entry.end - entry.begin));
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsEntry> ReadEntry(const std::string& name, const Json& value, std::span<const uint8_t> data) {
  SafetensorsEntry entry;
  entry.name = name;
  if (!value.is_object()) return Defect("tensor " + Quoted(name) + " is not described by a JSON object");
  const Json* dtype = Member(value, "dtype");
  if (dtype == nullptr || !dtype->is_string()) return Defect("tensor " + Quoted(name) + " has no dtype string");
  entry.dtype = dtype->get<std::string>();
  if (absl::Status s = ReadShape(Member(value, "shape"), &entry); !s.ok()) return s;
  if (absl::Status s = ReadOffsets(Member(value, "data_offsets"), data.size(), &entry); !s.ok()) return s;
  if (absl::Status s = CheckByteCount(entry); !s.ok()) return s;
  entry.bytes = data.subspan(entry.begin, entry.end - entry.begin);
  return entry;
}

absl::Status CheckCoverage(const std::vector<SafetensorsEntry>& tensors, uint64_t data_bytes) {
  uint64_t covered = 0;
  for (const SafetensorsEntry& entry : tensors) {
    if (entry.begin < covered) return Defect("tensor " + Quoted(entry.name) + " overlaps the tensor before it");
    if (entry.begin > covered) {
      return Defect("a gap of " + std::to_string(entry.begin - covered) + " bytes before tensor " + Quoted(entry.name));
    }
    covered = entry.end;
  }
  if (covered == data_bytes) return absl::OkStatus();
  return Defect(std::to_string(data_bytes - covered) + " bytes after the last tensor belong to none");
}

}  // namespace

absl::StatusOr<SafetensorsContent> ParseSafetensors(std::span<const uint8_t> file) {
  const absl::StatusOr<std::string_view> text = HeaderText(file);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Json> header = ParseHeader(*text);
  if (!header.ok()) return header.status();
  const std::span<const uint8_t> data = file.subspan(8 + text->size());
  SafetensorsContent content;
  for (const auto& [name, value] : header->items()) {
    if (name == "__metadata__") {
      if (absl::Status s = ReadMetadata(value, &content.metadata); !s.ok()) return s;
      continue;
    }
    absl::StatusOr<SafetensorsEntry> entry = ReadEntry(name, value, data);
    if (!entry.ok()) return entry.status();
    content.tensors.push_back(*std::move(entry));
  }
  std::sort(content.tensors.begin(), content.tensors.end(),
            [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  if (absl::Status s = CheckCoverage(content.tensors, data.size()); !s.ok()) return s;
  return content;
}

const SafetensorsEntry* SafetensorsContent::Find(std::string_view name) const {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

absl::StatusOr<Dtype> FloatDtype(const SafetensorsEntry& entry) {
  if (entry.dtype == "F16") return Dtype::kF16;
  if (entry.dtype == "BF16") return Dtype::kBF16;
  if (entry.dtype == "F32") return Dtype::kF32;
  return absl::InvalidArgumentError("tensor " + Quoted(entry.name) + " has dtype " + entry.dtype +
                                    "; polarkv reads F16, BF16 and F32");
}

std::string ShapeText(std::span<const uint64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace polarkv::cli
