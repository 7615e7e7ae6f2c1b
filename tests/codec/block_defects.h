// Every reason to reject a block, each as the smallest change to a good one. The table feeds the tests, the bad golden
// files and the table of rejections in FORMAT.md, so that the three cannot drift apart.
#ifndef POLARKV_TESTS_CODEC_BLOCK_DEFECTS_H_
#define POLARKV_TESTS_CODEC_BLOCK_DEFECTS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "codec/block_view.h"

namespace polarkv::testing {

using BlockBytes = std::vector<uint8_t>;

// Brings checksums in line with changed bytes, as an attacker would. They trust nothing but the header's lengths, as
// far as the bytes go, and the offsets given.
void ResealHeader(BlockBytes& block);     // header checksum
void ResealDirectory(BlockBytes& block);  // checksum of extension and directory, and the above
void ResealSegment(BlockBytes& block, uint64_t offset, uint64_t length, uint32_t entry);  // one segment and the above

// Which part of a block a reader must look at to find a defect.
enum class DefectPlace { kHeader, kPrefix, kPayload };

struct BlockDefect {
  std::string name;  // of the golden file
  DefectPlace place;
  absl::StatusCode code;
  std::string message;  // in full
  std::function<BlockBytes()> make;
};

const std::vector<BlockDefect>& AllBlockDefects();

// The block that most defects start from: 1 layer, 1 head, 6 tokens, two planes.
BlockSpec DefectSpec(CodecPair codec = {CodecId::kTurbo3, CodecId::kTurbo2});
// The same with a mean key, a phase table and three escape records: tokens 0 and 5 of K, 0 of V.
BlockSpec LayeredDefectSpec(CodecPair codec = {CodecId::kTurbo3, CodecId::kTurbo2});

// A good block of that spec with another header, sealed again.
BlockDefect HeaderDefect(std::string name, absl::StatusCode code, std::string message,
                         std::function<void(BlockHeader&)> change, const BlockSpec& spec);

// The parts of the table; internal.
void AddExtensionDefects(std::vector<BlockDefect>& all);
void AddPayloadDefects(std::vector<BlockDefect>& all);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_BLOCK_DEFECTS_H_
