// A whole polarkv server in this process: store, service, gRPC, and how it stops.
#ifndef POLARKV_SERVICE_SERVER_H_
#define POLARKV_SERVICE_SERVER_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/local_store.h"
#include "service/server_options.h"
#include "service/service_context.h"

namespace grpc {
class Server;
}

namespace polarkv {

class KvService;

class Server {
 public:
  // Opens the store and serves. Statuses as DataDirectory::Open and LocalStore::Open; UNAVAILABLE: the address cannot be
  // listened on, the message says why.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const { return port_; }
  // Where it listens, what it may use, what it found: one line for people. Not after Shutdown.
  std::string StartLine() const;

  // Health says NOT_SERVING, no new blocks are taken, running reads may end within the drain timeout, everything is
  // written to disk, the data directory is free for another server. The destructor does it otherwise. Statuses as
  // BlockStore::Flush.
  absl::Status Shutdown();

 private:
  explicit Server(const ServerOptions& options);
  absl::Status OpenStore();
  absl::Status Listen();
  void WatchStreams();
  void StopServing();

  const ServerOptions options_;
  std::unique_ptr<DataDirectory> directory_;  // null: memory only
  std::unique_ptr<NamespaceRegistry> namespaces_;
  std::unique_ptr<LocalStore> store_;
  std::unique_ptr<ServiceContext> context_;
  std::unique_ptr<KvService> service_;
  std::unique_ptr<grpc::Server> grpc_;
  int port_ = 0;
  std::mutex mu_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread watcher_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_SERVER_H_
