// The polarkv client: the only header that a worker includes. No gRPC, protobuf, RocksDB or CUDA types in it.
//
// For a worker every failure of the cache is a miss with a bounded delay: each call returns within its deadline, verifies
// every checksum of what it received, and never hands out bytes that failed.
//
// Thread-safe: one KvClient serves all threads of a worker. Calls block the calling thread.
#ifndef POLARKV_CLIENT_KV_CLIENT_H_
#define POLARKV_CLIENT_KV_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_key.h"
#include "codec/block_view.h"
#include "codec/namespace_descriptor.h"
#include "codec/tensor_view.h"

namespace polarkv {

struct ClientOptions {
  std::string target = "localhost:7070";  // gRPC's naming syntax: "host:port", "dns:///name:port", "unix:/path"
  std::chrono::milliseconds deadline{5000};  // of every call that is not given its own
  // Transient failures (UNAVAILABLE) are tried again within the deadline, after backoff with jitter.
  std::chrono::milliseconds backoff_initial{20};
  std::chrono::milliseconds backoff_max{1000};
  int channels = 1;                    // connections to the node, 1..16
  uint32_t frame_bytes = 1024 * 1024;  // body bytes in one frame, both ways
};

// A namespace that this client opened. Copyable; stays valid across server restarts (the client reopens it by itself).
struct NamespaceHandle {
  NamespaceDescriptor descriptor;
  Fingerprint fingerprint{};
};

enum class MatchStop { kAllMatched, kNotStored, kEvicted, kDeleted, kCorrupt, kLostAtRestart, kUnknown };
const char* MatchStopName(MatchStop stop);

struct PrefixMatch {
  uint32_t matched_blocks = 0;
  std::vector<uint64_t> block_bytes;  // one a matched block
  MatchStop stop = MatchStop::kUnknown;
  uint64_t lease_id = 0;  // 0: none
  std::chrono::milliseconds lease{0};
};

enum class FetchOutcome { kOk, kNotFound, kCorrupt, kNoSuchLayer, kBufferTooSmall, kIoError, kNotReceived };
const char* FetchOutcomeName(FetchOutcome outcome);

// One block of a fetch. The caller gives the buffer (pinned, a GPU staging area, ...), 64-byte aligned; the client fills
// it and, when outcome is kOk, `view` is a verified view of it.
struct FetchSlot {
  std::span<uint8_t> buffer;  // in
  FetchOutcome outcome = FetchOutcome::kNotReceived;
  uint64_t bytes = 0;              // shipped, = needed when kBufferTooSmall and known
  std::vector<BlockView> view;     // one element when kOk, else empty
};

enum class StoreOutcome {
  kStored, kDuplicate, kConflict, kBadChecksum, kUnsupported, kMismatch, kNoSpace, kTooLarge, kIoError, kNotAcknowledged
};
const char* StoreOutcomeName(StoreOutcome outcome);

struct StoreItem {
  BlockKey key;
  BlockKey parent;          // key of the block before it; all zero for the first block of a chain
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
};

class KvClient {
 public:
  using Deadline = std::chrono::milliseconds;  // 0: the options' deadline

  // Does not wait for the server. INVALID_ARGUMENT: an option is out of range.
  static absl::StatusOr<std::unique_ptr<KvClient>> Create(const ClientOptions& options);
  ~KvClient();
  KvClient(const KvClient&) = delete;
  KvClient& operator=(const KvClient&) = delete;

  // FAILED_PRECONDITION: the name is known with another descriptor, the message names the field. DEADLINE_EXCEEDED,
  // UNAVAILABLE: no answer in time; true of every call below.
  absl::StatusOr<NamespaceHandle> OpenNamespace(const NamespaceDescriptor& descriptor, Deadline deadline = {});
  absl::StatusOr<std::vector<NamespaceInfo>> ListNamespaces(Deadline deadline = {});

  // Longest stored prefix of `keys`. With lease > 0 the matched blocks stay until the lease ends.
  absl::StatusOr<PrefixMatch> Match(const NamespaceHandle& ns, std::span<const BlockKey> keys,
                                    std::chrono::milliseconds lease = {}, Deadline deadline = {});

  // Fetches keys[i] into slots[i]. OK even when single blocks are missing (see their outcome); on another status the
  // slots that are already kOk are good. `lease_id` (or 0) is released when the fetch ends. Slots whose stream broke are
  // fetched again within the deadline.
  absl::Status Fetch(const NamespaceHandle& ns, std::span<const BlockKey> keys, const BlockSelection& selection,
                     std::span<FetchSlot> slots, uint64_t lease_id = 0, Deadline deadline = {});

  // Stores encoded blocks; outcomes[i] is that of items[i]. Idempotent, so broken streams are tried again.
  absl::Status Store(const NamespaceHandle& ns, std::span<const StoreItem> items, std::span<StoreOutcome> outcomes,
                     Deadline deadline = {});

  // Encodes and stores consecutive blocks straight from tensors. `keys`: the chain's keys, one a full block;
  // `first_block`: index in the chain of the block that starts at token 0 of the tensors; k and v hold
  // keys.size() * block_tokens tokens. `parent` as in StoreItem.
  absl::Status StoreTensors(const NamespaceHandle& ns, std::span<const BlockKey> keys, const BlockKey& parent,
                            uint64_t first_block, const TensorView& k, const TensorView& v,
                            std::span<StoreOutcome> outcomes, uint32_t shard = 0, Deadline deadline = {});

  absl::StatusOr<std::vector<bool>> Exists(const NamespaceHandle& ns, std::span<const BlockKey> keys, Deadline deadline = {});
  // Number of blocks deleted.
  absl::StatusOr<uint64_t> Delete(const NamespaceHandle& ns, std::span<const BlockKey> keys, Deadline deadline = {});
  absl::StatusOr<uint64_t> DeleteNamespace(const NamespaceHandle& ns, Deadline deadline = {});
  absl::Status ReleaseLease(uint64_t lease_id, Deadline deadline = {});
  absl::StatusOr<ServerStats> Stats(Deadline deadline = {});

 private:
  class Impl;
  explicit KvClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_KV_CLIENT_H_
