// A KvStore server in this process that does exactly what a test tells it: the faults that a real server must not have.
#ifndef POLARKV_TESTS_TESTING_FAKE_KV_SERVER_H_
#define POLARKV_TESTS_TESTING_FAKE_KV_SERVER_H_

#include <grpcpp/server.h>

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "codec/block_key.h"
#include "polarkv/v1/kv_store.grpc.pb.h"
#include "tests/testing/reserved_port.h"

namespace polarkv::testing {

using FrameWriter = grpc::ServerWriter<v1::BlockFrame>;
using StoreStream = grpc::ServerReaderWriter<v1::StoreAck, v1::BlockFrame>;

// What to do on each rpc. Unset: UNIMPLEMENTED, except that namespaces are opened as a good server does. Set before the
// first call; called from gRPC's threads.
struct FakeBehaviour {
  std::function<grpc::Status(const v1::OpenNamespaceRequest&, v1::OpenNamespaceResponse*)> open;
  std::function<grpc::Status(v1::ListNamespacesResponse*)> list;
  std::function<grpc::Status(const v1::MatchPrefixRequest&, v1::MatchPrefixResponse*)> match;
  std::function<grpc::Status(grpc::ServerContext*, const v1::FetchRequest&, FrameWriter*)> fetch;
  std::function<grpc::Status(grpc::ServerContext*, StoreStream*)> store;
  std::function<grpc::Status(const v1::BatchExistsRequest&, v1::BatchExistsResponse*)> exists;
  std::function<grpc::Status(const v1::DeleteRequest&, v1::DeleteResponse*)> drop;
  std::function<grpc::Status(const v1::ReleaseLeaseRequest&)> release;
  std::function<grpc::Status(v1::StatsResponse*)> stats;

  // Limits that OpenNamespace gives; 0: none given.
  uint64_t max_block_bytes = 0;
  uint32_t max_keys_per_request = 0;
  uint32_t max_frame_bytes = 0;
};

class FakeKvServer {
 public:
  // Listens on a free loopback port at once.
  explicit FakeKvServer(FakeBehaviour behaviour);
  ~FakeKvServer();

  std::string target() const { return "127.0.0.1:" + std::to_string(port_.number()); }
  int opens() const;  // namespaces opened so far

  // Cuts every stream and connection.
  void Stop();
  // On the same port.
  void Restart();

 private:
  class Service;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  const ReservedPort port_;
};

// A frame of a whole-block fetch: `block_index` in the request, bytes [offset, offset + length) of `block`.
v1::BlockFrame FetchFrame(uint32_t block_index, const BlockKey& key, std::span<const uint8_t> block, uint64_t offset,
                          uint64_t length);
// The whole block in one frame.
v1::BlockFrame WholeFrame(uint32_t block_index, const BlockKey& key, std::span<const uint8_t> block);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_TESTING_FAKE_KV_SERVER_H_
