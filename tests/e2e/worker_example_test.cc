// The program that client/README.md points to does what it says.
#include <array>
#include <cstdio>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/server_process.h"

namespace polarkv::testing {
namespace {

struct ProgramRun {
  int exit_code;
  std::string output;
};

ProgramRun RunExample(const std::string& target) {
  const std::string command = POLARKV_BIN_DIR "/polarkv-worker-example " + target + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  std::array<char, 256> part;
  while (std::fgets(part.data(), part.size(), pipe) != nullptr) output += part.data();
  return {::pclose(pipe), output};
}

TEST(WorkerExample, StoresItsPromptOnceAndAttendsOnItAfter) {
  ServerProcess server;
  const ProgramRun first = RunExample(server.target());
  EXPECT_EQ(first.exit_code, 0);
  EXPECT_EQ(first.output, "matched 0 of 15 blocks (not stored)\nattended on 0 blocks\nstored 15 blocks\n");
  const ProgramRun second = RunExample(server.target());
  EXPECT_EQ(second.exit_code, 0);
  EXPECT_EQ(second.output, "matched 15 of 15 blocks (all matched)\nattended on 15 blocks\nstored 0 blocks\n");
}

TEST(WorkerExample, SaysWhyItCannotReachAServer) {
  const ProgramRun run = RunExample("127.0.0.1:1");
  EXPECT_NE(run.exit_code, 0);
  EXPECT_THAT(run.output, ::testing::HasSubstr("127.0.0.1:1"));
}

}  // namespace
}  // namespace polarkv::testing
