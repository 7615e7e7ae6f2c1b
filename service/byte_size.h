// Sizes as people write and read them.
#ifndef POLARKV_SERVICE_BYTE_SIZE_H_
#define POLARKV_SERVICE_BYTE_SIZE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace polarkv {

// "4GiB", "500 MB", "64k", "1048576": KiB, MiB, ... are powers of 1024, KB, MB, ... of 1000, and a single letter means
// the power of 1024. INVALID_ARGUMENT: anything else, or more than 2^63 bytes.
absl::StatusOr<uint64_t> ParseByteSize(const std::string& text);
// "4.0 GiB", "512 B".
std::string FormatByteSize(uint64_t bytes);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BYTE_SIZE_H_
