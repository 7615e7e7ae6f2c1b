// Whether this process may use AMX, found out once.
#ifndef POLARKV_KERNELS_CPU_AMX_SUPPORT_H_
#define POLARKV_KERNELS_CPU_AMX_SUPPORT_H_

#include <string_view>

namespace polarkv::cpu {

// Empty if AMX attention can be used here; else why not, in words: the build, the processor, the operating system (which
// grants tile data to a process that asks; asking costs nothing where there is no AMX), or that the processor's products
// differ from what they should be, which goes to standard error too. The first call takes milliseconds where there is AMX.
std::string_view WhyNoAmx();

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_SUPPORT_H_
