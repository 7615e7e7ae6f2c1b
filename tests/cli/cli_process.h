// Runs the real programs, without a shell.
#ifndef POLARKV_TESTS_CLI_CLI_PROCESS_H_
#define POLARKV_TESTS_CLI_CLI_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace polarkv::testing {

struct CliResult {
  int exit_code = -1;  // -1: ended by a signal
  int signal = 0;
  std::string out, err;
};

class CliProcess {
 public:
  // `arguments` without the program's name. Standard input is empty.
  explicit CliProcess(std::vector<std::string> arguments, const std::string& program = "polarkv");
  ~CliProcess();
  CliProcess(const CliProcess&) = delete;
  CliProcess& operator=(const CliProcess&) = delete;

  void Signal(int number) const;
  bool IsRunning() const;  // no longer, once it has ended, even before Wait
  // Kills it after two minutes, so that no test hangs.
  CliResult Wait();

 private:
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;  // unlinked temporary files: no pipe to fill up
};

CliResult RunCli(std::vector<std::string> arguments);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CLI_CLI_PROCESS_H_
