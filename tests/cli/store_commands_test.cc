// put, match, get, exists, delete, stats and namespaces against a real server.
#include <chrono>
#include <string>

#include "tests/cli/served_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// 150 tokens in blocks of 64: two full blocks, and a short one that is not stored.
class StoreCommandsTest : public ServedFixture {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ServedFixture::SetUp());
    pkv_ = EncodeGaussian({});
    tokens_ = WriteTokens("tokens.json", 150);
  }
  void PutBoth() const {
    const CliResult result = Put(pkv_, tokens_);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  std::vector<std::string> Keys() const {
    std::vector<std::string> keys;
    const nlohmann::json json = ClientJson("exists", Demo({"--tokens", tokens_}));
    for (const auto& block : json["blocks"]) keys.push_back(block["key"]);
    return keys;
  }

  std::string pkv_, tokens_;
};

TEST_F(StoreCommandsTest, WhatWasPutIsWhatGetWrites) {
  const CliResult put = Put(pkv_, tokens_);
  EXPECT_EQ(put.exit_code, 0) << put.err;
  EXPECT_THAT(put.out, HasSubstr("2 stored"));
  EXPECT_THAT(put.err, HasSubstr("the short last block is not stored"));

  const nlohmann::json match = ClientJson("match", Demo({"--tokens", tokens_}));
  EXPECT_EQ(match["matched_blocks"], 2);
  EXPECT_EQ(match["matched_tokens"], 128);
  EXPECT_EQ(match["stop"], "all matched");

  const nlohmann::json get = ClientJson("get", Demo({"--tokens", tokens_, "--out", Path("got.pkv")}));
  EXPECT_EQ(get["blocks"], 2);
  EXPECT_EQ(get["bytes"], match["matched_bytes"]);
  EXPECT_EQ(RunCli({"inspect", Path("got.pkv")}).exit_code, 0);
  // Equal to what was put but for the tags in the headers: the decoded tensors are the same.
  const std::string bytes = ReadBytes(pkv_);
  const std::string prefix = Write("prefix.pkv", bytes.substr(0, get["bytes"]));
  for (const char* file : {"got", "prefix"}) {
    const std::string out = Path(std::string(file) + ".safetensors");
    ASSERT_EQ(RunCli({"decode", "--in", Path(std::string(file) + ".pkv"), "--out", out}).exit_code, 0);
  }
  EXPECT_EQ(ReadBytes(Path("got.safetensors")), ReadBytes(Path("prefix.safetensors")));
  // The file that was put has not changed.
  EXPECT_EQ(ReadBytes(pkv_), bytes);
}

TEST_F(StoreCommandsTest, PuttingAgainIsHarmless) {
  PutBoth();
  const CliResult again = Put(pkv_, tokens_);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("2 duplicate"));
  // What get writes can be put, too.
  ASSERT_EQ(Client("get", Demo({"--tokens", tokens_, "--out", Path("got.pkv")})).exit_code, 0);
  EXPECT_THAT(Put(Path("got.pkv"), tokens_).out, HasSubstr("2 duplicate"));
}

TEST_F(StoreCommandsTest, OtherBytesUnderTheSameKeyConflict) {
  PutBoth();
  TestTensors tensors = GaussianTensors({});
  tensors["v"].values[0] += 1;
  const std::string in = WriteTensors("other.safetensors", tensors);
  ASSERT_EQ(
      RunCli({"encode", "--codec", "turbo4", "--in", in, "--out", Path("other.pkv"), "--block-tokens", "64"}).exit_code,
      0);
  const CliResult result = Put(Path("other.pkv"), tokens_);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("block 0: conflict; the key names other bytes already"));
  // The first bytes stay.
  EXPECT_THAT(Put(pkv_, tokens_).out, HasSubstr("2 duplicate"));
}

TEST_F(StoreCommandsTest, OtherDescriptorIsRefusedByField) {
  PutBoth();
  ExpectClientRefusal("put", Demo({"--model", "other", "--in", pkv_, "--tokens", tokens_}), 1,
                      "model: \"m\" here, \"other\" offered");
  const std::string turbo3 = EncodeGaussian({}, "turbo3");
  ExpectClientRefusal("put", Demo({"--model", "m", "--in", turbo3, "--tokens", tokens_}), 1,
                      "codec: turbo4 here, turbo3 offered");
}

