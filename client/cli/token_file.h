// Token ids from a file.
#ifndef POLARKV_CLIENT_CLI_TOKEN_FILE_H_
#define POLARKV_CLIENT_CLI_TOKEN_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace polarkv::cli {

// A JSON array of integers (the first character that is no blank is '[' and there is no zero byte), or little-endian
// int32 without any header. Ids are 0 .. 2^31-1. INVALID_ARGUMENT names the place of what is wrong.
absl::StatusOr<std::vector<int32_t>> ParseTokens(std::span<const uint8_t> content);
// The same of a file; errors name it.
absl::StatusOr<std::vector<int32_t>> ReadTokenFile(const std::string& path);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_TOKEN_FILE_H_
