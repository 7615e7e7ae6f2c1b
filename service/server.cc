#include "service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "service/byte_size.h"
#include "service/disk_tier.h"
#include "service/kv_service.h"
#include "service/listen_error.h"

namespace polarkv {
namespace {

constexpr std::chrono::milliseconds kLastWordsTimeout{200};  // for answers of unary rpcs on their way out
// gRPC's buffers, of all connections together. Beyond it streams are reset, which clients see as a transient failure.
constexpr uint64_t kLeastNetworkBytes = uint64_t{128} << 20;
// Of the memory budget, and of the part of the disk budget that is the index's.
constexpr uint64_t kProfilesOfMemory = 64, kProfilesOfIndex = 8;
constexpr int kFrameHeadBytes = 64 << 10;  // more than any frame's fields but its body

int WorkerThreads(int wanted) {
  if (wanted > 0) return wanted;
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2, 16);
}

// A client that vanished without a word is found by pings; one that opens streams without end is refused.
void SetTransportArguments(grpc::ServerBuilder& builder, const ServiceLimits& limits, uint64_t network_bytes) {
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // else two servers could share a port by accident
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1024);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits.max_frame_bytes) + kFrameHeadBytes);
  grpc::ResourceQuota quota("polarkv");
  builder.SetResourceQuota(quota.Resize(network_bytes));
}

std::string RecoveryText(const RecoveryReport& report) {
  std::string text = absl::StrCat(report.blocks, " blocks (", FormatByteSize(report.bytes), ") found");
  const uint64_t lost = report.unwritten_blocks + report.damaged_blocks;
  if (lost == 0) {
    absl::StrAppend(&text, ", none lost");
  } else {
    absl::StrAppend(&text, ", ", lost, " lost (", report.unwritten_blocks, " not yet on disk, ",
                    report.damaged_blocks, " damaged)");
  }
  if (!report.closed_cleanly) absl::StrAppend(&text, ", it was not shut down properly");
  if (report.evicted_blocks > 0) {
    absl::StrAppend(&text, ", ", report.evicted_blocks, " given up for the smaller budget");
  }
  return text;
}

}  // namespace

Server::Server(const ServerOptions& options) : options_(options) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  std::unique_ptr<Server> server(new Server(options));
  if (absl::Status s = server->OpenStore(); !s.ok()) return s;
  if (absl::Status s = server->Listen(); !s.ok()) return s;
  server->watcher_ = std::thread([raw = server.get()] { raw->WatchStreams(); });
  return server;
}

absl::Status Server::OpenStore() {
  if (!options_.data_dir.empty()) {
    absl::StatusOr<std::unique_ptr<DataDirectory>> directory = DataDirectory::Open(options_.data_dir);
    if (!directory.ok()) return directory.status();
    directory_ = *std::move(directory);
  }
  MetadataDb* const db = directory_ == nullptr ? nullptr : &directory_->db();
  uint64_t max_profile_bytes = options_.memory_budget / kProfilesOfMemory;
  if (db != nullptr) max_profile_bytes = std::min(max_profile_bytes, IndexReserve(options_.disk_budget) / kProfilesOfIndex);
  absl::StatusOr<std::unique_ptr<NamespaceRegistry>> namespaces =
      NamespaceRegistry::Open(db, options_.max_namespaces, max_profile_bytes);
  if (!namespaces.ok()) return namespaces.status();
  namespaces_ = *std::move(namespaces);
  LocalStoreOptions store_options;
  store_options.memory_budget = options_.memory_budget;
  store_options.disk_budget = options_.disk_budget;
  store_options.max_lease = options_.max_lease;
  absl::StatusOr<std::unique_ptr<LocalStore>> store =
      LocalStore::Open(store_options, directory_.get(), namespaces_->Ids());
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  return absl::OkStatus();
}

absl::Status Server::Listen() {
  ServiceLimits limits;
  limits.max_block_bytes = std::min(options_.max_block_bytes, options_.memory_budget / 2);
  limits.max_receiving_bytes = std::max(options_.memory_budget / 4, limits.max_block_bytes);
  limits.max_streams = options_.max_streams;
  limits.stalled_after = options_.stalled_after;
  context_ = std::make_unique<ServiceContext>(*store_, *namespaces_, limits, WorkerThreads(options_.worker_threads));
  service_ = std::make_unique<KvService>(*context_);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetTransportArguments(builder, limits, std::max(kLeastNetworkBytes, options_.memory_budget / 10));
  builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr) return ListenError(options_.listen);
  return absl::OkStatus();
}

void Server::WatchStreams() {
  std::unique_lock lock(mu_);
  while (!stopping_.wait_for(lock, std::chrono::milliseconds(250), [this] { return stop_; })) {
    lock.unlock();
    service_->EndStalledStreams();
    lock.lock();
  }
}

std::string Server::StartLine() const {
  std::string address = options_.listen;
  const size_t colon = address.rfind(':');
  if (!address.starts_with("unix:") && colon != std::string::npos) address = absl::StrCat(address.substr(0, colon), ":", port_);
  std::string line = absl::StrCat("polarkv-server ", POLARKV_VERSION, " listens on ", address, "; memory ",
                                  FormatByteSize(options_.memory_budget));
  if (directory_ == nullptr) {
    return line + "; no data directory: blocks are kept in memory alone and are gone after a restart";
  }
  return absl::StrCat(line, "; disk ", FormatByteSize(options_.disk_budget), " in ", directory_->path(), ": ",
                      RecoveryText(store_->recovery()));
}

absl::Status Server::Shutdown() {
  {
    const std::lock_guard lock(mu_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (watcher_.joinable()) watcher_.join();
  if (grpc_ != nullptr) StopServing();
  service_ = nullptr;
  context_ = nullptr;
  const absl::Status closed = store_ == nullptr ? absl::OkStatus() : store_->Close();
  store_ = nullptr;
  namespaces_ = nullptr;
  directory_ = nullptr;
  return closed;
}

// gRPC's own shutdown waits for idle clients to hang up, too; so the streams are waited for here, until the last byte of
// each went to its connection.
void Server::StopServing() {
  const auto deadline = std::chrono::steady_clock::now() + options_.drain_timeout;
  grpc_->GetHealthCheckService()->SetServingStatus(false);
  service_->Drain();
  while (context_->open_streams > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  grpc_->Shutdown(std::chrono::system_clock::now() + kLastWordsTimeout);
  grpc_->Wait();
  grpc_ = nullptr;
}

Server::~Server() { Shutdown().IgnoreError(); }

}  // namespace polarkv
