// polarkv-load against polarkv-server, both as programs.
#include <signal.h>

#include <fstream>
#include <thread>

#include "client/load/load_setup.h"
#include "client/load/report.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/load/child_process.h"
#include "tests/testing/eventually.h"
#include "tests/testing/server_process.h"

namespace polarkv::load {
namespace {

using polarkv::testing::ServerProcess;
using polarkv::testing::TempDir;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Flags = std::vector<std::string>;

class LoadProgramTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }

  std::unique_ptr<ChildProcess> StartLoad(const std::string& address, Flags flags) {
    flags.insert(flags.begin(), {"--server", address, "--report", Path("report.json")});
    std::filesystem::remove(Path("report.json"));
    return std::make_unique<ChildProcess>("polarkv-load", flags, Path("load.log"));
  }

  int Load(const std::string& address, const Flags& flags) {
    const std::unique_ptr<ChildProcess> load = StartLoad(address, flags);
    const int code = load->Wait();
    output_ = load->output();
    return code;
  }

  Json Report() const {
    std::ifstream in(Path("report.json"));
    return Json::parse(in, nullptr, false);
  }

  static uint64_t StoredBlocks(KvClient& client) {
    const ServerStats stats = client.Stats().value();
    for (const auto& [name, value] : stats.values) {
      if (name == "stored_blocks") return value;
    }
    return 0;
  }

  TempDir folder_;
  std::string output_;
};

TEST_F(LoadProgramTest, OrderedRunReachesTheIdealWithEveryByteRight) {
  ServerProcess server({"--data-dir", Path("data")});
  for (const char* workload : {"chat", "agent", "document"}) {
    ASSERT_EQ(Load(server.target(), {"--workload", workload, "--sessions", "8", "--shared-tokens", "900",
                                     "--document-tokens", "1500", "--as-fast-as-possible", "--ordered", "--attend"}),
              kExitOk)
        << output_;
    const Json report = Report();
    EXPECT_EQ(report["hits"], report["ideal_hits"]) << workload;
    EXPECT_GT(report["hits"]["blocks"], 0);
    EXPECT_EQ(report["verification"]["failures"], 0);
    EXPECT_GT(report["attention"]["checked"], 0);
    // On a machine with a GPU some of this is its work.
    EXPECT_EQ(report["attention"]["device"]["calls_on_cpu"] > 0, report["attention"]["device"].contains("why_cpu"));
    // The checks' own encodings are not among them.
    EXPECT_EQ(report["encoding"]["calls_on_cpu"].get<uint64_t>() + report["encoding"]["calls_on_cuda"].get<uint64_t>() +
                  report["verification"]["blocks_by_recomputation"].get<uint64_t>(),
              report["verification"]["blocks_encoded"].get<uint64_t>());
    if (!WhyNoCuda().empty()) {
      EXPECT_EQ(report["encoding"]["device"], "cpu");
      EXPECT_EQ(report["encoding"]["why_cpu"], WhyNoCuda());
      EXPECT_EQ(report["attention"]["device"]["why_cpu"], WhyNoCuda());
    }
    EXPECT_TRUE(report["errors"].empty()) << report["errors"];
    EXPECT_GT(report["server_stats"]["fetched_blocks"], 0);
  }
}

TEST_F(LoadProgramTest, SecondRunVerifiesWhatTheFirstOneStored) {
  ServerProcess server({"--data-dir", Path("data")});
  const Flags flags{"--workload", "chat", "--sessions", "5", "--as-fast-as-possible", "--threads", "1"};
  ASSERT_EQ(Load(server.target(), flags), kExitOk) << output_;
  EXPECT_EQ(server.Terminate(), 0);
  server.Start();
  ASSERT_EQ(Load(server.target(), flags), kExitOk) << output_;
  const Json report = Report();
  EXPECT_EQ(report["hits"]["full_block_ratio"], 1.0);
  EXPECT_GT(report["hit_blocks_beyond_ideal"], 0);
  // The tester has none of these digests: each block is encoded anew once.
  EXPECT_GE(report["verification"]["blocks_by_recomputation"], report["workload"]["distinct_full_blocks"]);
}

