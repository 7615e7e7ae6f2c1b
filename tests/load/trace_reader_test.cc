#include "client/load/trace_reader.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Workload> Parse(const std::string& text, const TraceMapping& mapping = {TraceBlocks::kScaled, 64, 0}) {
  std::istringstream in(text);
  return ParseTrace(in, "test", mapping);
}

std::string Mooncake(const std::string& timestamp, const std::string& input_length, const std::string& hash_ids) {
  return absl::StrCat(R"({"timestamp": )", timestamp, R"(, "input_length": )", input_length,
                      R"(, "output_length": 7, "hash_ids": )", hash_ids, "}\n");
}

TEST(TraceReaderTest, MooncakeTimestampsAreMillisecondsAndBlocksHave512Tokens) {
  const absl::StatusOr<Workload> workload = Parse(Mooncake("1500", "1200", "[5, 6, 9]"));
  ASSERT_TRUE(workload.ok()) << workload.status();
  EXPECT_EQ(workload->kind, "mooncake");
  ASSERT_EQ(workload->requests.size(), 1u);
  const Request& request = workload->requests[0];
  EXPECT_DOUBLE_EQ(request.arrival_s, 1.5);
  EXPECT_EQ(request.prompt_tokens, 1200u);
  EXPECT_EQ(request.output_tokens, 7u);
  // 1200 = 2 * 512 + 176, and 176 tokens of 512 are 22 of 64.
  EXPECT_THAT(request.prompt, ElementsAre(Segment{5, 64}, Segment{6, 64}, Segment{9, 22}));
  EXPECT_DOUBLE_EQ(workload->tokens_per_store_token, 8.0);
}

TEST(TraceReaderTest, LastBlockIsFullWhenTheLengthIsAMultiple) {
  const absl::StatusOr<Workload> workload = Parse(Mooncake("0", "1024", "[5, 6]"));
  ASSERT_TRUE(workload.ok());
  EXPECT_THAT(workload->requests[0].prompt, ElementsAre(Segment{5, 64}, Segment{6, 64}));
}

TEST(TraceReaderTest, PartialBlockNeverBecomesAFullOrAnEmptyOne) {
  const absl::StatusOr<Workload> one = Parse(Mooncake("0", "1", "[5]"));
  const absl::StatusOr<Workload> most = Parse(Mooncake("0", "511", "[5]"), {TraceBlocks::kScaled, 1024, 0});
  ASSERT_TRUE(one.ok() && most.ok());
  EXPECT_THAT(one->requests[0].prompt, ElementsAre(Segment{5, 1}));
  EXPECT_THAT(most->requests[0].prompt, ElementsAre(Segment{5, 1022}));
}

TEST(TraceReaderTest, ExactMappingKeepsTheTokenCounts) {
  const absl::StatusOr<Workload> workload = Parse(Mooncake("0", "1200", "[5, 6, 9]"), {TraceBlocks::kExact, 64, 0});
  ASSERT_TRUE(workload.ok());
  EXPECT_THAT(workload->requests[0].prompt, ElementsAre(Segment{5, 512}, Segment{6, 512}, Segment{9, 176}));
  EXPECT_DOUBLE_EQ(workload->tokens_per_store_token, 1.0);
}

TEST(TraceReaderTest, BailianIsToldByItsChatId) {
  const absl::StatusOr<Workload> workload =
      Parse(R"({"chat_id": 159, "parent_chat_id": 55, "timestamp": 61.125, "input_length": 33, "output_length": 132,)"
            R"( "type": "text", "turn": 2, "hash_ids": [1089, 1090, 0]})"
            "\n");
  ASSERT_TRUE(workload.ok()) << workload.status();
  EXPECT_EQ(workload->kind, "qwen-bailian");
  EXPECT_DOUBLE_EQ(workload->requests[0].arrival_s, 61.125);
  EXPECT_THAT(workload->requests[0].prompt, ElementsAre(Segment{1089, 64}, Segment{1090, 64}, Segment{0, 4}));
  EXPECT_DOUBLE_EQ(workload->tokens_per_store_token, 0.25);
}

