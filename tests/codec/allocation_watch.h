// Sees every allocation of a test program, whoever makes it: linking this replaces the global operator new.
#ifndef POLARKV_TESTS_CODEC_ALLOCATION_WATCH_H_
#define POLARKV_TESTS_CODEC_ALLOCATION_WATCH_H_

#include <cstddef>

namespace polarkv::testing {

void ForgetAllocations();
size_t LargestAllocation();  // bytes, since ForgetAllocations
size_t AllocationCount();    // since then

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_ALLOCATION_WATCH_H_
