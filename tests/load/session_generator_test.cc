#include "client/load/session_generator.h"

#include <set>
#include <string>

#include "client/load/prompt_keys.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

SessionShape Shape(const std::string& kind) {
  SessionShape shape = *NamedSessionShape(kind);
  shape.sessions = 200;
  return shape;
}

class SessionGeneratorTest : public ::testing::TestWithParam<const char*> {};

TEST_P(SessionGeneratorTest, SameSeedSameWorkload) {
  const absl::StatusOr<Workload> first = GenerateSessions(GetParam(), Shape(GetParam()));
  const absl::StatusOr<Workload> second = GenerateSessions(GetParam(), Shape(GetParam()));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->requests, second->requests);
}

TEST_P(SessionGeneratorTest, OtherSeedOtherWorkload) {
  SessionShape other = Shape(GetParam());
  other.seed = 2;
  const absl::StatusOr<Workload> first = GenerateSessions(GetParam(), Shape(GetParam()));
  const absl::StatusOr<Workload> second = GenerateSessions(GetParam(), other);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(first->requests, second->requests);
  // Not even the system prompts are shared: a seed is a world of its own.
  EXPECT_NE(first->requests[0].prompt[0].content, second->requests[0].prompt[0].content);
}

TEST_P(SessionGeneratorTest, OtherKindSharesNothing) {
  std::set<uint64_t> contents;
  const Workload workload = *GenerateSessions(GetParam(), Shape(GetParam()));
  for (const Request& request : workload.requests) {
    for (const Segment& segment : request.prompt) contents.insert(segment.content);
  }
  for (const char* other : {"chat", "agent", "document"}) {
    if (std::string(other) == GetParam()) continue;
    const Workload others = *GenerateSessions(other, Shape(other));
    for (const Request& request : others.requests) {
      EXPECT_FALSE(contents.contains(request.prompt[0].content)) << other;
    }
  }
}

TEST_P(SessionGeneratorTest, ArrivalsAscendAndTokensAddUp) {
  const absl::StatusOr<Workload> workload = GenerateSessions(GetParam(), Shape(GetParam()));
  ASSERT_TRUE(workload.ok());
  double previous = 0;
  for (const Request& request : workload->requests) {
    EXPECT_GE(request.arrival_s, previous);
    previous = request.arrival_s;
    EXPECT_EQ(request.prompt_tokens, StoreTokens(request));
    for (const Segment& segment : request.prompt) EXPECT_GT(segment.tokens, 0u);
  }
}

TEST_P(SessionGeneratorTest, MeansAreAsAskedFor) {
  SessionShape shape = Shape(GetParam());
  shape.sessions = 4000;
  const absl::StatusOr<Workload> workload = GenerateSessions(GetParam(), shape);
  ASSERT_TRUE(workload.ok());
  const double requests = static_cast<double>(workload->requests.size());
  double input = 0, output = 0;
  for (const Request& request : workload->requests) {
    input += request.prompt.back().tokens;
    output += static_cast<double>(request.output_tokens);
  }
  // Exponential draws: four standard errors of 8000 and more draws are below 5 %.
  EXPECT_NEAR(requests / 4000, shape.turns, 0.1 * shape.turns);
  EXPECT_NEAR(input / requests, shape.input_tokens, 0.05 * shape.input_tokens);
  EXPECT_NEAR(output / requests, shape.output_tokens, 0.05 * shape.output_tokens);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SessionGeneratorTest, ::testing::Values("chat", "agent", "document"));

TEST(SessionGeneratorTest, ChatPromptExtendsTheOneBefore) {
  SessionShape shape = Shape("chat");
  shape.sessions = 1;
  shape.turns = 8;
  const absl::StatusOr<Workload> workload = GenerateSessions("chat", shape);
  ASSERT_TRUE(workload.ok());
  ASSERT_GE(workload->requests.size(), 2u);
  for (size_t i = 1; i < workload->requests.size(); ++i) {
    const std::vector<Segment>& before = workload->requests[i - 1].prompt;
    const std::vector<Segment>& now = workload->requests[i].prompt;
    ASSERT_EQ(now.size(), before.size() + 2);  // the answer and the next message
    EXPECT_TRUE(std::equal(before.begin(), before.end(), now.begin()));
    EXPECT_EQ(now[before.size()].tokens, workload->requests[i - 1].output_tokens);
  }
}

TEST(SessionGeneratorTest, DocumentQuestionsShareTheDocumentAlone) {
  SessionShape shape = Shape("document");
  shape.sessions = 1;
  const absl::StatusOr<Workload> workload = GenerateSessions("document", shape);
  ASSERT_TRUE(workload.ok());
  std::set<uint64_t> questions;
  for (const Request& request : workload->requests) {
    ASSERT_EQ(request.prompt.size(), 3u);  // instructions, document, question
    EXPECT_EQ(request.prompt[1], workload->requests[0].prompt[1]);
    questions.insert(request.prompt[2].content);
  }
  EXPECT_EQ(questions.size(), workload->requests.size());
}

TEST(SessionGeneratorTest, AgentSessionsShareToolPrompts) {
  const absl::StatusOr<Workload> workload = GenerateSessions("agent", Shape("agent"));
  ASSERT_TRUE(workload.ok());
  std::set<uint64_t> prompts;
  for (const Request& request : workload->requests) prompts.insert(request.prompt[0].content);
  EXPECT_EQ(prompts.size(), 2u);
}

TEST(SessionGeneratorTest, RefusesShapesOutOfRange) {
  const auto refused = [](auto change) {
    SessionShape shape;
    change(shape);
    return GenerateSessions("chat", shape).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.sessions = 0; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.session_rate = 0; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.session_rate = std::numeric_limits<double>::quiet_NaN(); }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.shared_prompts = 0; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.turns = 0.5; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.think_time_s = -1; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.output_token_s = -1; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.input_tokens = 0; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.document_tokens = 4000000000u; }));
  EXPECT_TRUE(refused([](SessionShape& shape) { shape.sessions = 1000000, shape.turns = 2; }));
  EXPECT_EQ(NamedSessionShape("poetry").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace polarkv::load
