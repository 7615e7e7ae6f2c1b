// The program: flags, exit codes, signals, and being killed under load.
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polarkv/v1/kv_store.grpc.pb.h"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "tests/service/server_process.h"
#include "tests/service/service_fixture.h"
#include "tests/service/temporary_directory.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

class ServerProcessTest : public ::testing::Test {
 protected:
  std::vector<std::string> Flags(std::vector<std::string> more = {}) {
    std::filesystem::remove(PortFile());
    std::vector<std::string> flags = {"--listen",   "127.0.0.1:0", "--port-file",     PortFile(), "--data-dir",
                                      DataDir(),    "--memory-budget", "8MiB",        "--disk-budget", "64MiB"};
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  }
  std::string PortFile() const { return place_.path() + "/port"; }
  std::string DataDir() const { return place_.path() + "/data"; }
  std::unique_ptr<v1::KvStore::Stub> StubOf(ServerProcess& server) {
    const int port = server.WaitForPort(PortFile());
    EXPECT_GT(port, 0) << server.Output();
    return v1::KvStore::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  }
  static void OpenNamespace(v1::KvStore::Stub& stub) {
    grpc::ClientContext call;
    v1::OpenNamespaceRequest request;
    *request.mutable_namespace_descriptor() = DescriptorToProto(ServiceDescriptor()).value();
    v1::OpenNamespaceResponse response;
    ASSERT_TRUE(stub.OpenNamespace(&call, request, &response).ok());
  }
  // Stores chain after chain of ten blocks until the stream breaks or `enough` are acknowledged.
  static uint32_t StoreChains(v1::KvStore::Stub& stub, uint32_t first_chain, uint32_t enough) {
    grpc::ClientContext call;
    const StoreCall stream = stub.Store(&call);
    std::atomic<uint32_t> stored{0};
    std::thread reader([&] {
      for (v1::StoreAck ack; stream->Read(&ack);) stored += ack.status() == v1::STORE_STATUS_STORED;
    });
    for (uint32_t i = 0; i < enough; ++i) {
      if (!stream->Write(ChainFrames(first_chain + i / 10, i % 10).front())) break;
    }
    stream->WritesDone();
    reader.join();
    stream->Finish();
    return stored;
  }
  struct Found {
    uint32_t right = 0;
    uint32_t wrong = 0;
    std::map<v1::BlockStatus, uint32_t> missing;
  };
  static Found FetchChains(v1::KvStore::Stub& stub, uint32_t first_chain, uint32_t chains) {
    Found found;
    for (uint32_t chain = first_chain; chain < first_chain + chains; ++chain) {
      grpc::ClientContext call;
      const auto stream = stub.Fetch(&call, FetchOf(chain, 10));
      for (v1::BlockFrame frame; stream->Read(&frame);) {
        if (frame.status() != v1::BLOCK_STATUS_OK) {
          ++found.missing[frame.status()];
          continue;
        }
        const uint32_t index = frame.block_index();
        const std::vector<uint8_t> expected = SealedBlock(ServiceDescriptor(), ChainKey(chain, index), index);
        ++(frame.body() == std::string(expected.begin(), expected.end()) ? found.right : found.wrong);
      }
      EXPECT_TRUE(stream->Finish().ok());
    }
    return found;
  }

  TemporaryDirectory place_;
};

TEST_F(ServerProcessTest, HelpAndVersionAreAnswered) {
  ServerProcess help({"--help"});
  EXPECT_EQ(help.Wait(), 0);
  EXPECT_THAT(help.Output(), HasSubstr("--memory-budget"));
  ServerProcess version({"--version"});
  EXPECT_EQ(version.Wait(), 0);
  EXPECT_THAT(version.Output(), HasSubstr(POLARKV_VERSION));
}

TEST_F(ServerProcessTest, WrongFlagsAreNamed) {
  ServerProcess unknown({"--frobnicate"});
  EXPECT_EQ(unknown.Wait(), 2);
  EXPECT_THAT(unknown.Output(), HasSubstr("--frobnicate"));
  for (const char* listen : {"127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http"}) {
    ServerProcess address({"--listen", listen});
    EXPECT_EQ(address.Wait(), 2);
    EXPECT_THAT(address.Output(), HasSubstr("has no port from 0 to 65535"));
  }
  std::ofstream(place_.path() + "/wrong.toml") << "memory-bugdet = \"32MiB\"\n";
  ServerProcess misspelt({"--config", place_.path() + "/wrong.toml"});
  EXPECT_EQ(misspelt.Wait(), 2);
  EXPECT_THAT(misspelt.Output(), HasSubstr("memory-bugdet"));
  ServerProcess size({"--disk-budget", "lots"});
  EXPECT_EQ(size.Wait(), 2);
  EXPECT_THAT(size.Output(), HasSubstr("--disk-budget: \"lots\" is not a size"));
  ServerProcess time({"--max-lease", "soon"});
  EXPECT_EQ(time.Wait(), 2);
  EXPECT_THAT(time.Output(), HasSubstr("--max-lease: \"soon\" is not a time"));
  ServerProcess long_time({"--drain-timeout", "10000000h"});
  EXPECT_EQ(long_time.Wait(), 2);
  EXPECT_THAT(long_time.Output(), HasSubstr("--drain-timeout: \"10000000h\" is too long"));
}

