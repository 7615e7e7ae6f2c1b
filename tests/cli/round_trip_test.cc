// encode and decode: what comes back, for every codec and head dimension.
#include <cmath>
#include <string>
#include <tuple>

#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::Combine;
using ::testing::HasSubstr;
using ::testing::Values;

double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  if (actual.size() != expected.size()) return INFINITY;
  double error = 0, power = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(double{actual[i]} - expected[i], 2);
    power += std::pow(double{expected[i]}, 2);
  }
  return error / power;
}

// Largest mean squared error relative to the signal's power, for Gaussian input. turbo: Lloyd-Max theory (0.11748,
// 0.03454, 0.00950), for keys divided by one minus itself for the unbiased scale, and 10 % for the few samples.
// polar44: angle steps of at most 2 pi / 16 give (2 pi / 16)^2 / 12 = 0.0129; radius steps about as much at most.
double Allowed(const std::string& codec, bool key) {
  const auto turbo = [key](double theory) { return 1.1 * (key ? theory / (1 - theory) : theory); };
  if (codec == "turbo2") return turbo(0.11748) * (key ? 1 : 1.07);  // matched norm: 2 - 2 sqrt(1 - D) instead of D
  if (codec == "turbo3") return turbo(0.03454) * (key ? 1 : 1.07);
  if (codec == "turbo4") return turbo(0.00950) * (key ? 1 : 1.07);
  if (codec == "polar44") return 2 * 0.0129;
  return std::pow(2.0, -22);  // fp16: half a unit in the last place is 2^-11
}

class RoundTripTest : public CliFixture,
                      public ::testing::WithParamInterface<std::tuple<std::pair<std::string, std::string>, uint64_t>> {
 protected:
  std::string k_codec() const { return std::get<0>(GetParam()).first; }
  std::string v_codec() const { return std::get<0>(GetParam()).second; }
  KvShape shape() const { return {.head_dim = std::get<1>(GetParam())}; }
};

TEST_P(RoundTripTest, StaysWithinTheCodecsErrorAndDecodesToTheSameBytesEveryTime) {
  const TestTensors tensors = GaussianTensors(shape());
  const std::string in = WriteTensors("kv.safetensors", tensors, {{"rope", "half"}, {"rope_base", "10000"}});
  const std::string codec = "k=" + k_codec() + ",v=" + v_codec();
  // 150 tokens in blocks of 128: one full block, and a short one with a tile that is partly padding.
  const CliResult encoded =
      RunCli({"encode", "--codec", codec, "--in", in, "--out", Path("kv.pkv"), "--block-tokens", "128"});
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  EXPECT_THAT(encoded.out, HasSubstr("2 blocks"));
  for (const char* out : {"a.safetensors", "b.safetensors"}) {
    const CliResult decoded = RunCli({"decode", "--in", Path("kv.pkv"), "--out", Path(out)});
    ASSERT_EQ(decoded.exit_code, 0) << decoded.err;
  }
  EXPECT_EQ(ReadBytes(Path("a.safetensors")), ReadBytes(Path("b.safetensors")));

  const TensorFile decoded = ReadTensorFile(Path("a.safetensors"));
  ASSERT_EQ(decoded.tensors.size(), 2u);
  EXPECT_EQ(decoded.tensors.at("k").shape, shape().dims());
  EXPECT_EQ(decoded.tensors.at("v").shape, shape().dims());
  EXPECT_LT(RelativeError(decoded.tensors.at("k").values, tensors.at("k").values), Allowed(k_codec(), true));
  EXPECT_LT(RelativeError(decoded.tensors.at("v").values, tensors.at("v").values), Allowed(v_codec(), false));
}

TEST_P(RoundTripTest, EncodesToTheSameBytesEveryTime) {
  const std::string codec = "k=" + k_codec() + ",v=" + v_codec();
  const std::string first = ReadBytes(EncodeGaussian(shape(), codec));
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(ReadBytes(EncodeGaussian(shape(), codec)), first);
}

std::string RoundTripName(const ::testing::TestParamInfo<RoundTripTest::ParamType>& info) {
  const auto& [codec, head_dim] = info.param;
  return codec.first + "_" + codec.second + "_" + std::to_string(head_dim);
}

INSTANTIATE_TEST_SUITE_P(Codecs, RoundTripTest,
                         Combine(Values(std::pair("fp16", "fp16"), std::pair("turbo2", "turbo2"),
                                        std::pair("turbo3", "turbo3"), std::pair("turbo4", "turbo4"),
                                        std::pair("polar44", "polar44"), std::pair("polar44", "turbo4")),
                                 Values(64, 80, 96, 128, 192, 256)),
                         RoundTripName);

class EncodeTest : public CliFixture {};

