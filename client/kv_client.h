// The polarkv client: the only header that a worker includes. No gRPC, protobuf, RocksDB or CUDA types in it.
//
// For a worker every failure of the cache is a miss with a bounded delay: each call returns within its deadline,
// verifies every checksum of what it received, and never hands out bytes that failed.
//
// Thread-safe: one KvClient serves all threads of a worker. Calls block the calling thread; all of them must have
// returned before the client is destroyed.
#ifndef POLARKV_CLIENT_KV_CLIENT_H_
#define POLARKV_CLIENT_KV_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/aligned_buffer.h"
#include "codec/block_key.h"
#include "codec/block_view.h"
#include "codec/key_mean_profile.h"
#include "codec/namespace_descriptor.h"
#include "codec/tensor_view.h"

namespace polarkv {

struct ClientOptions {
  std::string target = "localhost:7070";     // gRPC's naming syntax: "host:port", "dns:///name:port", "unix:/path"
  std::chrono::milliseconds deadline{5000};  // of every call that is not given its own; up to a day
  // Transient failures (UNAVAILABLE) are tried again within the deadline, after backoff with jitter.
  std::chrono::milliseconds backoff_initial{20};
  std::chrono::milliseconds backoff_max{1000};
  int channels = 1;                    // connections to the node, 1..16; calls take turns on them
  uint32_t frame_bytes = 1024 * 1024;  // body bytes in one frame, both ways: 4 KiB..4 MiB
};

// A namespace that this client opened. Copyable; stays valid across server restarts (the client reopens it by itself).
struct NamespaceHandle {
  NamespaceDescriptor descriptor;
  Fingerprint fingerprint{};
  // What descriptor.profile_digest names: from whoever opened the namespace, or from the node. Null if there is none. Fetch
  // and StoreTensors use it by themselves; who encodes blocks himself gives it to the encoder (EncodeOptions::profile).
  KeyMeanProfilePtr profile{};
};

enum class MatchStop { kAllMatched, kNotStored, kEvicted, kDeleted, kCorrupt, kLostAtRestart, kUnknown };
const char* MatchStopName(MatchStop stop);

struct PrefixMatch {
  uint32_t matched_blocks = 0;
  std::vector<uint64_t> block_bytes{};  // one a matched block
  MatchStop stop = MatchStop::kUnknown;
  uint64_t lease_id = 0;  // 0: none
  std::chrono::milliseconds lease{0};
};

enum class FetchOutcome { kOk, kNotFound, kCorrupt, kNoSuchLayer, kBufferTooSmall, kIoError, kNotReceived };
const char* FetchOutcomeName(FetchOutcome outcome);

// One block of a fetch. The caller gives the buffer (pinned, a GPU staging area, ...), 64-byte aligned and of at least
// FetchBytes() bytes; the client fills it and, when outcome is kOk, `view` is a verified view of it, with its namespace's
// profile. On every other outcome the buffer's contents mean nothing.
struct FetchSlot {
  std::span<uint8_t> buffer{};  // in
  FetchOutcome outcome = FetchOutcome::kNotReceived;
  uint64_t bytes = 0;             // of the selected block when kOk, needed for it when kBufferTooSmall
  std::vector<BlockView> view{};  // one element when kOk, else empty
  std::string message{};          // for people: what is wrong; empty when kOk or kNotFound
};

enum class StoreOutcome {
  kStored,
  kDuplicate,
  kConflict,
  kBadChecksum,
  kUnsupported,
  kMismatch,
  kNoSpace,
  kTooLarge,
  kIoError,
  kNotAcknowledged
};
const char* StoreOutcomeName(StoreOutcome outcome);

struct StoreItem {
  BlockKey key;
  BlockKey parent;                 // key of the block before it; all zero for the first block of a chain
  std::span<const uint8_t> block;  // encoded, tagged for this namespace and key (NamespaceBlockSpec or TagBlock)
};

struct ServerStats {
  std::string version;
  // name -> value, the fields of polarkv.v1.StatsResponse, in its order.
  std::vector<std::pair<std::string, uint64_t>> values;
};

struct NamespaceInfo {
  NamespaceDescriptor descriptor;
  Fingerprint fingerprint{};
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  // Empty: all is well. Else why this client cannot use the namespace (made by a newer one, ...); of the descriptor
  // only the name is then set.
  std::string problem{};
};

// Bytes of a buffer that suffices for a selection of most blocks of the namespace: with mean keys, and with four tokens
// of each head and one of each tile stored raw. PrefixMatch has whole blocks' sizes exactly; a block that is larger than
// its buffer comes out as kBufferTooSmall and says how much it needs. INVALID_ARGUMENT: the descriptor is not valid, or
// has no such layers.
absl::StatusOr<uint64_t> FetchBytes(const NamespaceDescriptor& descriptor, const BlockSelection& selection = {});

class KvClient {
 public:
  using Deadline = std::chrono::milliseconds;  // 0: the options' deadline; negative: has passed already

