// Exit codes of the program, and statuses that carry one.
#ifndef POLARKV_CLIENT_CLI_CLI_STATUS_H_
#define POLARKV_CLIENT_CLI_CLI_STATUS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace polarkv::cli {

// Documented in `polarkv --help`.
enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,  // bad file, defect found, server not there, ...
  kUsage = 2,    // the command line itself is wrong
  kMiss = 3,     // all went well, but what was asked for is not stored
};

// A wrong combination of options: exit code 2.
absl::Status UsageError(std::string message);
// What was asked for is not there: exit code 3.
absl::Status MissError(std::string message);
// kOk for OK, what UsageError and MissError carry, kFailure for every other status.
ExitCode ExitCodeOf(const absl::Status& status);

// "context: message", with the code and the exit code of `status`. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);
// The message as a standard string.
std::string MessageOf(const absl::Status& status);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_CLI_STATUS_H_
