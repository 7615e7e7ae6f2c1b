// The AMX-bf16 rival's series of cpu_attention_bench, which are there only where the machine has AMX, and what the
// output says about AMX.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "kernels/cpu/amx_support.h"
#include "kernels/cpu/instruction_set.h"
#include "tests/bench/amx_rival_attention.h"
#include "tests/bench/attention_data.h"

namespace polarkv::bench {

namespace {

#if defined(POLARKV_HAS_AMX_BODY)
void AmxBf16(benchmark::State& state) {
  const auto data = SixteenBit(true);
  const auto rows = static_cast<uint32_t>(state.range(0));
  std::vector<uint16_t> q(rows * kRivalDim, 0x3D00);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (uint32_t head = 0; head < kRivalHeads; ++head) {
      const uint16_t* k = data.data() + size_t{head} * 2 * kTokens * kRivalDim;
      AttendAmxBf16(k, k + size_t{kTokens} * kRivalDim, kTokens, q.data(), rows, o.data(), lse.data());
    }
    benchmark::DoNotOptimize(o.data());
  }
  Count(state, kRivalHeads, 4 * kRivalDim);
}
#endif

[[maybe_unused]] const bool kRegistered = [] {
  benchmark::AddCustomContext("instruction_set", std::string(cpu::InstructionSetName(cpu::BestInstructionSet())));
  benchmark::AddCustomContext("amx", cpu::WhyNoAmx().empty() ? "yes" : std::string(cpu::WhyNoAmx()));
#if defined(POLARKV_HAS_AMX_BODY)
  if (!HasAmxBf16()) return false;
  benchmark::RegisterBenchmark("AmxBf16", AmxBf16)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond);
#endif
  return true;
}();

}  // namespace
}  // namespace polarkv::bench
