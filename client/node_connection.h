// The gRPC channels to one node.
#ifndef POLARKV_CLIENT_NODE_CONNECTION_H_
#define POLARKV_CLIENT_NODE_CONNECTION_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "client/call_deadline.h"
#include "client/kv_client.h"
#include "polarkv/v1/kv_store.grpc.pb.h"
#include "proto/status_conversion.h"

namespace polarkv {

// Largest message that the client takes: a frame, or the answer to the largest batch of keys that it sends.
inline constexpr int kMaxReceivedMessageBytes = 8 * 1024 * 1024;

// Thread-safe. Channels connect on their first call and again, by themselves, whenever the node went away.
class NodeConnection {
 public:
  explicit NodeConnection(const ClientOptions& options);

  // Channels take turns, call by call.
  const std::shared_ptr<grpc::Channel>& NextChannel() { return NextEndpoint().channel; }

  // Sleeps for `delay`; less when the connection was lost and comes back meanwhile.
  void WaitBeforeRetry(std::chrono::nanoseconds delay);

  template <typename Request, typename Response>
  using UnaryMethod = grpc::Status (v1::KvStore::Stub::*)(grpc::ClientContext*, const Request&, Response*);

  // One attempt. `response` is only filled when OK.
  template <typename Request, typename Response>
  absl::Status Call(UnaryMethod<Request, Response> method, const Request& request, Response* response,
                    const CallDeadline& deadline) {
    grpc::ClientContext context;
    context.set_deadline(deadline.ForGrpc());
    return FromGrpcStatus((*NextEndpoint().stub.*method)(&context, request, response));
  }

 private:
  struct Endpoint {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::KvStore::Stub> stub;
  };

  Endpoint& NextEndpoint() { return endpoints_[turn_.fetch_add(1, std::memory_order_relaxed) % endpoints_.size()]; }

  const std::chrono::nanoseconds shortest_wait_;
  std::vector<Endpoint> endpoints_;
  std::atomic<uint32_t> turn_{0};
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_NODE_CONNECTION_H_
