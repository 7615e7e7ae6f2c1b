// The result of a run: as JSON for programs, as a page of text for people.
#ifndef POLARKV_CLIENT_LOAD_REPORT_H_
#define POLARKV_CLIENT_LOAD_REPORT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/load/arrival_schedule.h"
#include "client/load/block_verifier.h"
#include "client/load/model_preset.h"
#include "client/load/replay.h"
#include "client/load/reuse_plan.h"
#include "client/load/workload.h"
#include "nlohmann/json.hpp"

namespace polarkv::load {

inline constexpr const char* kReportSchema = "polarkv-load/1";

// Exit codes of polarkv-load. The first that applies, in this order: 1, 2, 3, 4.
inline constexpr int kExitOk = 0;
inline constexpr int kExitVerificationFailed = 1;
inline constexpr int kExitUsage = 2;           // flags, workload file, report file
inline constexpr int kExitNoServer = 3;        // not reachable at the start, or it refused the namespace
inline constexpr int kExitHitRatioTooLow = 4;  // below --require-hit-ratio

// What was run. References outlive the call that takes them.
struct RunDescription {
  std::string server;  // empty: dry run
  std::string model;
  Geometry geometry;
  uint64_t block_bytes = 0;
  std::string namespace_name;
  std::string salt;
  const Workload* workload = nullptr;
  const ReusePlan* plan = nullptr;
  ArrivalOptions arrivals;
  ReplayOptions replay;
  bool attend = false;
  ComputeAssumptions compute;
  double required_hit_ratio = 0;
};

struct RunResult {
  ReplayState state;
  VerifierCounts verifier;
  DeviceUse encoding;  // calls are blocks
  std::vector<std::pair<std::string, uint64_t>> server_stats;  // empty: the server did not answer
};

// The hit ratio that the report leads with, of blocks of `blocks` hits: hit tokens over all tokens of the prompts, both
// as the workload states them. A prompt's partial last block counts in the prompt and cannot be hit.
double TokenHitRatio(uint64_t hit_blocks, uint32_t block_tokens, double tokens_per_store_token, uint64_t prompt_tokens);

int ExitCode(const RunDescription& run, const RunResult& result);

// The workload alone: sizes and what an unbounded cache would serve.
nlohmann::ordered_json WorkloadJson(const RunDescription& run);
nlohmann::ordered_json ReportJson(const RunDescription& run, const RunResult& result);

// UNAVAILABLE naming the file and the reason: a report could not be written there. Leaves nothing behind.
absl::Status CheckReportPath(const std::string& path);

// Writes FILE by way of a temporary file beside it, so that a reader never sees half a report.
// UNAVAILABLE naming the file and the reason: it could not be written.
absl::Status WriteReport(const std::string& path, const nlohmann::ordered_json& report);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_REPORT_H_
