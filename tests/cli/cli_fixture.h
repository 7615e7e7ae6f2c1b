// A folder of its own for each test, with the files that most tests of the program begin with.
#ifndef POLARKV_TESTS_CLI_CLI_FIXTURE_H_
#define POLARKV_TESTS_CLI_CLI_FIXTURE_H_

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/cli_process.h"
#include "tests/cli/tensor_file.h"
#include "tests/codec/random_kv.h"
#include "tests/service/temporary_directory.h"

namespace polarkv::testing {

struct KvShape {
  uint64_t layers = 2, kv_heads = 2, tokens = 150, head_dim = 64;
  std::vector<uint64_t> dims() const { return {layers, kv_heads, tokens, head_dim}; }
};

inline TestTensor GaussianTensor(const std::vector<uint64_t>& shape, uint32_t seed, const std::string& dtype = "F32") {
  return {dtype, shape, Gaussian(ElementCount(shape), seed)};
}

inline TestTensors GaussianTensors(const KvShape& shape, const std::string& dtype = "F32") {
  return {{"k", GaussianTensor(shape.dims(), 1, dtype)}, {"v", GaussianTensor(shape.dims(), 2, dtype)}};
}

class CliFixture : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }

  // Writes a file into the test's folder and returns its path.
  std::string Write(const std::string& name, const std::string& bytes) const {
    WriteBytes(Path(name), bytes);
    return Path(name);
  }
  std::string WriteTensors(const std::string& name, const TestTensors& tensors,
                           const TestMetadata& metadata = {{"rope", "none"}}) const {
    return Write(name, TensorFileBytes(tensors, metadata));
  }

  // Encodes Gaussian tensors; returns the path of the blocks.
  std::string EncodeGaussian(const KvShape& shape, const std::string& codec = "turbo4", uint32_t block_tokens = 64,
                             const TestMetadata& metadata = {{"rope", "none"}}) const {
    const std::string in = WriteTensors("kv.safetensors", GaussianTensors(shape), metadata);
    const CliResult result = RunCli({"encode", "--codec", codec, "--in", in, "--out", Path("kv.pkv"), "--block-tokens",
                                     std::to_string(block_tokens)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Path("kv.pkv");
  }

  // Runs the program, expects this exit code and this text on standard error.
  static CliResult ExpectRefusal(std::vector<std::string> arguments, int exit_code, const std::string& message) {
    CliResult result = RunCli(std::move(arguments));
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, ::testing::HasSubstr(message));
    return result;
  }

  // Names of the files in the test's folder.
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

 private:
  TemporaryDirectory folder_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CLI_CLI_FIXTURE_H_
