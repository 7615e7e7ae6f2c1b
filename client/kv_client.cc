// The client's life, and the calls that concern the node as a whole.
#include "client/kv_client.h"

#include "absl/strings/str_cat.h"
#include "client/kv_client_impl.h"
#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"

namespace polarkv {
namespace {

constexpr uint32_t kMinFrameBytes = 4 * 1024;
constexpr uint32_t kMaxFrameBytes = 4 * 1024 * 1024;
static_assert(kMaxFrameBytes < kMaxReceivedMessageBytes);
constexpr std::chrono::hours kMaxDeadline{24};

absl::Status CheckOptions(const ClientOptions& options) {
  if (options.target.empty()) return absl::InvalidArgumentError("target is empty; give \"host:port\"");
  if (options.deadline.count() < 1 || options.deadline > kMaxDeadline) {
    return absl::InvalidArgumentError(
        absl::StrCat("deadline is ", options.deadline.count(), " ms; valid: 1 ms to a day"));
  }
  if (options.backoff_initial.count() < 1 || options.backoff_max < options.backoff_initial ||
      options.backoff_max > kMaxDeadline) {
    return absl::InvalidArgumentError(absl::StrCat("backoff goes from ", options.backoff_initial.count(), " to ",
                                                   options.backoff_max.count(),
                                                   " ms; valid: at least 1 ms, ascending, up to a day"));
  }
  if (options.channels < 1 || options.channels > 16) {
    return absl::InvalidArgumentError(absl::StrCat("channels is ", options.channels, "; valid: 1 to 16"));
  }
  if (options.frame_bytes < kMinFrameBytes || options.frame_bytes > kMaxFrameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame_bytes is ", options.frame_bytes, "; valid: ", kMinFrameBytes, " to ", kMaxFrameBytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<NamespaceDescriptor> CheckedDescriptor(const v1::ListNamespacesResponse::Entry& entry) {
  absl::StatusOr<NamespaceDescriptor> descriptor = DescriptorFromProto(entry.namespace_descriptor());
  if (descriptor.ok() && PackFingerprint(NamespaceFingerprint(*descriptor)) != entry.fingerprint()) {
    return absl::DataLossError("the fingerprint is not that of the descriptor");
  }
  return descriptor;
}

NamespaceInfo InfoFromProto(const v1::ListNamespacesResponse::Entry& entry) {
  NamespaceInfo info;
  info.blocks = entry.blocks();
  info.bytes = entry.bytes();
  if (absl::StatusOr<Fingerprint> fingerprint = UnpackFingerprint(entry.fingerprint()); fingerprint.ok()) {
    info.fingerprint = *fingerprint;
  }
  if (absl::StatusOr<NamespaceDescriptor> descriptor = CheckedDescriptor(entry); descriptor.ok()) {
    info.descriptor = *std::move(descriptor);
  } else {
    info.descriptor.name = entry.namespace_descriptor().name();
    info.problem = std::string(descriptor.status().message());
  }
  return info;
}

}  // namespace

KvClient::KvClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvClient::~KvClient() = default;

absl::StatusOr<std::unique_ptr<KvClient>> KvClient::Create(const ClientOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  return std::unique_ptr<KvClient>(new KvClient(std::make_unique<Impl>(options)));
}

absl::StatusOr<NamespaceHandle> KvClient::OpenNamespace(const NamespaceDescriptor& descriptor, Deadline deadline,
                                                        KeyMeanProfilePtr profile) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  NamespaceHandle ns{descriptor, NamespaceFingerprint(descriptor), std::move(profile)};
  absl::Status status =
      impl_->WithRetries("open namespace", call_deadline, [&] { return impl_->OpenOnce(ns, call_deadline).status(); });
  if (!status.ok()) return status;
  ns.profile = impl_->ProfileOf(ns);
  return ns;
}

absl::StatusOr<std::vector<NamespaceInfo>> KvClient::ListNamespaces(Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  v1::ListNamespacesResponse response;
  absl::Status status = impl_->WithRetries("list namespaces", call_deadline, [&] {
    return impl_->node.Call(&v1::KvStore::Stub::ListNamespaces, v1::ListNamespacesRequest(), &response, call_deadline);
  });
  if (!status.ok()) return status;
  std::vector<NamespaceInfo> namespaces;
  for (const v1::ListNamespacesResponse::Entry& entry : response.namespaces()) {
    namespaces.push_back(InfoFromProto(entry));
  }
  return namespaces;
}

absl::StatusOr<ServerStats> KvClient::Stats(Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  v1::StatsResponse response;
  absl::Status status = impl_->WithRetries("stats", call_deadline, [&] {
    return impl_->node.Call(&v1::KvStore::Stub::Stats, v1::StatsRequest(), &response, call_deadline);
  });
  if (!status.ok()) return status;
  ServerStats stats{response.version(), {}};
  // By reflection, so that a counter added to the .proto is reported without a line here.
  const google::protobuf::Descriptor& fields = *response.GetDescriptor();
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *fields.field(i);
    if (field.cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_UINT64) continue;
    stats.values.emplace_back(field.name(), response.GetReflection()->GetUInt64(response, &field));
  }
  return stats;
}

}  // namespace polarkv
