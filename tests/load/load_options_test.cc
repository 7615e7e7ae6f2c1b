#include "client/load/load_options.h"

#include <fstream>
#include <string>
#include <vector>

#include "client/load/load_setup.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The options, or nothing and the exit code; and what was printed.
std::optional<LoadOptions> Parse(std::vector<const char*> flags, int* exit_code = nullptr, std::string* printed = nullptr) {
  flags.insert(flags.begin(), "polarkv-load");
  LoadOptions options;
  int code = 0;
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  const bool run = ParseLoadOptions(static_cast<int>(flags.size()), flags.data(), options, code);
  const std::string text = ::testing::internal::GetCapturedStderr() + ::testing::internal::GetCapturedStdout();
  if (printed != nullptr) *printed = text;
  if (exit_code != nullptr) *exit_code = code;
  return run ? std::optional(options) : std::nullopt;
}

TEST(LoadOptionsTest, ReadsTheFlags) {
  const auto options =
      Parse({"--server", "host:1", "--workload", "chat", "--time-scale", "20", "--threads", "3", "--ordered",
             "--attend", "--kv-heads", "2", "--trace-blocks", "exact", "--require-hit-ratio", "0.36", "--device", "cpu"});
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->server, "host:1");
  EXPECT_EQ(options->time_scale, 20);
  EXPECT_EQ(options->threads, 3u);
  EXPECT_TRUE(options->ordered && options->attend);
  EXPECT_EQ(options->geometry.kv_heads, 2u);
  EXPECT_EQ(options->trace_blocks, TraceBlocks::kExact);
  EXPECT_EQ(options->required_hit_ratio, 0.36);
  EXPECT_EQ(options->device, DeviceChoice::kCpu);
  EXPECT_EQ(Parse({"--server", "host:1", "--workload", "chat"})->device, DeviceChoice::kAuto);
}

TEST(LoadOptionsTest, HelpIsNoError) {
  int exit_code = -1;
  EXPECT_FALSE(Parse({"--help"}, &exit_code).has_value());
  EXPECT_EQ(exit_code, kExitOk);
}

TEST(LoadOptionsTest, ChoicesAreListedByName) {
  std::string help, refusal;
  Parse({"--help"}, nullptr, &help);
  EXPECT_THAT(help, HasSubstr("{auto,cpu,cuda}"));
  EXPECT_THAT(help, HasSubstr("{scaled,exact}"));
  EXPECT_THAT(help, Not(HasSubstr("ENUM")));
  Parse({"--server", "h:1", "--workload", "chat", "--device", "gpu"}, nullptr, &refusal);
  EXPECT_THAT(refusal, HasSubstr("--device: gpu not in {auto,cpu,cuda}"));
}

TEST(LoadOptionsTest, WrongFlagsEndWithTheUsageCode) {
  const std::vector<std::vector<const char*>> wrong = {
      {"--server", "h:1"},     // no workload
      {"--workload", "chat"},  // no server
      {"--server", "h:1", "--workload", "chat", "--threads", "0"},
      {"--server", "h:1", "--workload", "chat", "--time-scale", "0"},
      {"--server", "h:1", "--workload", "chat", "--time-scale", "-1"},
      {"--server", "h:1", "--workload", "chat", "--require-hit-ratio", "36"},
      {"--server", "h:1", "--workload", "chat", "--trace-blocks", "other"},
      {"--server", "h:1", "--workload", "chat", "--no-such-flag"},
      {"--server", "h:1", "--workload", "chat", "--device", "gpu"},
      {"--server", "h:1", "--workload", "chat", "--config", "/no/such/file"}};
  for (const std::vector<const char*>& flags : wrong) {
    int exit_code = -1;
    EXPECT_FALSE(Parse(flags, &exit_code).has_value()) << flags.back();
    EXPECT_EQ(exit_code, kExitUsage);
  }
}

TEST(LoadOptionsTest, DryRunNeedsNoServer) { EXPECT_TRUE(Parse({"--workload", "chat", "--dry-run"}).has_value()); }

std::string SetupError(const LoadOptions& options) {
  const absl::StatusOr<std::unique_ptr<LoadSetup>> setup = MakeSetup(options);
  return setup.ok() ? "" : std::string(setup.status().message());
}

