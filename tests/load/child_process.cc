#include "tests/load/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "gtest/gtest.h"

extern char** environ;

namespace polarkv::load {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kPoll{20};

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

ScratchFolder::ScratchFolder() {
  std::string name = std::filesystem::temp_directory_path() / "polarkv_load_XXXXXX";
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ChildProcess::ChildProcess(const std::string& program, const std::vector<std::string>& arguments, std::string log)
    : log_(std::move(log)) {
  const std::string path = std::string(POLARKV_BIN_DIR) + "/" + program;
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  EXPECT_EQ(posix_spawn(&pid_, path.c_str(), &actions, nullptr, argv.data(), environ), 0) << path;
  posix_spawn_file_actions_destroy(&actions);
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void ChildProcess::Signal(int number) const { kill(pid_, number); }

int ChildProcess::Wait(std::chrono::seconds timeout) {
  for (const Clock::time_point end = Clock::now() + timeout; Clock::now() < end; std::this_thread::sleep_for(kPoll)) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return -1;
}

std::string ChildProcess::output() const { return ReadFile(log_); }

ServerProcess::ServerProcess(const ScratchFolder& folder, std::vector<std::string> flags)
    : folder_(folder), flags_(std::move(flags)) {
  Start();
}

void ServerProcess::Start() {
  const std::string port_file = folder_ / "port";
  std::filesystem::remove(port_file);
  std::vector<std::string> flags = flags_;
  flags.insert(flags.end(), {"--listen", address_, "--port-file", port_file});
  process_ = std::make_unique<ChildProcess>("polarkv-server", flags, folder_ / "server.log");
  std::string port;
  for (const Clock::time_point end = Clock::now() + std::chrono::seconds{60}; port.empty() && Clock::now() < end;) {
    std::this_thread::sleep_for(kPoll);
    port = ReadFile(port_file);
  }
  ASSERT_FALSE(port.empty()) << process_->output();
  port.erase(port.find_last_not_of(" \n") + 1);
  address_ = "127.0.0.1:" + port;
}

void ServerProcess::Restart(int signal) {
  process_->Signal(signal);
  EXPECT_NE(process_->Wait(), -1);
  Start();
}

}  // namespace polarkv::load
