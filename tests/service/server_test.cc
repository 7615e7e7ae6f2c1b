// A whole server in this process: what makes it refuse to start, how it stops, what it says.
#include "service/server.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "polarkv/v1/kv_store.grpc.pb.h"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "tests/service/service_fixture.h"
#include "tests/service/temporary_directory.h"
#include "tests/testing/thread_sanitizer.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;

// The standard health service's messages have no headers in Debian; they are simple enough: the answer is field 1.
std::string CheckHealth(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  const grpc::Slice empty;
  const auto rpc = stub.PrepareUnaryCall(&call, "/grpc.health.v1.Health/Check", grpc::ByteBuffer(&empty, 1), &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  rpc->StartCall();
  rpc->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) return status.error_message();
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok() || slices.empty()) return "";
  return std::string(slices.front().begin(), slices.front().end());
}
constexpr char kServing[] = "\x08\x01";

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    options_.listen = "127.0.0.1:0";
    options_.data_dir = place_.path() + "/data";
    options_.memory_budget = 16 << 20;
    options_.disk_budget = 64 << 20;
    options_.drain_timeout = std::chrono::milliseconds(3000);
  }
  std::string WhyNot(const ServerOptions& options) {
    const auto server = Server::Start(options);
    return server.ok() ? "it started" : std::string(server.status().message());
  }
  static std::shared_ptr<grpc::Channel> ChannelTo(const Server& server) {
    return grpc::CreateChannel("127.0.0.1:" + std::to_string(server.port()), grpc::InsecureChannelCredentials());
  }
  // Opens ServiceDescriptor() and stores `count` blocks of chain 1 as single frames.
  static int StoreSome(const std::shared_ptr<grpc::Channel>& channel, uint32_t count) {
    const auto stub = v1::KvStore::NewStub(channel);
    grpc::ClientContext open;
    v1::OpenNamespaceRequest request;
    *request.mutable_namespace_descriptor() = DescriptorToProto(ServiceDescriptor()).value();
    v1::OpenNamespaceResponse response;
    EXPECT_TRUE(stub->OpenNamespace(&open, request, &response).ok());
    grpc::ClientContext call;
    const StoreCall stream = stub->Store(&call);
    for (uint32_t i = 0; i < count; ++i) stream->Write(ChainFrames(1, i).front());
    stream->WritesDone();
    int stored = 0;
    for (v1::StoreAck ack; stream->Read(&ack);) stored += ack.status() == v1::STORE_STATUS_STORED;
    stream->Finish();
    return stored;
  }
  static v1::MatchPrefixResponse Match(const std::shared_ptr<grpc::Channel>& channel, uint32_t count) {
    grpc::ClientContext call;
    v1::MatchPrefixRequest request;
    request.set_fingerprint(ServiceFingerprint());
    request.set_keys(PackKeys(ChainKeys(1, count)));
    v1::MatchPrefixResponse response;
    EXPECT_TRUE(v1::KvStore::NewStub(channel)->MatchPrefix(&call, request, &response).ok());
    return response;
  }

  TemporaryDirectory place_;
  ServerOptions options_;
};

TEST_F(ServerTest, SaysWhereItListensAndWhatItFound) {
  auto server = Server::Start(options_).value();
  const std::string line = server->StartLine();
  EXPECT_THAT(line, HasSubstr("127.0.0.1:" + std::to_string(server->port())));
  EXPECT_THAT(line, HasSubstr("memory 16.0 MiB"));
  EXPECT_THAT(line, HasSubstr("disk 64.0 MiB in " + options_.data_dir));
  EXPECT_THAT(line, HasSubstr("0 blocks (0 B) found, none lost"));
  options_.data_dir = "";
  EXPECT_THAT(Server::Start(options_).value()->StartLine(), HasSubstr("memory alone"));
}

TEST_F(ServerTest, NamespacesAndBlocksSurviveAShutdown) {
  auto server = Server::Start(options_).value();
  EXPECT_EQ(StoreSome(ChannelTo(*server), 20), 20);
  EXPECT_TRUE(server->Shutdown().ok());
  server = Server::Start(options_).value();
  EXPECT_THAT(server->StartLine(), HasSubstr("20 blocks"));
  EXPECT_EQ(Match(ChannelTo(*server), 21).matched_blocks(), 20u);
}

