// Synthetic workloads: sessions of several requests whose prompts share prefixes.
#ifndef POLARKV_CLIENT_LOAD_SESSION_GENERATOR_H_
#define POLARKV_CLIENT_LOAD_SESSION_GENERATOR_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/load/workload.h"

namespace polarkv::load {

// One shape describes all kinds; lengths and counts are means unless said otherwise.
struct SessionShape {
  uint64_t seed = 1;
  uint64_t sessions = 100;
  double session_rate = 1.0;      // new sessions per second, Poisson
  uint32_t shared_prompts = 4;    // distinct system prompts (with their tool definitions); popularity falls as 1/rank
  uint32_t shared_tokens = 1000;  // length of each, exact
  uint32_t document_tokens = 0;   // a document of the session's own after the shared prompt
  double turns = 6;               // requests per session, at least one
  uint32_t input_tokens = 120;    // new tokens of a request: user message, tool result, question
  uint32_t output_tokens = 250;   // answer of the model
  bool history_grows = true;  // a turn's prompt holds all turns before it; false: every turn starts from the document
  double think_time_s = 10;   // from the end of an answer to the next request
  double output_token_s = 0.02;  // time the model takes per answer token
};

// "chat": shared system prompts, growing conversations, think times.
// "agent": long shared prompt with tool definitions, many short steps, hardly any think time.
// "document": a long document per session, several questions each, asked against the same document.
// INVALID_ARGUMENT: another name.
absl::StatusOr<SessionShape> NamedSessionShape(std::string_view kind);

// The same shape gives the same workload. INVALID_ARGUMENT: a field is out of range.
absl::StatusOr<Workload> GenerateSessions(std::string_view kind, const SessionShape& shape);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_SESSION_GENERATOR_H_