class RestartTest : public LoadProgramTest, public ::testing::WithParamInterface<int> {};

TEST_P(RestartTest, InTheMiddleOfARunGivesNoWrongByte) {
  ServerProcess server({"--data-dir", Path("data")});
  const auto load =
      StartLoad(server.target(), {"--workload", "agent", "--duration", "6", "--time-scale", "4", "--shared-tokens",
                                  "1000", "--threads", "4", "--deadline-ms", "500", "--attend"});
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(milliseconds{1500});
    if (GetParam() == SIGKILL) {
      server.Kill();
    } else {
      EXPECT_EQ(server.Terminate(), 0);
    }
    server.Start();
  }
  ASSERT_EQ(load->Wait(), kExitOk) << load->output();
  const Json report = Report();
  EXPECT_EQ(report["verification"]["failures"], 0);
  EXPECT_GT(report["hits"]["blocks"], 0);
  EXPECT_GT(report["requests"]["finished"], 0);
}

INSTANTIATE_TEST_SUITE_P(Signals, RestartTest, ::testing::Values(SIGTERM, SIGKILL),
                         [](const auto& param) { return param.param == SIGKILL ? "Kill" : "Terminate"; });

TEST_F(LoadProgramTest, SmallBudgetEvictsAndStaysRight) {
  ServerProcess server({"--memory-budget", "1MiB"});
  ASSERT_EQ(Load(server.target(), {"--workload", "document", "--sessions", "30", "--as-fast-as-possible", "--ordered"}),
            kExitOk)
      << output_;
  const Json report = Report();
  EXPECT_LT(report["hits"]["blocks"], report["ideal_hits"]["blocks"]);
  EXPECT_GT(report["miss_blocks"]["evicted"], 0) << report["miss_blocks"];
  EXPECT_EQ(report["verification"]["failures"], 0);
}

TEST_F(LoadProgramTest, WrongBytesUnderARightChecksumEndWithCode1) {
  ServerProcess server({"--data-dir", Path("data")});
  LoadOptions options;
  options.workload = "chat";
  options.session.sessions = 3;
  const std::unique_ptr<LoadSetup> setup = *MakeSetup(options);
  const std::vector<BlockKey> keys = setup->keys->Keys(setup->workload.requests[0]);
  ClientOptions client_options;
  client_options.target = server.target();
  const std::unique_ptr<KvClient> client = *KvClient::Create(client_options);
  const absl::StatusOr<NamespaceHandle> handle = client->OpenNamespace(setup->descriptor, milliseconds{20000});
  ASSERT_TRUE(handle.ok()) << handle.status();
  // A valid block, tagged with the first key, but with the content of the second.
  std::vector<uint8_t> block = *BlockContent(setup->descriptor).Encode(keys[1], 0);
  const BlockSpec tags = NamespaceBlockSpec(setup->descriptor, keys[0], 0);
  TagBlock(block, tags.namespace_tag, tags.key_tag);
  StoreOutcome outcome = StoreOutcome::kNotAcknowledged;
  const StoreItem item{keys[0], BlockKey{}, block};
  ASSERT_TRUE(client->Store(*handle, {&item, 1}, {&outcome, 1}).ok());
  ASSERT_EQ(outcome, StoreOutcome::kStored);

  EXPECT_EQ(Load(server.target(), {"--workload", "chat", "--sessions", "3", "--as-fast-as-possible"}),
            kExitVerificationFailed);
  EXPECT_THAT(output_, HasSubstr("WRONG: block " + keys[0].ToHex() + " differs from its content at byte"));
  EXPECT_THAT(output_, HasSubstr("FAILED     wrong bytes"));
  EXPECT_GT(Report()["verification"]["by_kind"]["fetched bytes"], 0);
  EXPECT_EQ(Report()["exit_code"], kExitVerificationFailed);
}

