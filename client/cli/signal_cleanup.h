// No half-written output after Ctrl-C: the signal handlers remove the temporary file of the output in progress.
#ifndef POLARKV_CLIENT_CLI_SIGNAL_CLEANUP_H_
#define POLARKV_CLIENT_CLI_SIGNAL_CLEANUP_H_

#include <signal.h>

#include <string>

namespace polarkv::cli {

// SIGINT, SIGTERM and SIGHUP remove the registered file and then end the process as they always do, so that a shell
// sees the signal. SIGBUS (a mapped input file shrank, or its disk failed) does so with a message and exit code 1. A
// program that was started with SIGINT or SIGHUP ignored (nohup) goes on ignoring it.
void InstallSignalHandlers();

// The file that the handlers remove; one at a time, "" for none. The path must be shorter than 4096 bytes.
void SetFileToRemove(const std::string& path);

// While one lives, SIGINT, SIGTERM and SIGHUP wait on this thread: a file is made and named for removal in one step.
class TerminationDeferral {
 public:
  TerminationDeferral();
  ~TerminationDeferral();
  TerminationDeferral(const TerminationDeferral&) = delete;
  TerminationDeferral& operator=(const TerminationDeferral&) = delete;

 private:
  sigset_t before_;
};

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_SIGNAL_CLEANUP_H_
