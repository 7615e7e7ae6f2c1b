#include "client/load/report.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "client/load/report_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/load/load_fixture.h"

namespace polarkv::load {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

// A finished run of two requests: one cold, one that reuses four of its six blocks.
struct Reported {
  LoadFixture fixture;
  Workload workload = Prompts({{{1, 384}, {2, 10}}, {{1, 256}, {3, 150}}});
  ReusePlan plan{workload, fixture.keys};
  RunDescription run;
  RunResult result;

  Reported() {
    workload.name = "two prompts";
    workload.kind = "test";
    fixture.options.attend = true;
    run.server = "localhost:7070";
    run.model = "tiny";
    run.geometry = *ScaledGeometry(*FindModelPreset("tiny"), 1, 1);
    run.block_bytes = BlockBytes(fixture.descriptor);
    run.workload = &workload;
    run.plan = &plan;
    run.attend = true;
    run.compute = fixture.options.compute;
    result.state.tally = fixture.Play(workload);
    result.state.started = 2;
    result.state.elapsed = std::chrono::seconds{2};
    result.verifier = fixture.verifier.counts();
    result.server_stats = {{"memory_blocks", 8}};
  }
};

TEST(ReportTest, HitRatiosAreThoseOfTheirDefinitions) {
  const Reported reported;
  const Json json = ReportJson(reported.run, reported.result);
  EXPECT_EQ(json["hits"]["blocks"], 4);
  EXPECT_DOUBLE_EQ(json["hits"]["token_ratio"], 256.0 / 800);
  EXPECT_DOUBLE_EQ(json["hits"]["full_block_ratio"], 4.0 / 12);
  EXPECT_DOUBLE_EQ(json["hits"]["block_reference_ratio"], 4.0 / 14);
  EXPECT_EQ(json["hits"], json["ideal_hits"]);
  EXPECT_DOUBLE_EQ(json["ideal_hit_ratio"], 256.0 / 800);
  EXPECT_EQ(json["workload"]["ideal"], json["ideal_hits"]);
}

TEST(ReportTest, BytesAreComparedWithFp16) {
  const Reported reported;
  const Json bytes = ReportJson(reported.run, reported.result)["bytes"];
  const auto stored = static_cast<int64_t>(reported.result.state.tally.stored_bytes);
  const auto shipped = static_cast<int64_t>(reported.result.state.tally.fetched_bytes);
  const int64_t block = static_cast<int64_t>(reported.run.block_bytes), fp16 = 64 * 64 * 2 * 2;
  EXPECT_GT(stored, 8 * block);  // one begins a sequence and holds raw tokens
  EXPECT_LT(stored, 9 * block);
  EXPECT_EQ(bytes["stored"], stored);
  EXPECT_EQ(bytes["stored_as_fp16"], 8 * fp16);
  EXPECT_EQ(bytes["stored_saved"], 8 * fp16 - stored);
  EXPECT_EQ(bytes["shipped"], shipped);
  EXPECT_EQ(bytes["shipped_saved"], 4 * fp16 - shipped);
}

TEST(ReportTest, HasEveryPartOfTheSchema) {
  const Reported reported;
  const Json json = ReportJson(reported.run, reported.result);
  for (const char* pointer : {"/schema",
                              "/server",
                              "/namespace",
                              "/salt",
                              "/elapsed_s",
                              "/interrupted",
                              "/workload/name",
                              "/workload/requests",
                              "/geometry/model",
                              "/geometry/codec",
                              "/geometry/block_bytes",
                              "/schedule/mode",
                              "/schedule/ordered",
                              "/schedule/seed",
                              "/requests/finished",
                              "/requests/overdue_not_started",
                              "/hits/token_ratio",
                              "/ideal_hit_ratio",
                              "/miss_blocks",
                              "/match_stops",
                              "/fetch_outcomes",
                              "/store_outcomes",
                              "/bytes/ratio_to_fp16",
                              "/latency_ms/start_delay/p50",
                              "/latency_ms/match/from_intended_start/p99.9",
                              "/latency_ms/fetch/service/max",
                              "/latency_ms/store/service/count",
                              "/latency_ms/prefix_ready/p90",
                              "/throughput/fetch/gb_per_s",
                              "/throughput/fetch/fp16_equivalent_gb_per_s",
                              "/throughput/store/in_calls_gb_per_s",
                              "/first_token/assumptions/flops_per_token",
                              "/first_token/assumptions/accelerator_sustained_flops",
                              "/first_token/with_cache_ms/p50",
                              "/first_token/without_cache_ms/p50",
                              "/attention/prefixes",
                              "/attention/worst_error_against_exact",
                              "/errors",
                              "/verification/failures",
                              "/verification/by_kind",
                              "/server_stats/memory_blocks",
                              "/exit_code"}) {
    EXPECT_TRUE(json.contains(Json::json_pointer(pointer))) << pointer;
  }
  EXPECT_EQ(json["schema"], kReportSchema);
  EXPECT_EQ(json["exit_code"], kExitOk);
  // Two values do not make a 99.9th percentile.
  EXPECT_TRUE(json["latency_ms"]["match"]["service"]["p99.9"].is_null());
}

TEST(ReportTest, VerificationFailureGoesBeforeTheHitRatio) {
  Reported reported;
  reported.run.required_hit_ratio = 0.32;
  EXPECT_EQ(ExitCode(reported.run, reported.result), kExitOk);
  reported.run.required_hit_ratio = 0.33;
  EXPECT_EQ(ExitCode(reported.run, reported.result), kExitHitRatioTooLow);
  EXPECT_THAT(ReportText(reported.run, reported.result), HasSubstr("FAILED     the hit ratio 32.00 % is below"));
  reported.result.state.tally.verification_failures["fetched bytes"] = 1;
  EXPECT_EQ(ExitCode(reported.run, reported.result), kExitVerificationFailed);
  EXPECT_THAT(ReportText(reported.run, reported.result), HasSubstr("FAILED     wrong bytes"));
}

TEST(ReportTest, TextTellsTheFigures) {
  Reported reported;
  const std::string text = ReportText(reported.run, reported.result);
  EXPECT_THAT(text, HasSubstr("requests   2 of 2 in 2.0 s"));
  EXPECT_THAT(text, HasSubstr("hits       32.00 % of prompt tokens; an unbounded cache: 32.00 %"));
  EXPECT_THAT(text, HasSubstr("misses     first reference 8 (blocks)"));
  EXPECT_THAT(text, HasSubstr("stored     8 blocks"));
  EXPECT_THAT(text, HasSubstr("attention  1 prefixes, 256 tokens"));
  EXPECT_THAT(text, HasSubstr("failures: none"));
  EXPECT_THAT(text, Not(HasSubstr("FAILED")));
  reported.result.state.overdue = 5;
  EXPECT_THAT(ReportText(reported.run, reported.result), HasSubstr("5 more were due but not started"));
  EXPECT_THAT(ProgressLine(reported.run, reported.result.state), HasSubstr("2/2 requests  hits 32.00 %"));
  EXPECT_THAT(WorkloadText(reported.run), HasSubstr("12 full blocks, 8 distinct; an unbounded cache serves 4"));
}

TEST(ReportTest, UnitsReadWell) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(999), "999 B");
  EXPECT_EQ(BytesText(1500), "1.5 kB");
  EXPECT_EQ(BytesText(999999), "1 MB");
  EXPECT_EQ(BytesText(-2.5e9), "-2.5 GB");
  EXPECT_EQ(DurationText(870e3), "870 us");
  EXPECT_EQ(DurationText(12.34e6), "12.3 ms");
  EXPECT_EQ(DurationText(4.2e9), "4.20 s");
  EXPECT_EQ(DurationText(300e9), "300 s");
}

