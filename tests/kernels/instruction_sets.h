// Tests that run once for each instruction set, and say so where the machine lacks one.
#ifndef POLARKV_TESTS_KERNELS_INSTRUCTION_SETS_H_
#define POLARKV_TESTS_KERNELS_INSTRUCTION_SETS_H_

#include <gtest/gtest.h>

#include <string>

#include "kernels/cpu/instruction_set.h"

#define POLARKV_SKIP_WITHOUT(set) \
  if (!cpu::Supports(set)) GTEST_SKIP() << "this machine has no " << cpu::InstructionSetName(set)

namespace polarkv::testing {

inline std::string InstructionSetParamName(const ::testing::TestParamInfo<cpu::InstructionSet>& info) {
  return std::string(cpu::InstructionSetName(info.param));
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_INSTRUCTION_SETS_H_