TEST_F(StoreCommandsTest, SharedPrefixMatchesAsFarAsItGoes) {
  PutBoth();
  nlohmann::json tokens = nlohmann::json::parse(ReadBytes(tokens_));
  tokens[100] = 7;  // in the second block
  const std::string other = Write("other.json", tokens.dump());
  const nlohmann::json match = ClientJson("match", Demo({"--tokens", other}));
  EXPECT_EQ(match["matched_blocks"], 1);
  EXPECT_EQ(match["stop"], "not stored");
  const nlohmann::json get = ClientJson("get", Demo({"--tokens", other, "--out", Path("got.pkv")}));
  EXPECT_EQ(get["blocks"], 1);
  EXPECT_EQ(get["stop"], "not stored");
  EXPECT_EQ(ClientJson("exists", Demo({"--tokens", other}), 3)["blocks"][1]["stored"], false);
}

TEST_F(StoreCommandsTest, MissesEndWithThreeAndWriteNothing) {
  ExpectClientRefusal("match", Demo({"--tokens", tokens_}), 3, "no namespace 'demo'");
  PutBoth();
  const std::string other = WriteTokens("other.json", 150, 5000);
  EXPECT_EQ(ClientJson("match", Demo({"--tokens", other}), 3)["matched_blocks"], 0);
  ExpectClientRefusal("get", Demo({"--tokens", other, "--out", Path("got.pkv")}), 3, "not stored");
  ExpectClientRefusal("delete", Demo({"--tokens", other}), 3, "none of the blocks was stored");
  const std::string few = WriteTokens("few.json", 63);
  ExpectClientRefusal("match", Demo({"--tokens", few}), 3, "63 tokens do not fill one block of 64");
  const std::string absent(64, 'a');
  ExpectClientRefusal("get", Demo({"--keys", Keys()[0] + "," + absent, "--out", Path("got.pkv")}), 3,
                      "block 1: not found");
  EXPECT_FALSE(std::filesystem::exists(Path("got.pkv")));
}

TEST_F(StoreCommandsTest, SaltKeepsChainsApart) {
  ASSERT_EQ(Put(pkv_, tokens_, {"--salt", "a"}).exit_code, 0);
  EXPECT_EQ(Client("match", Demo({"--tokens", tokens_})).exit_code, 3);
  EXPECT_EQ(Client("match", Demo({"--tokens", tokens_, "--salt", "b"})).exit_code, 3);
  EXPECT_EQ(Client("match", Demo({"--tokens", tokens_, "--salt", "a"})).exit_code, 0);
}

TEST_F(StoreCommandsTest, GetByKeysWritesExactlyThoseBlocks) {
  PutBoth();
  ASSERT_EQ(Client("get", Demo({"--keys", Keys()[1], "--out", Path("second.pkv")})).exit_code, 0);
  const nlohmann::json json = nlohmann::json::parse(RunCli({"inspect", "--json", Path("second.pkv")}).out);
  ASSERT_EQ(json["blocks"].size(), 1u);
  EXPECT_EQ(json["blocks"][0]["header"]["first_position"], 64);
  EXPECT_EQ(json["blocks"][0]["header"]["key_tag"], Keys()[1].substr(0, 16));
}

TEST_F(StoreCommandsTest, DeletedBlocksEndTheMatch) {
  PutBoth();
  const std::vector<std::string> keys = Keys();
  EXPECT_THAT(Client("delete", Demo({"--keys", keys[1]})).out, HasSubstr("deleted 1 block"));
  const nlohmann::json match = ClientJson("match", Demo({"--tokens", tokens_}));
  EXPECT_EQ(match["matched_blocks"], 1);
  EXPECT_EQ(match["stop"], "deleted");
  EXPECT_EQ(ClientJson("delete", Demo({"--tokens", tokens_}))["deleted_blocks"], 1);
  EXPECT_EQ(Client("match", Demo({"--tokens", tokens_})).exit_code, 3);
}

