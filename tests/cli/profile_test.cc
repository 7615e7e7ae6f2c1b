// profile, and --profile of the other commands: learned from dumps, used to encode, needed to read, kept by a server.
#include <cmath>
#include <string>

#include "codec/key_mean_profile.h"
#include "nlohmann/json.hpp"
#include "tests/cli/served_fixture.h"
#include "tests/codec/biased_keys.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint32_t kHeadDim = 64, kTokens = 640;
const TestMetadata kRope = {{"rope", "half"}, {"rope_base", "10000"}};

// One layer of two heads: the keys of the first have a bias of norm `norm`.
TestTensors Tensors(double norm, uint32_t noise) {
  BlockSpec spec = OneHead({}, kHeadDim, kTokens);
  spec.rope = {RopePairing::kHalf, 10000.0f, kHeadDim};
  std::vector<float> k = BiasedKeys(spec, {norm, true}, 5);
  const std::vector<float> unbiased = BiasedKeys(spec, {0, true}, 5);
  const std::vector<float> fresh = Gaussian(2 * k.size(), noise);
  k.resize(2 * k.size(), 0);
  for (size_t i = 0; i < k.size(); ++i) k[i] += fresh[i] - (i < unbiased.size() ? unbiased[i] : 0);
  const std::vector<uint64_t> shape = {1, 2, kTokens, kHeadDim};
  return {{"k", {"F32", shape, k}}, {"v", GaussianTensor(shape, noise + 1)}};
}

double KeyError(const std::string& decoded, const TestTensors& tensors) {
  const std::vector<float>& expected = tensors.at("k").values;
  const TensorFile file = ReadTensorFile(decoded);
  if (!file.tensors.contains("k") || file.tensors.at("k").values.size() != expected.size()) return INFINITY;
  double error = 0;
  for (size_t i = 0; i < expected.size(); ++i) error += std::pow(double{file.tensors.at("k").values[i]} - expected[i], 2);
  return error / static_cast<double>(expected.size());
}

class ProfileCommand : public ServedFixture {
 protected:
  void SetUp() override {
    ServedFixture::SetUp();
    WriteTensors("learn.safetensors", Tensors(60, 11), kRope);
    WriteTensors("kv.safetensors", tensors_, kRope);
  }
  CliResult Learn() { return RunCli({"profile", "--in", Path("learn.safetensors"), "--out", Path("model.pkm")}); }
  CliResult Encode(std::vector<std::string> more, const std::string& out) {
    std::vector<std::string> arguments = {"encode", "--codec", "turbo4", "--block-tokens", "64",
                                          "--in",   Path("kv.safetensors"), "--out", Path(out)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCli(arguments);
  }

  const TestTensors tensors_ = Tensors(60, 21);
};

TEST_F(ProfileCommand, LearnsTheBiasAndShowsWhatItTakesOff) {
  const CliResult learned = Learn();
  ASSERT_EQ(learned.exit_code, 0) << learned.err;
  EXPECT_THAT(learned.out, HasSubstr("1 of 2"));
  const std::string bytes = ReadBytes(Path("model.pkm"));
  const KeyMeanProfilePtr profile =
      KeyMeanProfile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}).value();
  EXPECT_THAT(learned.out, HasSubstr(ProfileDigestText(profile->digest())));
  EXPECT_TRUE(profile->HasMean(0, 0));
  EXPECT_FALSE(profile->HasMean(0, 1));
  const CliResult json = RunCli({"profile", "--in", Path("learn.safetensors"), "--out", Path("again.pkm"), "--json"});
  const auto report = nlohmann::json::parse(json.out);
  EXPECT_EQ(report["digest"], ProfileDigestText(profile->digest()));
  EXPECT_NEAR(report["layers"][0]["energy_removed"].get<double>(), 3600.0 / (3600 + 2 * kHeadDim), .01);
  EXPECT_EQ(ReadBytes(Path("again.pkm")), bytes);
}

