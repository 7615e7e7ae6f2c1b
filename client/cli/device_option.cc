#include "client/cli/device_option.h"

#include <cstdio>

#include "client/cli/cli_status.h"

namespace polarkv::cli {

void AddDeviceOption(Subcommand& command, std::string* value) {
  command.Text("--device", value, "WHERE", "auto: the GPU where there is one that can, else the CPU; cpu; cuda");
}

absl::StatusOr<std::unique_ptr<DeviceKernels>> OpenDevice(const std::string& value) {
  const std::optional<DeviceChoice> choice = DeviceChoiceOf(value);
  if (!choice.has_value()) return UsageError("--device is '" + value + "'; it must be " + kDeviceChoices);
  absl::StatusOr<std::unique_ptr<DeviceKernels>> kernels = DeviceKernels::Make(*choice);
  if (kernels.ok()) return kernels;
  return absl::FailedPreconditionError("--device cuda: " + MessageOf(kernels.status()) +
                                       ". With --device auto the CPU does it");
}

absl::Status AdviseOnDevice(const absl::Status& status, const std::string& value) {
  const bool devices = absl::IsFailedPrecondition(status) || absl::IsResourceExhausted(status) || absl::IsInternal(status);
  if (value != "cuda" || !devices) return status;
  return absl::Status(status.code(), "--device cuda: " + MessageOf(status) + ". With --device auto the CPU does it");
}

void AddDeviceUse(const DeviceUse& use, nlohmann::ordered_json& json) {
  json["device"] = use.device();
  if (use.on_cpu > 0) json["device_why"] = use.why_cpu;
}

void PrintDeviceUse(const DeviceUse& use) { std::printf("  device: %s\n", DeviceUseText(use).c_str()); }

}  // namespace polarkv::cli
