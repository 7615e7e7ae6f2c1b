#include "client/cli/token_file.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "client/cli/cli_status.h"
#include "client/cli/input_file.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

constexpr int32_t kLargestToken = std::numeric_limits<int32_t>::max();

// Token ids are far below 2^24, so that binary files have zero bytes; text has none.
bool IsText(std::span<const uint8_t> content) { return std::find(content.begin(), content.end(), 0) == content.end(); }
bool IsJson(std::span<const uint8_t> content) {
  const auto begins = std::find_if(content.begin(), content.end(),
                                   [](uint8_t c) { return c != ' ' && c != '\t' && c != '\n' && c != '\r'; });
  return begins != content.end() && *begins == '[' && IsText(content);
}

absl::StatusOr<std::vector<int32_t>> ParseJson(std::span<const uint8_t> content) {
  const nlohmann::json json =
      nlohmann::json::parse(content.begin(), content.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return absl::InvalidArgumentError("begins with '[' but is not a JSON array of token ids");
  std::vector<int32_t> tokens;
  for (const nlohmann::json& element : json) {
    if (!element.is_number_unsigned() || element.get<uint64_t>() > kLargestToken) {
      return absl::InvalidArgumentError("element " + std::to_string(tokens.size()) + " is not a token id from 0 to " +
                                        std::to_string(kLargestToken));
    }
    tokens.push_back(element.get<int32_t>());
  }
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> ParseBinary(std::span<const uint8_t> content) {
  if (content.size() % sizeof(int32_t) != 0) {
    return absl::InvalidArgumentError(std::to_string(content.size()) +
                                      " bytes are neither a JSON array nor whole little-endian int32 token ids");
  }
  if (content.empty()) return std::vector<int32_t>();
  if (IsText(content)) {
    return absl::InvalidArgumentError("is text, but no JSON array of token ids; write [1, 2, 3] or little-endian int32 ids");
  }
  std::vector<int32_t> tokens(content.size() / sizeof(int32_t));
  std::memcpy(tokens.data(), content.data(), content.size());
  const auto negative = std::find_if(tokens.begin(), tokens.end(), [](int32_t token) { return token < 0; });
  if (negative == tokens.end()) return tokens;
  return absl::InvalidArgumentError("id " + std::to_string(*negative) + " at index " +
                                    std::to_string(negative - tokens.begin()) +
                                    " is negative; is the file little-endian int32?");
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ParseTokens(std::span<const uint8_t> content) {
  absl::StatusOr<std::vector<int32_t>> tokens = IsJson(content) ? ParseJson(content) : ParseBinary(content);
  if (tokens.ok() && tokens->empty()) return absl::InvalidArgumentError("holds no token id");
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> ReadTokenFile(const std::string& path) {
  const absl::StatusOr<InputFile> file = InputFile::Open(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<std::vector<int32_t>> tokens = ParseTokens(file->bytes());
  if (!tokens.ok()) return Annotate(tokens.status(), path);
  return tokens;
}

}  // namespace polarkv::cli
