// put and get against a server that refuses, loses or damages blocks: what the user is told, and what is written.
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "tests/cli/cli_fixture.h"
#include "tests/testing/block_chain.h"
#include "tests/testing/fake_kv_server.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kSeed = 3;
constexpr size_t kBlocks = 3;

const BlockChain& Chain() {
  static const auto* chain = new BlockChain(SmallDescriptor("demo"), kBlocks, kSeed);
  return *chain;
}

// Sends one block of a fetch, good or bad.
using Sender = std::function<void(uint32_t index, std::span<const uint8_t> block, FrameWriter* writer)>;

void SendIntact(uint32_t index, std::span<const uint8_t> block, FrameWriter* writer) {
  writer->Write(WholeFrame(index, Chain().keys[index], block));
}

void SendDamaged(uint32_t index, std::span<const uint8_t> block, FrameWriter* writer) {
  std::vector<uint8_t> damaged(block.begin(), block.end());
  damaged.back() ^= 1;
  writer->Write(WholeFrame(index, Chain().keys[index], damaged));
}

class FaultyServerTest : public CliFixture {
 protected:
  // A server that knows the chain's namespace and matches all of it, and sends block `bad_block` with `send_bad`.
  static FakeBehaviour Serving(uint32_t bad_block, Sender send_bad) {
    FakeBehaviour behaviour;
    behaviour.list = [](v1::ListNamespacesResponse* response) {
      v1::ListNamespacesResponse::Entry* entry = response->add_namespaces();
      *entry->mutable_namespace_descriptor() = DescriptorToProto(Chain().ns.descriptor).value();
      entry->set_fingerprint(PackFingerprint(Chain().ns.fingerprint));
      return grpc::Status::OK;
    };
    behaviour.match = [](const v1::MatchPrefixRequest&, v1::MatchPrefixResponse* response) {
      response->set_matched_blocks(kBlocks);
      for (const auto& block : Chain().blocks) response->add_block_bytes(block.size());
      response->set_stop_reason(v1::STOP_REASON_ALL_MATCHED);
      return grpc::Status::OK;
    };
    behaviour.release = [](const v1::ReleaseLeaseRequest&) { return grpc::Status::OK; };
    behaviour.fetch = [bad_block, send_bad](grpc::ServerContext*, const v1::FetchRequest& request,
                                            FrameWriter* writer) {
      const size_t count = request.keys().size() / 32;
      for (uint32_t i = 0; i < count; ++i) (i == bad_block ? send_bad : SendIntact)(i, Chain().blocks[i], writer);
      return grpc::Status::OK;
    };
    return behaviour;
  }

  CliResult Get(const FakeKvServer& server, const std::vector<std::string>& what) const {
    std::vector<std::string> arguments = {"get",         "--server", server.target(), "--deadline",    "5s",
                                          "--namespace", "demo",     "--out",         Path("got.pkv"), "--json"};
    arguments.insert(arguments.end(), what.begin(), what.end());
    return RunCli(arguments);
  }
  std::string Tokens() const {
    nlohmann::json tokens = nlohmann::json::array();
    for (size_t i = 0; i < kBlocks * Chain().ns.descriptor.block_tokens; ++i) tokens.push_back(kSeed * 100003 + i);
    return Write("tokens.json", tokens.dump());
  }
  static std::string Keys() {
    return Chain().keys[0].ToHex() + "," + Chain().keys[1].ToHex() + "," + Chain().keys[2].ToHex();
  }
  // The bytes of the chain's first blocks.
  static std::string Prefix(size_t blocks) {
    std::string bytes;
    for (size_t i = 0; i < blocks; ++i) bytes.append(Chain().blocks[i].begin(), Chain().blocks[i].end());
    return bytes;
  }
};

