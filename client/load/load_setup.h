// From flags to everything that a run needs, before any server is asked.
#ifndef POLARKV_CLIENT_LOAD_LOAD_SETUP_H_
#define POLARKV_CLIENT_LOAD_LOAD_SETUP_H_

#include <chrono>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/load_options.h"
#include "client/load/report.h"
#include "codec/namespace_descriptor.h"

namespace polarkv::load {

// Not movable: `run` points into it.
struct LoadSetup {
  NamespaceDescriptor descriptor;
  Workload workload;
  std::vector<std::chrono::nanoseconds> starts;
  std::unique_ptr<PromptKeys> keys;
  std::unique_ptr<ReusePlan> plan;
  RunDescription run;
  RunnerOptions runner;

  LoadSetup() = default;
  LoadSetup(const LoadSetup&) = delete;
  LoadSetup& operator=(const LoadSetup&) = delete;
};

// The stored geometry that the flags ask for. INVALID_ARGUMENT: unknown preset or codec, a scale out of range.
absl::StatusOr<Geometry> MakeGeometry(const GeometryFlags& flags, ModelPreset& preset);
// Reads or generates what --workload names. Statuses as ReadTrace and GenerateSessions.
absl::StatusOr<Workload> MakeWorkload(const LoadOptions& options, uint32_t block_tokens);
// INVALID_ARGUMENT, NOT_FOUND: what is wrong with the flags or the workload.
absl::StatusOr<std::unique_ptr<LoadSetup>> MakeSetup(const LoadOptions& options);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_LOAD_SETUP_H_
