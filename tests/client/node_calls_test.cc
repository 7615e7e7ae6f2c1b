// Opening namespaces, lists, statistics; servers that are not there, go away and come back.
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "tests/client/client_over_fake.h"
#include "tests/testing/block_chain.h"

namespace polarkv::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

NamespaceHandle Namespace() {
  const NamespaceDescriptor descriptor = SmallDescriptor();
  return {descriptor, NamespaceFingerprint(descriptor)};
}

struct BadOption {
  const char* word;
  std::function<void(ClientOptions&)> spoil;
};

class BadOptions : public ::testing::TestWithParam<BadOption> {};

TEST_P(BadOptions, AreRefusedByName) {
  ClientOptions options;
  GetParam().spoil(options);
  const absl::Status status = KvClient::Create(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().word));
}

INSTANTIATE_TEST_SUITE_P(All, BadOptions,
                         ::testing::Values(BadOption{"target", [](auto& o) { o.target = ""; }},
                                           BadOption{"deadline", [](auto& o) { o.deadline = milliseconds(0); }},
                                           BadOption{"deadline", [](auto& o) { o.deadline = milliseconds::max(); }},
                                           BadOption{"backoff", [](auto& o) { o.backoff_initial = milliseconds(0); }},
                                           BadOption{"backoff", [](auto& o) { o.backoff_max = milliseconds(1); }},
                                           BadOption{"backoff", [](auto& o) { o.backoff_max = milliseconds::max(); }},
                                           BadOption{"channels", [](auto& o) { o.channels = 0; }},
                                           BadOption{"channels", [](auto& o) { o.channels = 17; }},
                                           BadOption{"frame_bytes", [](auto& o) { o.frame_bytes = 4095; }},
                                           BadOption{"frame_bytes",
                                                     [](auto& o) { o.frame_bytes = 4 * 1024 * 1024 + 1; }}));

TEST(OpenNamespace, GivesTheFingerprintAndSurvivesAServerThatIsBusyAtFirst) {
  std::atomic<int> calls{0};
  FakeBehaviour behaviour;
  behaviour.open = [&](const v1::OpenNamespaceRequest& request, v1::OpenNamespaceResponse* response) {
    if (++calls < 4) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting");
    const NamespaceDescriptor descriptor = DescriptorFromProto(request.namespace_descriptor()).value();
    response->set_fingerprint(PackFingerprint(NamespaceFingerprint(descriptor)));
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  const absl::StatusOr<NamespaceHandle> ns = over->OpenNamespace(SmallDescriptor());
  ASSERT_TRUE(ns.ok()) << ns.status();
  EXPECT_EQ(ns->fingerprint, NamespaceFingerprint(SmallDescriptor()));
  EXPECT_EQ(ns->descriptor, SmallDescriptor());
  EXPECT_EQ(calls, 4);
}

TEST(OpenNamespace, PassesOnWhichFieldDiffersAndWhoSaysSo) {
  FakeBehaviour behaviour;
  behaviour.open = [](const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "layers: 32 here, 28 offered");
  };
  ClientOverFake over(std::move(behaviour));
  const absl::Status status = over->OpenNamespace(SmallDescriptor()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("layers: 32 here"), HasSubstr("open namespace"), HasSubstr(over.server.target())));
}

