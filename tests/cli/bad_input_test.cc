// Wrong files and wrong command lines: each is refused with a message that says what is wrong, and writes nothing.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <string>
#include <thread>

#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class BadInputTest : public CliFixture {
 protected:
  void ExpectEncodeRefusal(const TestTensors& tensors, const TestMetadata& metadata, const std::string& message) const {
    const std::string in = WriteTensors("kv.safetensors", tensors, metadata);
    const CliResult result = ExpectRefusal(
        {"encode", "--codec", "turbo4", "--in", in, "--out", Path("kv.pkv"), "--block-tokens", "64"}, 1, message);
    EXPECT_THAT(result.err, HasSubstr("kv.safetensors"));
    EXPECT_THAT(Files(), UnorderedElementsAre("kv.safetensors"));
  }
  void ExpectEncodeRefusal(const TestTensors& tensors, const std::string& message) const {
    ExpectEncodeRefusal(tensors, {{"rope", "none"}}, message);
  }
};

TEST_F(BadInputTest, UnknownCodecListsThoseThereAre) {
  const std::string in = WriteTensors("kv.safetensors", GaussianTensors({}));
  for (const char* codec : {"turbo6", "", "k=turbo4", "k=turbo4,v=", "TURBO4", "turbo4 "}) {
    const CliResult result = ExpectRefusal({"encode", "--codec", codec, "--in", in, "--out", Path("o")}, 2, "--codec");
    EXPECT_THAT(result.err, HasSubstr("turbo2")) << codec;
  }
}

TEST_F(BadInputTest, BlockTokensAreMultiplesOfATile) {
  const std::string in = WriteTensors("kv.safetensors", GaussianTensors({}));
  for (const char* tokens : {"0", "63", "100", "65600", "-64", "many"}) {
    ExpectRefusal({"encode", "--codec", "turbo4", "--in", in, "--out", Path("o"), "--block-tokens", tokens}, 2,
                  "--block-tokens");
  }
}

TEST_F(BadInputTest, MissingTensors) {
  ExpectEncodeRefusal({{"k", GaussianTensor({1, 1, 64, 64}, 1)}}, "no tensor 'v'");
  ExpectEncodeRefusal({{"keys", GaussianTensor({1, 1, 64, 64}, 1)}}, "no tensor 'k'; encode needs `k` and `v`");
  ExpectEncodeRefusal({}, "the file holds no tensor");
}

// A file may be hostile: what its header says must not steer the terminal.
TEST_F(BadInputTest, ControlCharactersOfAFileDoNotReachTheTerminal) {
  const std::string hostile = "a\x1b[2J\r\nb";
  const TestTensor tensor = GaussianTensor({1, 1, 64, 64}, 1);
  const auto encode = [&](const TestTensors& tensors, const TestMetadata& metadata) {
    const CliResult result = RunCli({"encode", "--codec", "turbo4", "--in", WriteTensors("kv.safetensors", tensors, metadata),
                                     "--out", Path("kv.pkv")});
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("\x1b")));
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("\r")));
    EXPECT_THAT(result.out + result.err, HasSubstr("a\\033[2J\\r\\nb"));
    return result.exit_code;
  };
  EXPECT_EQ(encode({{"k", tensor}, {"v", tensor}, {hostile, tensor}}, {{"rope", "none"}}), 0);
  EXPECT_EQ(encode({{"k", tensor}, {"v", tensor}}, {{"rope", "none"}, {"model", hostile}}), 0);
  EXPECT_EQ(encode({{"k", tensor}, {hostile, tensor}}, {{"rope", "none"}}), 1);
  for (const char* entry : {"rope", "rope_base", "rope_dims", "first_position"}) {
    EXPECT_EQ(encode({{"k", tensor}, {"v", tensor}}, {{entry, hostile}}), 1);
  }
}

