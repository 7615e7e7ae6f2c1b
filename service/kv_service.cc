#include "service/kv_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "codec/block_layout.h"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "proto/status_conversion.h"
#include "service/fetch_stream.h"
#include "service/request_fields.h"
#include "service/stats_message.h"

namespace polarkv {
namespace {

grpc::ServerUnaryReactor* Done(grpc::CallbackServerContext* call, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// Off gRPC's threads, since `work` may write to the disk; and not among the writers, which may wait for it to keep up.
template <typename Work>
grpc::ServerUnaryReactor* DoneLater(ServiceContext& context, grpc::CallbackServerContext* call, Work work) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  context.readers.Submit([reactor, work = std::move(work)] { reactor->Finish(ToGrpcStatus(work())); });
  return reactor;
}

v1::StopReason ToStopReason(const std::optional<AbsenceReason>& stop) {
  if (!stop.has_value()) return v1::STOP_REASON_ALL_MATCHED;
  switch (*stop) {
    case AbsenceReason::kNotStored:
      return v1::STOP_REASON_NOT_STORED;
    case AbsenceReason::kEvicted:
      return v1::STOP_REASON_EVICTED;
    case AbsenceReason::kDeleted:
      return v1::STOP_REASON_DELETED;
    case AbsenceReason::kCorrupt:
      return v1::STOP_REASON_CORRUPT;
    case AbsenceReason::kLostAtRestart:
      return v1::STOP_REASON_LOST_AT_RESTART;
  }
  return v1::STOP_REASON_UNSPECIFIED;
}

// The profile that a request brings along; null if none.
absl::StatusOr<KeyMeanProfilePtr> TakeProfile(const std::string& bytes) {
  if (bytes.empty()) return nullptr;
  absl::StatusOr<KeyMeanProfilePtr> profile =
      KeyMeanProfile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  if (!profile.ok()) return absl::InvalidArgumentError(absl::StrCat("profile: ", profile.status().message()));
  return profile;
}

absl::Status Open(ServiceContext& context, const v1::OpenNamespaceRequest& request,
                  v1::OpenNamespaceResponse* response) {
  const ServiceLimits& limits = context.limits;
  const absl::StatusOr<NamespaceDescriptor> descriptor = DescriptorFromProto(request.namespace_descriptor());
  if (!descriptor.ok()) return descriptor.status();
  const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(NamespaceBlockSpec(*descriptor, BlockKey{}, 0));
  if (layout.ok() && layout->total_bytes() > limits.max_block_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a block of this namespace has ", layout->total_bytes(), " bytes, this server takes up to ",
                     limits.max_block_bytes, "; use more shards or fewer tokens in a block, or raise --max-block-bytes"));
  }
  absl::StatusOr<KeyMeanProfilePtr> profile = TakeProfile(request.profile());
  if (!profile.ok()) return profile.status();
  const absl::StatusOr<NamespaceRegistry::Opened> opened =
      context.namespaces.OpenNamespace(*descriptor, *std::move(profile));
  if (!opened.ok()) return opened.status();
  if (request.want_profile() && opened->ns->profile != nullptr) {
    const std::span<const uint8_t> bytes = opened->ns->profile->bytes();
    response->set_profile(bytes.data(), bytes.size());
  }
  response->set_fingerprint(PackFingerprint(opened->ns->fingerprint));
  response->set_created(opened->created);
  response->set_max_block_bytes(limits.max_block_bytes);
  response->set_max_keys_per_request(limits.max_keys_per_request);
  response->set_max_frame_bytes(limits.max_frame_bytes);
  return absl::OkStatus();
}

absl::Status List(ServiceContext& context, v1::ListNamespacesResponse* response) {
  for (const NamespacePtr& ns : context.namespaces.List()) {
    absl::StatusOr<v1::NamespaceDescriptor> descriptor = DescriptorToProto(ns->descriptor);
    if (!descriptor.ok()) return descriptor.status();
    v1::ListNamespacesResponse::Entry* entry = response->add_namespaces();
    *entry->mutable_namespace_descriptor() = *std::move(descriptor);
    entry->set_fingerprint(PackFingerprint(ns->fingerprint));
    const BlockTotals usage = context.store.Usage(ns->id);
    entry->set_blocks(usage.blocks);
    entry->set_bytes(usage.bytes);
  }
  return absl::OkStatus();
}

