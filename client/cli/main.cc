// polarkv: compress, inspect, attend on, store and fetch prefix KV caches.
#include <cstdio>
#include <string>

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

std::string ChosenCommand(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "polarkv" : "polarkv " + chosen.front()->get_name();
}

// "A subcommand is required" does not help who has mistyped one.
std::string UnknownCommand(const CLI::App& app, const std::string& first_argument) {
  if (first_argument.empty() || first_argument.front() == '-' || !app.get_subcommands().empty()) return "";
  std::string names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return "unknown command '" + first_argument + "'; there are " + names;
}

void AddCommands(CLI::App& app, Invocation& invocation) {
  AddCodecsCommand(app, invocation);
  AddEncodeCommand(app, invocation);
  AddDecodeCommand(app, invocation);
  AddAttendCommand(app, invocation);
  AddInspectCommand(app, invocation);
  AddPutCommand(app, invocation);
  AddGetCommand(app, invocation);
  AddMatchCommand(app, invocation);
  AddExistsCommand(app, invocation);
  AddDeleteCommand(app, invocation);
  AddStatsCommand(app, invocation);
  AddNamespacesCommand(app, invocation);
}

// Help and --version print to standard output and end with 0; every other parse error is a usage error.
ExitCode ReportParse(const CLI::App& app, const CLI::ParseError& error, const std::string& first_argument) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    app.exit(error);
    return ExitCode::kOk;
  }
  const std::string command = ChosenCommand(app);
  const std::string unknown = UnknownCommand(app, first_argument);
  std::fprintf(stderr, "%s: %s\nTry '%s --help'.\n", command.c_str(), unknown.empty() ? error.what() : unknown.c_str(),
               command.c_str());
  return ExitCode::kUsage;
}

ExitCode ReportStatus(const CLI::App& app, const absl::Status& status) {
  const ExitCode code = ExitCodeOf(status);
  if (status.ok()) return code;
  const std::string command = ChosenCommand(app);
  std::fprintf(stderr, "%s: %s\n", command.c_str(), MessageOf(status).c_str());
  if (code == ExitCode::kUsage) std::fprintf(stderr, "Try '%s --help'.\n", command.c_str());
  return code;
}

ExitCode Run(int argc, char** argv) {
  CLI::App app("polarkv: compressed prefix KV caches, encoded, stored, fetched and attended on", "polarkv");
  Invocation invocation;
  AddCommands(app, invocation);
  app.require_subcommand(1);
  app.set_version_flag("--version", "polarkv " POLARKV_VERSION);
  app.footer(kFooter);
  app.get_formatter()->column_width(32);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportParse(app, error, argc > 1 ? argv[1] : "");
  }
  return ReportStatus(app, invocation.run());
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