class ReportFileTest : public ::testing::Test {
 protected:
  ReportFileTest() : folder_(std::filesystem::temp_directory_path() / ("polarkv_report_" + std::to_string(getpid()))) {
    std::filesystem::create_directory(folder_);
  }
  ~ReportFileTest() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(ReportFileTest, ReplacesTheFileAndLeavesNothingElse) {
  const std::string path = folder_ / "report.json";
  std::ofstream(path) << "old";
  EXPECT_TRUE(CheckReportPath(path).ok());
  ASSERT_TRUE(WriteReport(path, {{"schema", kReportSchema}}).ok());
  std::ifstream in(path);
  EXPECT_EQ(Json::parse(in)["schema"], kReportSchema);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()), 1);
}

TEST_F(ReportFileTest, UnwritablePlacesAreNamed) {
  const std::string nowhere = folder_ / "missing" / "report.json";
  for (const absl::Status& status : {CheckReportPath(nowhere), WriteReport(nowhere, {})}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(nowhere));
    EXPECT_THAT(std::string(status.message()), HasSubstr("No such file"));
  }
  EXPECT_FALSE(CheckReportPath(folder_).ok());
  EXPECT_FALSE(WriteReport(folder_, {}).ok());
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(folder_.parent_path()), std::filesystem::directory_iterator()),
      std::ranges::count_if(std::filesystem::directory_iterator(folder_.parent_path()),
                            [](const auto& entry) { return entry.path().extension() != ".tmp"; }));
}

}  // namespace
}  // namespace polarkv::load
