// The command line itself: help, version, exit codes, codecs.
#include <string>

#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kCommands[] = {"codecs", "encode", "decode", "attend", "inspect", "put",
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
  ASSERT_EQ(json["codecs"].size(), 5u) << result.out;
  EXPECT_EQ(json["head_dim"], 128);
  for (const auto& codec : json["codecs"]) {
    const std::string name = codec["name"];
    EXPECT_THAT(RunCli({"codecs"}).out, HasSubstr("\n" + name + " "));
    // Codes alone: what the names say. On top come scales or parameters and half a tile head, at most 0.6 bits.
    const double codes = name == "fp16" ? 16 : name == "polar44" ? 4 : name.back() - '0';
    for (const char* side : {"k_bits_per_coordinate", "v_bits_per_coordinate"}) {
      EXPECT_GT(codec[side].get<double>(), codes) << name;
      EXPECT_LT(codec[side].get<double>(), codes + 0.6) << name;
    }
  }
}

TEST_F(UsageTest, CodecBitsAreThoseThatBlocksTake) {
  const nlohmann::json json =
      nlohmann::json::parse(RunCli({"codecs", "--json", "--head-dim", "64"}).out, nullptr, false);
  for (const auto& codec : json["codecs"]) {
    const std::string pkv = EncodeGaussian({.layers = 1, .kv_heads = 8, .tokens = 4096}, codec["name"], 4096);
    const nlohmann::json stored = nlohmann::json::parse(RunCli({"inspect", "--json", pkv}).out, nullptr, false);
    const double bits = stored["bits_per_coordinate"];
    // Header and directory are 256 bytes at most of a block of more than a million coordinates.
    EXPECT_NEAR(bits, (codec["k_bits_per_coordinate"].get<double>() + codec["v_bits_per_coordinate"].get<double>()) / 2,
                8.0 * 256 / 4194304);
  }
}

}  // namespace
}  // namespace polarkv::testing
