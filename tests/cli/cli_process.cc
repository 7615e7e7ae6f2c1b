#include "tests/cli/cli_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <utility>

namespace polarkv::testing {
namespace {

constexpr char kProgram[] = POLARKV_BIN_DIR "/polarkv";
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

CliProcess::CliProcess(std::vector<std::string> arguments) : out_(OpenUnnamedFile()), err_(OpenUnnamedFile()) {
  std::vector<char*> argv = {const_cast<char*>(kProgram)};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out_, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err_, STDERR_FILENO);
  if (posix_spawn(&pid_, kProgram, &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
  posix_spawn_file_actions_destroy(&actions);
}

CliProcess::~CliProcess() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
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
