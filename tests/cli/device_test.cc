// --device of encode, decode and attend, on whatever machine this is.
#include <cmath>
#include <string>
#include <vector>

#include "kernels/device_kernels.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

class DeviceTest : public CliFixture {
 protected:
  // The three commands on one model's file, with outputs named after `device`.
  struct Commands {
    std::vector<std::string> encode, decode, attend;
  };
  Commands On(const std::string& device, const std::string& codec = "turbo4") const {
    const KvShape shape{.tokens = 200, .head_dim = 128};
    // Where no codec and no kernel may differ: keys without a mean.
    const std::string kv = WriteTensors("kv.safetensors", GaussianTensors(shape));
    const std::string q = WriteTensors("q.safetensors", {{"q", GaussianTensor({2, 4, 2, 128}, 3)}}, {});
    const std::string pkv = Path(device + ".pkv");
    return {{"encode", "--codec", codec, "--in", kv, "--out", pkv, "--block-tokens", "64", "--device", device},
            {"decode", "--in", pkv, "--out", Path(device + ".kv"), "--device", device},
            {"attend", "--block", pkv, "--query", q, "--out", Path(device + ".o"), "--device", device}};
  }
  static nlohmann::json Json(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const CliResult result = RunCli(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }
};

TEST_F(DeviceTest, HelpSaysWhatThereIs) {
  for (const std::string command : {"encode", "decode", "attend"}) {
    const std::string help = RunCli({command, "--help"}).out;
    EXPECT_THAT(help, HasSubstr("--device WHERE=auto"));
    EXPECT_THAT(help, HasSubstr("auto: the GPU where there is one that can, else the CPU; cpu; cuda"));
  }
}

TEST_F(DeviceTest, OtherWordsAreUsageErrors) {
  const Commands commands = On("gpu");
  for (const auto& command : {commands.encode, commands.decode, commands.attend}) {
    ExpectRefusal(command, 2, "--device is 'gpu'; it must be auto, cpu or cuda");
  }
}

TEST_F(DeviceTest, TheCpuSaysThatItWasAskedFor) {
  const Commands commands = On("cpu");
  for (const auto& command : {commands.encode, commands.decode, commands.attend}) {
    const nlohmann::json json = Json(command);
    EXPECT_EQ(json["device"], "cpu");
    EXPECT_EQ(json["device_why"], "asked for");
    EXPECT_THAT(RunCli(command).out, HasSubstr("\n  device: cpu (asked for)\n"));
  }
}

TEST_F(DeviceTest, AutoGivesTheBytesOfTheCpu) {
  const Commands cpu = On("cpu"), automatic = On("auto");
  for (const auto& command : {cpu.encode, cpu.decode, cpu.attend, automatic.encode, automatic.decode, automatic.attend}) {
    const CliResult result = RunCli(command);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_EQ(ReadBytes(Path("auto.pkv")), ReadBytes(Path("cpu.pkv")));
  EXPECT_EQ(ReadBytes(Path("auto.kv")), ReadBytes(Path("cpu.kv")));
  if (!WhyNoCuda().empty()) {
    EXPECT_EQ(ReadBytes(Path("auto.o")), ReadBytes(Path("cpu.o")));
    return;
  }
  const TensorFile a = ReadTensorFile(Path("auto.o")), b = ReadTensorFile(Path("cpu.o"));
  for (const char* name : {"o", "lse"}) {
    for (size_t i = 0; i < b.tensors.at(name).values.size(); ++i) {
      ASSERT_NEAR(a.tensors.at(name).values[i], b.tensors.at(name).values[i], .02) << name << " " << i;
    }
  }
}

TEST_F(DeviceTest, WithoutADeviceAutoSaysWhyItIsTheCpu) {
  if (WhyNoCuda().empty()) GTEST_SKIP() << "there is a CUDA device here";
  const Commands commands = On("auto");
  for (const auto& command : {commands.encode, commands.decode, commands.attend}) {
    const nlohmann::json json = Json(command);
    EXPECT_EQ(json["device"], "cpu");
    EXPECT_EQ(json["device_why"], WhyNoCuda());
    EXPECT_THAT(RunCli(command).out, HasSubstr("\n  device: cpu (" + WhyNoCuda() + ")\n"));
  }
}

TEST_F(DeviceTest, WithoutADeviceCudaIsRefusedAndWritesNothing) {
  if (WhyNoCuda().empty()) GTEST_SKIP() << "there is a CUDA device here";
  const Commands commands = On("cuda");
  for (const auto& command : {commands.encode, commands.decode, commands.attend}) {
    const CliResult result = RunCli(command);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.err, "polarkv " + command[0] + ": --device cuda: " + WhyNoCuda() +
                              ". With --device auto the CPU does it\n");
  }
  EXPECT_THAT(Files(), ::testing::UnorderedElementsAre("kv.safetensors", "q.safetensors"));
}

TEST_F(DeviceTest, OnADeviceTheBlocksAreThoseOfTheCpu) {
  if (!WhyNoCuda().empty()) GTEST_SKIP() << "no CUDA device here: " << WhyNoCuda();
  const Commands cpu = On("cpu"), cuda = On("cuda");
  ASSERT_EQ(RunCli(cpu.encode).exit_code, 0);
  ASSERT_EQ(RunCli(cpu.decode).exit_code, 0);
  EXPECT_EQ(Json(cuda.encode)["device"], "cuda");
  EXPECT_EQ(Json(cuda.decode)["device"], "cuda");
  EXPECT_EQ(Json(cuda.attend)["device"], "cuda");
  EXPECT_EQ(ReadBytes(Path("cuda.pkv")), ReadBytes(Path("cpu.pkv")));
  EXPECT_EQ(ReadBytes(Path("cuda.kv")), ReadBytes(Path("cpu.kv")));
  ExpectRefusal(On("cuda", "fp16").encode, 1, "no CUDA kernel encodes fp16");
}

}  // namespace
}  // namespace polarkv::testing