TEST_F(BadInputTest, EndlessNamesOfAFileAreCut) {
  const TestTensor tensor = GaussianTensor({1, 1, 64, 64}, 1);
  const std::string in = WriteTensors("kv.safetensors", {{"k", tensor}, {"v", tensor}, {std::string(9000, 'x'), tensor}},
                                      {{"rope", "none"}, {"model", std::string(9000, 'y')}});
  const CliResult result = RunCli({"encode", "--codec", "turbo4", "--in", in, "--out", Path("kv.pkv")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LT(result.err.size(), 1000u);
  EXPECT_LT(result.out.size(), 1000u);
}

TEST_F(BadInputTest, WrongShapes) {
  const auto both = [](const std::vector<uint64_t>& shape) {
    return TestTensors{{"k", GaussianTensor(shape, 1)}, {"v", GaussianTensor(shape, 2)}};
  };
  ExpectEncodeRefusal(both({1, 64, 64}), "expected four dimensions, [layers, kv_heads, tokens, head_dim]");
  ExpectEncodeRefusal(both({1, 1, 1, 64, 64}), "expected four dimensions");
  ExpectEncodeRefusal(both({1, 1, 0, 64}), "tensor 'k' is empty");
  ExpectEncodeRefusal(both({1, 1, 4, 100}), "head_dim");
  ExpectEncodeRefusal(both({1, 1, 4, 320}), "head_dim is 320");
  ExpectEncodeRefusal(both({1025, 1, 1, 64}), "layers is 1025; a block holds at most 1024");
  ExpectEncodeRefusal(both({1, 1025, 1, 64}), "kv_heads is 1025; a block holds at most 1024");
  ExpectEncodeRefusal({{"k", GaussianTensor({1, 1, 64, 64}, 1)}, {"v", GaussianTensor({1, 1, 65, 64}, 2)}},
                      "k has shape [1, 1, 64, 64] but v has [1, 1, 65, 64]");
}

TEST_F(BadInputTest, WrongDtypes) {
  TestTensors tensors = GaussianTensors({});
  tensors["v"].dtype = "F16";
  ExpectEncodeRefusal(tensors, "k is F32 but v is F16");
  // The same bytes called something else.
  std::string bytes = TensorFileBytes(GaussianTensors({}), {{"rope", "none"}});
  for (size_t at = bytes.find("F32"); at != std::string::npos; at = bytes.find("F32")) bytes.replace(at, 3, "I32");
  const std::string in = Write("kv.safetensors", bytes);
  ExpectRefusal({"encode", "--codec", "turbo4", "--in", in, "--out", Path("o")}, 1,
                "tensor 'k' has dtype I32; polarkv reads F16, BF16 and F32");
}

TEST_F(BadInputTest, WrongMetadata) {
  const TestTensors tensors = GaussianTensors({});
  ExpectEncodeRefusal(tensors, {{"rope", "neox"}}, "rope is 'neox'");
  ExpectEncodeRefusal(tensors, {{"rope", "half"}}, "rope is given without rope_base");
  ExpectEncodeRefusal(tensors, {{"rope", "half"}, {"rope_base", "ten"}}, "rope_base is 'ten'");
  ExpectEncodeRefusal(tensors, {{"rope", "half"}, {"rope_base", "10000"}, {"rope_dims", "66"}}, "rope_dims is '66'");
  ExpectEncodeRefusal(tensors, {{"rope", "none"}, {"first_position", "-1"}}, "first_position is '-1'");
  ExpectEncodeRefusal(tensors, {{"rope", "none"}, {"first_position", "18446744073709551615"}}, "first_position");
}

TEST_F(BadInputTest, NanAndInfinityAreNamedByPlace) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const char* dtype : {"F32", "F16", "BF16"}) {
      TestTensors tensors = GaussianTensors({.layers = 1, .kv_heads = 1, .tokens = 70}, dtype);
      tensors["v"].values[66 * 64 + 9] = bad;
      // In the second block of 64 tokens, token 2 of it.
      ExpectEncodeRefusal(tensors, "in the block that begins at token 64");
    }
  }
}

