#include "client/node_connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace polarkv {
namespace {

grpc::ChannelArguments Arguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  // Channels to one target would otherwise share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMaxReceivedMessageBytes);
  // This client tries again by itself, and knows what is safe to repeat.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // gRPC's own pause between connection attempts is up to two minutes: a restarted node would be missed for as long.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, static_cast<int>(options.backoff_initial.count()));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(options.backoff_max.count()));
  // How long one attempt to connect may take.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  // A node that comes back may have another address.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
  // A node that vanished without closing its connections is noticed within 15 s; else TCP would take a quarter of an
  // hour, each call running into its deadline. Sent only while a call waits, which servers allow.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  // Caches are neighbours, not something behind the machine's web proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

NodeConnection::NodeConnection(const ClientOptions& options) : shortest_wait_(options.backoff_initial) {
  const grpc::ChannelArguments arguments = Arguments(options);
  for (int i = 0; i < options.channels; ++i) {
    std::shared_ptr<grpc::Channel> channel =
        grpc::CreateCustomChannel(options.target, grpc::InsecureChannelCredentials(), arguments);
    std::unique_ptr<v1::KvStore::Stub> stub = v1::KvStore::NewStub(channel);
    endpoints_.push_back({std::move(channel), std::move(stub)});
  }
}

void NodeConnection::WaitBeforeRetry(std::chrono::nanoseconds delay) {
  // A server that accepts connections only to drop them must not be asked without a pause.
  const std::chrono::nanoseconds pause = std::min(delay, shortest_wait_);
  std::this_thread::sleep_for(pause);
  // gRPC connects only while some thread waits on its behalf: a mere sleep would leave the connection half made.
  grpc::Channel& next = *endpoints_[turn_.load(std::memory_order_relaxed) % endpoints_.size()].channel;
  const auto end = std::chrono::system_clock::now() + (delay - pause);
  grpc_connectivity_state state = next.GetState(/*try_to_connect=*/true);
  if (state == GRPC_CHANNEL_READY) return std::this_thread::sleep_for(delay - pause);
  while (state != GRPC_CHANNEL_READY && next.WaitForStateChange(state, end)) state = next.GetState(true);
}

}  // namespace polarkv
