#include "client/load/load_run.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/load/load_setup.h"
#include "client/load/prefix_cache.h"
#include "client/load/report_text.h"
#include "client/load/stop_signals.h"

namespace polarkv::load {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kProgressInterval{500};
constexpr uint64_t kFailuresShown = 10;

void Print(std::FILE* out, const std::string& text) {
  std::fputs(text.c_str(), out);
  std::fflush(out);
}

int Complain(const absl::Status& status, int exit_code) {
  Print(stderr, absl::StrCat("polarkv-load: ", status.message(), "\n"));
  return exit_code;
}

// The live line on a terminal.
class Progress {
 public:
  explicit Progress(bool quiet) : shown_(!quiet && isatty(STDERR_FILENO) == 1) {}
  void Show(const std::string& line) {
    if (shown_) Print(stderr, absl::StrCat("\r", line, "\x1b[K"));
  }
  void Clear() {
    if (shown_) Print(stderr, "\r\x1b[K");
  }

 private:
  bool shown_;
};

bool Transient(const absl::Status& status) { return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status); }

// Opens the namespace, waiting for the server in short attempts so that a signal is heard.
absl::StatusOr<NamespaceHandle> Connect(KvClient& client, const NamespaceDescriptor& descriptor, milliseconds timeout,
                                        StopSignals& signals) {
  constexpr milliseconds kAttempt{1000};
  const auto give_up = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    absl::StatusOr<NamespaceHandle> handle = client.OpenNamespace(descriptor, kAttempt);
    if (handle.ok() || !Transient(handle.status())) return handle;
    if (std::chrono::steady_clock::now() >= give_up) return handle;
    if (signals.WaitFor(milliseconds{50})) return absl::CancelledError("interrupted while waiting for the server");
  }
}

// Until all workers are done; a first signal stops the replay, a second one the program.
void Watch(Replay& replay, const RunDescription& run, StopSignals& signals, bool quiet) {
  Progress progress(quiet);
  bool stopping = false;
  for (auto next = std::chrono::steady_clock::now() + kProgressInterval; !replay.WaitFor(milliseconds{20});) {
    if (signals.WaitFor(milliseconds{80})) {
      if (stopping) _exit(130);
      stopping = true;
      replay.Stop();
    }
    if (std::chrono::steady_clock::now() < next) continue;
    next += kProgressInterval;
    progress.Show(ProgressLine(run, replay.state()));
  }
  progress.Clear();
}

int Finish(const LoadOptions& options, const RunDescription& run, const RunResult& result) {
  if (!options.quiet) Print(stdout, ReportText(run, result));
  int exit_code = ExitCode(run, result);
  if (options.report.empty()) return exit_code;
  const absl::Status written = WriteReport(options.report, ReportJson(run, result));
  if (!written.ok()) return Complain(written, exit_code == kExitOk ? kExitUsage : exit_code);
  return exit_code;
}

int DryRun(const LoadOptions& options, const RunDescription& run) {
  if (!options.quiet) Print(stdout, WorkloadText(run));
  if (options.report.empty()) return kExitOk;
  nlohmann::ordered_json json;
  json["schema"] = kReportSchema;
  json["dry_run"] = true;
  json["workload"] = WorkloadJson(run);
  json["ideal_hit_ratio"] = json["workload"]["ideal"]["token_ratio"];
  const absl::Status written = WriteReport(options.report, json);
  return written.ok() ? kExitOk : Complain(written, kExitUsage);
}

}  // namespace

int RunLoad(const LoadOptions& options) {
  const absl::StatusOr<std::unique_ptr<LoadSetup>> made = MakeSetup(options);
  if (!made.ok()) return Complain(made.status(), kExitUsage);
  LoadSetup& setup = **made;
  if (options.dry_run) return DryRun(options, setup.run);
  if (!options.report.empty()) {
    // Better now than after the run.
    if (absl::Status status = CheckReportPath(options.report); !status.ok()) return Complain(status, kExitUsage);
  }
  if (!options.quiet) Print(stdout, WorkloadText(setup.run));

  StopSignals signals;  // before a driver or the client starts threads
  const absl::StatusOr<std::unique_ptr<DeviceKernels>> kernels = DeviceKernels::Make(options.device);
  if (!kernels.ok()) {
    return Complain(absl::FailedPreconditionError(absl::StrCat("--device cuda: ", kernels.status().message(),
                                                               ". With --device auto the CPU does it")),
                    kExitUsage);
  }
  ClientOptions client_options;
  client_options.target = options.server;
  client_options.deadline = milliseconds{options.deadline_ms};
  client_options.channels = options.channels;
  const absl::StatusOr<std::unique_ptr<KvClient>> client = KvClient::Create(client_options);
  if (!client.ok()) return Complain(client.status(), kExitUsage);
  const absl::StatusOr<NamespaceHandle> handle =
      Connect(**client, setup.descriptor, milliseconds{options.connect_timeout_ms}, signals);
  if (!handle.ok()) {
    return Complain(absl::Status(handle.status().code(), absl::StrCat("cannot use the server ", options.server, ": ",
                                                                      handle.status().message())),
                    kExitNoServer);
  }

  const std::unique_ptr<PrefixCache> cache = MakeClientCache(client->get(), *handle, milliseconds{options.lease_ms});
  BlockVerifier verifier(BlockContent(setup.descriptor, kernels->get()), options.digests, options.recompute_one_in);
  std::atomic<uint64_t> failures{0};
  RunnerContext context;
  context.keys = setup.keys.get();
  context.cache = cache.get();
  context.verifier = &verifier;
  context.on_failure = [&failures](const absl::Status& status) {
    if (failures.fetch_add(1) < kFailuresShown) Print(stderr, absl::StrCat("\nWRONG: ", status.message(), "\n"));
  };
  RunResult result;
  {
    Replay replay(setup.workload, *setup.plan, setup.starts, context, setup.runner, setup.run.replay);
    replay.Start();
    Watch(replay, setup.run, signals, options.quiet);
    result.state = replay.state();
  }
  result.verifier = verifier.counts();
  result.encoding = (*kernels)->use();
  if (absl::StatusOr<ServerStats> stats = (*client)->Stats(); stats.ok())
    result.server_stats = std::move(stats->values);
  return Finish(options, setup.run, result);
}

}  // namespace polarkv::load
