// A client and the real server that it talks to.
#ifndef POLARKV_TESTS_E2E_CLIENT_OVER_SERVER_H_
#define POLARKV_TESTS_E2E_CLIENT_OVER_SERVER_H_

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/kv_client.h"
#include "tests/testing/block_chain.h"
#include "tests/testing/server_process.h"

namespace polarkv::testing {

using std::chrono::milliseconds;

inline std::unique_ptr<KvClient> Connect(const std::string& target) {
  ClientOptions options;
  options.target = target;
  options.deadline = milliseconds(30000);  // far beyond what a test takes: reaching it is a failure
  options.backoff_max = milliseconds(100);
  return KvClient::Create(options).value();
}

struct ClientOverServer {
  ServerProcess server;
  std::unique_ptr<KvClient> client;

  explicit ClientOverServer(std::vector<std::string> flags = {}) : server(std::move(flags)) {
    client = Connect(server.target());
  }
  KvClient* operator->() const { return client.get(); }
};

inline bool SpanEquals(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// Stores the whole chain; the outcomes.
inline absl::StatusOr<std::vector<StoreOutcome>> StoreChain(KvClient& client, const BlockChain& chain,
                                                            milliseconds deadline = {}) {
  std::vector<StoreOutcome> outcomes(chain.blocks.size());
  absl::Status status = client.Store(chain.ns, chain.Items(), outcomes, deadline);
  if (!status.ok()) return status;
  return outcomes;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_E2E_CLIENT_OVER_SERVER_H_