TEST_F(FaultyServerTest, IntactBlocksAreWrittenByteForByte) {
  const FakeKvServer server(Serving(kBlocks, SendIntact));
  const CliResult result = Get(server, {"--tokens", Tokens()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadBytes(Path("got.pkv")), Prefix(kBlocks));
}

TEST_F(FaultyServerTest, DamagedBlockEndsThePrefixBeforeIt) {
  const FakeKvServer server(Serving(1, SendDamaged));
  const CliResult result = Get(server, {"--tokens", Tokens()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadBytes(Path("got.pkv")), Prefix(1));
  const nlohmann::json json = nlohmann::json::parse(result.out, nullptr, false);
  EXPECT_EQ(json["blocks"], 1);
  EXPECT_EQ(json["stop"], "corrupt");
}

TEST_F(FaultyServerTest, DamagedFirstBlockWritesNothing) {
  const FakeKvServer server(Serving(0, SendDamaged));
  Write("got.pkv", "older");
  const CliResult result = Get(server, {"--tokens", Tokens()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("block 0: corrupt"));
  EXPECT_EQ(ReadBytes(Path("got.pkv")), "older");
}

TEST_F(FaultyServerTest, DamagedBlockAmongKeysWritesNothing) {
  const FakeKvServer server(Serving(2, SendDamaged));
  const CliResult result = Get(server, {"--keys", Keys()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("block 2: corrupt"));
  EXPECT_FALSE(std::filesystem::exists(Path("got.pkv")));
}

TEST_F(FaultyServerTest, BlockEvictedAfterTheMatchEndsThePrefix) {
  const FakeKvServer server(Serving(2, [](uint32_t index, std::span<const uint8_t>, FrameWriter* writer) {
    v1::BlockFrame frame;
    frame.set_block_index(index);
    frame.set_key(PackKey(Chain().keys[index]));
    frame.set_status(v1::BLOCK_STATUS_NOT_FOUND);
    writer->Write(frame);
  }));
  EXPECT_EQ(Get(server, {"--tokens", Tokens()}).exit_code, 0);
  EXPECT_EQ(ReadBytes(Path("got.pkv")), Prefix(2));
}

struct Refusal {
  v1::StoreStatus status;
  const char* message;
};

void PrintTo(const Refusal& refusal, std::ostream* out) { *out << v1::StoreStatus_Name(refusal.status); }

class RefusedPutTest : public FaultyServerTest, public ::testing::WithParamInterface<Refusal> {};

TEST_P(RefusedPutTest, NamesTheBlockTheOutcomeAndWhatToDo) {
  FakeBehaviour behaviour;
  behaviour.store = [](grpc::ServerContext*, StoreStream* stream) {
    std::vector<v1::BlockFrame> first_frames;
    for (v1::BlockFrame frame; stream->Read(&frame);) {
      if (frame.offset() == 0) first_frames.push_back(frame);
    }
    for (const v1::BlockFrame& frame : first_frames) {
      v1::StoreAck ack;
      ack.set_block_index(frame.block_index());
      ack.set_key(frame.key());
      ack.set_status(frame.block_index() == 1 ? GetParam().status : v1::STORE_STATUS_STORED);
      stream->Write(ack);
    }
    return grpc::Status::OK;
  };
  const FakeKvServer server(std::move(behaviour));
  const std::string in = Write("chain.pkv", Prefix(kBlocks));
  const CliResult result = RunCli({"put", "--server", server.target(), "--namespace", "demo", "--model", "test-model",
                                   "--in", in, "--tokens", Tokens(), "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("block 1: " + std::string(GetParam().message)));
  const nlohmann::json json = nlohmann::json::parse(result.out, nullptr, false);
  EXPECT_EQ(json["outcomes"]["stored"], kBlocks - 1) << result.out;
  EXPECT_EQ(json["blocks"][0]["key"], Chain().keys[0].ToHex());
}

INSTANTIATE_TEST_SUITE_P(
    Statuses, RefusedPutTest,
    ::testing::Values(Refusal{v1::STORE_STATUS_CONFLICT, "conflict; the key names other bytes already"},
                      Refusal{v1::STORE_STATUS_BAD_CHECKSUM, "bad checksum; "},
                      Refusal{v1::STORE_STATUS_UNSUPPORTED, "unsupported; the server is older than the encoder"},
                      Refusal{v1::STORE_STATUS_MISMATCH, "mismatch; "},
                      Refusal{v1::STORE_STATUS_NO_SPACE, "no space; the server is full"},
                      Refusal{v1::STORE_STATUS_TOO_LARGE, "too large; encode with fewer --block-tokens"},
                      Refusal{v1::STORE_STATUS_IO_ERROR, "i/o error; see the server's log"}),
    [](const auto& param) { return v1::StoreStatus_Name(param.param.status); });

}  // namespace
}  // namespace polarkv::testing
