// The real polarkv-server, as a process of its own on a loopback port.
#ifndef POLARKV_TESTS_TESTING_SERVER_PROCESS_H_
#define POLARKV_TESTS_TESTING_SERVER_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/testing/reserved_port.h"

namespace polarkv::testing {

// A directory that goes away with its contents.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Starts, signals and ends one server; it also ends, killed, with the thread that started it. Errors of the harness
// itself throw std::runtime_error with the server's log.
class ServerProcess {
 public:
  // `flags` beside --listen and --port-file. Returns once the server listens, on a free port.
  explicit ServerProcess(std::vector<std::string> flags = {});
  // Kills it if it still runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  std::string target() const { return "127.0.0.1:" + std::to_string(port_.number()); }

  void Kill();              // kill -9, and waits
  int Terminate();          // SIGTERM, and waits; the exit code
  void Signal(int number);  // and does not wait
  void Start();             // again, on the same port, after Kill or Terminate
  std::string Log() const;

 private:
  void Spawn();
  void WaitForPort();
  int Wait(int timeout_seconds);

  TempDir dir_;
  const ReservedPort port_;
  std::vector<std::string> flags_;
  pid_t pid_ = -1;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_TESTING_SERVER_PROCESS_H_
