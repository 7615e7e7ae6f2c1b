// polarkv: compress, inspect, attend on, store and fetch prefix KV caches.
#include <cstdio>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/signal_cleanup.h"

namespace polarkv::cli {
namespace {

constexpr char kFooter[] = R"(A round trip:
  polarkv encode --codec turbo4 --in kv.safetensors --out kv.pkv
  polarkv inspect kv.pkv
  polarkv attend --block kv.pkv --query q.safetensors --out out.safetensors

With a server (polarkv-server --listen localhost:7070 --data-dir DIR):
  polarkv put   --server localhost:7070 --namespace demo --model llama-3-8b --in kv.pkv --tokens tokens.json
  polarkv match --server localhost:7070 --namespace demo --tokens tokens.json
  polarkv get   --server localhost:7070 --namespace demo --tokens tokens.json --out prefix.pkv

`polarkv COMMAND --help` explains each command with examples. Results go to standard output, notes and errors to standard
error. An output file appears whole or not at all.

Exit codes:
  0  done
  1  failure: a bad or damaged file, no answer from the server, ...
  2  the command line is wrong
  3  nothing was wrong, but what was asked for is not stored)";

void AddCommands(CommandLine& line) {
  AddCodecsCommand(line);
  AddEncodeCommand(line);
  AddDecodeCommand(line);
  AddAttendCommand(line);
  AddInspectCommand(line);
  AddProfileCommand(line);
  AddPutCommand(line);
  AddGetCommand(line);
  AddMatchCommand(line);
  AddExistsCommand(line);
  AddDeleteCommand(line);
  AddStatsCommand(line);
  AddNamespacesCommand(line);
}

ExitCode Run(int argc, char** argv) {
  CommandLine line("polarkv: compressed prefix KV caches, encoded, stored, fetched and attended on", kFooter,
                   POLARKV_VERSION);
  AddCommands(line);
  return line.Run(argc, argv);
}

}  // namespace
}  // namespace polarkv::cli

int main(int argc, char** argv) {
  using polarkv::cli::ExitCode;
  polarkv::cli::InstallSignalHandlers();
  const ExitCode code = polarkv::cli::Run(argc, argv);
  if (std::fflush(stdout) != 0 && code == ExitCode::kOk) {
    std::perror("polarkv: cannot write standard output");
    return static_cast<int>(ExitCode::kFailure);
  }
  return static_cast<int>(code);
}
