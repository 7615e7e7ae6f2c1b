// What the fuzzers of blocks take as input: one byte that says how far the checksums are put right first (a fuzzer does
// not find them by itself), three bytes of selection (first layer, end layer, planes), then the block.
#ifndef POLARKV_TESTS_FUZZ_BLOCK_INPUT_H_
#define POLARKV_TESTS_FUZZ_BLOCK_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "codec/block_view.h"

namespace polarkv::testing {

struct BlockInput {
  std::vector<uint8_t> block;  // memory of exactly its size, so that a sanitizer sees the first byte too far
  BlockSelection selection;
};

enum class Reseal : uint8_t { kNothing, kHeader, kDirectory, kSegments };  // each with those before it

// Reseals as far as the input says, at least as far as `least`. Nothing if the input lacks the control bytes.
std::optional<BlockInput> ReadBlockInput(const uint8_t* data, size_t size, Reseal least = Reseal::kNothing);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_FUZZ_BLOCK_INPUT_H_
