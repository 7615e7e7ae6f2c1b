// A program of the build, run as a child process.
#ifndef POLARKV_TESTS_LOAD_CHILD_PROCESS_H_
#define POLARKV_TESTS_LOAD_CHILD_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace polarkv::load {

// A folder that goes away with its owner.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

class ChildProcess {
 public:
  // Runs POLARKV_BIN_DIR/`program`; its output, both streams, goes to the file `log`.
  ChildProcess(const std::string& program, const std::vector<std::string>& arguments, std::string log);
  ~ChildProcess();  // SIGKILL, if it still runs
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void Signal(int number) const;
  // Its exit code; 128 + the signal that ended it; -1 if it has not ended in time.
  int Wait(std::chrono::seconds timeout = std::chrono::seconds{120});
  std::string output() const;

 private:
  pid_t pid_ = -1;
  std::string log_;
};

// polarkv-server on a free port of this machine, which it keeps when started anew.
class ServerProcess {
 public:
  ServerProcess(const ScratchFolder& folder, std::vector<std::string> flags);
  // Ends the server, if it runs, by the signal, and starts another one on the same port and data.
  void Restart(int signal);
  const std::string& address() const { return address_; }

 private:
  void Start();

  const ScratchFolder& folder_;
  std::vector<std::string> flags_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace polarkv::load

#endif  // POLARKV_TESTS_LOAD_CHILD_PROCESS_H_