TEST(OpenNamespace, AnotherFingerprintIsDataLoss) {
  for (const std::string& fingerprint : {std::string(32, 'x'), std::string(), std::string(31, 'x')}) {
    FakeBehaviour behaviour;
    behaviour.open = [&](const auto&, v1::OpenNamespaceResponse* response) {
      response->set_fingerprint(fingerprint);
      return grpc::Status::OK;
    };
    ClientOverFake over(std::move(behaviour));
    EXPECT_EQ(over->OpenNamespace(SmallDescriptor()).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(OpenNamespace, AnInvalidDescriptorIsNotSent) {
  ClientOverFake over{FakeBehaviour()};
  NamespaceDescriptor descriptor = SmallDescriptor();
  descriptor.layers = 0;
  EXPECT_EQ(over->OpenNamespace(descriptor).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(over.server.opens(), 0);
}

TEST(ListNamespaces, TellsWhichOnesThisClientCannotUse) {
  FakeBehaviour behaviour;
  behaviour.list = [](v1::ListNamespacesResponse* response) {
    for (int i = 0; i < 3; ++i) {
      v1::ListNamespacesResponse::Entry* entry = response->add_namespaces();
      *entry->mutable_namespace_descriptor() = DescriptorToProto(SmallDescriptor()).value();
      entry->set_fingerprint(PackFingerprint(Namespace().fingerprint));
      entry->set_blocks(7);
      entry->set_bytes(7000);
    }
    response->mutable_namespaces(1)->mutable_namespace_descriptor()->set_codec("turbo9");
    response->mutable_namespaces(2)->set_fingerprint("short");
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  const std::vector<NamespaceInfo> namespaces = over->ListNamespaces().value();
  ASSERT_EQ(namespaces.size(), 3u);
  EXPECT_EQ(namespaces[0].problem, "");
  EXPECT_EQ(namespaces[0].descriptor, SmallDescriptor());
  EXPECT_EQ(namespaces[0].blocks, 7u);
  EXPECT_EQ(namespaces[0].bytes, 7000u);
  EXPECT_THAT(namespaces[1].problem, HasSubstr("turbo9"));
  EXPECT_EQ(namespaces[1].descriptor.name, SmallDescriptor().name);
  EXPECT_EQ(namespaces[1].blocks, 7u);
  EXPECT_THAT(namespaces[2].problem, HasSubstr("fingerprint"));
}

TEST(Stats, NamesEveryCounterInTheProtosOrder) {
  FakeBehaviour behaviour;
  behaviour.stats = [](v1::StatsResponse* response) {
    response->set_version("1.2.3");
    response->set_memory_bytes(77);
    return grpc::Status::OK;
  };
  ClientOverFake over(std::move(behaviour));
  const ServerStats stats = over->Stats().value();
  EXPECT_EQ(stats.version, "1.2.3");
  ASSERT_EQ(static_cast<int>(stats.values.size()), v1::StatsResponse::descriptor()->field_count() - 1);
  EXPECT_EQ(stats.values[0].first, "uptime_ms");
  EXPECT_THAT(stats.values[2], Pair("memory_bytes", 77));
}

// Every call, as one that takes a deadline and gives a status.
struct AnyCall {
  const char* name;
  std::function<absl::Status(KvClient&, milliseconds)> call;
};

const std::vector<AnyCall>& AllCalls() {
  static const auto* chain = new BlockChain(SmallDescriptor(), 1, 9);
  static const auto* calls = new std::vector<AnyCall>{
      {"OpenNamespace", [](auto& c, auto d) { return c.OpenNamespace(SmallDescriptor(), d).status(); }},
      {"ListNamespaces", [](auto& c, auto d) { return c.ListNamespaces(d).status(); }},
      {"Match", [](auto& c, auto d) { return c.Match(chain->ns, chain->keys, {}, d).status(); }},
      {"Fetch",
       [](auto& c, auto d) {
         FetchBuffers buffers(1, FetchBytes(SmallDescriptor()).value());
         return c.Fetch(chain->ns, chain->keys, {}, buffers.slots, /*lease_id=*/5, d);
       }},
      {"Store",
       [](auto& c, auto d) {
         std::vector<StoreOutcome> outcomes(1);
         return c.Store(chain->ns, chain->Items(), outcomes, d);
       }},
      {"StoreTensors",
       [](auto& c, auto d) {
         std::vector<StoreOutcome> outcomes(1);
         return c.StoreTensors(chain->ns, chain->keys, {}, 0, chain->KeyTensor(), chain->ValueTensor(), outcomes, 0, d);
       }},
      {"Exists", [](auto& c, auto d) { return c.Exists(chain->ns, chain->keys, d).status(); }},
      {"Delete", [](auto& c, auto d) { return c.Delete(chain->ns, chain->keys, d).status(); }},
      {"DeleteNamespace", [](auto& c, auto d) { return c.DeleteNamespace(chain->ns, d).status(); }},
      {"ReleaseLease", [](auto& c, auto d) { return c.ReleaseLease(5, d); }},
      {"Stats", [](auto& c, auto d) { return c.Stats(d).status(); }}};
  return *calls;
}

class EveryCall : public ::testing::TestWithParam<AnyCall> {};

TEST_P(EveryCall, IsBoundedByItsDeadlineWhenNobodyListens) {
  const auto client = KvClient::Create(QuickOptions("127.0.0.1:1")).value();
  const Stopwatch stopwatch;
  const absl::Status status = GetParam().call(*client, milliseconds(200));
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) << status;
  EXPECT_GE(stopwatch.Elapsed(), milliseconds(90));  // it did try for a while
  EXPECT_LT(stopwatch.Elapsed(), kBounded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1:1"));
}

TEST_P(EveryCall, FailsAtOnceWhenItsDeadlineHasPassed) {
  ClientOverFake over{FakeBehaviour()};
  const Stopwatch stopwatch;
  EXPECT_EQ(GetParam().call(*over.client, milliseconds(-1)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(stopwatch.Elapsed(), kBounded);
  EXPECT_EQ(over.server.opens(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, EveryCall, ::testing::ValuesIn(AllCalls()),
                         [](const auto& call) { return std::string(call.param.name); });

TEST(Reconnect, ASilentAddressIsBoundedByTheDeadline) {
  // A name that does not resolve.
  const auto client = KvClient::Create(QuickOptions("no-such-host.invalid:7070")).value();
  const Stopwatch stopwatch;
  EXPECT_FALSE(client->Stats(milliseconds(300)).ok());
  EXPECT_LT(stopwatch.Elapsed(), kBounded);
}

TEST(Reconnect, ACallInFlightWaitsForTheServerToComeBack) {
  FakeBehaviour behaviour;
  behaviour.stats = [](v1::StatsResponse*) { return grpc::Status::OK; };
  ClientOverFake over(std::move(behaviour));
  ASSERT_TRUE(over->Stats().ok());
  for (int round = 0; round < 3; ++round) {
    over.server.Stop();
    EXPECT_FALSE(over->Stats(milliseconds(100)).ok());
    std::thread restart([&] {
      std::this_thread::sleep_for(milliseconds(200));
      over.server.Restart();
    });
    const Stopwatch stopwatch;
    const absl::Status status = over->Stats().status();
    restart.join();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_LT(stopwatch.Elapsed(), kBounded);
  }
}

TEST(Reconnect, ManyThreadsOnManyChannelsGetTheirOwnAnswers) {
  static const BlockChain chain(SmallDescriptor(), 4, 10);
  FakeBehaviour behaviour;
  std::atomic<int> calls{0};
  behaviour.fetch = [&](grpc::ServerContext*, const v1::FetchRequest& request, FrameWriter* writer) {
    // Every third stream breaks after a block.
    const bool breaks = ++calls % 3 == 0;
    const std::vector<BlockKey> keys = UnpackKeys(request.keys()).value();
    for (uint32_t i = 0; i < keys.size(); ++i) {
      const size_t at =
          static_cast<size_t>(std::find(chain.keys.begin(), chain.keys.end(), keys[i]) - chain.keys.begin());
      writer->Write(WholeFrame(i, keys[i], chain.blocks[at]));
      if (breaks) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
    }
    return grpc::Status::OK;
  };
  FakeKvServer server(std::move(behaviour));
  ClientOptions options = QuickOptions(server.target());
  options.channels = 4;
  const auto client = KvClient::Create(options).value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) {
        FetchBuffers buffers(4, FetchBytes(chain.ns.descriptor).value());
        const absl::Status status = client->Fetch(chain.ns, chain.keys, {}, buffers.slots);
        EXPECT_TRUE(status.ok()) << status;
        for (size_t i = 0; i < 4 && status.ok(); ++i) {
          ASSERT_EQ(buffers.slots[i].outcome, FetchOutcome::kOk);
          EXPECT_TRUE(SpanEquals(buffers.slots[i].view[0].bytes(), chain.blocks[i]));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace polarkv::testing
