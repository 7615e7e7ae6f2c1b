// What becomes of stored blocks: duplicates, conflicts, deletion, leases, prefixes with holes.
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/client_over_server.h"

namespace polarkv::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

TEST(Blocks, AreStoredOnceAndDuplicateAfter) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 4, 20);
  EXPECT_THAT(StoreChain(*over.client, chain).value(), Each(StoreOutcome::kStored));
  EXPECT_THAT(StoreChain(*over.client, chain).value(), Each(StoreOutcome::kDuplicate));
}

TEST(Blocks, AnotherContentUnderTheSameKeyIsAConflictAndTheFirstStays) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 2, 21);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  BlockChain other(SmallDescriptor(), 2, 22);
  other.keys = chain.keys;
  for (size_t i = 0; i < 2; ++i) {
    TagBlock(other.blocks[i], std::span<const uint8_t, 16>(chain.ns.fingerprint.data(), 16),
             std::span<const uint8_t, 8>(chain.keys[i].bytes.data(), 8));
  }
  EXPECT_THAT(StoreChain(*over.client, other).value(), Each(StoreOutcome::kConflict));
  FetchBuffers buffers(2, FetchBytes(SmallDescriptor()).value());
  ASSERT_TRUE(over->Fetch(chain.ns, chain.keys, {}, buffers.slots).ok());
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(buffers.slots[i].outcome, FetchOutcome::kOk);
    EXPECT_TRUE(SpanEquals(buffers.slots[i].view[0].bytes(), chain.blocks[i]));
  }
}

TEST(Blocks, AMatchEndsAtTheFirstHoleAndSaysWhy) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 5, 23);
  const BlockChain unknown(SmallDescriptor(), 1, 24);
  EXPECT_EQ(over->Match(chain.ns, chain.keys)->stop, MatchStop::kNotStored);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  EXPECT_EQ(over->Match(chain.ns, chain.keys)->stop, MatchStop::kAllMatched);
  EXPECT_EQ(over->Delete(chain.ns, std::span(chain.keys).subspan(2, 1)).value(), 1u);
  const PrefixMatch match = over->Match(chain.ns, chain.keys).value();
  EXPECT_EQ(match.matched_blocks, 2u);
  EXPECT_EQ(match.stop, MatchStop::kDeleted);
  const std::vector<BlockKey> keys = {chain.keys[0], unknown.keys[0], chain.keys[1]};
  EXPECT_EQ(over->Match(chain.ns, keys)->matched_blocks, 1u);
  EXPECT_EQ(over->Match(chain.ns, keys)->stop, MatchStop::kNotStored);
}

TEST(Blocks, ThatAreDeletedAreGoneFromEveryCall) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 3, 25);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  EXPECT_THAT(over->Exists(chain.ns, chain.keys).value(), ElementsAre(true, true, true));
  EXPECT_EQ(over->Delete(chain.ns, std::span(chain.keys).last(2)).value(), 2u);
  EXPECT_EQ(over->Delete(chain.ns, std::span(chain.keys).last(2)).value(), 0u);
  EXPECT_THAT(over->Exists(chain.ns, chain.keys).value(), ElementsAre(true, false, false));
  FetchBuffers buffers(3, FetchBytes(SmallDescriptor()).value());
  ASSERT_TRUE(over->Fetch(chain.ns, chain.keys, {}, buffers.slots).ok());
  EXPECT_EQ(buffers.slots[0].outcome, FetchOutcome::kOk);
  EXPECT_EQ(buffers.slots[1].outcome, FetchOutcome::kNotFound);
  EXPECT_EQ(buffers.slots[2].outcome, FetchOutcome::kNotFound);
  // Deleted is not banned.
  EXPECT_THAT(StoreChain(*over.client, chain).value(),
              ElementsAre(StoreOutcome::kDuplicate, StoreOutcome::kStored, StoreOutcome::kStored));
}