TEST_F(StoreCommandsTest, WholeNamespaceGoesOnlyWithYes) {
  PutBoth();
  ExpectClientRefusal("delete", Demo({"--all"}), 2, "add --yes if that is meant");
  ExpectClientRefusal("delete", Demo({"--all", "--yes", "--tokens", tokens_}), 2, "leave out --tokens and --keys");
  ExpectClientRefusal("delete", Demo({"--tokens", tokens_, "--yes"}), 2, "--yes goes with --all");
  EXPECT_EQ(Client("match", Demo({"--tokens", tokens_})).exit_code, 0);
  EXPECT_THAT(Client("delete", Demo({"--all", "--yes"})).out, HasSubstr("deleted 2 blocks and the namespace"));
  EXPECT_THAT(Client("namespaces", {}).out, HasSubstr("has no namespace"));
}

TEST_F(StoreCommandsTest, LaterBlocksJoinTheirChainByPosition) {
  const std::string rest =
      WriteTensors("rest.safetensors", GaussianTensors({.tokens = 64}), {{"rope", "none"}, {"first_position", "128"}});
  ASSERT_EQ(RunCli({"encode", "--codec", "turbo4", "--in", rest, "--out", Path("rest.pkv"), "--block-tokens", "64"})
                .exit_code,
            0);
  const std::string tokens = WriteTokens("long.json", 192);
  ASSERT_EQ(Put(pkv_, tokens).exit_code, 0);
  ASSERT_EQ(Put(Path("rest.pkv"), tokens).exit_code, 0);
  EXPECT_EQ(ClientJson("match", Demo({"--tokens", tokens}))["matched_blocks"], 3);
  const CliResult early = Put(Path("rest.pkv"), WriteTokens("short.json", 128));
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_THAT(early.err, HasSubstr("the tokens fill 2 blocks, but the blocks to store reach to number 3"));
}

TEST_F(StoreCommandsTest, OpaqueKeysAreUsedAsTheyAre) {
  const std::string a(64, '1'), b(64, '2');
  const auto put = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = Demo({"--model", "m", "--in", pkv_});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Client("put", arguments);
  };
  EXPECT_THAT(put({"--keys", a}).err, HasSubstr("1 key for 2 full blocks"));
  EXPECT_EQ(put({"--keys", a + ",xyz"}).exit_code, 2);
  EXPECT_EQ(put({"--keys", a + "," + b}).exit_code, 0);
  EXPECT_EQ(ClientJson("match", Demo({"--keys", a + "," + b}))["matched_blocks"], 2);
}

TEST_F(StoreCommandsTest, ShardsOfOneModelAreStoredUnderOneChain) {
  for (const char* first : {"0", "2"}) {
    const std::string out = Path(std::string("shard") + first + ".pkv");
    ASSERT_EQ(RunCli({"encode", "--codec", "turbo4", "--in", Path("kv.safetensors"), "--out", out, "--block-tokens",
                      "64", "--first-kv-head", first})
                  .exit_code,
              0);
    ASSERT_EQ(Put(out, tokens_, {"--shards", "2"}).exit_code, 0);
  }
  for (const char* shard : {"0", "1"}) {
    ASSERT_EQ(Client("get", Demo({"--tokens", tokens_, "--shard", shard, "--out", Path("got.pkv")})).exit_code, 0);
    const nlohmann::json json = nlohmann::json::parse(RunCli({"inspect", "--json", Path("got.pkv")}).out);
    EXPECT_EQ(json["blocks"][0]["header"]["first_kv_head"], 2 * (shard[0] - '0'));
  }
  ExpectClientRefusal("get", Demo({"--tokens", tokens_, "--shard", "2", "--out", Path("o")}), 2,
                      "--shard is 2, but the namespace has 2 shards");
}

TEST_F(StoreCommandsTest, BlocksThatCannotBelongAreRefusedBeforeAnythingIsSent) {
  const auto refuse = [&](const std::string& in, const std::string& message) {
    ExpectClientRefusal("put", Demo({"--model", "m", "--in", in, "--tokens", tokens_}), 1, message);
  };
  std::string damaged = ReadBytes(pkv_);
  damaged[damaged.size() - 1] ^= 1;
  refuse(Write("damaged.pkv", damaged), "block 2 at byte");
  const std::vector<std::string> blocks = SplitBlocks(ReadBytes(pkv_));
  refuse(Write("short.pkv", blocks.at(2)), "is a short one");
  refuse(Write("gap.pkv", ReadBytes(pkv_) + blocks.at(0)), "block 2 has 22 tokens");
  const std::string odd =
      WriteTensors("odd.safetensors", GaussianTensors({.tokens = 64}), {{"rope", "none"}, {"first_position", "10"}});
  ASSERT_EQ(
      RunCli({"encode", "--codec", "turbo4", "--in", odd, "--out", Path("odd.pkv"), "--block-tokens", "64"}).exit_code,
      0);
  refuse(Path("odd.pkv"), "is at position 10");
  EXPECT_THAT(Client("namespaces", {}).out, HasSubstr("has no namespace"));
}