TEST_F(ServerTest, ANamespaceThatWasDeletedAndMadeAnewHasNoOldBlocks) {
  auto server = Server::Start(options_).value();
  StoreSome(ChannelTo(*server), 5);
  grpc::ClientContext call;
  v1::DeleteRequest request;
  request.set_fingerprint(ServiceFingerprint());
  request.set_whole_namespace(true);
  v1::DeleteResponse response;
  ASSERT_TRUE(v1::KvStore::NewStub(ChannelTo(*server))->Delete(&call, request, &response).ok());
  EXPECT_EQ(response.deleted_blocks(), 5u);
  ASSERT_TRUE(server->Shutdown().ok());
  server = Server::Start(options_).value();
  StoreSome(ChannelTo(*server), 0);
  EXPECT_EQ(Match(ChannelTo(*server), 5).matched_blocks(), 0u);
}

TEST_F(ServerTest, ReopeningANameWithAnotherDescriptorFailsAfterARestartToo) {
  auto server = Server::Start(options_).value();
  StoreSome(ChannelTo(*server), 0);
  ASSERT_TRUE(server->Shutdown().ok());
  server = Server::Start(options_).value();
  grpc::ClientContext call;
  v1::OpenNamespaceRequest request;
  *request.mutable_namespace_descriptor() = DescriptorToProto(ServiceDescriptor()).value();
  request.mutable_namespace_descriptor()->set_model("another-model");
  v1::OpenNamespaceResponse response;
  const grpc::Status status = v1::KvStore::NewStub(ChannelTo(*server))->OpenNamespace(&call, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("model:"));
}

TEST_F(ServerTest, HealthServesUntilItStops) {
  auto server = Server::Start(options_).value();
  const auto channel = ChannelTo(*server);
  EXPECT_EQ(CheckHealth(channel), kServing);
  ASSERT_TRUE(server->Shutdown().ok());
  EXPECT_NE(CheckHealth(channel), kServing);
}

