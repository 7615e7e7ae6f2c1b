// The longest stored prefix of any number of keys.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "client/kv_client_impl.h"
#include "proto/packed_keys.h"

namespace polarkv {
namespace {

MatchStop StopFromProto(v1::StopReason reason) {
  switch (reason) {
    case v1::STOP_REASON_ALL_MATCHED:
      return MatchStop::kAllMatched;
    case v1::STOP_REASON_NOT_STORED:
      return MatchStop::kNotStored;
    case v1::STOP_REASON_EVICTED:
      return MatchStop::kEvicted;
    case v1::STOP_REASON_DELETED:
      return MatchStop::kDeleted;
    case v1::STOP_REASON_CORRUPT:
      return MatchStop::kCorrupt;
    case v1::STOP_REASON_LOST_AT_RESTART:
      return MatchStop::kLostAtRestart;
    default:
      return MatchStop::kUnknown;
  }
}

absl::Status CheckMatch(const v1::MatchPrefixResponse& response, size_t keys) {
  const bool sizes_given = response.block_bytes_size() == static_cast<int64_t>(response.matched_blocks());
  const bool all = response.matched_blocks() == keys;
  if (response.matched_blocks() <= keys && sizes_given &&
      (response.stop_reason() == v1::STOP_REASON_ALL_MATCHED) == all) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("the server's answer contradicts itself: ", response.matched_blocks(), " of ",
                                          keys, " keys matched, ", response.block_bytes_size(),
                                          " block sizes, stop reason ", response.stop_reason()));
}

// One match over any number of keys; starts from nothing with each attempt, as blocks matched before a restart of the
// node may be gone.
struct MatchInParts {
  PrefixMatch match{.stop = MatchStop::kAllMatched};  // of no keys so far
  std::vector<uint64_t> more_leases;

  void Add(const v1::MatchPrefixResponse& response, std::chrono::milliseconds wanted) {
    match.matched_blocks += response.matched_blocks();
    match.block_bytes.insert(match.block_bytes.end(), response.block_bytes().begin(), response.block_bytes().end());
    match.stop = StopFromProto(response.stop_reason());
    if (response.lease_id() == 0) return;
    const auto granted = std::min(std::chrono::milliseconds(response.lease_ms()), wanted);
    if (match.lease_id == 0) {
      match.lease_id = response.lease_id();
      match.lease = granted;
    } else {
      more_leases.push_back(response.lease_id());
      match.lease = std::min(match.lease, granted);
    }
  }
};

}  // namespace

absl::StatusOr<PrefixMatch> KvClient::Match(const NamespaceHandle& ns, std::span<const BlockKey> keys,
                                            std::chrono::milliseconds lease, Deadline deadline) {
  if (lease.count() < 0) return absl::InvalidArgumentError("match: the lease is negative");
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  MatchInParts parts;
  if (keys.empty()) return parts.match;
  absl::Status status = impl_->InNamespace("match", ns, call_deadline, [&](const NodeLimits& limits) {
    parts = MatchInParts();
    return ForEachKeyBatch(keys, limits.keys_per_request, [&](std::span<const BlockKey> batch) -> absl::Status {
      if (parts.match.stop != MatchStop::kAllMatched) return absl::OkStatus();
      v1::MatchPrefixRequest request;
      request.set_fingerprint(PackFingerprint(ns.fingerprint));
      request.set_keys(PackKeys(batch));
      request.set_lease_ms(
          static_cast<uint32_t>(std::min<int64_t>(lease.count(), std::numeric_limits<uint32_t>::max())));
      v1::MatchPrefixResponse response;
      absl::Status call = impl_->node.Call(&v1::KvStore::Stub::MatchPrefix, request, &response, call_deadline);
      if (call.ok()) call = CheckMatch(response, batch.size());
      if (call.ok()) parts.Add(response, lease);
      return call;
    });
  });
  if (!status.ok()) return status;
  impl_->leases.Add(parts.match.lease_id, std::move(parts.more_leases), parts.match.lease);
  return std::move(parts.match);
}

}  // namespace polarkv
