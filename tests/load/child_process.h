// A program of the build, run as a child process.
#ifndef POLARKV_TESTS_LOAD_CHILD_PROCESS_H_
#define POLARKV_TESTS_LOAD_CHILD_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace polarkv::load {

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

}  // namespace polarkv::load

#endif  // POLARKV_TESTS_LOAD_CHILD_PROCESS_H_
