// The program itself, on good and bad input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/cli/cli_process.h"
#include "tests/cli/tensor_file.h"
#include "tests/quality/random_source.h"

namespace polarkv::quality {
namespace {

using testing::CliProcess;
using testing::CliResult;
using ::testing::HasSubstr;
using testing::TensorFileBytes;
using testing::TestTensor;
using testing::TestTensors;

class QualityProgram : public ::testing::Test {
 protected:
  QualityProgram() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = ::testing::TempDir() + "polarkv-quality-" + test->name() + "-" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
  }
  ~QualityProgram() override { std::filesystem::remove_all(folder_); }

  static CliResult Run(std::vector<std::string> arguments) {
    return CliProcess(std::move(arguments), "polarkv-quality").Wait();
  }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string WriteDump(const TestTensors& tensors) const {
    testing::WriteBytes(Path("dump.safetensors"),
                        TensorFileBytes(tensors, {{"rope", "half"}, {"rope_base", "10000"}, {"first_position", "5"}}));
    return Path("dump.safetensors");
  }
  static TestTensor Tensor(std::vector<uint64_t> shape, uint64_t seed) {
    const uint64_t count = testing::ElementCount(shape);
    return {"F16", std::move(shape), RandomSource(seed).Normals(count)};
  }
  CliResult RunDump(const std::string& path) const {
    return Run({"--groups", "none", "--schemes", "turbo4,NVFP4", "--dump", path, "--out", Path("out")});
  }

  std::string folder_;
};

TEST_F(QualityProgram, MeasuresADumpOfAModel) {
  const std::string path = WriteDump(
      {{"k", Tensor({2, 2, 100, 64}, 1)}, {"v", Tensor({2, 2, 100, 64}, 2)}, {"q", Tensor({2, 4, 3, 64}, 3)}});
  const CliResult result = RunDump(path);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(testing::ReadBytes(Path("out/report.json")), nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["cases"].size(), 2u);  // one for each layer
  EXPECT_EQ(json["results"].size(), 4u);
  EXPECT_THAT(testing::ReadBytes(Path("out/report.md")), HasSubstr("Tensors of a model"));
}

TEST_F(QualityProgram, DrawsQueriesForADumpWithoutThem) {
  const CliResult result = RunDump(WriteDump({{"k", Tensor({1, 1, 70, 128}, 1)}, {"v", Tensor({1, 1, 70, 128}, 2)}}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(QualityProgram, SaysWhatIsWrongWithADump) {
  EXPECT_THAT(RunDump(Path("absent.safetensors")).err, HasSubstr("absent.safetensors"));
  testing::WriteBytes(Path("cut"), "12345");
  const CliResult cut = RunDump(Path("cut"));
  EXPECT_EQ(cut.exit_code, 1);
  EXPECT_THAT(cut.err, HasSubstr(Path("cut")));
  EXPECT_THAT(RunDump(WriteDump({{"k", Tensor({1, 1, 70, 64}, 1)}})).err, HasSubstr("no tensor 'v'"));
  EXPECT_THAT(RunDump(WriteDump({{"k", Tensor({1, 1, 70, 72}, 1)}, {"v", Tensor({1, 1, 70, 72}, 2)}})).err,
              HasSubstr("head_dim"));
  TestTensor bad = Tensor({1, 1, 70, 64}, 1);
  bad.values[17] = NAN;
  const CliResult nan = RunDump(WriteDump({{"k", bad}, {"v", Tensor({1, 1, 70, 64}, 2)}}));
  EXPECT_EQ(nan.exit_code, 1);
  EXPECT_THAT(nan.err, HasSubstr("NaN"));
  const CliResult heads = RunDump(
      WriteDump({{"k", Tensor({1, 2, 70, 64}, 1)}, {"v", Tensor({1, 2, 70, 64}, 2)}, {"q", Tensor({1, 3, 4, 64}, 3)}}));
  EXPECT_THAT(heads.err, HasSubstr("multiple"));
}

TEST_F(QualityProgram, RefusesWrongFlags) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{{"--schemes", "nonsense"},
                                                                                         {"--groups", "nonsense"},
                                                                                         {"--block-tokens", "100"},
                                                                                         {"--threads", "0"},
                                                                                         {"--fast"}}) {
    const CliResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments[0];
    EXPECT_THAT(result.err, HasSubstr(arguments.size() > 1 ? arguments[0] : "--fast"));
  }
  EXPECT_THAT(Run({"--schemes", "nonsense"}).err, HasSubstr("turbo4"));
  EXPECT_THAT(Run({"--schemes", "turbo4,nonsense"}).err, HasSubstr("there is no 'nonsense'"));
  EXPECT_THAT(Run({"--groups", "bias,nonsense"}).err, HasSubstr("head_dim"));
  EXPECT_EQ(Run({"--help"}).exit_code, 0);
}

TEST_F(QualityProgram, CheckFailsWhereNothingWasMeasured) {
  const CliResult none = Run({"--groups", "none", "--check", "--out", Path("out")});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.out, HasSubstr("not measured: default, slope of inner products"));
  EXPECT_THAT(none.out, HasSubstr("not measured: trellis3, "));
  EXPECT_THAT(none.err, HasSubstr("--partial"));
  EXPECT_EQ(Run({"--groups", "none", "--check", "--partial", "--out", Path("out")}).exit_code, 0);
  EXPECT_EQ(Run({"--groups", "none", "--out", Path("out")}).exit_code, 0);
  EXPECT_EQ(Run({"--groups", "none", "--partial", "--out", Path("out")}).exit_code, 2);
}

TEST_F(QualityProgram, SaysThatItCannotWriteItsReport) {
  testing::WriteBytes(Path("file"), "x");
  const CliResult result = Run({"--groups", "none", "--out", Path("file/report")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr(Path("file/report")));
}

}  // namespace
}  // namespace polarkv::quality