TEST_F(BadInputTest, SafetensorsDefectsReachTheUser) {
  const std::string whole = TensorFileBytes(GaussianTensors({}), {});
  const auto refuse = [&](const std::string& bytes, const std::string& message) {
    const std::string in = Write("bad", bytes);
    ExpectRefusal({"encode", "--codec", "turbo4", "--in", in, "--out", Path("o")}, 1, "bad: " + message);
    ExpectRefusal({"attend", "--block", EncodeGaussian({}), "--query", in, "--out", Path("o")}, 1, "bad: " + message);
    EXPECT_FALSE(std::filesystem::exists(Path("o")));
  };
  refuse("", "the file is empty");
  refuse(whole.substr(0, whole.size() - 1), "tensor 'v': data_offsets");
  refuse(whole.substr(0, 20), "header length");
  refuse("this is a text file, not tensors", "header length");
}

TEST_F(BadInputTest, AbsentFilesAndFolders) {
  const std::string pkv = EncodeGaussian({});
  const std::string absent = Path("absent");
  const std::string message = "absent: cannot open: No such file or directory; check the path";
  ExpectRefusal({"encode", "--codec", "turbo4", "--in", absent, "--out", Path("o")}, 1, message);
  ExpectRefusal({"decode", "--in", absent, "--out", Path("o")}, 1, message);
  ExpectRefusal({"inspect", absent}, 1, message);
  ExpectRefusal({"attend", "--block", absent, "--query", absent, "--out", Path("o")}, 1, message);
  ExpectRefusal({"attend", "--block", pkv, "--query", absent, "--out", Path("o")}, 1, message);
  ExpectRefusal({"inspect", Path("")}, 1, "is a directory");
}

TEST_F(BadInputTest, OutputThatCannotBeWritten) {
  const std::string pkv = EncodeGaussian({});
  const std::string in = Path("kv.safetensors");
  ExpectRefusal({"encode", "--codec", "turbo4", "--in", in, "--out", Path("no/o")}, 1, "create the folder first");
  ExpectRefusal({"decode", "--in", pkv, "--out", "/dev/null"}, 1, "is not a regular file");
  ExpectRefusal({"decode", "--in", pkv, "--out", Path("")}, 1, "is not a regular file");
  EXPECT_EQ(RunCli({"decode", "--in", pkv, "--out", "/proc/o"}).exit_code, 1);
}

TEST_F(BadInputTest, OutputMustNotReplaceItsInput) {
  const std::string pkv = EncodeGaussian({});
  const std::string before = ReadBytes(pkv);
  ExpectRefusal({"decode", "--in", pkv, "--out", pkv}, 2, "are the same file");
  ExpectRefusal({"encode", "--codec", "turbo4", "--in", Path("kv.safetensors"), "--out", Path("kv.safetensors")}, 2,
                "are the same file");
  ExpectRefusal({"attend", "--block", pkv, "--query", Path("kv.safetensors"), "--out", pkv}, 2, "are the same file");
  EXPECT_EQ(ReadBytes(pkv), before);
}

TEST_F(BadInputTest, FailedEncodeLeavesAnOlderOutputAlone) {
  const std::string pkv = EncodeGaussian({});
  const std::string before = ReadBytes(pkv);
  TestTensors tensors = GaussianTensors({});
  tensors["k"].values.back() = NAN;  // found in the last block, after the others were written
  const std::string in = WriteTensors("nan.safetensors", tensors);
  ExpectRefusal({"encode", "--codec", "turbo4", "--in", in, "--out", pkv, "--block-tokens", "64"}, 1, "token 128");
  EXPECT_EQ(ReadBytes(pkv), before);
  EXPECT_THAT(Files(), UnorderedElementsAre("kv.safetensors", "nan.safetensors", "kv.pkv"));
}