TEST_F(StoreCommandsTest, StatsAndNamespacesAreComplete) {
  PutBoth();
  const nlohmann::json stats = ClientJson("stats", {});
  EXPECT_EQ(stats["stored_blocks"], 2);
  EXPECT_EQ(stats["namespaces"], 1);
  EXPECT_THAT(Client("stats", {}).out, ContainsRegex("stored_blocks +2\n"));
  const nlohmann::json known = ClientJson("namespaces", {});
  ASSERT_EQ(known["namespaces"].size(), 1u);
  const nlohmann::json& demo = known["namespaces"][0];
  EXPECT_EQ(demo["name"], "demo");
  EXPECT_EQ(demo["blocks"], 2);
  EXPECT_EQ(demo["codec"], "turbo4");
  EXPECT_EQ(demo["block_tokens"], 64);
  EXPECT_EQ(demo["fingerprint"].get<std::string>().size(), 64u);
  EXPECT_THAT(Client("namespaces", {}).out, ContainsRegex("demo +2 .* turbo4 +2x2x64 +64 +m"));
}

TEST_F(StoreCommandsTest, WrongOptionsEndWithTwo) {
  ExpectClientRefusal("match", Demo({}), 2, "say which blocks: --tokens FILE or --keys");
  ExpectClientRefusal("match", Demo({"--tokens", tokens_, "--keys", "00"}), 2, "not both");
  ExpectClientRefusal("match", Demo({"--keys", "00", "--salt", "x"}), 2, "--salt has no meaning with --keys");
  for (const char* deadline : {"5", "0s", "-1s", "soon", "25h", "1us"}) {
    ExpectClientRefusal("stats", {"--deadline", deadline}, 2, "--deadline is '" + std::string(deadline) + "'");
  }
  ExpectRefusal({"stats"}, 2, "--server");
  ExpectRefusal({"stats", "--server", "localhost:70000"}, 2, "port 70000 is over 65535");
  PutBoth();
  ExpectClientRefusal("match", Demo({"--keys", "00"}), 2, "--keys: '00'");
}

TEST_F(StoreCommandsTest, BadTokenFilesAreNamed) {
  PutBoth();
  ExpectClientRefusal("match", Demo({"--tokens", Path("absent")}), 1, "absent: cannot open");
  ExpectClientRefusal("match", Demo({"--tokens", Write("t", "[1, \"a\"]")}), 1, "t: element 1 is not a token id");
  ExpectClientRefusal("match", Demo({"--tokens", Write("t", "abc")}), 1, "neither a JSON array nor whole");
}

TEST_F(StoreCommandsTest, ServerThatIsNotThereIsSaidWithinTheDeadline) {
  KillServer();
  const auto start = std::chrono::steady_clock::now();
  ExpectClientRefusal("stats", {"--deadline", "300ms"}, 1, "no answer within 300ms; is polarkv-server running there?");
  ExpectClientRefusal("put", Demo({"--model", "m", "--in", pkv_, "--tokens", tokens_, "--deadline", "300ms"}), 1,
                      "is polarkv-server running there?");
  ExpectClientRefusal("get", Demo({"--tokens", tokens_, "--deadline", "300ms", "--out", Path("got.pkv")}), 1,
                      "is polarkv-server running there?");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  EXPECT_FALSE(std::filesystem::exists(Path("got.pkv")));
}

class SmallBlocksServerTest : public ServedFixture {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(StartServer({"--max-block-bytes", "64KiB"})); }
};

TEST_F(SmallBlocksServerTest, BlocksOverTheServersLimitAreRefused) {
  const std::string pkv = EncodeGaussian({.layers = 8, .tokens = 64});
  const CliResult result = Put(pkv, WriteTokens("tokens.json", 64));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("takes up to 65536; use more shards or fewer tokens in a block"));
}

}  // namespace
}  // namespace polarkv::testing
