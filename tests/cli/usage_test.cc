// The command line itself: help, version, exit codes, codecs.
#include <string>

#include "codec/codec_id.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kCommands[] = {"codecs", "encode", "decode", "attend", "inspect", "profile", "put",
                                     "get",    "match",  "exists", "delete", "stats",   "namespaces"};

class UsageTest : public CliFixture {};

TEST_F(UsageTest, EveryCommandTeachesWithAnExample) {
  const CliResult overview = RunCli({"--help"});
  EXPECT_EQ(overview.exit_code, 0);
  EXPECT_THAT(overview.out, HasSubstr("Exit codes:"));
  for (const std::string command : kCommands) {
    const CliResult help = RunCli({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_EQ(help.err, "") << command;
    EXPECT_THAT(overview.out, HasSubstr("  " + command + " "));
    EXPECT_THAT(help.out, HasSubstr("Example"));
    EXPECT_THAT(help.out, HasSubstr("\n  polarkv " + command + " ")) << command;
  }
}

TEST_F(UsageTest, LinesFitAWideTerminal) {
  for (const std::string command : kCommands) {
    const std::string help = RunCli({command, "--help"}).out;
    for (size_t begin = 0; begin < help.size();) {
      const size_t end = std::min(help.find('\n', begin), help.size());
      EXPECT_LE(end - begin, 125u) << help.substr(begin, end - begin);
      begin = end + 1;
    }
  }
}

TEST_F(UsageTest, VersionGoesToStandardOutput) {
  const CliResult result = RunCli({"--version"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, StartsWith("polarkv "));
}

TEST_F(UsageTest, WrongCommandLinesEndWithTwo) {
  ExpectRefusal({}, 2, "polarkv --help");
  ExpectRefusal({"frobnicate"}, 2, "unknown command 'frobnicate'; there are codecs, encode");
  ExpectRefusal({"encode"}, 2, "polarkv encode --help");
  ExpectRefusal({"codecs", "--colour"}, 2, "--colour");
  ExpectRefusal({"attend", "--block", "a", "--query", "b", "--out", "c", "--planes", "5"}, 2, "--planes is 2, 3 or 4");
  ExpectRefusal({"codecs", "--head-dim", "100"}, 2, "blocks have one of 64, 80, 96, 128, 192, 256");
}

TEST_F(UsageTest, CodecsAreListedWithTheirBits) {
  const CliResult result = RunCli({"codecs", "--json"});
  ASSERT_EQ(result.exit_code, 0);
  const nlohmann::json json = nlohmann::json::parse(result.out, nullptr, false);
  ASSERT_EQ(json["codecs"].size(), AllCodecs().size()) << result.out;
  EXPECT_EQ(json["head_dim"], 128);
  const std::string table = RunCli({"codecs"}).out;
  for (const auto& codec : json["codecs"]) {
    const std::string name = codec["name"];
    EXPECT_THAT(table, HasSubstr("\n" + name + " "));
    // Scales or parameters and half a tile head are at most 0.6 bits above whole or half bits of codes.
    const double bits = codec["k_bits_per_coordinate"];
    EXPECT_GT(bits, 1.0) << name;
    EXPECT_EQ(codec["v_bits_per_coordinate"].is_null(), codec["keys_only"].get<bool>()) << name;
    if (!codec["keys_only"].get<bool>()) {
      EXPECT_EQ(codec["v_bits_per_coordinate"], bits) << name;
    }
    EXPECT_DOUBLE_EQ(codec["ratio_to_fp16"], 16 / bits) << name;
  }
  ASSERT_EQ(json["aliases"].size(), 5u);
  EXPECT_EQ(json["aliases"][2]["name"], "small");
  EXPECT_EQ(json["aliases"][2]["codec"], "k=trellis3,v=trellis2");
  EXPECT_THAT(table, HasSubstr("\nsmall "));
}

TEST_F(UsageTest, CodecBitsAreThoseThatBlocksTake) {
  const nlohmann::json json =
      nlohmann::json::parse(RunCli({"codecs", "--json", "--head-dim", "64"}).out, nullptr, false);
  for (const auto& codec : json["codecs"]) {
    const std::string name = codec["name"];
    if (name != "fp16" && name != "turbo4" && name != "trellis2" && name != "polar35") continue;
    // Far from the beginning of a sequence, where tokens are stored raw.
    const std::string pkv = EncodeGaussian({.layers = 1, .kv_heads = 8, .tokens = 4096}, name, 4096,
                                           {{"rope", "none"}, {"first_position", "4096"}});
    const nlohmann::json stored = nlohmann::json::parse(RunCli({"inspect", "--json", pkv}).out, nullptr, false);
    const double bits = stored["bits_per_coordinate"];
    // Header, extension and directory are 512 bytes at most of a block of more than a million coordinates; some vectors
    // may be stored raw, in 16 + 128 bytes.
    const double more = 512 + 144 * stored["blocks"][0]["escapes"].get<double>();
    EXPECT_NEAR(bits, (codec["k_bits_per_coordinate"].get<double>() + codec["v_bits_per_coordinate"].get<double>()) / 2,
                8 * more / 4194304);
  }
}

}  // namespace
}  // namespace polarkv::testing
