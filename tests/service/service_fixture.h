// A KvService over a given store, on a loopback port of this process.
#ifndef POLARKV_TESTS_SERVICE_SERVICE_FIXTURE_H_
#define POLARKV_TESTS_SERVICE_SERVICE_FIXTURE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "polarkv/v1/kv_store.grpc.pb.h"
#include "service/kv_service.h"
#include "tests/service/fault_injecting_store.h"
#include "tests/service/stored_block.h"

namespace polarkv::testing {

using StoreCall = std::unique_ptr<grpc::ClientReaderWriter<v1::BlockFrame, v1::StoreAck>>;

class ServiceFixture {
 public:
  explicit ServiceFixture(const ServiceLimits& limits = {}, uint64_t memory_budget = uint64_t{16} << 20);
  ~ServiceFixture();

  v1::KvStore::Stub& stub() { return *stub_; }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }
  FaultInjectingStore& store() { return *store_; }
  ServiceContext& context() { return *context_; }
  KvService& service() { return *service_; }

  // Opens ServiceDescriptor(); its fingerprint as bytes.
  std::string OpenNamespace();

  // Sends frames on one stream, closes it, and returns the acks. `status`: how the stream ended.
  std::vector<v1::StoreAck> Store(const std::vector<v1::BlockFrame>& frames, grpc::Status* status = nullptr);
  // Stores whole blocks 0 .. count-1 of a chain.
  void StoreChain(uint32_t chain, uint32_t count);

  v1::MatchPrefixResponse Match(uint32_t chain, uint32_t count, uint32_t lease_ms = 0);
  std::vector<v1::BlockFrame> Fetch(const v1::FetchRequest& request, grpc::Status* status = nullptr);

 private:
  std::unique_ptr<NamespaceRegistry> namespaces_;
  std::unique_ptr<FaultInjectingStore> store_;
  std::unique_ptr<ServiceContext> context_;
  std::unique_ptr<KvService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::KvStore::Stub> stub_;
};

// The fingerprint of ServiceDescriptor(), as bytes.
std::string ServiceFingerprint();

// Block `index` of a chain as frames of at most `frame_bytes` of body. Each stands for itself: the first carries the
// fingerprint.
std::vector<v1::BlockFrame> ChainFrames(uint32_t chain, uint32_t index, uint64_t frame_bytes = uint64_t{1} << 20);
// The same for given bytes under a given key.
std::vector<v1::BlockFrame> Frames(const BlockKey& key, const std::vector<uint8_t>& bytes, uint64_t frame_bytes);

v1::FetchRequest FetchOf(uint32_t chain, uint32_t count);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_SERVICE_FIXTURE_H_
