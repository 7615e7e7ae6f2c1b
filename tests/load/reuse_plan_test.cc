#include "client/load/reuse_plan.h"

#include <algorithm>
#include <vector>

#include "client/load/mixing.h"
#include "client/load/session_generator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

constexpr uint32_t kBlockTokens = 64;

std::vector<int32_t> Tokens(const Request& request) {
  std::vector<int32_t> tokens;
  for (const Segment& segment : request.prompt) {
    for (uint32_t i = 0; i < segment.tokens; ++i) tokens.push_back(TokenId(segment.content, i));
  }
  return tokens;
}

// Full blocks at the front that two prompts share, token by token.
uint32_t SharedBlocks(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const size_t length = std::min(a.size(), b.size());
  const size_t same = static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(length), b.begin()).first - a.begin());
  return static_cast<uint32_t>(same / kBlockTokens);
}

// The definition, by comparing every prompt with every earlier one.
void ExpectPlanIsTheDefinition(const Workload& workload) {
  const PromptKeys keys(Fingerprint{}, "", kBlockTokens);
  const ReusePlan plan(workload, keys);
  ASSERT_EQ(plan.size(), workload.requests.size());
  std::vector<std::vector<int32_t>> prompts;
  uint64_t reusable = 0, full = 0;
  for (uint32_t index = 0; index < workload.requests.size(); ++index) {
    prompts.push_back(Tokens(workload.requests[index]));
    std::vector<BlockProvider> providers;  // of the best prefix so far, in the order of requests
    uint32_t best = 0;
    for (uint32_t earlier = 0; earlier < index; ++earlier) {
      const uint32_t shared = SharedBlocks(prompts[earlier], prompts[index]);
      if (shared <= best) continue;
      best = shared;
      providers.push_back({earlier, shared});
    }
    EXPECT_EQ(plan[index].full_blocks, prompts[index].size() / kBlockTokens);
    EXPECT_EQ(plan[index].reusable_blocks, best) << "request " << index;
    EXPECT_EQ(plan[index].providers, providers) << "request " << index;
    reusable += best;
    full += prompts[index].size() / kBlockTokens;
  }
  EXPECT_EQ(plan.reusable_blocks(), reusable);
  EXPECT_EQ(plan.full_blocks(), full);
  EXPECT_EQ(plan.distinct_blocks(), full - reusable);
}

TEST(ReusePlanTest, AgreesWithBruteForceOnGeneratedSessions) {
  for (const char* kind : {"chat", "agent", "document"}) {
    SessionShape shape = *NamedSessionShape(kind);
    shape.sessions = 12;
    const absl::StatusOr<Workload> workload = GenerateSessions(kind, shape);
    ASSERT_TRUE(workload.ok());
    ExpectPlanIsTheDefinition(*workload);
  }
}

// Prompts that branch off each other at random places, within blocks and between them.
TEST(ReusePlanTest, AgreesWithBruteForceOnRandomTrees) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    Workload workload;
    for (int i = 0; i < 40; ++i) {
      Request request;
      if (i > 0) {
        const std::vector<Segment>& from = workload.requests[random.Word() % workload.requests.size()].prompt;
        request.prompt.assign(from.begin(), from.begin() + static_cast<ptrdiff_t>(random.Word() % (from.size() + 1)));
      }
      const uint64_t more = 1 + random.Word() % 4;
      for (uint64_t j = 0; j < more; ++j) {
        const uint32_t tokens = random.Word() % 2 == 0 ? kBlockTokens : static_cast<uint32_t>(1 + random.Word() % 150);
        request.prompt.push_back({random.Word() % 5, tokens});
      }
      workload.requests.push_back(std::move(request));
    }
    ExpectPlanIsTheDefinition(workload);
  }
}

TEST(ReusePlanTest, SameBlockAfterAnotherPrefixIsNotReusable) {
  Workload workload;
  workload.requests.resize(2);
  workload.requests[0].prompt = {{1, 64}, {2, 64}};
  workload.requests[1].prompt = {{3, 64}, {2, 64}};
  const ReusePlan plan(workload, PromptKeys(Fingerprint{}, "", kBlockTokens));
  EXPECT_EQ(plan.reusable_blocks(), 0u);
  EXPECT_EQ(plan.distinct_blocks(), 4u);
}

TEST(ReusePlanTest, PartialBlocksAreReferencesThatCannotBeReused) {
  Workload workload;
  workload.requests.resize(2);
  workload.requests[0].prompt = {{1, 64}, {2, 10}};
  workload.requests[1].prompt = {{1, 64}, {2, 10}};
  const ReusePlan plan(workload, PromptKeys(Fingerprint{}, "", kBlockTokens));
  EXPECT_EQ(plan.block_references(), 4u);
  EXPECT_EQ(plan.full_blocks(), 2u);
  EXPECT_EQ(plan.reusable_blocks(), 1u);
}

}  // namespace
}  // namespace polarkv::load
