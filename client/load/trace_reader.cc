#include "client/load/trace_reader.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace polarkv::load {
namespace {

using Json = nlohmann::json;

struct Format {
  const char* kind;
  uint32_t block_tokens;
  double seconds_per_timestamp;
};
constexpr Format kMooncake{"mooncake", 512, 1e-3};
constexpr Format kQwenBailian{"qwen-bailian", 16, 1.0};

// More than any prompt of any model; keeps token arithmetic far from overflow.
constexpr int64_t kMaxPromptTokens = int64_t{1} << 31;

absl::Status Bad(uint64_t line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", what));
}

absl::StatusOr<int64_t> Count(const Json& record, const char* field, uint64_t line) {
  const auto found = record.find(field);
  if (found == record.end()) return Bad(line, absl::StrCat("no \"", field, "\""));
  if (!found->is_number_integer())
    return Bad(line, absl::StrCat("\"", field, "\" is not a whole number: ", found->dump()));
  // A value above the signed range reads back negative.
  const int64_t value = found->get<int64_t>();
  if (value < 0 || value > kMaxPromptTokens) {
    return Bad(line, absl::StrCat("\"", field, "\" is out of range: ", found->dump()));
  }
  return value;
}

absl::StatusOr<double> Timestamp(const Json& record, uint64_t line) {
  const auto found = record.find("timestamp");
  if (found == record.end()) return Bad(line, "no \"timestamp\"");
  if (!found->is_number()) return Bad(line, absl::StrCat("\"timestamp\" is not a number: ", found->dump()));
  const double value = found->get<double>();
  if (!std::isfinite(value) || value < 0)
    return Bad(line, absl::StrCat("\"timestamp\" is out of range: ", found->dump()));
  return value;
}

absl::StatusOr<std::vector<uint64_t>> HashIds(const Json& record, uint64_t line) {
  const auto found = record.find("hash_ids");
  if (found == record.end()) return Bad(line, "no \"hash_ids\"");
  if (!found->is_array()) return Bad(line, "\"hash_ids\" is not an array");
  std::vector<uint64_t> ids;
  ids.reserve(found->size());
  for (const Json& id : *found) {
    if (!id.is_number_integer() || (!id.is_number_unsigned() && id.get<int64_t>() < 0)) {
      return Bad(line, absl::StrCat("\"hash_ids\" holds ", id.dump(), ", ids are whole numbers from 0"));
    }
    ids.push_back(id.get<uint64_t>());
  }
  return ids;
}

class RecordReader {
 public:
  RecordReader(const Format& format, const TraceMapping& mapping) : format_(format), mapping_(mapping) {}

  absl::StatusOr<Request> Read(const Json& record, uint64_t line) const {
    const absl::StatusOr<double> timestamp = Timestamp(record, line);
    if (!timestamp.ok()) return timestamp.status();
    const absl::StatusOr<int64_t> input = Count(record, "input_length", line);
    if (!input.ok()) return input.status();
    const absl::StatusOr<int64_t> output = Count(record, "output_length", line);
    if (!output.ok()) return output.status();
    const absl::StatusOr<std::vector<uint64_t>> ids = HashIds(record, line);
    if (!ids.ok()) return ids.status();

    const uint64_t full = static_cast<uint64_t>(*input) / format_.block_tokens;
    const uint32_t rest = static_cast<uint32_t>(static_cast<uint64_t>(*input) % format_.block_tokens);
    const bool has_partial = rest != 0 && ids->size() == full + 1;
    if (ids->size() != full && !has_partial) {
      return Bad(line, absl::StrCat("input_length ", *input, " makes ", full, " full blocks of ", format_.block_tokens,
                                    " tokens", rest != 0 ? " and a partial one" : "", ", but there are ", ids->size(),
                                    " hash_ids"));
    }
    Request request;
    request.arrival_s = *timestamp * format_.seconds_per_timestamp;
    request.prompt_tokens = static_cast<uint64_t>(*input);
    request.output_tokens = static_cast<uint64_t>(*output);
    request.prompt.reserve(ids->size());
    for (uint64_t i = 0; i < full; ++i) request.prompt.push_back({(*ids)[i], full_tokens()});
    if (has_partial) request.prompt.push_back({(*ids)[full], PartialTokens(rest)});
    return request;
  }

  bool scaled() const { return mapping_.blocks == TraceBlocks::kScaled; }
  uint32_t full_tokens() const { return scaled() ? mapping_.block_tokens : format_.block_tokens; }

 private:
  // A partial block stays partial when scaled: at least one token, never a whole block.
  uint32_t PartialTokens(uint32_t rest) const {
    if (!scaled()) return rest;
    const uint64_t tokens = uint64_t{rest} * mapping_.block_tokens / format_.block_tokens;
    return static_cast<uint32_t>(std::clamp<uint64_t>(tokens, 1, mapping_.block_tokens - 1));
  }

  Format format_;
  TraceMapping mapping_;
};

std::string DescribeMap(const RecordReader& reader, const Format& format, uint32_t block_tokens) {
  if (reader.scaled()) {
    return absl::StrCat("one trace block of ", format.block_tokens, " tokens = one store block of ", block_tokens,
                        " tokens");
  }
  return absl::StrCat("trace tokens as they are (blocks of ", format.block_tokens, "), cut into store blocks of ",
                      block_tokens, " tokens");
}

}  // namespace

absl::StatusOr<Workload> ParseTrace(std::istream& in, const std::string& name, const TraceMapping& mapping) {
  Workload workload;
  workload.name = name;
  Format format = kMooncake;
  std::string text;
  for (uint64_t line = 1; std::getline(in, text); ++line) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Json record = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (record.is_discarded()) return Bad(line, "not valid JSON (one object a line is expected)");
    if (!record.is_object()) return Bad(line, "not a JSON object");
    if (workload.requests.empty()) format = record.contains("chat_id") ? kQwenBailian : kMooncake;
    absl::StatusOr<Request> request = RecordReader(format, mapping).Read(record, line);
    if (!request.ok()) return request.status();
    workload.requests.push_back(*std::move(request));
    if (workload.requests.size() == mapping.max_requests) break;
  }
  if (workload.requests.empty()) return absl::InvalidArgumentError("no request in the trace");
  std::ranges::stable_sort(workload.requests, {}, &Request::arrival_s);
  const RecordReader reader(format, mapping);
  workload.kind = format.kind;
  workload.tokens_per_store_token =
      reader.scaled() ? static_cast<double>(format.block_tokens) / mapping.block_tokens : 1.0;
  workload.block_map = DescribeMap(reader, format, mapping.block_tokens);
  return workload;
}

absl::StatusOr<Workload> ReadTrace(const std::string& path, const TraceMapping& mapping) {
  std::ifstream in(path);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot open the trace ", path));
  absl::StatusOr<Workload> workload = ParseTrace(in, path, mapping);
  if (!workload.ok()) {
    return absl::Status(workload.status().code(), absl::StrCat(path, ": ", workload.status().message()));
  }
  return workload;
}

}  // namespace polarkv::load
