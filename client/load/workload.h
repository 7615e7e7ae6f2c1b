// What the load tester replays: prompts as runs of synthetic tokens, with arrival times.
#ifndef POLARKV_CLIENT_LOAD_WORKLOAD_H_
#define POLARKV_CLIENT_LOAD_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

namespace polarkv::load {

// A run of tokens. Token j of content c is a function of (c, j) alone, so two prompts share a prefix exactly where
// their segments agree.
struct Segment {
  uint64_t content = 0;
  uint32_t tokens = 0;
  friend bool operator==(const Segment&, const Segment&) = default;
};

struct Request {
  double arrival_s = 0;         // since the start of the workload, at its own speed
  std::vector<Segment> prompt;  // store tokens, see Workload::tokens_per_store_token
  uint64_t prompt_tokens = 0;   // as the workload states them
  uint64_t output_tokens = 0;
  friend bool operator==(const Request&, const Request&) = default;
};

struct Workload {
  std::string name;
  std::string kind;       // "mooncake", "qwen-bailian", "chat", "agent", "document"
  std::string block_map;  // how the workload's blocks become store blocks, for people
  // Tokens of the workload that one stored token stands for: 1, or more when trace blocks are scaled down.
  double tokens_per_store_token = 1;
  std::vector<Request> requests;  // ascending by arrival_s
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_WORKLOAD_H_
