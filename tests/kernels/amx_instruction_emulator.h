// Runs compiled AMX instructions on a machine without AMX: there each raises SIGILL, whose handler decodes it, does on
// EmulatedAmxUnit what it says and goes on behind it. So the very code that a machine with AMX runs, with its registers,
// addresses and the compiler's order of memory accesses, is tested anywhere; slowly.
#ifndef POLARKV_TESTS_KERNELS_AMX_INSTRUCTION_EMULATOR_H_
#define POLARKV_TESTS_KERNELS_AMX_INSTRUCTION_EMULATOR_H_

#include <csignal>
#include <cstdint>

namespace polarkv::testing {

// From construction to destruction, of one thread: there is one set of emulated registers. Linux on x86-64; does nothing
// elsewhere. Other illegal instructions end the process as ever.
class AmxInstructionEmulator {
 public:
  AmxInstructionEmulator();
  ~AmxInstructionEmulator();
  AmxInstructionEmulator(const AmxInstructionEmulator&) = delete;
  AmxInstructionEmulator& operator=(const AmxInstructionEmulator&) = delete;

  // Instructions emulated since construction.
  uint64_t count() const;

 private:
#if defined(__x86_64__) && defined(__linux__)
  struct sigaction before_;
#endif
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_AMX_INSTRUCTION_EMULATOR_H_
