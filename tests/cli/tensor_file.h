// Safetensors files for tests, written and read without the program's own reader and writer.
#ifndef POLARKV_TESTS_CLI_TENSOR_FILE_H_
#define POLARKV_TESTS_CLI_TENSOR_FILE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace polarkv::testing {

struct TestTensor {
  std::string dtype = "F32";  // F16, BF16 (rounded towards zero) or F32
  std::vector<uint64_t> shape;
  std::vector<float> values;
};

using TestTensors = std::map<std::string, TestTensor>;
using TestMetadata = std::map<std::string, std::string>;

// Number of elements of a shape.
uint64_t ElementCount(const std::vector<uint64_t>& shape);

std::string TensorFileBytes(const TestTensors& tensors, const TestMetadata& metadata);
// A file of the given header text, with its true length in front, and data.
std::string TensorFileBytes(const std::string& header, const std::string& data);

struct TensorFile {
  TestTensors tensors;  // F32 only
  TestMetadata metadata;
};
// Empty when the file is not there; fails the test when it is not a safetensors file.
TensorFile ReadTensorFile(const std::string& path);

void WriteBytes(const std::string& path, const std::string& bytes);
std::string ReadBytes(const std::string& path);  // "" when it is not there
// The blocks of a .pkv file, one after the other, as their headers say.
std::vector<std::string> SplitBlocks(const std::string& bytes);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CLI_TENSOR_FILE_H_
