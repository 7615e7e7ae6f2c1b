// Whether bytes read back from a disk are the block that was put there.
#ifndef POLARKV_SERVICE_STORED_BLOCK_CHECK_H_
#define POLARKV_SERVICE_STORED_BLOCK_CHECK_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace polarkv {

// The header checksum of a block of at least 128 bytes. It covers the directory, which covers every segment: with the
// size, it stands for the block's bytes.
uint64_t HeaderChecksum(std::span<const uint8_t> block);

// DATA_LOSS: the bytes are not an intact block, or not the one with this header checksum.
absl::Status CheckStoredBlock(std::span<const uint8_t> block, uint64_t header_xxh3);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_STORED_BLOCK_CHECK_H_
