// Time to first token with and without the cache, from stated assumptions about the accelerator.
#ifndef POLARKV_CLIENT_LOAD_FIRST_TOKEN_ESTIMATE_H_
#define POLARKV_CLIENT_LOAD_FIRST_TOKEN_ESTIMATE_H_

#include <chrono>
#include <cstdint>

#include "client/load/model_preset.h"

namespace polarkv::load {

struct ComputeAssumptions {
  ModelCompute model;
  double sustained_flops = 4e14;  // of the accelerator, what prefill really reaches
  // Encoded cache of one workload token: of the full-size model, and as stored here (smaller where geometry is scaled).
  double full_bytes_per_token = 0;
  double stored_bytes_per_token = 0;
  // What scaled geometry leaves out of the transfer is charged at this rate; the measured time stays in.
  double transfer_bytes_per_s = 5e9;
};

// Prefill of prompt tokens [cached, prompt): weights once per token, attention over all tokens before each.
std::chrono::nanoseconds PrefillTime(const ComputeAssumptions& assumptions, uint64_t prompt_tokens,
                                     uint64_t cached_tokens);

// Transfer that scaled geometry left out, for `cached_tokens` of the workload.
std::chrono::nanoseconds UnmeasuredTransfer(const ComputeAssumptions& assumptions, uint64_t cached_tokens);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_FIRST_TOKEN_ESTIMATE_H_
