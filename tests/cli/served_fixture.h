// A real polarkv-server, in memory, on a free port, for tests of the subcommands that talk to one.
#ifndef POLARKV_TESTS_CLI_SERVED_FIXTURE_H_
#define POLARKV_TESTS_CLI_SERVED_FIXTURE_H_

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {

class ServedFixture : public CliFixture {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(StartServer({})); }

  void StartServer(std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--listen", "127.0.0.1:0", "--port-file", Path("port"), "--memory-budget", "64MiB"});
    server_.emplace(std::move(flags), "polarkv-server");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!ReadBytes(Path("port")).ends_with('\n') && server_->IsRunning()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the server does not start";
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_TRUE(server_->IsRunning()) << server_->Wait().err;
    address_ = "127.0.0.1:" + std::to_string(std::stoi(ReadBytes(Path("port"))));
  }
  void KillServer() { server_.reset(); }
  const std::string& address() const { return address_; }

  // Runs a subcommand with --server and further arguments.
  CliResult Client(const std::string& command, const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {command, "--server", address_};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return RunCli(all);
  }
  // The same with --json, which must be valid.
  nlohmann::json ClientJson(const std::string& command, std::vector<std::string> arguments, int exit_code = 0) const {
    arguments.push_back("--json");
    const CliResult result = Client(command, arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    nlohmann::json json = nlohmann::json::parse(result.out, nullptr, false);
    EXPECT_TRUE(json.is_object()) << result.out;
    return json;
  }
  void ExpectClientRefusal(const std::string& command, std::vector<std::string> arguments, int exit_code,
                           const std::string& message) const {
    arguments.insert(arguments.begin(), {command, "--server", address_});
    ExpectRefusal(std::move(arguments), exit_code, message);
  }

  // Token ids first, first + 1, ... as a JSON file; returns its path.
  std::string WriteTokens(const std::string& name, size_t count, int first = 100) const {
    nlohmann::json tokens = nlohmann::json::array();
    for (size_t i = 0; i < count; ++i) tokens.push_back(first + static_cast<int>(i));
    return Write(name, tokens.dump());
  }
  CliResult Put(const std::string& pkv, const std::string& tokens, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"--namespace", "demo", "--model", "m", "--in", pkv, "--tokens", tokens};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Client("put", arguments);
  }
  static std::vector<std::string> Demo(std::vector<std::string> more) {
    more.insert(more.begin(), {"--namespace", "demo"});
    return more;
  }

 private:
  std::optional<CliProcess> server_;
  std::string address_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CLI_SERVED_FIXTURE_H_