TEST_F(LoadProgramTest, InterruptEndsWithTheReportSoFar) {
  ServerProcess server({"--data-dir", Path("data")});
  const auto load = StartLoad(server.target(), {"--workload", "chat", "--sessions", "500", "--session-rate", "5"});
  ClientOptions options;
  options.target = server.target();
  const std::unique_ptr<KvClient> client = *KvClient::Create(options);
  ASSERT_TRUE(testing::Eventually([&] { return StoredBlocks(*client) > 0; })) << load->output();
  load->Signal(SIGINT);
  EXPECT_EQ(load->Wait(), kExitOk) << load->output();
  EXPECT_THAT(load->output(), HasSubstr(", interrupted"));
  const Json report = Report();
  EXPECT_EQ(report["interrupted"], true);
  EXPECT_GT(report["requests"]["finished"], 0);
  EXPECT_LT(report["requests"]["finished"], report["requests"]["in_workload"]);
}

TEST_F(LoadProgramTest, HitRatioBelowTheRequiredEndsWithCode4) {
  ServerProcess server({"--data-dir", Path("data")});
  const Flags flags{"--workload",          "chat", "--sessions", "3", "--as-fast-as-possible", "--ordered",
                    "--require-hit-ratio", "0.99"};
  EXPECT_EQ(Load(server.target(), flags), kExitHitRatioTooLow);
  EXPECT_THAT(output_, HasSubstr("is below the required 99.00 %"));
}

TEST_F(LoadProgramTest, NoServerEndsWithCode3) {
  EXPECT_EQ(Load("127.0.0.1:1", {"--workload", "chat", "--connect-timeout-ms", "300"}), kExitNoServer);
  EXPECT_THAT(output_, HasSubstr("cannot use the server 127.0.0.1:1"));
  EXPECT_FALSE(std::filesystem::exists(Path("report.json")));
}

TEST_F(LoadProgramTest, NamespaceOfAnotherGeometryEndsWithCode3) {
  ServerProcess server({"--data-dir", Path("data")});
  const Flags flags{"--workload", "chat", "--requests", "1", "--namespace", "mine"};
  ASSERT_EQ(Load(server.target(), flags), kExitOk) << output_;
  Flags other = flags;
  other.insert(other.end(), {"--layers", "2"});
  EXPECT_EQ(Load(server.target(), other), kExitNoServer);
  EXPECT_THAT(output_, HasSubstr("layers"));
}

TEST_F(LoadProgramTest, BadTraceEndsWithCode2AndNamesTheLine) {
  std::ofstream(Path("trace.jsonl")) << "{\"timestamp\": 0}\n";
  EXPECT_EQ(Load("127.0.0.1:1", {"--workload", Path("trace.jsonl")}), kExitUsage);
  EXPECT_THAT(output_, HasSubstr("trace.jsonl: line 1: no \"input_length\""));
}

TEST_F(LoadProgramTest, CudaWithoutADeviceEndsWithCode2AndSaysWhatIsMissing) {
  if (WhyNoCuda().empty()) GTEST_SKIP() << "there is a CUDA device here";
  EXPECT_EQ(Load("127.0.0.1:1", {"--workload", "chat", "--duration", "1", "--device", "cuda"}), kExitUsage);
  EXPECT_THAT(output_, HasSubstr("polarkv-load: --device cuda: " + WhyNoCuda() + ". With --device auto the CPU does it\n"));
}

TEST_F(LoadProgramTest, UnwritableReportIsToldBeforeTheRun) {
  ChildProcess load("polarkv-load",
                    {"--server", "127.0.0.1:1", "--workload", "chat", "--report", Path("no/such/report.json")},
                    Path("load.log"));
  EXPECT_EQ(load.Wait(), kExitUsage);
  EXPECT_THAT(load.output(), HasSubstr("No such file or directory"));
}

}  // namespace
}  // namespace polarkv::load
