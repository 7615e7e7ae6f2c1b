#include "tests/service/server_process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace polarkv::testing {

ServerProcess::ServerProcess(const std::vector<std::string>& flags, const std::function<void()>& in_child) {
  output_path_ = (std::filesystem::temp_directory_path() / "polarkv-server-output.XXXXXX").string();
  const int output = ::mkstemp(output_path_.data());
  std::string program = POLARKV_BIN_DIR "/polarkv-server";
  std::vector<char*> arguments = {program.data()};
  std::vector<std::string> copies = flags;
  for (std::string& flag : copies) arguments.push_back(flag.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    if (in_child) in_child();
    ::execv(program.c_str(), arguments.data());
    ::_exit(127);
  }
  ::close(output);
}

ServerProcess::~ServerProcess() {
  if (!ended_) {
    Signal(SIGKILL);
    Wait();
  }
  std::filesystem::remove(output_path_);
}

void ServerProcess::Signal(int number) { ::kill(pid_, number); }

int ServerProcess::Wait() {
  int status = 0;
  ::waitpid(pid_, &status, 0);
  ended_ = true;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::string ServerProcess::Output() const {
  std::ostringstream text;
  text << std::ifstream(output_path_).rdbuf();
  return text.str();
}

int ServerProcess::WaitForPort(const std::string& path) {
  for (int i = 0; i < 600; ++i) {
    int port = 0;
    if (std::ifstream(path) >> port) return port;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      ended_ = true;
      return 0;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return 0;
}

}  // namespace polarkv::testing
