// Reads request traces, one JSON object a line, in the two public formats that carry block hashes.
//
//   Mooncake:      timestamp in ms, hash_ids of 512-token blocks; an id names a block and everything before it.
//   Qwen-Bailian:  timestamp in s, chat_id, turn, hash_ids of 16-token blocks; an id names a block's own tokens.
//
// In both the last id stands for a partial block unless input_length is a multiple of the block size. The format is
// told by the first record: Qwen-Bailian's have a chat_id.
#ifndef POLARKV_CLIENT_LOAD_TRACE_READER_H_
#define POLARKV_CLIENT_LOAD_TRACE_READER_H_

#include <cstdint>
#include <istream>
#include <string>

#include "absl/status/statusor.h"
#include "client/load/workload.h"

namespace polarkv::load {

enum class TraceBlocks {
  kScaled,  // one full trace block = one store block, whatever their sizes: geometry shrinks, hit ratios stay
  kExact    // the trace's own token counts, cut into store blocks: a shared prefix is rounded down to a store block
};

struct TraceMapping {
  TraceBlocks blocks = TraceBlocks::kScaled;
  uint32_t block_tokens = 256;  // of the store
  uint64_t max_requests = 0;    // 0: all
};

// INVALID_ARGUMENT naming the line and the field: not JSON, a field missing or of another type, a negative or
// non-finite number, a number of hash_ids that does not fit input_length, no request at all.
absl::StatusOr<Workload> ParseTrace(std::istream& in, const std::string& name, const TraceMapping& mapping);
// NOT_FOUND: the file cannot be opened. Else as ParseTrace.
absl::StatusOr<Workload> ReadTrace(const std::string& path, const TraceMapping& mapping);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_TRACE_READER_H_
