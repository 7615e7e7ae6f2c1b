#include "service/absence_memory.h"

#include "gtest/gtest.h"
#include "tests/service/stored_block.h"

namespace polarkv {
namespace {

BlockName Name(uint32_t i) { return {1, testing::ChainKey(i, 0)}; }

TEST(AbsenceMemoryTest, RemembersTheLatestReasonUntilTheBlockIsBack) {
  AbsenceMemory memory(1000);
  EXPECT_EQ(memory.Reason(Name(1)), AbsenceReason::kNotStored);
  memory.Record(Name(1), AbsenceReason::kEvicted);
  memory.Record(Name(1), AbsenceReason::kDeleted);
  EXPECT_EQ(memory.Reason(Name(1)), AbsenceReason::kDeleted);
  EXPECT_EQ(memory.Reason({2, Name(1).key}), AbsenceReason::kNotStored);
  memory.Forget(Name(1));
  EXPECT_EQ(memory.Reason(Name(1)), AbsenceReason::kNotStored);
}

TEST(AbsenceMemoryTest, ForgetsRatherThanGrowsOrConfuses) {
  AbsenceMemory memory(64);
  for (uint32_t i = 0; i < 10000; ++i) memory.Record(Name(i), AbsenceReason::kEvicted);
  uint32_t remembered = 0;
  for (uint32_t i = 0; i < 10000; ++i) remembered += memory.Reason(Name(i)) == AbsenceReason::kEvicted;
  EXPECT_LE(remembered, 64u);
  EXPECT_GT(remembered, 32u);
  for (uint32_t i = 10000; i < 20000; ++i) EXPECT_EQ(memory.Reason(Name(i)), AbsenceReason::kNotStored);
}

}  // namespace
}  // namespace polarkv
