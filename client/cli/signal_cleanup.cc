#include "client/cli/signal_cleanup.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

namespace polarkv::cli {
namespace {

// Written before the flag is set, read by handlers only when it is set: no allocation, no lock.
std::array<char, 4096> file_to_remove;
std::atomic<bool> has_file_to_remove{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void RemoveFile() {
  if (has_file_to_remove.exchange(false)) unlink(file_to_remove.data());
}

void OnTermination(int signal_number) {
  RemoveFile();
  // SA_RESETHAND has restored the default action, which comes when the handler returns.
  raise(signal_number);
}

void OnBusError(int) {
  RemoveFile();
  constexpr char kMessage[] =
      "polarkv: an input file can no longer be read: it was cut short while in use, or its disk failed\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(1);
}

void Install(int signal_number, void (*handler)(int), int flags) {
  struct sigaction current {};
  sigaction(signal_number, nullptr, &current);
  if (current.sa_handler == SIG_IGN) return;
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(signal_number, &action, nullptr);
}

}  // namespace

void InstallSignalHandlers() {
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    Install(signal_number, OnTermination, static_cast<int>(SA_RESETHAND));
  }
  Install(SIGBUS, OnBusError, 0);
}

TerminationDeferral::TerminationDeferral() {
  sigset_t termination;
  sigemptyset(&termination);
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&termination, signal_number);
  pthread_sigmask(SIG_BLOCK, &termination, &before_);
}

TerminationDeferral::~TerminationDeferral() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void SetFileToRemove(const std::string& path) {
  has_file_to_remove = false;
  if (path.empty() || path.size() >= file_to_remove.size()) return;
  std::copy(path.begin(), path.end(), file_to_remove.begin());
  file_to_remove[path.size()] = '\0';
  has_file_to_remove = true;
}

}  // namespace polarkv::cli
