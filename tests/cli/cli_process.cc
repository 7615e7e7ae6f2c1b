#include "tests/cli/cli_process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <utility>

namespace polarkv::testing {
namespace {

constexpr std::chrono::minutes kLongest{2};

int OpenUnnamedFile() {
  std::array<char, 32> name{"/tmp/polarkv-cli.XXXXXX"};
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  unlink(name.data());
  return fd;
}

std::string ReadAndClose(int fd) {
  std::string text;
  std::array<char, 4096> chunk;
  lseek(fd, 0, SEEK_SET);
  while (true) {
    const ssize_t got = read(fd, chunk.data(), chunk.size());
    if (got <= 0) break;
    text.append(chunk.data(), static_cast<size_t>(got));
  }
  close(fd);
  return text;
}

}  // namespace

CliProcess::CliProcess(std::vector<std::string> arguments, const std::string& program)
    : out_(OpenUnnamedFile()), err_(OpenUnnamedFile()) {
  std::string path = POLARKV_BIN_DIR "/" + program;
  std::vector<char*> argv = {path.data()};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves nothing behind
  dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
  dup2(out_, STDOUT_FILENO);
  dup2(err_, STDERR_FILENO);
  execv(path.c_str(), argv.data());
  _exit(127);
}

CliProcess::~CliProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  for (const int fd : {out_, err_}) {
    if (fd >= 0) close(fd);
  }
}

bool CliProcess::IsRunning() const {
  siginfo_t info{};
  return pid_ > 0 && waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

void CliProcess::Signal(int number) const {
  if (pid_ > 0) kill(pid_, number);
}

CliResult CliProcess::Wait() {
  CliResult result;
  if (pid_ < 0) return result;
  const auto deadline = std::chrono::steady_clock::now() + kLongest;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  pid_ = -1;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.out = ReadAndClose(std::exchange(out_, -1));
  result.err = ReadAndClose(std::exchange(err_, -1));
  return result;
}

CliResult RunCli(std::vector<std::string> arguments) { return CliProcess(std::move(arguments)).Wait(); }

}  // namespace polarkv::testing
