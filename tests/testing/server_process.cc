#include "tests/testing/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace polarkv::testing {
namespace {

constexpr int kStartSeconds = 60;
constexpr int kStopSeconds = 60;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TempDir::TempDir() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base == nullptr ? "/tmp" : base) + "/polarkv_test_XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ServerProcess::ServerProcess(std::vector<std::string> flags) : flags_(std::move(flags)) { Start(); }

ServerProcess::~ServerProcess() { Kill(); }

void ServerProcess::Start() {
  if (pid_ > 0) throw std::runtime_error("the server runs already");
  Spawn();
  WaitForPort();
}

void ServerProcess::Spawn() {
  std::filesystem::remove(dir_.path() + "/port");
  // setpriv has the kernel kill the server should this test die first.
  std::vector<std::string> words = {"setpriv",  "--pdeathsig", "KILL",        POLARKV_BIN_DIR "/polarkv-server",
                                    "--listen", target(),      "--port-file", dir_.path() + "/port"};
  words.insert(words.end(), flags_.begin(), flags_.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  const std::string log = dir_.path() + "/log";
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = ::posix_spawnp(&pid_, "setpriv", &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error(std::string("cannot start the server: ") + std::strerror(error));
}

void ServerProcess::WaitForPort() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kStartSeconds);
  while (std::chrono::steady_clock::now() < end) {
    // The file appears when the server listens.
    if (std::filesystem::exists(dir_.path() + "/port")) return;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("the server ended instead of starting:\n" + Log());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  Kill();
  throw std::runtime_error("the server does not start:\n" + Log());
}

void ServerProcess::Signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

void ServerProcess::Kill() {
  if (pid_ <= 0) return;
  Signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

int ServerProcess::Terminate() {
  Signal(SIGTERM);
  return Wait(kStopSeconds);
}

int ServerProcess::Wait(int timeout_seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_seconds);
  while (std::chrono::steady_clock::now() < end) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  Kill();
  throw std::runtime_error("the server does not stop:\n" + Log());
}

std::string ServerProcess::Log() const { return ReadFile(dir_.path() + "/log"); }

}  // namespace polarkv::testing