TEST_F(ServerProcessTest, ReadsAConfigurationFileAndTheCommandLineWins) {
  std::ofstream(place_.path() + "/config.toml") << "listen = \"127.0.0.1:0\"\nmemory-budget = \"32MiB\"\n"
                                                   "disk-budget = \"128MiB\"\n";
  ServerProcess server({"--config", place_.path() + "/config.toml", "--data-dir", DataDir(), "--disk-budget", "96MiB",
                        "--port-file", PortFile()});
  ASSERT_GT(server.WaitForPort(PortFile()), 0) << server.Output();
  EXPECT_THAT(server.Output(), HasSubstr("memory 32.0 MiB; disk 96.0 MiB"));
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait(), 0);
  ServerProcess missing({"--config", place_.path() + "/nowhere.toml"});
  EXPECT_EQ(missing.Wait(), 2);
  EXPECT_THAT(missing.Output(), HasSubstr("nowhere.toml"));
}

TEST_F(ServerProcessTest, ReportsAPortInUseAndALockedDirectory) {
  ServerProcess first(Flags());
  const int port = first.WaitForPort(PortFile());
  ServerProcess same_port({"--listen", "127.0.0.1:" + std::to_string(port)});
  EXPECT_EQ(same_port.Wait(), 1);
  EXPECT_THAT(same_port.Output(), HasSubstr("Address already in use"));
  ServerProcess same_directory({"--listen", "127.0.0.1:0", "--data-dir", DataDir()});
  EXPECT_EQ(same_directory.Wait(), 1);
  EXPECT_THAT(same_directory.Output(),
              HasSubstr("is in use by another server (process " + std::to_string(first.pid()) + ")"));
}

TEST_F(ServerProcessTest, SigtermWritesEverything) {
  {
    ServerProcess server(Flags());
    const auto stub = StubOf(server);
    OpenNamespace(*stub);
    EXPECT_EQ(StoreChains(*stub, 0, 500), 500u);
    server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(), 0);
    EXPECT_THAT(server.Output(), HasSubstr("stopped\n"));
  }
  ServerProcess server(Flags());
  const auto stub = StubOf(server);
  EXPECT_THAT(server.Output(), HasSubstr("500 blocks"));
  EXPECT_THAT(server.Output(), HasSubstr("none lost"));
  const Found found = FetchChains(*stub, 0, 50);
  EXPECT_EQ(found.right, 500u);
  EXPECT_EQ(found.wrong, 0u);
}

TEST_F(ServerProcessTest, KilledUnderLoadItComesBackWithNoWrongByte) {
  uint32_t chain = 0;
  for (int round = 0; round < 4; ++round) {
    const uint32_t first = chain;
    uint32_t stored = 0;
    {
      ServerProcess server(Flags());
      const auto stub = StubOf(server);
      OpenNamespace(*stub);
      std::thread killer([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100 + 60 * round));
        server.Signal(SIGKILL);
      });
      while (true) {
        const uint32_t now = StoreChains(*stub, chain, 200);
        stored += now;
        chain += 20;
        if (now < 200) break;
      }
      killer.join();
      EXPECT_EQ(server.Wait(), -SIGKILL);
    }
    ServerProcess server(Flags());
    const auto stub = StubOf(server);
    EXPECT_THAT(server.Output(), HasSubstr("it was not shut down properly"));
    const Found found = FetchChains(*stub, first, chain - first);
    EXPECT_EQ(found.wrong, 0u);
    EXPECT_EQ(found.missing.count(v1::BLOCK_STATUS_CORRUPT), 0u);
    grpc::ClientContext call;
    v1::StatsResponse stats;
    ASSERT_TRUE(stub->Stats(&call, {}, &stats).ok());
    // Everything acknowledged is here, was evicted, or is counted as lost.
    if (stored < 1000) {
      EXPECT_GE(found.right + stats.lost_blocks(), stored);
    }
    server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(), 0);
  }
}

TEST_F(ServerProcessTest, AFileSizeLimitIsAFullDisk) {
  ServerProcess server(Flags(), [] {
    const rlimit limit = {2 << 20, 2 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  });
  const auto stub = StubOf(server);
  OpenNamespace(*stub);
  EXPECT_EQ(StoreChains(*stub, 0, 600), 600u);
  const Found last = FetchChains(*stub, 50, 10);
  EXPECT_EQ(last.right, 100u);
  EXPECT_EQ(last.wrong, 0u);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_THAT(server.Output(), HasSubstr("File too large; going on with the"));
}

}  // namespace
}  // namespace polarkv::testing
