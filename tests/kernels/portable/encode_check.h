// The encoders' bodies of an instruction set against the arithmetic written out, on rows of random bits. Plain C++.
#ifndef POLARKV_TESTS_KERNELS_PORTABLE_ENCODE_CHECK_H_
#define POLARKV_TESTS_KERNELS_PORTABLE_ENCODE_CHECK_H_

#include "kernels/cpu/instruction_set.h"
#include "tests/kernels/portable/random_tiles.h"

namespace polarkv::testing {

struct CheckCount {
  int checks = 0, failures = 0;
};

// Every kind of codes, bits, head dim and dtype, keys and values; and key means. Prints the first failures.
CheckCount CheckEncoders(cpu::InstructionSet set, RandomBits& random);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_PORTABLE_ENCODE_CHECK_H_
