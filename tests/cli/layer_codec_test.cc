// encode --layer-codec: layers with codecs of their own, and wishes that no file can fulfil.
#include <cmath>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class LayerCodecTest : public CliFixture {
 protected:
  const KvShape shape_{.layers = 6};

  std::vector<std::string> EncodeWith(const std::vector<std::string>& layer_codecs) const {
    const std::string in = WriteTensors("kv.safetensors", GaussianTensors(shape_),
                                        {{"rope", "half"}, {"rope_base", "10000"}, {"first_position", "64"}});
    std::vector<std::string> arguments = {"encode", "--codec", "turbo4", "--in", in, "--out", Path("kv.pkv")};
    for (const std::string& text : layer_codecs) arguments.insert(arguments.end(), {"--layer-codec", text});
    return arguments;
  }
  nlohmann::json Inspect() const {
    return nlohmann::json::parse(RunCli({"inspect", Path("kv.pkv"), "--json"}).out, nullptr, false);
  }
};

TEST_F(LayerCodecTest, InspectShowsTheCodecsAskedFor) {
  std::vector<std::string> arguments = EncodeWith({"0,5=fp16", "2-3=k=turbo5,v=turbo2"});
  const CliResult text = RunCli(arguments);
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("turbo4, 4 layers of 6 otherwise"));
  arguments.push_back("--json");
  const auto encoded = nlohmann::json::parse(RunCli(arguments).out, nullptr, false);
  const nlohmann::json expected = {{{"layer", 0}, {"codec", "fp16"}},
                                   {{"layer", 2}, {"codec", "k=turbo5,v=turbo2"}},
                                   {{"layer", 3}, {"codec", "k=turbo5,v=turbo2"}},
                                   {{"layer", 5}, {"codec", "fp16"}}};
  EXPECT_EQ(encoded["layer_codecs"], expected);

  const nlohmann::json json = Inspect();
  EXPECT_EQ(json["ok"], true);
  const nlohmann::json& parts = json["blocks"][0]["layer_parts"];
  ASSERT_EQ(parts.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(parts[i]["layer"], expected[i]["layer"]);
    EXPECT_EQ(parts[i]["codec"], expected[i]["codec"]);
  }
  EXPECT_THAT(RunCli({"inspect", Path("kv.pkv")}).out, ContainsRegex("2 +k=turbo5,v=turbo2"));
}

TEST_F(LayerCodecTest, DecodeGivesEachLayerWhatItsCodecKeeps) {
  ASSERT_EQ(RunCli(EncodeWith({"1=fp16", "4=trellis1"})).exit_code, 0);
  const CliResult decoded = RunCli({"decode", "--in", Path("kv.pkv"), "--out", Path("back.safetensors")});
  ASSERT_EQ(decoded.exit_code, 0) << decoded.err;
  const TensorFile file = ReadTensorFile(Path("back.safetensors"));
  for (const char* name : {"k", "v"}) {
    const std::vector<float>& back = file.tensors.at(name).values;
    const std::vector<float> exact = GaussianTensors(shape_).at(name).values;
    const size_t layer_size = exact.size() / shape_.layers;
    for (uint64_t layer = 0; layer < shape_.layers; ++layer) {
      double error = 0, power = 0;
      for (size_t i = layer * layer_size; i < (layer + 1) * layer_size; ++i) {
        error += std::pow(double{back[i]} - exact[i], 2);
        power += std::pow(double{exact[i]}, 2);
      }
      const double low = layer == 1 ? 0 : layer == 4 ? .2 : .008, high = layer == 1 ? 1e-6 : layer == 4 ? .5 : .012;
      EXPECT_GE(error / power, low) << name << ", layer " << layer;
      EXPECT_LE(error / power, high) << name << ", layer " << layer;
    }
  }
}

TEST_F(LayerCodecTest, AllLayersAsTheBlocksCodecAreNoOverride) {
  ASSERT_EQ(RunCli(EncodeWith({})).exit_code, 0);
  const std::string plain = ReadBytes(Path("kv.pkv"));
  const CliResult same = RunCli(EncodeWith({"0-5=turbo4"}));
  ASSERT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.out, Not(HasSubstr("otherwise")));
  EXPECT_EQ(ReadBytes(Path("kv.pkv")), plain);
}

TEST_F(LayerCodecTest, LayersThatAreNotThereAreRefused) {
  const auto refuse = [&](const std::vector<std::string>& layer_codecs, const std::string& message) {
    ExpectRefusal(EncodeWith(layer_codecs), 2, message);
    EXPECT_FALSE(std::filesystem::exists(Path("kv.pkv")));
  };
  refuse({"6=fp16"}, "--layer-codec 6=fp16: there is no layer 6; the file has 6 layers, 0 to 5");
  refuse({"0-4294967295=fp16"}, "there is no layer 4294967295");
  refuse({"0-3=fp16", "3=turbo5"}, "--layer-codec 3=turbo5: layer 3 is named twice");
  refuse({"1,1=fp16"}, "layer 1 is named twice");
}

TEST_F(LayerCodecTest, TextsThatAreNoLayersOrNoCodecAreRefused) {
  for (const char* layers : {"", ",", "0,", "3-1", "-1", "1-", "a", "0x1", "4294967296", " 1"}) {
    ExpectRefusal(EncodeWith({std::string(layers) + "=fp16"}), 2, "is neither a layer nor a range of layers");
  }
  ExpectRefusal(EncodeWith({"fp16"}), 2, "expected LAYERS=CODEC");
  ExpectRefusal(EncodeWith({"0="}), 2, "--layer-codec 0=: unknown codec");
  ExpectRefusal(EncodeWith({"0=turbo6"}), 2, "unknown codec \"turbo6\"; there are");
  ExpectRefusal(EncodeWith({"0=qjl1"}), 2, "--layer-codec 0=qjl1");
}

}  // namespace
}  // namespace polarkv::testing
