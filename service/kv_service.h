// polarkv.v1.KvStore over a BlockStore. The .proto documents what each rpc does.
#ifndef POLARKV_SERVICE_KV_SERVICE_H_
#define POLARKV_SERVICE_KV_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>

#include "polarkv/v1/kv_store.grpc.pb.h"
#include "service/service_context.h"
#include "service/store_stream.h"

namespace polarkv {

namespace kv_service_internal {

// Unary rpcs take messages; the two streams take bytes, so that bodies are neither parsed nor copied on the way.
using Unary = v1::KvStore::WithCallbackMethod_OpenNamespace<v1::KvStore::WithCallbackMethod_ListNamespaces<
    v1::KvStore::WithCallbackMethod_MatchPrefix<v1::KvStore::WithCallbackMethod_BatchExists<
        v1::KvStore::WithCallbackMethod_Delete<v1::KvStore::WithCallbackMethod_ReleaseLease<
            v1::KvStore::WithCallbackMethod_Stats<v1::KvStore::Service>>>>>>>;
using Rpcs = v1::KvStore::WithRawCallbackMethod_Fetch<v1::KvStore::WithRawCallbackMethod_Store<Unary>>;

}  // namespace kv_service_internal

class KvService final : public kv_service_internal::Rpcs {
 public:
  explicit KvService(ServiceContext& context) : context_(context), store_streams_(context) {}

  // No new blocks from now on; each Store stream ends after the block it is in.
  void Drain();
  // To be called now and then.
  void EndStalledStreams() { store_streams_.EndStalled(std::chrono::steady_clock::now()); }

  grpc::ServerUnaryReactor* OpenNamespace(grpc::CallbackServerContext* call, const v1::OpenNamespaceRequest* request,
                                          v1::OpenNamespaceResponse* response) override;
  grpc::ServerUnaryReactor* ListNamespaces(grpc::CallbackServerContext* call, const v1::ListNamespacesRequest* request,
                                           v1::ListNamespacesResponse* response) override;
  grpc::ServerUnaryReactor* MatchPrefix(grpc::CallbackServerContext* call, const v1::MatchPrefixRequest* request,
                                        v1::MatchPrefixResponse* response) override;
  grpc::ServerUnaryReactor* BatchExists(grpc::CallbackServerContext* call, const v1::BatchExistsRequest* request,
                                        v1::BatchExistsResponse* response) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* call, const v1::DeleteRequest* request,
                                   v1::DeleteResponse* response) override;
  grpc::ServerUnaryReactor* ReleaseLease(grpc::CallbackServerContext* call, const v1::ReleaseLeaseRequest* request,
                                         v1::ReleaseLeaseResponse* response) override;
  grpc::ServerUnaryReactor* Stats(grpc::CallbackServerContext* call, const v1::StatsRequest* request,
                                  v1::StatsResponse* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Fetch(grpc::CallbackServerContext* call,
                                                    const grpc::ByteBuffer* request) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Store(grpc::CallbackServerContext* call) override;

 private:
  ServiceContext& context_;
  StoreStreams store_streams_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_KV_SERVICE_H_
