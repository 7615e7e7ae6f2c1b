// A client and the faulty server that it talks to.
#ifndef POLARKV_TESTS_CLIENT_CLIENT_OVER_FAKE_H_
#define POLARKV_TESTS_CLIENT_CLIENT_OVER_FAKE_H_

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/kv_client.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_kv_server.h"

namespace polarkv::testing {

using std::chrono::milliseconds;

inline ClientOptions QuickOptions(const std::string& target) {
  ClientOptions options;
  options.target = target;
  options.deadline = milliseconds(20000);  // far beyond what a test takes: reaching it is a failure
  options.backoff_initial = milliseconds(1);
  options.backoff_max = milliseconds(20);
  return options;
}

struct ClientOverFake {
  FakeKvServer server;
  std::unique_ptr<KvClient> client;

  explicit ClientOverFake(FakeBehaviour behaviour) : server(std::move(behaviour)) {
    client = KvClient::Create(QuickOptions(server.target())).value();
  }
  KvClient* operator->() const { return client.get(); }
};

// What the server's threads saw, for the test's thread.
template <typename T>
class Record {
 public:
  // How many there are now.
  size_t Add(T entry) {
    const std::lock_guard lock(mutex_);
    entries_.push_back(std::move(entry));
    return entries_.size();
  }
  std::vector<T> All() const {
    const std::lock_guard lock(mutex_);
    return entries_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<T> entries_;
};

// What a call with a short deadline takes at most: far less than QuickOptions' deadline, and far more than the short one on
// a machine that is busy with other things, too.
constexpr milliseconds kBounded{12000};

// Milliseconds since construction.
class Stopwatch {
 public:
  milliseconds Elapsed() const {
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start_);
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

inline bool SpanEquals(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CLIENT_CLIENT_OVER_FAKE_H_
