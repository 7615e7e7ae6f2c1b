// --device of the subcommands that compute.
#ifndef POLARKV_CLIENT_CLI_DEVICE_OPTION_H_
#define POLARKV_CLIENT_CLI_DEVICE_OPTION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "kernels/device_kernels.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {

// `value` outlives the parse; it holds the default, auto.
void AddDeviceOption(Subcommand& command, std::string* value);

// A usage error: no such device. FAILED_PRECONDITION: --device cuda where there is none; it says what is missing.
absl::StatusOr<std::unique_ptr<DeviceKernels>> OpenDevice(const std::string& value);
// A status of work on the device that the user chose, with what to do where it has no kernel for it. OK stays OK.
absl::Status AdviseOnDevice(const absl::Status& status, const std::string& value);

// Adds `device` and, where the CPU did some of the work, `device_why`.
void AddDeviceUse(const DeviceUse& use, nlohmann::ordered_json& json);
// One line of a summary.
void PrintDeviceUse(const DeviceUse& use);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_DEVICE_OPTION_H_