TEST_F(ServerTest, ReflectionNamesTheService) {
  const auto server = Server::Start(options_).value();
  const auto channel = ChannelTo(*server);
  grpc::ClientContext call;
  const grpc::internal::RpcMethod method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                         grpc::internal::RpcMethod::BIDI_STREAMING, channel);
  using Stream = grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;
  const std::unique_ptr<Stream> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(channel.get(), method, &call));
  const grpc::Slice list_services(std::string("\x3a\x00", 2));
  ASSERT_TRUE(stream->Write(grpc::ByteBuffer(&list_services, 1)));
  grpc::ByteBuffer answer;
  ASSERT_TRUE(stream->Read(&answer));
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(answer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices) text.append(slice.begin(), slice.end());
  EXPECT_THAT(text, HasSubstr("polarkv.v1.KvStore"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ServerTest, AReadThatIsRunningEndsBeforeTheServerStops) {
  options_.drain_timeout = std::chrono::minutes(2);  // more than the read takes on any machine
  auto server = Server::Start(options_).value();
  const auto channel = ChannelTo(*server);
  ASSERT_EQ(StoreSome(channel, 1), 1);
  v1::FetchRequest request = FetchOf(1, 0);
  constexpr int kBlocks = 3000;
  request.set_keys(PackKeys(std::vector<BlockKey>(kBlocks, ChainKey(1, 0))));
  grpc::ClientContext call;
  const auto stub = v1::KvStore::NewStub(channel);
  const auto stream = stub->Fetch(&call, request);
  v1::BlockFrame frame;
  ASSERT_TRUE(stream->Read(&frame));
  std::thread stopping([&] { EXPECT_TRUE(server->Shutdown().ok()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  int frames = 1;
  while (stream->Read(&frame)) frames += frame.status() == v1::BLOCK_STATUS_OK;
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(frames, kBlocks);
  stopping.join();
}

TEST_F(ServerTest, AReadThatNeverEndsIsCutAtTheDrainTimeout) {
  options_.drain_timeout = std::chrono::milliseconds(300);
  auto server = Server::Start(options_).value();
  const auto channel = ChannelTo(*server);
  ASSERT_EQ(StoreSome(channel, 1), 1);
  v1::FetchRequest request = FetchOf(1, 0);
  request.set_keys(PackKeys(std::vector<BlockKey>(16000, ChainKey(1, 0))));
  grpc::ClientContext call;
  const auto stub = v1::KvStore::NewStub(channel);
  const auto stream = stub->Fetch(&call, request);
  v1::BlockFrame frame;
  ASSERT_TRUE(stream->Read(&frame));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(server->Shutdown().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  while (stream->Read(&frame)) continue;
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(ServerTest, APortInUseIsSaidSo) {
  const auto server = Server::Start(options_).value();
  ServerOptions other = options_;
  other.data_dir = "";
  other.listen = "127.0.0.1:" + std::to_string(server->port());
  EXPECT_THAT(WhyNot(other), HasSubstr("Address already in use"));
  EXPECT_THAT(WhyNot(other), HasSubstr(other.listen));
  other.listen = "not an address";
  EXPECT_THAT(WhyNot(other), HasSubstr("cannot listen on not an address"));
}

TEST_F(ServerTest, ADataDirectoryOfARunningServerIsRefused) {
  const auto server = Server::Start(options_).value();
  EXPECT_THAT(WhyNot(options_), HasSubstr("is in use by another server (process " + std::to_string(::getpid())));
}

TEST_F(ServerTest, ADataDirectoryOfANewerVersionIsRefusedAndLeftAlone) {
  Server::Start(options_).value()->Shutdown().IgnoreError();
  std::ofstream(options_.data_dir + "/VERSION") << "7\n";
  EXPECT_THAT(WhyNot(options_), HasSubstr("newer polarkv (data version 7, this program reads up to 1)"));
  std::ofstream(options_.data_dir + "/VERSION") << "polar bear\n";
  EXPECT_THAT(WhyNot(options_), HasSubstr("not a version number"));
  std::filesystem::remove(options_.data_dir + "/VERSION");
  EXPECT_THAT(WhyNot(options_), HasSubstr("no VERSION file"));
  std::ofstream(options_.data_dir + "/VERSION") << "1\n";
  EXPECT_EQ(WhyNot(options_), "it started");
}

TEST_F(ServerTest, ADataDirectoryThatCannotBeMadeOrWrittenIsSaidSo) {
  std::ofstream(place_.path() + "/file") << "x";
  options_.data_dir = place_.path() + "/file";
  EXPECT_THAT(WhyNot(options_), HasSubstr("data directory " + options_.data_dir));
  if (kThreadSanitizer) GTEST_SKIP() << kForksWithThreads;
  // As a user who may not write there.
  const std::string path = place_.path() + "/readonly";
  std::filesystem::create_directory(path);
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  std::filesystem::permissions(place_.path(), std::filesystem::perms::all);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(9);
    const auto directory = DataDirectory::Open(path);
    ::_exit(absl::IsPermissionDenied(directory.status()) ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ServerTest, ADamagedIndexIsRefusedWithItsReason) {
  Server::Start(options_).value()->Shutdown().IgnoreError();
  std::ofstream(options_.data_dir + "/index/CURRENT", std::ios::trunc) << "nonsense";
  EXPECT_THAT(WhyNot(options_), HasSubstr("data directory " + options_.data_dir + ": index"));
}

TEST_F(ServerTest, BudgetsTooSmallToBeOfUseAreRefused) {
  options_.memory_budget = 1000;
  EXPECT_THAT(WhyNot(options_), HasSubstr("memory budget of 1000 bytes is too small"));
  options_.memory_budget = 16 << 20;
  options_.disk_budget = 0;
  EXPECT_THAT(WhyNot(options_), HasSubstr("disk budget of 0 bytes is too small"));
}

}  // namespace
}  // namespace polarkv::testing