TEST_F(ProfileCommand, BlocksWithItAreSmallerAndFarMoreExact) {
  ASSERT_EQ(Learn().exit_code, 0);
  ASSERT_EQ(Encode({}, "own.pkv").exit_code, 0);
  const CliResult encoded = Encode({"--profile", Path("model.pkm")}, "kv.pkv");
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  EXPECT_LT(ReadBytes(Path("kv.pkv")).size(), ReadBytes(Path("own.pkv")).size());
  const CliResult decoded = RunCli({"decode", "--in", Path("kv.pkv"), "--profile", Path("model.pkm"), "--out", Path("o")});
  ASSERT_EQ(decoded.exit_code, 0) << decoded.err;
  EXPECT_LT(KeyError(Path("o"), tensors_), .015);  // of N(0,1) numbers
  const CliResult inspected = RunCli({"inspect", Path("kv.pkv")});
  EXPECT_EQ(inspected.exit_code, 0);
  EXPECT_THAT(inspected.out, HasSubstr("  profile  "));
  const auto json = nlohmann::json::parse(RunCli({"inspect", Path("kv.pkv"), "--json"}).out);
  EXPECT_EQ(json["blocks"][0]["layer_parts"][0]["key_mean_in_profile"], true);
  WriteTensors("q.safetensors", {{"q", GaussianTensor({1, 2, 3, kHeadDim}, 31)}}, {});
  EXPECT_EQ(RunCli({"attend", "--block", Path("kv.pkv"), "--profile", Path("model.pkm"), "--query", Path("q.safetensors"),
                    "--planes", "3", "--out", Path("a")}).exit_code, 0);
}

TEST_F(ProfileCommand, BlocksWithItAreNotReadWithoutIt) {
  ASSERT_EQ(Learn().exit_code, 0);
  ASSERT_EQ(Encode({"--profile", Path("model.pkm")}, "kv.pkv").exit_code, 0);
  WriteTensors("q.safetensors", {{"q", GaussianTensor({1, 2, 3, kHeadDim}, 31)}}, {});
  WriteTensors("other.safetensors", Tensors(50, 91), kRope);
  ASSERT_EQ(RunCli({"profile", "--in", Path("other.safetensors"), "--out", Path("other.pkm")}).exit_code, 0);
  ExpectRefusal({"decode", "--in", Path("kv.pkv"), "--out", Path("o")}, 1, "give its file with --profile");
  ExpectRefusal({"attend", "--block", Path("kv.pkv"), "--query", Path("q.safetensors"), "--out", Path("o")}, 1,
                "give its file with --profile");
  ExpectRefusal({"decode", "--in", Path("kv.pkv"), "--profile", Path("other.pkm"), "--out", Path("o")}, 1,
                "the one given is");
  Write("broken.pkm", ReadBytes(Path("model.pkm")).substr(0, 100));
  ExpectRefusal({"decode", "--in", Path("kv.pkv"), "--profile", Path("broken.pkm"), "--out", Path("o")}, 1,
                "damaged profile: cut off after the header");
  EXPECT_THAT(Files(), Not(::testing::Contains("o")));
}

TEST_F(ProfileCommand, RefusesFilesOfDifferentModels) {
  WriteTensors("other.safetensors", Tensors(60, 3), {{"rope", "half"}, {"rope_base", "500000"}});
  ExpectRefusal({"profile", "--in", Path("learn.safetensors"), "--in", Path("other.safetensors"), "--out", Path("o")}, 1,
                "differ from those of the first file");
  ASSERT_EQ(Learn().exit_code, 0);
  ExpectRefusal({"encode", "--codec", "turbo4", "--in", Path("other.safetensors"), "--profile", Path("model.pkm"), "--out",
                 Path("o")}, 1, "is of another model");
}

TEST_F(ProfileCommand, AServerKeepsItWithTheBlocks) {
  ASSERT_EQ(Learn().exit_code, 0);
  ASSERT_EQ(Encode({"--profile", Path("model.pkm")}, "kv.pkv").exit_code, 0);
  const std::string tokens = WriteTokens("tokens.json", kTokens);
  const CliResult without = Put(Path("kv.pkv"), tokens);
  EXPECT_EQ(without.exit_code, 1);
  EXPECT_THAT(without.err, HasSubstr("open it with the profile"));
  ASSERT_EQ(Put(Path("kv.pkv"), tokens, {"--profile", Path("model.pkm")}).exit_code, 0);
  ASSERT_EQ(Put(Path("kv.pkv"), tokens).exit_code, 0);  // the server has it by now
  const CliResult got =
      Client("get", Demo({"--tokens", tokens, "--out", Path("got.pkv"), "--profile-out", Path("got.pkm")}));
  ASSERT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(ReadBytes(Path("got.pkm")), ReadBytes(Path("model.pkm")));
  ASSERT_EQ(RunCli({"decode", "--in", Path("got.pkv"), "--profile", Path("got.pkm"), "--out", Path("o")}).exit_code, 0);
  EXPECT_LT(KeyError(Path("o"), tensors_), .015);
}

}  // namespace
}  // namespace polarkv::testing
