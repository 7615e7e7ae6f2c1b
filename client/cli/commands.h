// The subcommands of `polarkv`, one file each.
#ifndef POLARKV_CLIENT_CLI_COMMANDS_H_
#define POLARKV_CLIENT_CLI_COMMANDS_H_

#include <functional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace polarkv::cli {

// What the parsed command line asks for. Its status decides the exit code (cli_status.h).
struct Invocation {
  std::function<absl::Status()> run;
};

// Each declares its subcommand, options and help, and sets `invocation.run` when it is the one that was chosen.
// `invocation` outlives the parse.
void AddCodecsCommand(CLI::App& app, Invocation& invocation);
void AddEncodeCommand(CLI::App& app, Invocation& invocation);
void AddDecodeCommand(CLI::App& app, Invocation& invocation);
void AddAttendCommand(CLI::App& app, Invocation& invocation);
void AddInspectCommand(CLI::App& app, Invocation& invocation);

void AddPutCommand(CLI::App& app, Invocation& invocation);
void AddGetCommand(CLI::App& app, Invocation& invocation);
void AddMatchCommand(CLI::App& app, Invocation& invocation);
void AddExistsCommand(CLI::App& app, Invocation& invocation);
void AddDeleteCommand(CLI::App& app, Invocation& invocation);
void AddStatsCommand(CLI::App& app, Invocation& invocation);
void AddNamespacesCommand(CLI::App& app, Invocation& invocation);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_COMMANDS_H_
