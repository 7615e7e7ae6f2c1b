#include "tests/testing/fake_kv_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <stdexcept>

#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "proto/status_conversion.h"

namespace polarkv::testing {

class FakeKvServer::Service final : public v1::KvStore::Service {
 public:
  explicit Service(FakeBehaviour behaviour) : behaviour_(std::move(behaviour)) {}
  int opens() const { return opens_; }

  grpc::Status OpenNamespace(grpc::ServerContext*, const v1::OpenNamespaceRequest* request,
                             v1::OpenNamespaceResponse* response) override {
    ++opens_;
    if (behaviour_.open) return behaviour_.open(*request, response);
    const absl::StatusOr<NamespaceDescriptor> descriptor = DescriptorFromProto(request->namespace_descriptor());
    if (!descriptor.ok()) return ToGrpcStatus(descriptor.status());
    response->set_fingerprint(PackFingerprint(NamespaceFingerprint(*descriptor)));
    response->set_max_block_bytes(behaviour_.max_block_bytes);
    response->set_max_keys_per_request(behaviour_.max_keys_per_request);
    response->set_max_frame_bytes(behaviour_.max_frame_bytes);
    return grpc::Status::OK;
  }
  grpc::Status ListNamespaces(grpc::ServerContext*, const v1::ListNamespacesRequest*,
                              v1::ListNamespacesResponse* response) override {
    return behaviour_.list ? behaviour_.list(response) : Unset();
  }
  grpc::Status MatchPrefix(grpc::ServerContext*, const v1::MatchPrefixRequest* request,
                           v1::MatchPrefixResponse* response) override {
    return behaviour_.match ? behaviour_.match(*request, response) : Unset();
  }
  grpc::Status Fetch(grpc::ServerContext* context, const v1::FetchRequest* request, FrameWriter* writer) override {
    return behaviour_.fetch ? behaviour_.fetch(context, *request, writer) : Unset();
  }
  grpc::Status Store(grpc::ServerContext* context, StoreStream* stream) override {
    return behaviour_.store ? behaviour_.store(context, stream) : Unset();
  }
  grpc::Status BatchExists(grpc::ServerContext*, const v1::BatchExistsRequest* request,
                           v1::BatchExistsResponse* response) override {
    return behaviour_.exists ? behaviour_.exists(*request, response) : Unset();
  }
  grpc::Status Delete(grpc::ServerContext*, const v1::DeleteRequest* request, v1::DeleteResponse* response) override {
    return behaviour_.drop ? behaviour_.drop(*request, response) : Unset();
  }
  grpc::Status ReleaseLease(grpc::ServerContext*, const v1::ReleaseLeaseRequest* request,
                            v1::ReleaseLeaseResponse*) override {
    return behaviour_.release ? behaviour_.release(*request) : Unset();
  }
  grpc::Status Stats(grpc::ServerContext*, const v1::StatsRequest*, v1::StatsResponse* response) override {
    return behaviour_.stats ? behaviour_.stats(response) : Unset();
  }

 private:
  static grpc::Status Unset() { return {grpc::StatusCode::UNIMPLEMENTED, "the test did not expect this call"}; }

  const FakeBehaviour behaviour_;
  std::atomic<int> opens_{0};
};

FakeKvServer::FakeKvServer(FakeBehaviour behaviour) : service_(std::make_unique<Service>(std::move(behaviour))) {
  Restart();
}

FakeKvServer::~FakeKvServer() { Stop(); }

int FakeKvServer::opens() const { return service_->opens(); }

void FakeKvServer::Stop() {
  if (server_) server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

void FakeKvServer::Restart() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(target(), grpc::InsecureServerCredentials());
  builder.RegisterService(service_.get());
  builder.SetMaxReceiveMessageSize(64 * 1024 * 1024);
  server_ = builder.BuildAndStart();
  if (!server_) throw std::runtime_error("the fake server cannot listen on " + target());
}

v1::BlockFrame FetchFrame(uint32_t block_index, const BlockKey& key, std::span<const uint8_t> block, uint64_t offset,
                          uint64_t length) {
  v1::BlockFrame frame;
  frame.set_block_index(block_index);
  frame.set_offset(offset);
  if (offset == 0) {
    frame.set_key(PackKey(key));
    frame.set_total_bytes(block.size());
  }
  frame.set_body(block.data() + offset, length);
  return frame;
}

v1::BlockFrame WholeFrame(uint32_t block_index, const BlockKey& key, std::span<const uint8_t> block) {
  return FetchFrame(block_index, key, block, 0, block.size());
}

}  // namespace polarkv::testing
