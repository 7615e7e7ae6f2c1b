// The AMX-bf16 rival's series of cpu_attention_bench, which are there only where the machine has AMX, and what the
// output says about AMX.
#include <benchmark/benchmark.h>

#include <bit>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/amx_support.h"
#include "kernels/cpu/instruction_set.h"
#include "tests/bench/amx_rival_attention.h"
#include "tests/bench/rival_attention.h"

namespace polarkv::bench {

namespace {

// As many heads and tokens as the other series of cpu_attention_bench.
constexpr uint32_t kHeads = 16, kTokens = 32768;

// Normal numbers look the same in every layout.
const std::vector<uint16_t>& KeysAndValues() {
  static const std::vector<uint16_t> data = [] {
    std::mt19937 generator(3);
    std::normal_distribution<float> normal;
    std::vector<uint16_t> some(1 << 20), all(size_t{kHeads} * kTokens * kRivalDim * 2);
    for (uint16_t& x : some) x = static_cast<uint16_t>(std::bit_cast<uint32_t>(normal(generator)) >> 16);
    for (size_t i = 0; i < all.size(); ++i) all[i] = some[i % some.size()];
    return all;
  }();
  return data;
}

#if defined(POLARKV_HAS_AMX_BODY)
void AmxBf16(benchmark::State& state) {
  const auto& data = KeysAndValues();
  const auto rows = static_cast<uint32_t>(state.range(0));
  std::vector<uint16_t> q(rows * kRivalDim, 0x3D00);
  std::vector<float> o(q.size()), lse(rows);
  for (auto _ : state) {
    for (uint32_t head = 0; head < kHeads; ++head) {
      const uint16_t* k = data.data() + size_t{head} * 2 * kTokens * kRivalDim;
      AttendAmxBf16(k, k + size_t{kTokens} * kRivalDim, kTokens, q.data(), rows, o.data(), lse.data());
    }
    benchmark::DoNotOptimize(o.data());
  }
  const double tokens = static_cast<double>(state.iterations()) * kHeads * kTokens;
  state.counters["tokens/s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
  state.counters["B/s"] = benchmark::Counter(tokens * 4 * kRivalDim, benchmark::Counter::kIsRate);
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
