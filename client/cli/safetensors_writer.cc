#include <utility>

#include "client/cli/safetensors.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

// Checked, so that a file of damaged extents cannot make a small offset of a huge one.
bool ByteCount(const std::vector<uint64_t>& shape, uint64_t* bytes) {
  *bytes = sizeof(float);
  for (const uint64_t extent : shape) {
    if (__builtin_mul_overflow(*bytes, extent, bytes)) return false;
  }
  return *bytes <= uint64_t{1} << 62;
}

std::span<const uint8_t> AsBytes(const void* data, size_t size) { return {static_cast<const uint8_t*>(data), size}; }

}  // namespace

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(const std::string& path,
                                                            std::span<const SafetensorsSpec> tensors,
                                                            const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::vector<uint64_t> offsets;
  uint64_t end = 0;
  for (const SafetensorsSpec& tensor : tensors) {
    uint64_t bytes = 0;
    const uint64_t begin = end;
    if (!ByteCount(tensor.shape, &bytes) || __builtin_add_overflow(begin, bytes, &end)) {
      return absl::InvalidArgumentError(path + ": tensor '" + tensor.name + "' of shape " + ShapeText(tensor.shape) +
                                        " is too large for a file");
    }
    offsets.push_back(begin);
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins 8-byte aligned, which mapped readers count on
  const uint64_t length = text.size();
  for (uint64_t& offset : offsets) offset += 8 + length;

  absl::StatusOr<OutputFile> file = OutputFile::Create(path);
  if (!file.ok()) return file.status();
  if (absl::Status s = file->Append(AsBytes(&length, sizeof(length))); !s.ok()) return s;
  if (absl::Status s = file->Append(AsBytes(text.data(), text.size())); !s.ok()) return s;
  return SafetensorsWriter(*std::move(file), std::move(offsets));
}

absl::Status SafetensorsWriter::Write(size_t tensor, uint64_t first_element, std::span<const float> values) {
  return file_.WriteAt(offsets_[tensor] + first_element * sizeof(float), AsBytes(values.data(), values.size_bytes()));
}

absl::Status SafetensorsWriter::Commit() { return file_.Commit(); }

}  // namespace polarkv::cli
