#include "client/load/first_token_estimate.h"

#include <algorithm>

namespace polarkv::load {
namespace {

std::chrono::nanoseconds Seconds(double seconds) {
  return std::chrono::round<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

}  // namespace

std::chrono::nanoseconds PrefillTime(const ComputeAssumptions& assumptions, uint64_t prompt_tokens,
                                     uint64_t cached_tokens) {
  const double n = static_cast<double>(prompt_tokens);
  const double c = static_cast<double>(std::min(cached_tokens, prompt_tokens));
  // Token i attends to i + 1 tokens: the sum over [c, n) is (n(n+1) - c(c+1)) / 2.
  const double pairs = (n * (n + 1) - c * (c + 1)) / 2;
  const double flops = (n - c) * assumptions.model.flops_per_token + pairs * assumptions.model.flops_per_token_pair;
  return Seconds(flops / assumptions.sustained_flops);
}

std::chrono::nanoseconds UnmeasuredTransfer(const ComputeAssumptions& assumptions, uint64_t cached_tokens) {
  const double left_out = std::max(0.0, assumptions.full_bytes_per_token - assumptions.stored_bytes_per_token);
  return Seconds(static_cast<double>(cached_tokens) * left_out / assumptions.transfer_bytes_per_s);
}

}  // namespace polarkv::load