absl::Status Match(ServiceContext& context, const v1::MatchPrefixRequest& request, v1::MatchPrefixResponse* response) {
  const absl::StatusOr<NamespacePtr> ns = FindNamespace(context, request.fingerprint());
  if (!ns.ok()) return ns.status();
  const absl::StatusOr<std::vector<BlockKey>> keys = TakeKeys(context, request.keys());
  if (!keys.ok()) return keys.status();
  const PrefixMatchResult match =
      context.store.MatchPrefix((*ns)->id, *keys, std::chrono::milliseconds(request.lease_ms()));
  ++context.counters.match_requests;
  context.counters.matched_blocks += match.block_bytes.size();
  response->set_matched_blocks(static_cast<uint32_t>(match.block_bytes.size()));
  for (const uint64_t bytes : match.block_bytes) response->add_block_bytes(bytes);
  response->set_stop_reason(ToStopReason(match.stop));
  response->set_lease_id(match.lease_id);
  response->set_lease_ms(static_cast<uint32_t>(match.lease.count()));
  return absl::OkStatus();
}

absl::Status Exists(ServiceContext& context, const v1::BatchExistsRequest& request, v1::BatchExistsResponse* response) {
  const absl::StatusOr<NamespacePtr> ns = FindNamespace(context, request.fingerprint());
  if (!ns.ok()) return ns.status();
  const absl::StatusOr<std::vector<BlockKey>> keys = TakeKeys(context, request.keys());
  if (!keys.ok()) return keys.status();
  for (const bool exists : context.store.Exists((*ns)->id, *keys)) response->add_exists(exists);
  return absl::OkStatus();
}

absl::Status DeleteBlocks(ServiceContext& context, const v1::DeleteRequest& request, v1::DeleteResponse* response) {
  const absl::StatusOr<NamespacePtr> ns = FindNamespace(context, request.fingerprint());
  if (!ns.ok()) return ns.status();
  const absl::StatusOr<std::vector<BlockKey>> keys = TakeKeys(context, request.keys());
  if (!keys.ok()) return keys.status();
  BlockTotals deleted;
  if (request.whole_namespace()) {
    if (!keys->empty()) return absl::InvalidArgumentError("keys: must be empty when whole_namespace is set");
    // The descriptor first: from then on nobody can store into it.
    if (const absl::Status s = context.namespaces.Remove((*ns)->fingerprint).status(); !s.ok()) return s;
    deleted = context.store.DeleteNamespace((*ns)->id);
  } else {
    deleted = context.store.Delete((*ns)->id, *keys);
  }
  response->set_deleted_blocks(deleted.blocks);
  response->set_deleted_bytes(deleted.bytes);
  return absl::OkStatus();
}

}  // namespace

void KvService::Drain() {
  context_.draining = true;
  store_streams_.Drain();
}

grpc::ServerUnaryReactor* KvService::OpenNamespace(grpc::CallbackServerContext* call,
                                                   const v1::OpenNamespaceRequest* request,
                                                   v1::OpenNamespaceResponse* response) {
  return DoneLater(context_, call, [this, request, response] { return Open(context_, *request, response); });
}

grpc::ServerUnaryReactor* KvService::ListNamespaces(grpc::CallbackServerContext* call,
                                                    const v1::ListNamespacesRequest*,
                                                    v1::ListNamespacesResponse* response) {
  return Done(call, List(context_, response));
}

grpc::ServerUnaryReactor* KvService::MatchPrefix(grpc::CallbackServerContext* call,
                                                 const v1::MatchPrefixRequest* request,
                                                 v1::MatchPrefixResponse* response) {
  return Done(call, Match(context_, *request, response));
}

grpc::ServerUnaryReactor* KvService::BatchExists(grpc::CallbackServerContext* call,
                                                 const v1::BatchExistsRequest* request,
                                                 v1::BatchExistsResponse* response) {
  return Done(call, Exists(context_, *request, response));
}

grpc::ServerUnaryReactor* KvService::Delete(grpc::CallbackServerContext* call, const v1::DeleteRequest* request,
                                            v1::DeleteResponse* response) {
  return DoneLater(context_, call,
                   [this, request, response] { return DeleteBlocks(context_, *request, response); });
}

grpc::ServerUnaryReactor* KvService::ReleaseLease(grpc::CallbackServerContext* call,
                                                  const v1::ReleaseLeaseRequest* request, v1::ReleaseLeaseResponse*) {
  context_.store.ReleaseLease(request->lease_id());
  return Done(call, absl::OkStatus());
}

grpc::ServerUnaryReactor* KvService::Stats(grpc::CallbackServerContext* call, const v1::StatsRequest*,
                                           v1::StatsResponse* response) {
  *response = StatsMessage(context_);
  return Done(call, absl::OkStatus());
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* KvService::Fetch(grpc::CallbackServerContext* call,
                                                             const grpc::ByteBuffer* request) {
  return StartFetch(context_, call, *request);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* KvService::Store(grpc::CallbackServerContext*) {
  return store_streams_.Start();
}

}  // namespace polarkv