TEST_F(EncodeTest, HalfPrecisionInputComesBackExactlyFromFp16) {
  const KvShape shape;
  for (const char* dtype : {"F16", "BF16"}) {
    const TestTensors tensors = GaussianTensors(shape, dtype);
    const std::string in = WriteTensors("kv.safetensors", tensors);
    ASSERT_EQ(RunCli({"encode", "--codec", "fp16", "--in", in, "--out", Path("kv.pkv")}).exit_code, 0);
    ASSERT_EQ(RunCli({"decode", "--in", Path("kv.pkv"), "--out", Path("out.safetensors")}).exit_code, 0);
    const TensorFile decoded = ReadTensorFile(Path("out.safetensors"));
    EXPECT_EQ(decoded.metadata.at("source_dtype"), dtype);
    // What the file held: one more trip through the dtype changes nothing.
    const std::string again = TensorFileBytes({{"k", {dtype, shape.dims(), decoded.tensors.at("k").values}},
                                               {"v", {dtype, shape.dims(), decoded.tensors.at("v").values}}},
                                              {{"rope", "none"}});
    EXPECT_EQ(again, ReadBytes(in)) << dtype;
  }
}

TEST_F(EncodeTest, MetadataComesBack) {
  const std::string pkv = EncodeGaussian(
      {.head_dim = 128}, "turbo4", 64,
      {{"rope", "interleaved"}, {"rope_base", "500000"}, {"rope_dims", "64"}, {"first_position", "640"}});
  ASSERT_EQ(RunCli({"decode", "--in", pkv, "--out", Path("out.safetensors")}).exit_code, 0);
  const TestMetadata metadata = ReadTensorFile(Path("out.safetensors")).metadata;
  EXPECT_EQ(metadata.at("rope"), "interleaved");
  EXPECT_EQ(std::stod(metadata.at("rope_base")), 500000);
  EXPECT_EQ(metadata.at("rope_dims"), "64");
  EXPECT_EQ(metadata.at("first_position"), "640");
  EXPECT_EQ(metadata.at("codec"), "turbo4");
}

TEST_F(EncodeTest, DecodedFileEncodesAgain) {
  const std::string pkv = EncodeGaussian({}, "fp16", 64, {{"rope", "half"}, {"rope_base", "10000.5"}});
  ASSERT_EQ(RunCli({"decode", "--in", pkv, "--out", Path("out.safetensors")}).exit_code, 0);
  const CliResult again =
      RunCli({"encode", "--codec", "turbo4", "--in", Path("out.safetensors"), "--out", Path("2.pkv")});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.err, "");
}

TEST_F(EncodeTest, OptionsWinOverMetadata) {
  const std::string in = WriteTensors("kv.safetensors", GaussianTensors({}), {{"rope", "nonsense"}});
  const CliResult result = RunCli({"encode", "--codec", "turbo4", "--in", in, "--out", Path("kv.pkv"), "--rope", "half",
                                   "--rope-base", "10000", "--first-position", "7"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string header = RunCli({"inspect", Path("kv.pkv")}).out;
  EXPECT_THAT(header, ::testing::ContainsRegex("rope +half"));
  EXPECT_THAT(header, ::testing::ContainsRegex("first_position +7"));
}

TEST_F(EncodeTest, MissingRopeIsNoneWithANote) {
  const std::string in = WriteTensors("kv.safetensors", GaussianTensors({}), {});
  const CliResult result = RunCli({"encode", "--codec", "turbo4", "--in", in, "--out", Path("kv.pkv")});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("note: no rope in the metadata"));
}

TEST_F(EncodeTest, FurtherTensorsAreLeftOutWithANote) {
  TestTensors tensors = GaussianTensors({});
  tensors["attention_mask"] = GaussianTensor({3}, 9);
  const std::string in = WriteTensors("kv.safetensors", tensors);
  const CliResult result = RunCli({"encode", "--codec", "turbo4", "--in", in, "--out", Path("kv.pkv")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("'attention_mask' is not encoded"));
}

TEST_F(EncodeTest, DataThatIsNotAlignedIsReadAllTheSame) {
  TestTensors tensors = GaussianTensors({});
  const std::string aligned = WriteTensors("kv.safetensors", tensors);
  // One byte before k, and a header whose length is odd.
  std::string bytes = ReadBytes(aligned);
  nlohmann::json header = nlohmann::json::parse(bytes.substr(8, bytes.find("}}") + 2 - 8), nullptr, false);
  for (const char* name : {"k", "v"}) {
    for (auto& offset : header[name]["data_offsets"]) offset = offset.get<uint64_t>() + 1;
  }
  header["a"] = {{"dtype", "U8"}, {"shape", {1}}, {"data_offsets", {0, 1}}};
  const std::string data = bytes.substr(bytes.find("}}") + 2);
  for (const char* padding : {"", " "}) {
    const std::string in = Write("odd.safetensors", TensorFileBytes(header.dump() + padding, "x" + data));
    const CliResult result = RunCli({"encode", "--codec", "turbo4", "--in", in, "--out", Path("odd.pkv")});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    ASSERT_EQ(RunCli({"encode", "--codec", "turbo4", "--in", aligned, "--out", Path("kv.pkv")}).exit_code, 0);
    EXPECT_EQ(ReadBytes(Path("odd.pkv")), ReadBytes(Path("kv.pkv")));
  }
}

}  // namespace
}  // namespace polarkv::testing
