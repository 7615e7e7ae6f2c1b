// inspect: what it shows, and that one defect does not hide the next block.
#include <string>

#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// Behind the beginning of a sequence, where tokens are stored raw: blocks of the same size, without an extension.
const TestMetadata kLater = {{"rope", "none"}, {"first_position", "64"}};

class InspectTest : public CliFixture {
 protected:
  static nlohmann::json Inspect(const std::string& path, int exit_code) {
    const CliResult result = RunCli({"inspect", path, "--json"});
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    nlohmann::json json = nlohmann::json::parse(result.out, nullptr, false);
    EXPECT_TRUE(json.is_object()) << result.out;
    return json;
  }
};

TEST_F(InspectTest, ShowsHeaderBlocksAndBits) {
  const std::string pkv = EncodeGaussian({}, "k=turbo4,v=turbo3", 64, {{"rope", "half"}, {"rope_base", "10000"}});
  const CliResult result = RunCli({"inspect", pkv});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("3 blocks"));
  EXPECT_THAT(result.out, ContainsRegex("k_codec +turbo4"));
  EXPECT_THAT(result.out, ContainsRegex("v_codec +turbo3"));
  EXPECT_THAT(result.out, ContainsRegex("rope +half"));
  EXPECT_THAT(result.out, ContainsRegex("rotation +signed_block_hadamard"));
  EXPECT_THAT(result.out, HasSubstr("bits per coordinate as stored"));
  EXPECT_THAT(result.out, Not(HasSubstr("key_refine1")));
  EXPECT_THAT(RunCli({"inspect", pkv, "--directory"}).out, HasSubstr("key_refine1"));
}

TEST_F(InspectTest, JsonHasEveryBlockAndItsDirectory) {
  const nlohmann::json json = Inspect(EncodeGaussian({}, "turbo3", 64, kLater), 0);
  EXPECT_EQ(json["ok"], true);
  ASSERT_EQ(json["blocks"].size(), 3u);
  const nlohmann::json& last = json["blocks"][2];
  EXPECT_EQ(last["header"]["tokens"], 150 - 128);
  EXPECT_EQ(last["header"]["first_position"], 192);
  // Base plane and one refinement plane each of K and V, in two layers.
  ASSERT_EQ(last["directory"].size(), 6u);
  EXPECT_EQ(last["directory"][0]["plane"], "base");
  EXPECT_EQ(last["directory"][5]["plane"], "value_refine1");
  EXPECT_EQ(last["directory"][5]["layer"], 1);
  const uint64_t end = last["directory"][5]["offset"].get<uint64_t>() + last["directory"][5]["length"].get<uint64_t>();
  EXPECT_EQ(end, last["bytes"]);
  EXPECT_EQ(last["offset"].get<uint64_t>() + last["bytes"].get<uint64_t>(), json["bytes"]);
}

TEST_F(InspectTest, ShowsWhatIsStoredRaw) {
  // At the beginning of a sequence four tokens are: two layers, two heads, K and V.
  const std::string pkv = EncodeGaussian({});
  const nlohmann::json json = Inspect(pkv, 0);
  const nlohmann::json& first = json["blocks"][0];
  EXPECT_GE(first["escapes"], 4 * 2 * 2 * 2);
  EXPECT_EQ(first["layers_with_own_codecs"], 0);
  ASSERT_EQ(first["layer_parts"].size(), 2u);
  EXPECT_EQ(first["layer_parts"][1]["layer"], 1);
  EXPECT_EQ(first["layer_parts"][1]["codec"], "turbo4");
  EXPECT_EQ(first["header"]["features"], 1);
  EXPECT_THAT(RunCli({"inspect", pkv}).out, HasSubstr("layers of the first block with parts of their own"));
}

TEST_F(InspectTest, DefectInTheMiddleDoesNotHideTheRest) {
  std::string bytes = ReadBytes(EncodeGaussian({.tokens = 192}, "turbo4", 64, kLater));
  const size_t block = bytes.size() / 3;
  bytes[2 * block - 1] ^= 1;
  const std::string bad = Write("bad.pkv", bytes);
  const nlohmann::json json = Inspect(bad, 1);
  EXPECT_EQ(json["ok"], false);
  EXPECT_EQ(json["defects"], 1);
  EXPECT_EQ(json["blocks"][0]["ok"], true);
  EXPECT_EQ(json["blocks"][1]["ok"], false);
  EXPECT_THAT(json["blocks"][1]["defect"].get<std::string>(), HasSubstr("checksum"));
  EXPECT_EQ(json["blocks"][1]["header"]["first_position"], 128);
  EXPECT_EQ(json["blocks"][2]["ok"], true);
  const CliResult text = RunCli({"inspect", bad});
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_THAT(text.err, HasSubstr("1 defect in 3 blocks"));
}

TEST_F(InspectTest, UnsoundHeaderEndsTheWalk) {
  std::string bytes = ReadBytes(EncodeGaussian({.tokens = 192}, "turbo4", 64, kLater));
  const size_t block = bytes.size() / 3;
  bytes[block + 20] ^= 1;
  const nlohmann::json json = Inspect(Write("bad.pkv", bytes), 1);
  ASSERT_EQ(json["blocks"].size(), 2u);
  EXPECT_EQ(json["blocks"][1]["offset"], block);
  EXPECT_EQ(json["blocks"][1]["bytes"], 2 * block);
  EXPECT_FALSE(json["blocks"][1].contains("header"));
}

TEST_F(InspectTest, CutShortBlockIsNamedWithItsLength) {
  const std::string bytes = ReadBytes(EncodeGaussian({.tokens = 128}, "turbo4", 64, kLater));
  const nlohmann::json json = Inspect(Write("bad.pkv", bytes.substr(0, bytes.size() - 64)), 1);
  EXPECT_EQ(json["blocks"][0]["ok"], true);
  EXPECT_THAT(json["blocks"][1]["defect"].get<std::string>(),
              HasSubstr("takes " + std::to_string(bytes.size() / 2) + " bytes, but only"));
}

}  // namespace
}  // namespace polarkv::testing
