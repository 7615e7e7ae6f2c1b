// The calls that ask about keys or drop them: exists, delete, release.
#include "absl/strings/str_cat.h"
#include "client/kv_client_impl.h"
#include "proto/packed_keys.h"

namespace polarkv {
absl::StatusOr<std::vector<bool>> KvClient::Exists(const NamespaceHandle& ns, std::span<const BlockKey> keys,
                                                   Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  std::vector<bool> exists;
  if (keys.empty()) return exists;
  absl::Status status = impl_->InNamespace("exists", ns, call_deadline, [&](const NodeLimits& limits) {
    const std::span<const BlockKey> rest = keys.subspan(exists.size());
    return ForEachKeyBatch(rest, limits.keys_per_request, [&](std::span<const BlockKey> batch) -> absl::Status {
      v1::BatchExistsRequest request;
      request.set_fingerprint(PackFingerprint(ns.fingerprint));
      request.set_keys(PackKeys(batch));
      v1::BatchExistsResponse response;
      absl::Status call = impl_->node.Call(&v1::KvStore::Stub::BatchExists, request, &response, call_deadline);
      if (!call.ok()) return call;
      if (response.exists_size() != static_cast<int64_t>(batch.size())) {
        return absl::DataLossError(
            absl::StrCat("the server gave ", response.exists_size(), " answers to ", batch.size(), " keys"));
      }
      exists.insert(exists.end(), response.exists().begin(), response.exists().end());
      return absl::OkStatus();
    });
  });
  if (!status.ok()) return status;
  return exists;
}

absl::StatusOr<uint64_t> KvClient::Delete(const NamespaceHandle& ns, std::span<const BlockKey> keys,
                                          Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  uint64_t deleted = 0;
  // A request without keys could be taken for one about the whole namespace.
  if (keys.empty()) return deleted;
  size_t done = 0;
  absl::Status status = impl_->InNamespace("delete", ns, call_deadline, [&](const NodeLimits& limits) {
    const std::span<const BlockKey> rest = keys.subspan(done);
    return ForEachKeyBatch(rest, limits.keys_per_request, [&](std::span<const BlockKey> batch) -> absl::Status {
      v1::DeleteRequest request;
      request.set_fingerprint(PackFingerprint(ns.fingerprint));
      request.set_keys(PackKeys(batch));
      v1::DeleteResponse response;
      absl::Status call = impl_->node.Call(&v1::KvStore::Stub::Delete, request, &response, call_deadline);
      if (!call.ok()) return call;
      deleted += response.deleted_blocks();
      done += batch.size();
      return call;
    });
  });
  if (!status.ok()) return status;
  return deleted;
}

absl::StatusOr<uint64_t> KvClient::DeleteNamespace(const NamespaceHandle& ns, Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  v1::DeleteRequest request;
  request.set_fingerprint(PackFingerprint(ns.fingerprint));
  request.set_whole_namespace(true);
  v1::DeleteResponse response;
  // Not InNamespace: a namespace that the node does not know must not be made in order to delete it.
  absl::Status status = impl_->WithRetries("delete namespace", call_deadline, [&] {
    return impl_->node.Call(&v1::KvStore::Stub::Delete, request, &response, call_deadline);
  });
  impl_->namespaces.Forget(ns.fingerprint);
  if (absl::IsNotFound(status)) return uint64_t{0};
  if (!status.ok()) return status;
  return response.deleted_blocks();
}

absl::Status KvClient::ReleaseLease(uint64_t lease_id, Deadline deadline) {
  std::vector<uint64_t> leases = impl_->leases.TakeOthers(lease_id);
  if (lease_id != 0) leases.push_back(lease_id);
  return impl_->ReleaseLeases(leases, impl_->DeadlineFor(deadline));
}

absl::Status KvClient::Impl::ReleaseLeases(std::span<const uint64_t> lease_ids, const CallDeadline& deadline) {
  for (const uint64_t id : lease_ids) {
    v1::ReleaseLeaseRequest request;
    request.set_lease_id(id);
    v1::ReleaseLeaseResponse response;
    absl::Status status = WithRetries("release lease", deadline, [&] {
      return node.Call(&v1::KvStore::Stub::ReleaseLease, request, &response, deadline);
    });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace polarkv
