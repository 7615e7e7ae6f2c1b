// Makes blocks and checks fetched ones against what their keys say, byte for byte.
//
// Encoding costs more than hashing, so the digest (XXH3-128) of every block that was encoded here is remembered: a fetched
// block with that digest is what was stored. A digest that is not remembered (the bound was reached, or an earlier run
// stored the block) is computed anew, and so is a fixed share of the others, so that what is compared does not rest on
// memory alone, nor on the device that made the blocks.
#ifndef POLARKV_CLIENT_LOAD_BLOCK_VERIFIER_H_
#define POLARKV_CLIENT_LOAD_BLOCK_VERIFIER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/load/block_content.h"

namespace polarkv::load {

struct VerifierCounts {
  uint64_t encoded = 0;           // blocks encoded, for storing or for checking
  uint64_t by_digest = 0;         // fetched blocks compared with a remembered digest
  uint64_t by_recomputation = 0;  // fetched blocks compared with a block encoded anew
};

// Thread-safe.
class BlockVerifier {
 public:
  // `content` makes the blocks to store, on its device; what is compared with is made by the CPU, whatever that device is.
  // `digests`: bound on remembered digests, about 64 bytes each. `recompute_one_in`: that share of the fetched blocks
  // is encoded anew although the digest is remembered; 0: none.
  BlockVerifier(BlockContent content, uint64_t digests, uint64_t recompute_one_in);

  // The block to store under `key`. Statuses as EncodeBlock.
  absl::StatusOr<std::vector<uint8_t>> Encode(const BlockKey& key, uint64_t block_index);
  // OK: `bytes` are exactly the block of that key. DATA_LOSS: they are not, the message tells where they differ first.
  absl::Status Check(const BlockKey& key, uint64_t block_index, std::span<const uint8_t> bytes);

  VerifierCounts counts() const;
  const BlockContent& content() const { return content_; }

 private:
  struct Digest {
    uint64_t low = 0, high = 0;
    friend bool operator==(const Digest&, const Digest&) = default;
  };
  struct Shard {
    std::mutex mutex;
    absl::flat_hash_map<BlockKey, Digest> digests;
  };
  static constexpr size_t kShards = 16;

  absl::StatusOr<std::vector<uint8_t>> EncodeFrom(const BlockContent& content, const BlockKey& key, uint64_t block_index);
  static Digest DigestOf(std::span<const uint8_t> bytes);
  Shard& ShardOf(const BlockKey& key) { return shards_[key.bytes[31] % kShards]; }
  void Remember(const BlockKey& key, const Digest& digest);
  std::optional<Digest> Remembered(const BlockKey& key);

  BlockContent content_;
  BlockContent checks_from_;
  uint64_t shard_bound_;
  uint64_t recompute_one_in_;
  std::array<Shard, kShards> shards_;
  std::atomic<uint64_t> encoded_{0}, by_digest_{0}, by_recomputation_{0}, checks_{0};
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_BLOCK_VERIFIER_H_