TEST(Blocks, ANamespaceGoesAwayWithItsBlocksAndCanBeUsedAgain) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 3, 26);
  const BlockChain bystander(SmallDescriptor("test/bystander"), 1, 26);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  ASSERT_TRUE(StoreChain(*over.client, bystander).ok());
  ASSERT_EQ(over->ListNamespaces()->size(), 2u);
  EXPECT_EQ(over->DeleteNamespace(chain.ns).value(), 3u);
  EXPECT_EQ(over->DeleteNamespace(chain.ns).value(), 0u);
  const std::vector<NamespaceInfo> left = over->ListNamespaces().value();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].descriptor, bystander.ns.descriptor);
  EXPECT_EQ(left[0].blocks, 1u);
  EXPECT_THAT(over->Exists(chain.ns, chain.keys).value(), Each(false));  // opens it again by itself
  EXPECT_THAT(StoreChain(*over.client, chain).value(), Each(StoreOutcome::kStored));
  EXPECT_THAT(over->Exists(bystander.ns, bystander.keys).value(), Each(true));
}

TEST(Blocks, UnderLeaseOutliveEvictionAndGoAfterIt) {
  // Room for a few dozen blocks of 27 KiB.
  ClientOverServer over({"--memory-budget", "2MiB"});
  const BlockChain leased(SmallDescriptor(), 8, 27);
  ASSERT_TRUE(StoreChain(*over.client, leased).ok());
  const PrefixMatch match = over->Match(leased.ns, leased.keys, milliseconds(60000)).value();
  ASSERT_EQ(match.matched_blocks, 8u);
  ASSERT_NE(match.lease_id, 0u);
  EXPECT_LE(match.lease, milliseconds(60000));

  const auto flood = [&](uint32_t seed) {
    const BlockChain other(SmallDescriptor(), 120, seed);
    EXPECT_THAT(StoreChain(*over.client, other).value(), Each(StoreOutcome::kStored));
  };
  flood(28);
  FetchBuffers buffers(8, FetchBytes(SmallDescriptor()).value());
  ASSERT_TRUE(over->Fetch(leased.ns, leased.keys, {}, buffers.slots, match.lease_id).ok());
  EXPECT_EQ(buffers.Views().size(), 8u);  // and the lease ended with the fetch
  flood(29);
  EXPECT_EQ(over->Match(leased.ns, leased.keys)->stop, MatchStop::kEvicted);
}

TEST(Blocks, ALeaseEndsWhenReleasedOrWhenItsTimeHasCome) {
  ClientOverServer over({"--memory-budget", "2MiB", "--max-lease", "200ms"});
  for (const bool release : {true, false}) {
    const BlockChain leased(SmallDescriptor(), 4, release ? 30 : 31);
    ASSERT_TRUE(StoreChain(*over.client, leased).ok());
    const PrefixMatch match = over->Match(leased.ns, leased.keys, milliseconds(60000)).value();
    EXPECT_LE(match.lease, milliseconds(200));  // capped
    if (release) {
      EXPECT_TRUE(over->ReleaseLease(match.lease_id).ok());
    } else {
      std::this_thread::sleep_for(milliseconds(300));
    }
    const BlockChain other(SmallDescriptor(), 120, release ? 32 : 33);
    EXPECT_THAT(StoreChain(*over.client, other).value(), Each(StoreOutcome::kStored));
    EXPECT_EQ(over->Match(leased.ns, leased.keys)->matched_blocks, 0u) << release;
  }
}

TEST(Blocks, StatsCountThem) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 3, 34);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  const ServerStats stats = over->Stats().value();
  EXPECT_FALSE(stats.version.empty());
  using ::testing::Contains;
  using ::testing::Pair;
  EXPECT_THAT(stats.values, Contains(Pair("stored_blocks", 3)));
  EXPECT_THAT(stats.values, Contains(Pair("memory_blocks", 3)));
  EXPECT_THAT(stats.values, Contains(Pair("namespaces", 1)));
}

}  // namespace
}  // namespace polarkv::testing