LoadOptions Chat() {
  LoadOptions options;
  options.workload = "chat";
  options.session.sessions = 5;
  return options;
}

TEST(LoadSetupTest, FlagsOverrideTheScaledPreset) {
  ModelPreset preset;
  GeometryFlags flags;
  flags.model = "llama-3-8b";
  flags.scale_layers = 0.25;
  flags.kv_heads = 2;
  flags.block_tokens = 128;
  flags.codec = "k=polar44,v=turbo3";
  const absl::StatusOr<Geometry> geometry = MakeGeometry(flags, preset);
  ASSERT_TRUE(geometry.ok());
  EXPECT_EQ(geometry->layers, 8u);
  EXPECT_EQ(geometry->kv_heads, 2u);
  EXPECT_EQ(geometry->q_heads, 8u);
  EXPECT_EQ(geometry->head_dim, 128u);
  EXPECT_EQ(geometry->block_tokens, 128u);
  EXPECT_EQ(CodecPairName(geometry->codec), "k=polar44,v=turbo3");
  EXPECT_EQ(preset.name, "llama-3-8b");
}

TEST(LoadSetupTest, WrongValuesAreNamed) {
  const auto error = [](auto change) {
    LoadOptions options = Chat();
    change(options);
    return SetupError(options);
  };
  EXPECT_EQ(SetupError(Chat()), "");
  EXPECT_THAT(error([](LoadOptions& o) { o.geometry.model = "gpt-9"; }), HasSubstr("no model preset \"gpt-9\""));
  EXPECT_THAT(error([](LoadOptions& o) { o.geometry.codec = "zip"; }), HasSubstr("zip"));
  EXPECT_THAT(error([](LoadOptions& o) { o.geometry.scale_layers = 2; }), HasSubstr("at most 1"));
  EXPECT_THAT(error([](LoadOptions& o) { o.geometry.head_dim = 65; }), HasSubstr("head_dim"));
  EXPECT_THAT(error([](LoadOptions& o) { o.geometry.kv_heads = 0; }), HasSubstr("kv_heads"));
  EXPECT_THAT(error([](LoadOptions& o) { o.geometry.block_tokens = 0; }), HasSubstr("block_tokens"));
  EXPECT_THAT(error([](LoadOptions& o) { o.geometry.kv_heads = 2, o.geometry.q_heads = 5; }), HasSubstr("multiple"));
  EXPECT_THAT(error([](LoadOptions& o) { o.workload = "no_such_file.jsonl"; }), HasSubstr("no_such_file.jsonl"));
  EXPECT_THAT(error([](LoadOptions& o) { o.session.turns = 0; }), HasSubstr("turns"));
}

TEST(LoadSetupTest, DurationCutsTheWorkloadAndItsIdeal) {
  LoadOptions options = Chat();
  options.session.sessions = 200;
  const absl::StatusOr<std::unique_ptr<LoadSetup>> whole = MakeSetup(options);
  options.duration_s = 5;
  options.time_scale = 2;
  const absl::StatusOr<std::unique_ptr<LoadSetup>> cut = MakeSetup(options);
  ASSERT_TRUE(whole.ok() && cut.ok());
  EXPECT_LT((*cut)->workload.requests.size(), (*whole)->workload.requests.size());
  EXPECT_LE((*cut)->workload.requests.back().arrival_s, 10);
  EXPECT_EQ((*cut)->plan->size(), (*cut)->workload.requests.size());
  EXPECT_LT((*cut)->plan->reusable_blocks(), (*whole)->plan->reusable_blocks());
}

TEST(LoadSetupTest, RequestsLimitTheWorkload) {
  LoadOptions options = Chat();
  options.requests = 7;
  EXPECT_EQ((*MakeSetup(options))->workload.requests.size(), 7u);
}

TEST(LoadSetupTest, RandomSaltSharesNothing) {
  LoadOptions options = Chat();
  options.salt = "random";
  const absl::StatusOr<std::unique_ptr<LoadSetup>> one = MakeSetup(options), other = MakeSetup(options);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_NE((*one)->run.salt, (*other)->run.salt);
  const Request& request = (*one)->workload.requests[0];
  EXPECT_NE((*one)->keys->Keys(request)[0], (*other)->keys->Keys(request)[0]);
}

}  // namespace
}  // namespace polarkv::load
