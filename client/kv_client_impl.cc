#include "client/kv_client_impl.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/backoff.h"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"

namespace polarkv {
namespace {

// A node that forgets a namespace as soon as it has opened it is not going to learn it.
constexpr int kMaxReopens = 2;

// Trusts nothing of it: whatever the node sent, only the profile that the descriptor names comes out.
absl::StatusOr<KeyMeanProfilePtr> ReceivedProfile(const std::string& bytes, const NamespaceDescriptor& descriptor) {
  absl::StatusOr<KeyMeanProfilePtr> profile =
      KeyMeanProfile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  absl::Status status = profile.ok() ? CheckProfileBelongs(**profile, descriptor) : profile.status();
  if (!status.ok()) return absl::DataLossError(absl::StrCat("the server's key-mean profile: ", status.message()));
  return profile;
}

}  // namespace

absl::Status KvClient::Impl::WithRetries(const char* call, const CallDeadline& deadline,
                                         absl::FunctionRef<absl::Status()> attempt) {
  Backoff backoff(options.backoff_initial, options.backoff_max);
  std::string history;  // what the attempt before said: often the reason why the last one met the deadline
  for (int attempts = 1;; ++attempts) {
    const absl::Status status = deadline.Expired() ? absl::DeadlineExceededError("the deadline has passed") : attempt();
    if (status.ok()) return status;
    const std::optional<std::chrono::nanoseconds> delay =
        IsTransient(status) ? backoff.NextDelay(deadline.Remaining()) : std::nullopt;
    if (delay) {
      node.WaitBeforeRetry(*delay);
      history = absl::StrCat(" (attempt ", attempts + 1, "; the one before: ", status.message(), ")");
      continue;
    }
    return absl::Status(status.code(), absl::StrCat(call, " at ", options.target, ": ", status.message(), history));
  }
}

absl::Status KvClient::Impl::InNamespace(const char* call, const NamespaceHandle& ns, const CallDeadline& deadline,
                                         absl::FunctionRef<absl::Status(const NodeLimits&)> attempt) {
  int reopens = 0;
  return WithRetries(call, deadline, [&]() -> absl::Status {
    for (;;) {
      std::optional<NodeLimits> limits = namespaces.Find(ns.fingerprint);
      if (!limits) {
        absl::StatusOr<NodeLimits> opened = OpenOnce(ns, deadline);
        if (!opened.ok()) return opened.status();
        limits = *opened;
      }
      const absl::Status status = attempt(*limits);
      // Its limits may have changed with a restart: ask again before the next call.
      if (absl::IsResourceExhausted(status)) namespaces.Forget(ns.fingerprint);
      if (!absl::IsNotFound(status)) return status;
      namespaces.Forget(ns.fingerprint);
      if (reopens++ == kMaxReopens) return status;
    }
  });
}

absl::StatusOr<NodeLimits> KvClient::Impl::OpenOnce(const NamespaceHandle& ns, const CallDeadline& deadline) {
  absl::StatusOr<v1::NamespaceDescriptor> descriptor = DescriptorToProto(ns.descriptor);
  if (!descriptor.ok()) return descriptor.status();
  if (NamespaceFingerprint(ns.descriptor) != ns.fingerprint) {
    return absl::InvalidArgumentError("the namespace handle's fingerprint is not that of its descriptor");
  }
  v1::OpenNamespaceRequest request;
  *request.mutable_namespace_descriptor() = *std::move(descriptor);
  const bool names_profile = ns.descriptor.profile_digest != ProfileDigest{};
  KeyMeanProfilePtr profile = ProfileOf(ns);
  if (profile != nullptr) {
    if (absl::Status status = CheckProfileBelongs(*profile, ns.descriptor); !status.ok()) return status;
    request.set_profile(profile->bytes().data(), profile->bytes().size());
  }
  request.set_want_profile(names_profile && profile == nullptr);
  v1::OpenNamespaceResponse response;
  absl::Status status = node.Call(&v1::KvStore::Stub::OpenNamespace, request, &response, deadline);
  if (!status.ok()) return status;
  if (response.fingerprint() != PackFingerprint(ns.fingerprint)) {
    return absl::DataLossError("the server computed another fingerprint for the namespace's descriptor");
  }
  if (request.want_profile()) {
    absl::StatusOr<KeyMeanProfilePtr> received = ReceivedProfile(response.profile(), ns.descriptor);
    if (!received.ok()) return received.status();
    profile = *std::move(received);
  }
  if (profile != nullptr) namespaces.RememberProfile(std::move(profile));
  const NodeLimits limits = NodeLimits::From(response, options.frame_bytes);
  namespaces.Remember(ns.fingerprint, limits);
  return limits;
}

absl::Status ForEachKeyBatch(std::span<const BlockKey> keys, uint32_t limit,
                             absl::FunctionRef<absl::Status(std::span<const BlockKey>)> visit) {
  while (!keys.empty()) {
    const size_t count = std::min<size_t>(keys.size(), limit);
    if (absl::Status status = visit(keys.first(count)); !status.ok()) return status;
    keys = keys.subspan(count);
  }
  return absl::OkStatus();
}

}  // namespace polarkv
