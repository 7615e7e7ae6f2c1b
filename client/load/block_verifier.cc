#include "client/load/block_verifier.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace polarkv::load {
namespace {

absl::Status Difference(const BlockKey& key, std::span<const uint8_t> expected, std::span<const uint8_t> fetched) {
  const std::string block = absl::StrCat("block ", key.ToHex());
  if (expected.size() != fetched.size()) {
    return absl::DataLossError(
        absl::StrCat(block, " has ", fetched.size(), " bytes, its content makes ", expected.size()));
  }
  const auto [want, got] = std::ranges::mismatch(expected, fetched);
  if (want == expected.end()) {
    // The bytes equal a fresh encoding but not the one remembered: the encoder is not deterministic.
    return absl::DataLossError(absl::StrCat(block, " equals a fresh encoding but not the one made before"));
  }
  return absl::DataLossError(
      absl::StrCat(block, " differs from its content at byte ", want - expected.begin(), " of ", expected.size()));
}

}  // namespace

BlockVerifier::BlockVerifier(BlockContent content, uint64_t digests, uint64_t recompute_one_in)
    : content_(std::move(content)),
      checks_from_(content_.descriptor()),
      shard_bound_((digests + kShards - 1) / kShards),
      recompute_one_in_(recompute_one_in) {}

BlockVerifier::Digest BlockVerifier::DigestOf(std::span<const uint8_t> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

void BlockVerifier::Remember(const BlockKey& key, const Digest& digest) {
  if (shard_bound_ == 0) return;
  Shard& shard = ShardOf(key);
  const std::lock_guard lock(shard.mutex);
  // Which one goes does not matter: keys are hashes, the table's order is random.
  if (shard.digests.size() >= shard_bound_ && !shard.digests.contains(key)) shard.digests.erase(shard.digests.begin());
  shard.digests.insert_or_assign(key, digest);
}

std::optional<BlockVerifier::Digest> BlockVerifier::Remembered(const BlockKey& key) {
  Shard& shard = ShardOf(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.digests.find(key);
  if (found == shard.digests.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<std::vector<uint8_t>> BlockVerifier::Encode(const BlockKey& key, uint64_t block_index) {
  return EncodeFrom(content_, key, block_index);
}

absl::StatusOr<std::vector<uint8_t>> BlockVerifier::EncodeFrom(const BlockContent& content, const BlockKey& key,
                                                               uint64_t block_index) {
  absl::StatusOr<std::vector<uint8_t>> block = content.Encode(key, block_index);
  if (!block.ok()) return block;
  encoded_.fetch_add(1, std::memory_order_relaxed);
  Remember(key, DigestOf(*block));
  return block;
}

absl::Status BlockVerifier::Check(const BlockKey& key, uint64_t block_index, std::span<const uint8_t> bytes) {
  const std::optional<Digest> remembered = Remembered(key);
  const uint64_t check = checks_.fetch_add(1, std::memory_order_relaxed);
  const bool recompute = recompute_one_in_ != 0 && check % recompute_one_in_ == 0;
  const bool same = remembered.has_value() && *remembered == DigestOf(bytes);
  if (same && !recompute) {
    by_digest_.fetch_add(1, std::memory_order_relaxed);
    return absl::OkStatus();
  }
  const absl::StatusOr<std::vector<uint8_t>> expected = EncodeFrom(checks_from_, key, block_index);
  if (!expected.ok()) return expected.status();
  by_recomputation_.fetch_add(1, std::memory_order_relaxed);
  const bool agrees = std::ranges::equal(*expected, bytes);
  if (agrees && (same || !remembered.has_value())) return absl::OkStatus();
  return Difference(key, *expected, bytes);
}

VerifierCounts BlockVerifier::counts() const { return {encoded_.load(), by_digest_.load(), by_recomputation_.load()}; }

}  // namespace polarkv::load
