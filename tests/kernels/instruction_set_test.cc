#include "kernels/cpu/instruction_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace polarkv::cpu {
namespace {

using ::testing::HasSubstr;

TEST(InstructionSetTest, EverySetOfTheMachineCanBeChosen) {
  for (const InstructionSet set : kInstructionSets) {
    const InstructionSetChoice choice = ChooseInstructionSet(InstructionSetName(set));
    if (Supports(set)) {
      EXPECT_EQ(choice.set, set);
      EXPECT_EQ(choice.complaint, "");
    } else {
      EXPECT_EQ(choice.set, ChooseInstructionSet("").set);
      EXPECT_THAT(choice.complaint, HasSubstr(std::string(InstructionSetName(set)) + ": this machine has scalar"));
    }
  }
}

TEST(InstructionSetTest, NoWishNoComplaint) { EXPECT_EQ(ChooseInstructionSet("").complaint, ""); }

TEST(InstructionSetTest, MistypedNamesAreAnsweredWithThoseKnown) {
  for (const char* name : {"avx-512", "AVX2", "avx2 ", "sse"}) {
    const InstructionSetChoice choice = ChooseInstructionSet(name);
    EXPECT_EQ(choice.set, ChooseInstructionSet("").set);
    EXPECT_EQ(choice.complaint, "POLARKV_INSTRUCTION_SET=" + std::string(name) +
                                    " is not one of scalar, vector128, avx2, avx512, amx; using " +
                                    std::string(InstructionSetName(choice.set)));
  }
}

// In a process of its own, for the environment is looked at once.
TEST(InstructionSetDeathTest, ComplainsOnceOnStandardError) {
  const auto use = [](const char* wanted) {
    setenv("POLARKV_INSTRUCTION_SET", wanted, 1);
    BestInstructionSet();
    std::exit(BestInstructionSet() == ChooseInstructionSet("").set ? 0 : 1);
  };
  EXPECT_EXIT(use("avx-512"), ::testing::ExitedWithCode(0),
              "^polarkv: POLARKV_INSTRUCTION_SET=avx-512 is not one of [a-z0-9, ]+; using [a-z0-9]+\n$");
  EXPECT_EXIT(use(""), ::testing::ExitedWithCode(0), "^$");
}

}  // namespace
}  // namespace polarkv::cpu
