// polarkv-server as a process of its own.
#ifndef POLARKV_TESTS_SERVICE_SERVER_PROCESS_H_
#define POLARKV_TESTS_SERVICE_SERVER_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace polarkv::testing {

class ServerProcess {
 public:
  // Starts the program with these flags. `in_child` runs before it becomes the program.
  explicit ServerProcess(const std::vector<std::string>& flags, const std::function<void()>& in_child = {});
  ~ServerProcess();  // kills it if need be
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number);
  // Waits for its end. Exit code, or minus the signal that killed it.
  int Wait();
  // What it wrote to its standard output and error so far.
  std::string Output() const;
  // Waits until `path` has a line and returns it as a number; 0 when the program ends before, or takes too long.
  int WaitForPort(const std::string& path);

 private:
  pid_t pid_ = 0;
  bool ended_ = false;
  std::string output_path_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_SERVER_PROCESS_H_