TEST(TraceReaderTest, SortsByTimeAndKeepsTheOrderOfEqualTimes) {
  const absl::StatusOr<Workload> workload =
      Parse(Mooncake("9", "512", "[1]") + Mooncake("3", "512", "[2]") + "\n" + Mooncake("3", "512", "[3]"));
  ASSERT_TRUE(workload.ok());
  ASSERT_EQ(workload->requests.size(), 3u);
  EXPECT_EQ(workload->requests[0].prompt[0].content, 2u);
  EXPECT_EQ(workload->requests[1].prompt[0].content, 3u);
  EXPECT_EQ(workload->requests[2].prompt[0].content, 1u);
}

TEST(TraceReaderTest, StopsAtTheLimitWithoutReadingWhatFollows) {
  const absl::StatusOr<Workload> workload =
      Parse(Mooncake("1", "512", "[1]") + "garbage\n", {TraceBlocks::kScaled, 64, 1});
  ASSERT_TRUE(workload.ok()) << workload.status();
  EXPECT_EQ(workload->requests.size(), 1u);
}

struct BadTrace {
  const char* name;
  std::string line;
  const char* message;
};

class BadTraceTest : public ::testing::TestWithParam<BadTrace> {};

TEST_P(BadTraceTest, NamesTheLineAndTheField) {
  const absl::StatusOr<Workload> workload = Parse(Mooncake("0", "512", "[1]") + GetParam().line + "\n");
  ASSERT_FALSE(workload.ok());
  EXPECT_EQ(workload.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(workload.status().message()), HasSubstr("line 2: "));
  EXPECT_THAT(std::string(workload.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Defects, BadTraceTest,
    ::testing::Values(
        BadTrace{"NotJson", "timestamp=3", "not valid JSON"},
        BadTrace{"CutOff", R"({"timestamp": 3, "input_length": 5)", "not valid JSON"},
        BadTrace{"NotAnObject", "[1, 2]", "not a JSON object"},
        BadTrace{"NoTimestamp", R"({"input_length": 512, "output_length": 1, "hash_ids": [1]})", "no \"timestamp\""},
        BadTrace{"TimestampText", Mooncake("\"now\"", "512", "[1]"), "\"timestamp\" is not a number"},
        BadTrace{"TimestampNegative", Mooncake("-1", "512", "[1]"), "\"timestamp\" is out of range"},
        BadTrace{"TimestampHuge", Mooncake("1e999", "512", "[1]"), "not valid JSON"},
        BadTrace{"NoInputLength", R"({"timestamp": 1, "output_length": 1, "hash_ids": [1]})", "no \"input_length\""},
        BadTrace{"InputLengthFraction", Mooncake("0", "512.5", "[1]"), "\"input_length\" is not a whole number"},
        BadTrace{"InputLengthNegative", Mooncake("0", "-512", "[1]"), "\"input_length\" is out of range"},
        BadTrace{"InputLengthHuge", Mooncake("0", "18446744073709551615", "[1]"), "\"input_length\" is out of range"},
        BadTrace{"NoOutputLength", R"({"timestamp": 1, "input_length": 512, "hash_ids": [1]})", "no \"output_length\""},
        BadTrace{"NoHashIds", R"({"timestamp": 1, "input_length": 512, "output_length": 1})", "no \"hash_ids\""},
        BadTrace{"HashIdsNotAnArray", Mooncake("0", "512", "1"), "\"hash_ids\" is not an array"},
        BadTrace{"HashIdText", Mooncake("0", "512", "[\"a\"]"), "\"hash_ids\" holds \"a\""},
        BadTrace{"HashIdNegative", Mooncake("0", "512", "[-4]"), "\"hash_ids\" holds -4"},
        BadTrace{"TooFewHashIds", Mooncake("0", "1024", "[1]"), "2 full blocks of 512 tokens, but there are 1"},
        BadTrace{"TooManyHashIds", Mooncake("0", "600", "[1, 2, 3]"), "1 full blocks of 512 tokens and a partial one"}),
    [](const auto& param) { return param.param.name; });

TEST(TraceReaderTest, EmptyTraceIsRefused) {
  EXPECT_THAT(std::string(Parse("").status().message()), HasSubstr("no request"));
  EXPECT_THAT(std::string(Parse("\n  \n").status().message()), HasSubstr("no request"));
}

TEST(TraceReaderTest, MissingFileIsNotFoundAndNamed) {
  const absl::StatusOr<Workload> workload = ReadTrace("no/such/trace.jsonl", {});
  EXPECT_EQ(workload.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(workload.status().message()), HasSubstr("no/such/trace.jsonl"));
}

}  // namespace
}  // namespace polarkv::load
