#include "tests/cli/tensor_file.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>

#include "codec/block_format.h"
#include "codec/half_float.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace polarkv::testing {
namespace {

std::string Encode(const TestTensor& tensor) {
  std::string data;
  for (const float value : tensor.values) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if (tensor.dtype == "F32") {
      data.append(reinterpret_cast<const char*>(&bits), 4);
      continue;
    }
    const uint16_t half = tensor.dtype == "F16" ? FloatToHalf(value) : static_cast<uint16_t>(bits >> 16);
    data.append(reinterpret_cast<const char*>(&half), 2);
  }
  return data;
}

}  // namespace

uint64_t ElementCount(const std::vector<uint64_t>& shape) {
  uint64_t count = 1;
  for (const uint64_t extent : shape) count *= extent;
  return count;
}

std::string TensorFileBytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

std::string TensorFileBytes(const TestTensors& tensors, const TestMetadata& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t begin = data.size();
    data += Encode(tensor);
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  return TensorFileBytes(header.dump(), data);
}

TensorFile ReadTensorFile(const std::string& path) {
  TensorFile file;
  const std::string bytes = ReadBytes(path);
  if (bytes.size() < 8) return file;
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_LE(length, bytes.size() - 8);
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, length), nullptr, false);
  EXPECT_TRUE(header.is_object()) << path;
  const std::string data = bytes.substr(8 + length);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      file.metadata = value.get<TestMetadata>();
      continue;
    }
    TestTensor tensor{value["dtype"], value["shape"], {}};
    const uint64_t begin = value["data_offsets"][0], end = value["data_offsets"][1];
    EXPECT_EQ(tensor.dtype, "F32");
    EXPECT_EQ(end - begin, 4 * ElementCount(tensor.shape)) << path << " " << name;
    EXPECT_LE(end, data.size());
    tensor.values.resize((end - begin) / 4);
    std::memcpy(tensor.values.data(), data.data() + begin, end - begin);
    file.tensors[name] = tensor;
  }
  return file;
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> SplitBlocks(const std::string& bytes) {
  std::vector<std::string> blocks;
  for (size_t at = 0; at + sizeof(BlockHeader) <= bytes.size(); at += blocks.back().size()) {
    BlockHeader header;
    std::memcpy(&header, bytes.data() + at, sizeof header);
    blocks.push_back(bytes.substr(at, header.total_bytes));
  }
  return blocks;
}

}  // namespace polarkv::testing
