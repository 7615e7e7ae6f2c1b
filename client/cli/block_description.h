// A sound block's header and directory in words.
#ifndef POLARKV_CLIENT_CLI_BLOCK_DESCRIPTION_H_
#define POLARKV_CLIENT_CLI_BLOCK_DESCRIPTION_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codec/block_spec.h"
#include "nlohmann/json_fwd.hpp"

namespace polarkv::cli {

// Every field of the header but magic and reserved, in the format's order. `block` begins with a header that
// ParseBlockHeader accepts.
nlohmann::ordered_json DescribeHeader(std::span<const uint8_t> block);

struct Segment {
  uint32_t layer = 0;
  std::string plane;
  uint64_t offset = 0;  // from the block's first byte
  uint64_t length = 0;
  std::string xxh3;  // 16 hexadecimal digits
};
// Layer-major. `block` is one that BlockView::Parse accepts.
std::vector<Segment> DescribeDirectory(std::span<const uint8_t> block);

struct OwnParts {
  uint32_t layer = 0;
  LayerPart part;
};
// The layers of a block that differ from its header's codecs, or have key means or escapes.
std::vector<OwnParts> LayersWithOwnParts(const BlockSpec& spec);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_BLOCK_DESCRIPTION_H_
