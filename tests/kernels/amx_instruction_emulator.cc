#include "tests/kernels/amx_instruction_emulator.h"

#if defined(__x86_64__) && defined(__linux__)
#include <ucontext.h>

#include <cstring>

#include "kernels/cpu/amx_emulated_unit.h"
#endif

namespace polarkv::testing {

#if defined(__x86_64__) && defined(__linux__)

namespace {

cpu::EmulatedAmxUnit* unit = nullptr;
uint64_t emulated = 0;

enum Prefix { kNone = 0, k66 = 1, kF3 = 2, kF2 = 3 };  // as a VEX prefix has them

// One VEX-coded instruction of the map 0F 38.
struct Instruction {
  uint8_t opcode = 0;
  Prefix prefix = kNone;
  bool in_register = false;        // the operand r/m
  uint32_t reg = 0, rm = 0, vvvv = 0;  // tile registers
  uint8_t* base = nullptr;  // the operand in memory, but for
  int64_t index = 0;        // what a tile's rows are apart
  uint32_t length = 0;
};

int64_t GeneralRegister(const ucontext_t& context, uint32_t number) {
  static constexpr int kOrder[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[kOrder[number]];
}

// The operand in memory: ModRM's, perhaps with a SIB byte and a displacement.
void DecodeAddress(const ucontext_t& context, const uint8_t* code, uint32_t x, uint32_t b, Instruction& out) {
  const uint8_t modrm = code[4];
  uint32_t at = 5;
  const uint32_t mod = modrm >> 6, rm = modrm & 7;
  int64_t base = 0;
  bool no_base = mod == 0 && rm == 5;  // relative to the next instruction
  const bool relative = no_base;
  if (rm == 4) {
    const uint8_t sib = code[at++];
    const uint32_t index = (sib >> 3 & 7) | x << 3, base_number = sib & 7;
    if (index != 4) out.index = GeneralRegister(context, index) << (sib >> 6);
    no_base = mod == 0 && base_number == 5;
    if (!no_base) base = GeneralRegister(context, base_number | b << 3);
  } else if (!no_base) {
    base = GeneralRegister(context, rm | b << 3);
  }
  if (mod == 1) {
    base += static_cast<int8_t>(code[at++]);
  } else if (mod == 2 || no_base) {
    int32_t displacement;
    std::memcpy(&displacement, code + at, sizeof displacement);
    base += displacement;
    at += 4;
  }
  out.length = at;
  if (relative) base += context.uc_mcontext.gregs[REG_RIP] + at;
  out.base = reinterpret_cast<uint8_t*>(base);
}

bool DecodeInstruction(const ucontext_t& context, Instruction& out) {
  const auto* code = reinterpret_cast<const uint8_t*>(context.uc_mcontext.gregs[REG_RIP]);
  if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) return false;  // three bytes, W0, 128 bits
  const uint32_t x = ~code[1] >> 6 & 1, b = ~code[1] >> 5 & 1;
  out.prefix = static_cast<Prefix>(code[2] & 3);
  out.vvvv = ~code[2] >> 3 & 15;
  out.opcode = code[3];
  out.reg = code[4] >> 3 & 7;
  out.rm = code[4] & 7;
  out.in_register = code[4] >> 6 == 3;
  out.length = 5;
  if (!out.in_register) DecodeAddress(context, code, x, b, out);
  return true;
}

bool Execute(const Instruction& i) {
  if (i.opcode == 0x49 && i.prefix == kNone && !i.in_register) {
    cpu::AmxTileConfig config;
    std::memcpy(&config, i.base + i.index, sizeof config);
    unit->Configure(config);
  } else if (i.opcode == 0x49 && i.prefix == kNone && i.reg == 0 && i.rm == 0) {
    unit->Release();
  } else if (i.opcode == 0x49 && i.prefix == kF2 && i.in_register && i.rm == 0) {
    unit->Zero(i.reg);
  } else if (i.opcode == 0x4B && i.prefix == kF2 && !i.in_register) {
    unit->Load(i.reg, i.base, i.index);
  } else if (i.opcode == 0x4B && i.prefix == kF3 && !i.in_register) {
    unit->Store(i.reg, i.base, i.index);
  } else if (i.opcode == 0x5E && i.prefix == kF2 && i.in_register) {
    unit->DotS8S8(i.reg, i.rm, i.vvvv);
  } else if (i.opcode == 0x5E && i.prefix == k66 && i.in_register) {
    unit->DotU8S8(i.reg, i.rm, i.vvvv);
  } else if (i.opcode == 0x5C && i.prefix == kF3 && i.in_register) {
    unit->DotBf16(i.reg, i.rm, i.vvvv);
  } else {
    return false;
  }
  return true;
}

void OnIllegalInstruction(int, siginfo_t*, void* frame) {
  auto& context = *static_cast<ucontext_t*>(frame);
  Instruction instruction;
  if (!DecodeInstruction(context, instruction) || !Execute(instruction)) {
    std::signal(SIGILL, SIG_DFL);  // it is met once more, and ends the process
    return;
  }
  ++emulated;
  context.uc_mcontext.gregs[REG_RIP] += instruction.length;
}

}  // namespace

AmxInstructionEmulator::AmxInstructionEmulator() {
  static cpu::EmulatedAmxUnit registers;
  unit = &registers;
  emulated = 0;
  struct sigaction action = {};
  action.sa_sigaction = OnIllegalInstruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &before_);
}

AmxInstructionEmulator::~AmxInstructionEmulator() { sigaction(SIGILL, &before_, nullptr); }

uint64_t AmxInstructionEmulator::count() const { return emulated; }

#else

AmxInstructionEmulator::AmxInstructionEmulator() = default;
AmxInstructionEmulator::~AmxInstructionEmulator() = default;
uint64_t AmxInstructionEmulator::count() const { return 0; }

#endif

}  // namespace polarkv::testing
