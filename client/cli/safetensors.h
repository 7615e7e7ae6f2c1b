// The safetensors file format (https://github.com/huggingface/safetensors), reading and writing.
//
//   8 bytes: length N of the header, little-endian | N bytes: JSON | data
//   {"__metadata__": {"key": "value"}, "name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//
// Offsets count from the first byte of the data; the tensors cover the data without gap or overlap.
#ifndef POLARKV_CLIENT_CLI_SAFETENSORS_H_
#define POLARKV_CLIENT_CLI_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/output_file.h"
#include "codec/block_format.h"

namespace polarkv::cli {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // the reference implementation's limit

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as written: "F16", "BF16", "F32", "I64", ...
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;     // bytes, counted from the start of the data
  std::span<const uint8_t> bytes;  // points into what was parsed
};

struct SafetensorsContent {
  std::map<std::string, std::string> metadata;
  std::vector<SafetensorsEntry> tensors;  // in ascending order of `begin`

  const SafetensorsEntry* Find(std::string_view name) const;  // null: absent
};

// Reads a whole file in memory, which must outlive the result. DATA_LOSS with a message of its own for each defect.
absl::StatusOr<SafetensorsContent> ParseSafetensors(std::span<const uint8_t> file);

// "[2, 8, 100, 128]"
std::string ShapeText(std::span<const uint64_t> shape);
// F16, BF16 or F32; INVALID_ARGUMENT for every other dtype.
absl::StatusOr<Dtype> FloatDtype(const SafetensorsEntry& entry);

struct SafetensorsSpec {
  std::string name;
  std::vector<uint64_t> shape;
};

// Writes F32 tensors piece by piece, so that no tensor need fit into memory. The file appears when Commit returns OK.
class SafetensorsWriter {
 public:
  // Statuses as OutputFile::Create; INVALID_ARGUMENT: the tensors' size overflows.
  static absl::StatusOr<SafetensorsWriter> Create(const std::string& path, std::span<const SafetensorsSpec> tensors,
                                                  const std::map<std::string, std::string>& metadata);
  // `tensor`: index into the specs; every element is to be written once, in any order.
  absl::Status Write(size_t tensor, uint64_t first_element, std::span<const float> values);
  absl::Status Commit();
  uint64_t size() const { return file_.size(); }

 private:
  SafetensorsWriter(OutputFile file, std::vector<uint64_t> offsets)
      : file_(std::move(file)), offsets_(std::move(offsets)) {}

  OutputFile file_;
  std::vector<uint64_t> offsets_;  // of each tensor's first byte in the file
};

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_SAFETENSORS_H_
