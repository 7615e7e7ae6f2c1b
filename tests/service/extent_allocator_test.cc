#include "service/extent_allocator.h"

#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ExtentAllocatorTest, GivesOneRunWhereThereIsOne) {
  ExtentAllocator allocator;
  allocator.Grow(100);
  EXPECT_THAT(allocator.Allocate(40), ElementsAre(ExtentRun{0, 40}));
  EXPECT_THAT(allocator.Allocate(60), ElementsAre(ExtentRun{40, 60}));
  EXPECT_THAT(allocator.Allocate(1), IsEmpty());
  EXPECT_THAT(allocator.Allocate(0), IsEmpty());
}

TEST(ExtentAllocatorTest, PrefersTheSmallestRunThatIsLargeEnough) {
  ExtentAllocator allocator;
  allocator.Grow(100);
  ASSERT_TRUE(allocator.Reserve({{10, 1}, {16, 1}}));  // free: 10, 5 and 83
  EXPECT_THAT(allocator.Allocate(4), ElementsAre(ExtentRun{11, 4}));
}

TEST(ExtentAllocatorTest, ScatteredSpaceIsUsable) {
  ExtentAllocator allocator;
  allocator.Grow(10);
  ASSERT_TRUE(allocator.Reserve({{1, 1}, {3, 1}, {5, 1}, {7, 1}}));
  const Extents extents = allocator.Allocate(6);
  EXPECT_EQ(TotalUnits(extents), 6u);
  EXPECT_EQ(allocator.free_units(), 0u);
}

TEST(ExtentAllocatorTest, NeighboursMergeWhenFreed) {
  ExtentAllocator allocator;
  allocator.Grow(30);
  const Extents a = allocator.Allocate(10), b = allocator.Allocate(10), c = allocator.Allocate(10);
  allocator.Free(a);
  allocator.Free(c);
  allocator.Free(b);
  EXPECT_THAT(allocator.Allocate(30), ElementsAre(ExtentRun{0, 30}));
}

TEST(ExtentAllocatorTest, ReservesOnlyWhatIsFreeAndTakesNothingOtherwise) {
  ExtentAllocator allocator;
  allocator.Grow(20);
  ASSERT_TRUE(allocator.Reserve({{5, 5}}));
  EXPECT_FALSE(allocator.Reserve({{0, 2}, {9, 1}}));
  EXPECT_FALSE(allocator.Reserve({{4, 2}}));
  EXPECT_FALSE(allocator.Reserve({{15, 6}}));
  EXPECT_FALSE(allocator.Reserve({{0, 0}}));
  EXPECT_FALSE(allocator.Reserve({{UINT32_MAX, UINT32_MAX}}));
  EXPECT_EQ(allocator.free_units(), 15u);
  EXPECT_TRUE(allocator.Reserve({{0, 2}, {10, 10}}));
}

TEST(ExtentAllocatorTest, NeverGivesAUnitTwice) {
  ExtentAllocator allocator;
  std::mt19937 random(1);
  std::vector<Extents> held;
  std::set<uint32_t> used;
  for (int step = 0; step < 20000; ++step) {
    if (step % 100 == 0 && allocator.total_units() < 2000) allocator.Grow(50);
    if (random() % 2 == 0) {
      const Extents extents = allocator.Allocate(1 + random() % 40);
      for (const ExtentRun& run : extents) {
        for (uint32_t i = 0; i < run.units; ++i) ASSERT_TRUE(used.insert(run.begin + i).second);
      }
      if (!extents.empty()) held.push_back(extents);
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      for (const ExtentRun& run : held.back()) {
        for (uint32_t i = 0; i < run.units; ++i) used.erase(run.begin + i);
      }
      allocator.Free(held.back());
      held.pop_back();
    }
    ASSERT_EQ(allocator.free_units() + used.size(), allocator.total_units());
  }
}

}  // namespace
}  // namespace polarkv
