// polarkv-server: see --help.
#include <malloc.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "service/log.h"
#include "service/server.h"
#include "service/server_flags.h"

namespace polarkv {
namespace {

constexpr int kCannotStart = 1;
constexpr int kNotAllWritten = 3;

// Blocks and frames are some megabytes each. By default glibc would map and unmap memory for each of them, which costs
// more than moving the bytes; and with many arenas freed blocks would pile up in those that no thread uses just then.
void SetUpMemoryAllocator() {
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  ::mallopt(M_ARENA_MAX, 2);
}

// Signals are taken by WaitForSignal alone. SIGXFSZ would end the program when a file grows over the process's limit;
// ignored, the write fails instead and is reported.
sigset_t BlockSignals() {
  sigset_t stop;
  ::sigemptyset(&stop);
  ::sigaddset(&stop, SIGTERM);
  ::sigaddset(&stop, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  return stop;
}

bool WritePortFile(const std::string& path, int port) {
  const std::string temporary = path + ".new";
  std::ofstream out(temporary, std::ios::trunc);
  out << port << "\n";
  out.close();
  return out.good() && std::rename(temporary.c_str(), path.c_str()) == 0;
}

int Run(int argc, char** argv) {
  int exit_code = 0;
  const std::optional<ServerFlags> flags = ParseServerFlags(argc, argv, exit_code);
  if (!flags.has_value()) return exit_code;
  SetUpMemoryAllocator();
  ::setenv("GRPC_VERBOSITY", "NONE", 0);  // whatever matters has a status, and is reported in our words
  const sigset_t stop = BlockSignals();
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(flags->server);
  if (!server.ok()) {
    LogError(absl::StrCat("cannot start: ", server.status().message()));
    return kCannotStart;
  }
  LogInfo((*server)->StartLine());
  if (!flags->port_file.empty() && !WritePortFile(flags->port_file, (*server)->port())) {
    LogError(absl::StrCat("cannot write --port-file ", flags->port_file));
    return kCannotStart;
  }
  int signal_number = 0;
  ::sigwait(&stop, &signal_number);
  LogInfo("stopping: running reads may end, no new blocks are taken, everything is written; once more to stop at once");
  ::pthread_sigmask(SIG_UNBLOCK, &stop, nullptr);
  if (absl::Status s = (*server)->Shutdown(); !s.ok()) {
    LogError(absl::StrCat("stopped, but not everything could be written: ", s.message()));
    return kNotAllWritten;
  }
  LogInfo("stopped");
  return 0;
}

}  // namespace
}  // namespace polarkv

int main(int argc, char** argv) { return polarkv::Run(argc, argv); }
