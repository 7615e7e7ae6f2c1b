// What the real server and the client refuse between them, each with its own word.
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/client_over_server.h"

namespace polarkv::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Refusals, ANamespaceOpenedWithAnotherDescriptorNamesTheField) {
  ClientOverServer over;
  ASSERT_TRUE(over->OpenNamespace(SmallDescriptor()).ok());
  ASSERT_TRUE(over->OpenNamespace(SmallDescriptor()).ok());
  const std::vector<std::pair<const char*, std::function<void(NamespaceDescriptor&)>>> changes = {
      {"layers", [](auto& d) { d.layers = 4; }},
      {"kv_heads", [](auto& d) { d.kv_heads = 4; }},
      {"model", [](auto& d) { d.model = "other"; }},
      {"weights_digest", [](auto& d) { d.weights_digest = "sha256:0"; }},
      {"codec",
       [](auto& d) {
         d.codec = {CodecId::kTurbo3, CodecId::kTurbo3};
       }},
      {"rotation_seed", [](auto& d) { d.rotation_seed = 1; }},
      {"source_dtype", [](auto& d) { d.source_dtype = Dtype::kBF16; }},
      {"block_tokens", [](auto& d) { d.block_tokens = 128; }}};
  for (const auto& [field, change] : changes) {
    NamespaceDescriptor descriptor = SmallDescriptor();
    change(descriptor);
    const absl::Status status = over->OpenNamespace(descriptor).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  }
}

// One bit of the second of three blocks, flipped anywhere: the server takes the other two.
class DamagedBlock : public ::testing::TestWithParam<size_t> {};

TEST_P(DamagedBlock, IsRefusedAndTheOthersAreStored) {
  static const auto* over = new ClientOverServer();
  static uint32_t seed = 100;
  BlockChain chain(SmallDescriptor(), 3, ++seed);  // a new one for each place
  chain.blocks[1][std::min(GetParam(), chain.blocks[1].size() - 1)] ^= 1;
  const std::vector<StoreOutcome> outcomes = StoreChain(*over->client, chain).value();
  EXPECT_EQ(outcomes[0], StoreOutcome::kStored);
  // Which word depends on the field; none of them is success.
  EXPECT_THAT(outcomes[1],
              ::testing::AnyOf(StoreOutcome::kBadChecksum, StoreOutcome::kUnsupported, StoreOutcome::kMismatch));
  EXPECT_EQ(outcomes[2], StoreOutcome::kStored);
  EXPECT_THAT((*over)->Exists(chain.ns, chain.keys).value(), ElementsAre(true, false, true));
}

INSTANTIATE_TEST_SUITE_P(Places, DamagedBlock,
                         ::testing::Values(0, 4, 6, 9, 16, 24, 28, 33, 41, 64, 81, 97, 113, 121, 129, 200, 5000,
                                           1u << 30));

TEST(Refusals, ABlockOfAnotherNamespaceOrKeyIsAMismatch) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 2, 60);
  const BlockChain other(SmallDescriptor("test/other"), 1, 60);
  const std::vector<StoreItem> items = {{chain.keys[0], {}, chain.blocks[1]}, {chain.keys[1], {}, other.blocks[0]}};
  std::vector<StoreOutcome> outcomes(2);
  ASSERT_TRUE(over->Store(chain.ns, items, outcomes).ok());
  EXPECT_THAT(outcomes, ElementsAre(StoreOutcome::kMismatch, StoreOutcome::kMismatch));
}

TEST(Refusals, BytesThatAreNoBlockAreRefused) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 1, 61);
  const std::vector<uint8_t> noise(10000, 0xA5), tiny(10, 1);
  for (const std::vector<uint8_t>& bytes : {noise, tiny}) {
    const std::vector<StoreItem> items = {{chain.keys[0], {}, bytes}};
    std::vector<StoreOutcome> outcomes(1);
    const absl::Status status = over->Store(chain.ns, items, outcomes);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_THAT(outcomes[0], ::testing::AnyOf(StoreOutcome::kBadChecksum, StoreOutcome::kUnsupported));
  }
}

TEST(Refusals, ANamespaceWhoseBlocksAreOverTheServersLimitNamesTheLimit) {
  ClientOverServer over({"--max-block-bytes", "16KiB"});
  const absl::Status status = over->OpenNamespace(SmallDescriptor()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--max-block-bytes"));
}

TEST(Refusals, ABlockLargerThanAnyOfItsNamespaceIsNotTaken) {
  ClientOverServer over({"--max-block-bytes", "64KiB"});
  const BlockChain chain(SmallDescriptor(), 1, 62);
  std::vector<uint8_t> padded = chain.blocks[0], over_limit = chain.blocks[0];
  padded.resize(padded.size() + 64);
  over_limit.resize(65 * 1024);
  for (const auto& [bytes, wanted] :
       {std::pair(padded, StoreOutcome::kBadChecksum), std::pair(over_limit, StoreOutcome::kTooLarge)}) {
    const std::vector<StoreItem> items = {{chain.keys[0], {}, bytes}};
    std::vector<StoreOutcome> outcomes(1);
    ASSERT_TRUE(over->Store(chain.ns, items, outcomes).ok());
    EXPECT_EQ(outcomes[0], wanted) << StoreOutcomeName(outcomes[0]);
  }
}

TEST(Refusals, AFullMemoryBudgetOfLeasedBlocksHasNoSpace) {
  ClientOverServer over({"--memory-budget", "1MiB"});
  const BlockChain chain(SmallDescriptor(), 60, 63);
  std::vector<BlockKey> stored;
  std::vector<uint64_t> leases;
  StoreOutcome last = StoreOutcome::kStored;
  for (size_t i = 0; i < 60 && last == StoreOutcome::kStored; ++i) {
    const std::vector<StoreItem> item = {chain.Items()[i]};
    std::vector<StoreOutcome> outcome(1);
    ASSERT_TRUE(over->Store(chain.ns, item, outcome).ok());
    last = outcome[0];
    ASSERT_NE(over->Match(chain.ns, std::span(chain.keys).first(i + 1), milliseconds(60000))->lease_id, 0u);
  }
  EXPECT_EQ(last, StoreOutcome::kNoSpace);
}

TEST(Refusals, LayersThatTheBlocksDoNotHaveAreNoSuchLayer) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 1, 64);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  for (const BlockSelection& selection : {BlockSelection{3, 4, kAllPlanes}, BlockSelection{0, 4, kAllPlanes}}) {
    FetchBuffers buffers(1, 1 << 20);
    const absl::Status status = over->Fetch(chain.ns, chain.keys, selection, buffers.slots);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(buffers.slots[0].outcome, FetchOutcome::kNoSuchLayer) << buffers.slots[0].message;
    EXPECT_EQ(FetchBytes(SmallDescriptor(), selection).status().code(), absl::StatusCode::kInvalidArgument);
  }
  FetchBuffers buffers(1, 1 << 20);
  EXPECT_EQ(over->Fetch(chain.ns, chain.keys, {2, 1, kAllPlanes}, buffers.slots).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace polarkv::testing