TEST_F(BadInputTest, DamagedBlocksAreNeverDecoded) {
  const std::string whole = ReadBytes(EncodeGaussian({}));
  const auto refuse = [&](const std::string& bytes, const std::string& message) {
    const std::string bad = Write("bad.pkv", bytes);
    ExpectRefusal({"decode", "--in", bad, "--out", Path("o")}, 1, message);
    ExpectRefusal({"attend", "--block", bad, "--query", Path("kv.safetensors"), "--out", Path("o")}, 1, message);
    EXPECT_FALSE(std::filesystem::exists(Path("o")));
  };
  refuse("", "the file is empty");
  refuse(whole.substr(0, 100), "block 0 at byte 0: only 100 bytes are left");
  refuse(whole.substr(0, whole.size() - 1), "the file is cut short");
  refuse(whole + "x", "only 1 bytes are left");
  refuse(ReadBytes(Path("kv.safetensors")), "this is a safetensors file, not a .pkv file");
  refuse(std::string(4096, '\0'), "block 0 at byte 0");
}

TEST_F(BadInputTest, EveryFlippedByteOfASmallBlockIsFound) {
  const std::string whole = ReadBytes(EncodeGaussian({.layers = 1, .kv_heads = 1, .tokens = 64}, "turbo2"));
  // One process for many damaged blocks: inspect goes on behind a defect as long as headers are sound.
  std::string headers_bad, payload_bad;
  const size_t payload = 128;
  for (size_t at = payload; at < whole.size(); at += 37) {
    std::string block = whole;
    block[at] = static_cast<char>(block[at] ^ (1 << at % 8));
    payload_bad += block;
  }
  const CliResult inspected = RunCli({"inspect", "--json", Write("bad.pkv", payload_bad)});
  EXPECT_EQ(inspected.exit_code, 1);
  const nlohmann::json json = nlohmann::json::parse(inspected.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << inspected.out;
  EXPECT_EQ(json["blocks"].size(), payload_bad.size() / whole.size());
  EXPECT_EQ(json["defects"], json["blocks"].size());
  for (size_t at = 0; at < payload; at += 7) {
    std::string block = whole;
    block[at] = static_cast<char>(block[at] ^ 0x10);
    ExpectRefusal({"decode", "--in", Write("bad.pkv", block), "--out", Path("o")}, 1, "block 0 at byte 0");
  }
}

TEST_F(BadInputTest, BlocksThatDoNotFollowEachOtherAreNotDecoded) {
  const std::vector<std::string> blocks = SplitBlocks(ReadBytes(EncodeGaussian({.tokens = 192})));
  const std::string in = Write("gap.pkv", blocks.at(0) + blocks.at(2));
  ExpectRefusal({"decode", "--in", in, "--out", Path("o")}, 1,
                "block 1 begins at position 128, but the block before it ends at 64");
}

TEST_F(BadInputTest, InterruptLeavesNoOutput) {
  // Enough work for the signal to come in the middle.
  const KvShape shape{.layers = 16, .kv_heads = 8, .tokens = 1024, .head_dim = 128};
  const std::string in = WriteTensors("kv.safetensors", GaussianTensors(shape, "F16"));
  CliProcess process({"encode", "--codec", "polar44", "--in", in, "--out", Path("kv.pkv"), "--block-tokens", "64"});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Files().size() < 2 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait().signal, SIGINT);
  EXPECT_THAT(Files(), UnorderedElementsAre("kv.safetensors"));
}

TEST_F(BadInputTest, InputFromAPipeIsRead) {
  EncodeGaussian({});
  const std::string pipe = Path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  CliProcess process({"encode", "--codec", "turbo4", "--in", pipe, "--out", Path("piped.pkv"), "--block-tokens", "64"});
  WriteBytes(pipe, ReadBytes(Path("kv.safetensors")));
  const CliResult result = process.Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadBytes(Path("piped.pkv")), ReadBytes(Path("kv.pkv")));
}

}  // namespace
}  // namespace polarkv::testing
