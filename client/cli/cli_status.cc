#include "client/cli/cli_status.h"

#include <optional>
#include <utility>

#include "absl/strings/cord.h"

namespace polarkv::cli {
namespace {

// A payload, so that the exit code survives Annotate and does not depend on the status code: an input file that does
// not exist is a failure, a block that does not exist is a miss.
constexpr char kExitCodePayload[] = "polarkv.cli/exit_code";

absl::Status WithExitCode(absl::StatusCode code, const std::string& message, std::string_view exit_code) {
  absl::Status status(code, message);
  status.SetPayload(kExitCodePayload, absl::Cord(absl::string_view(exit_code.data(), exit_code.size())));
  return status;
}

}  // namespace

absl::Status UsageError(std::string message) {
  return WithExitCode(absl::StatusCode::kInvalidArgument, std::move(message), "usage");
}

absl::Status MissError(std::string message) {
  return WithExitCode(absl::StatusCode::kNotFound, std::move(message), "miss");
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return ExitCode::kOk;
  const auto payload = status.GetPayload(kExitCodePayload);
  if (!payload.has_value()) return ExitCode::kFailure;
  return *payload == "usage" ? ExitCode::kUsage : ExitCode::kMiss;
}

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), std::string(context) + ": " + MessageOf(status));
  status.ForEachPayload(
      [&annotated](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

}  // namespace polarkv::cli
