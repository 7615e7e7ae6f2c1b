#include "client/load/session_generator.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/load/mixing.h"

namespace polarkv::load {
namespace {

// A prompt lists its whole history, so a million requests already take gigabytes.
constexpr uint64_t kMaxRequests = 1'000'000;
constexpr uint32_t kMaxTokens = 10'000'000;

absl::Status CheckShape(const SessionShape& shape) {
  const auto bad = [](const char* what) { return absl::InvalidArgumentError(what); };
  if (shape.sessions < 1 || shape.sessions > kMaxRequests) return bad("the number of sessions must be 1 to 1000000");
  if (!(shape.session_rate > 0) || !std::isfinite(shape.session_rate)) return bad("the session rate must be above 0");
  if (shape.shared_prompts < 1) return bad("there must be at least one shared prompt (its length may be 0)");
  if (!(shape.turns >= 1) || shape.turns > 1000) return bad("turns per session must be 1 to 1000");
  if (!(shape.think_time_s >= 0) || !std::isfinite(shape.think_time_s))
    return bad("the think time must not be negative");
  if (!(shape.output_token_s >= 0) || !std::isfinite(shape.output_token_s))
    return bad("the time per token must not be negative");
  for (const uint32_t tokens : {shape.shared_tokens, shape.document_tokens, shape.input_tokens, shape.output_tokens}) {
    if (tokens > kMaxTokens) return bad("a length in tokens must be at most 10000000");
  }
  if (static_cast<double>(shape.sessions) * shape.turns > static_cast<double>(kMaxRequests)) {
    return bad("the sessions make more than 1000000 requests; ask for fewer sessions or turns");
  }
  if (shape.input_tokens < 1) return bad("a request must have at least one new token");
  return absl::OkStatus();
}

// A length with the given mean, spread exponentially above a quarter of it: short ones are common, long ones happen.
uint32_t DrawLength(Random& random, uint32_t mean) {
  if (mean == 0) return 0;
  const double drawn = mean * (0.25 + 0.75 * random.Exponential());
  return static_cast<uint32_t>(std::clamp(drawn, 1.0, 20.0 * mean));
}

// Popularity 1/rank, by walking the cumulative weights.
uint32_t DrawByRank(Random& random, uint32_t count) {
  double total = 0;
  for (uint32_t rank = 1; rank <= count; ++rank) total += 1.0 / rank;
  double left = random.Uniform() * total;
  for (uint32_t rank = 1; rank < count; ++rank) {
    left -= 1.0 / rank;
    if (left < 0) return rank - 1;
  }
  return count - 1;
}

uint32_t DrawTurns(Random& random, double mean) {
  if (mean <= 1) return 1;
  return 1 + static_cast<uint32_t>(std::min(random.Exponential() * (mean - 1) + 0.5, 20.0 * mean));
}

uint64_t PromptTokens(const std::vector<Segment>& prompt) {
  uint64_t tokens = 0;
  for (const Segment& segment : prompt) tokens += segment.tokens;
  return tokens;
}

// Workloads of different kinds share nothing, whatever their seeds.
uint64_t KindSeed(std::string_view kind, uint64_t seed) {
  uint64_t mixed = seed;
  for (const char c : kind) mixed = Mix(mixed + kGolden + static_cast<unsigned char>(c));
  return mixed;
}

class SessionWriter {
 public:
  SessionWriter(const SessionShape& shape, uint64_t session)
      : shape_(shape), random_(Mix(shape.seed) ^ (session + 1)), session_(session) {}

  void Write(double start_s, std::vector<Request>& out) {
    std::vector<Segment> history;
    Append(history, Mix(shape_.seed ^ kGolden) + DrawByRank(random_, shape_.shared_prompts), shape_.shared_tokens);
    Append(history, NextContent(), DrawLength(random_, shape_.document_tokens));
    const uint32_t turns = DrawTurns(random_, shape_.turns);
    double now = start_s;
    for (uint32_t turn = 0; turn < turns; ++turn) {
      Request request;
      request.arrival_s = now;
      request.prompt = history;
      Append(request.prompt, NextContent(), std::max(1u, DrawLength(random_, shape_.input_tokens)));
      request.prompt_tokens = PromptTokens(request.prompt);
      request.output_tokens = DrawLength(random_, shape_.output_tokens);
      if (shape_.history_grows) {
        history = request.prompt;
        Append(history, NextContent(), static_cast<uint32_t>(request.output_tokens));
      }
      now += static_cast<double>(request.output_tokens) * shape_.output_token_s +
             shape_.think_time_s * random_.Exponential();
      out.push_back(std::move(request));
    }
  }

 private:
  static void Append(std::vector<Segment>& prompt, uint64_t content, uint32_t tokens) {
    if (tokens > 0) prompt.push_back({content, tokens});
  }
  uint64_t NextContent() { return Mix(Mix(shape_.seed + session_ * kGolden) + ++contents_); }

  const SessionShape& shape_;
  Random random_;
  uint64_t session_;
  uint64_t contents_ = 0;
};

}  // namespace

absl::StatusOr<SessionShape> NamedSessionShape(std::string_view kind) {
  SessionShape shape;
  if (kind == "chat") return shape;
  if (kind == "agent") {
    shape.shared_prompts = 2;
    shape.shared_tokens = 6000;
    shape.turns = 20;
    shape.input_tokens = 300;
    shape.output_tokens = 80;
    shape.think_time_s = 0.5;
    return shape;
  }
  if (kind == "document") {
    shape.shared_prompts = 1;
    shape.shared_tokens = 300;
    shape.document_tokens = 12000;
    shape.turns = 4;
    shape.input_tokens = 60;
    shape.output_tokens = 200;
    shape.history_grows = false;
    shape.think_time_s = 15;
    return shape;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no workload generator \"", absl::string_view(kind.data(), kind.size()), "\": chat, agent, document"));
}

absl::StatusOr<Workload> GenerateSessions(std::string_view kind, const SessionShape& shape) {
  if (absl::Status status = CheckShape(shape); !status.ok()) return status;
  Workload workload;
  workload.name = std::string(kind);
  workload.kind = std::string(kind);
  workload.block_map = "tokens as generated, cut into store blocks";
  SessionShape seeded = shape;
  seeded.seed = KindSeed(kind, shape.seed);
  Random arrivals(seeded.seed ^ 0x61727269);  // apart from the sessions' own streams
  double start_s = 0;
  for (uint64_t session = 0; session < shape.sessions; ++session) {
    SessionWriter(seeded, session).Write(start_s, workload.requests);
    start_s += arrivals.Exponential() / shape.session_rate;
  }
  std::ranges::stable_sort(workload.requests, {}, &Request::arrival_s);
  return workload;
}

}  // namespace polarkv::load
