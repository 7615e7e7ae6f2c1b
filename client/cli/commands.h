// The subcommands of `polarkv`, one file each.
#ifndef POLARKV_CLIENT_CLI_COMMANDS_H_
#define POLARKV_CLIENT_CLI_COMMANDS_H_

#include "client/cli/command_line.h"

namespace polarkv::cli {

// Each declares its subcommand, its options and its help.
void AddCodecsCommand(CommandLine& line);
void AddEncodeCommand(CommandLine& line);
void AddDecodeCommand(CommandLine& line);
void AddAttendCommand(CommandLine& line);
void AddInspectCommand(CommandLine& line);
void AddProfileCommand(CommandLine& line);

void AddPutCommand(CommandLine& line);
void AddGetCommand(CommandLine& line);
void AddMatchCommand(CommandLine& line);
void AddExistsCommand(CommandLine& line);
void AddDeleteCommand(CommandLine& line);
void AddStatsCommand(CommandLine& line);
void AddNamespacesCommand(CommandLine& line);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_COMMANDS_H_