  // Does not wait for the server. INVALID_ARGUMENT: an option is out of range.
  static absl::StatusOr<std::unique_ptr<KvClient>> Create(const ClientOptions& options);
  ~KvClient();
  KvClient(const KvClient&) = delete;
  KvClient& operator=(const KvClient&) = delete;

  // Statuses of every call below: INVALID_ARGUMENT (the message names what is wrong with the arguments);
  // DEADLINE_EXCEEDED, UNAVAILABLE (no answer in time); DATA_LOSS (the server's answer contradicts itself or the
  // request); RESOURCE_EXHAUSTED (over a limit of the server). A namespace that the node has lost is opened again on
  // the way.

  // A namespace whose descriptor names a key-mean profile is opened with it first, by whoever made it; the node keeps it
  // and gives it to those who come without. FAILED_PRECONDITION: the name is known with another descriptor, the message
  // names the field; or the node does not have the profile and it was not given. INVALID_ARGUMENT also: the profile is not
  // the descriptor's.
  absl::StatusOr<NamespaceHandle> OpenNamespace(const NamespaceDescriptor& descriptor, Deadline deadline = {},
                                                KeyMeanProfilePtr profile = nullptr);
  absl::StatusOr<std::vector<NamespaceInfo>> ListNamespaces(Deadline deadline = {});

  // Longest stored prefix of `keys`. With lease > 0 the matched blocks stay until the lease ends: after the time
  // granted, with ReleaseLease, or with a Fetch that names it.
  absl::StatusOr<PrefixMatch> Match(const NamespaceHandle& ns, std::span<const BlockKey> keys,
                                    std::chrono::milliseconds lease = {}, Deadline deadline = {});

  // Fetches keys[i] into slots[i]. OK even when single blocks are missing (see their outcome); on another status the
  // slots that are already kOk are good, and those without an answer kNotReceived. `lease_id` (or 0) is released when
  // the fetch ends. Slots whose stream broke are fetched again within the deadline.
  absl::Status Fetch(const NamespaceHandle& ns, std::span<const BlockKey> keys, const BlockSelection& selection,
                     std::span<FetchSlot> slots, uint64_t lease_id = 0, Deadline deadline = {});

  // Stores encoded blocks; outcomes[i] is that of items[i]. OK once every block has its outcome, good or bad; on
  // another status the blocks without one are kNotAcknowledged. Idempotent, so broken streams are tried again: a block
  // that was stored just before its stream broke comes out as kDuplicate.
  absl::Status Store(const NamespaceHandle& ns, std::span<const StoreItem> items, std::span<StoreOutcome> outcomes,
                     Deadline deadline = {});

  // Encodes and stores consecutive blocks straight from tensors. `keys`: the chain's keys, one a full block, stored as
  // ShardKey(keys[i], shard, shards); `parent`: the chain's key before them, all zero for none; `first_block`: index in
  // the chain of the block that starts at token 0 of the tensors; k and v: [layers, kv_heads / shards, keys.size() *
  // block_tokens, head_dim]. INVALID_ARGUMENT also for a NaN or an infinity; blocks before it may have been stored.
  absl::Status StoreTensors(const NamespaceHandle& ns, std::span<const BlockKey> keys, const BlockKey& parent,
                            uint64_t first_block, const TensorView& k, const TensorView& v,
                            std::span<StoreOutcome> outcomes, uint32_t shard = 0, Deadline deadline = {});

  // One a key, in order.
  absl::StatusOr<std::vector<bool>> Exists(const NamespaceHandle& ns, std::span<const BlockKey> keys,
                                           Deadline deadline = {});

  // Number of blocks deleted, as far as the server could still say so after a broken connection.
  absl::StatusOr<uint64_t> Delete(const NamespaceHandle& ns, std::span<const BlockKey> keys, Deadline deadline = {});
  // With its descriptor. 0, not an error, when the node does not know the namespace.
  absl::StatusOr<uint64_t> DeleteNamespace(const NamespaceHandle& ns, Deadline deadline = {});

  // OK for 0 and for leases that have ended.
  absl::Status ReleaseLease(uint64_t lease_id, Deadline deadline = {});
  absl::StatusOr<ServerStats> Stats(Deadline deadline = {});

 private:
  class Impl;
  explicit KvClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_KV_CLIENT_H_
