// What the parts of KvClient share. Included by kv_client*.cc alone.
#ifndef POLARKV_CLIENT_KV_CLIENT_IMPL_H_
#define POLARKV_CLIENT_KV_CLIENT_IMPL_H_

#include <span>

#include "absl/functional/function_ref.h"
#include "client/call_deadline.h"
#include "client/kv_client.h"
#include "client/lease_groups.h"
#include "client/namespace_table.h"
#include "client/node_connection.h"

namespace polarkv {

class KvClient::Impl {
 public:
  explicit Impl(const ClientOptions& client_options) : options(client_options), node(client_options) {}

  CallDeadline DeadlineFor(Deadline deadline) const {
    return CallDeadline(deadline == Deadline::zero() ? options.deadline : deadline);
  }

  // Calls `attempt` until it returns a status that another attempt would not mend, or the deadline has come. `attempt`
  // may be called again after any progress. Failures name the call and the target.
  absl::Status WithRetries(const char* call, const CallDeadline& deadline, absl::FunctionRef<absl::Status()> attempt);

  // The same for calls in a namespace: opens it first where that is not known to be done, and again when the node says
  // that it does not know it (it restarted with nothing, or somebody deleted the namespace).
  absl::Status InNamespace(const char* call, const NamespaceHandle& ns, const CallDeadline& deadline,
                           absl::FunctionRef<absl::Status(const NodeLimits&)> attempt);

  // The profile of the handle, or of a namespace with the same one that was opened before; null: not known, or there is none.
  KeyMeanProfilePtr ProfileOf(const NamespaceHandle& ns) const {
    return ns.profile != nullptr ? ns.profile : namespaces.FindProfile(ns.descriptor.profile_digest);
  }

  // One attempt to open; remembers the limits and the profile. DATA_LOSS: the node computes another fingerprint, or gives
  // another profile than was asked for.
  absl::StatusOr<NodeLimits> OpenOnce(const NamespaceHandle& ns, const CallDeadline& deadline);

  absl::Status ReleaseLeases(std::span<const uint64_t> lease_ids, const CallDeadline& deadline);

  const ClientOptions options;
  NodeConnection node;
  NamespaceTable namespaces;
  LeaseGroups leases;
};

// Calls `visit` with runs of at most `limit` keys, in order, until one returns a status that is not OK.
absl::Status ForEachKeyBatch(std::span<const BlockKey> keys, uint32_t limit,
                             absl::FunctionRef<absl::Status(std::span<const BlockKey>)> visit);

}  // namespace polarkv

#endif  // POLARKV_CLIENT_KV_CLIENT_IMPL_H_
