#include "service/namespace_registry.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "codec/block_layout.h"
#include "polarkv/v1/kv_store.pb.h"
#include "proto/descriptor_conversion.h"
#include "service/block_row.h"

namespace polarkv {
namespace {

// Ids are not given twice, even if the namespace that had one is gone: rows of its blocks may still be around.
constexpr std::string_view kNextNamespace = "m.next_namespace";

absl::Status NotOpen(const Fingerprint& fingerprint) {
  const absl::string_view bytes(reinterpret_cast<const char*>(fingerprint.data()), fingerprint.size());
  return absl::NotFoundError(
      absl::StrCat("namespace ", absl::BytesToHexString(bytes), " is not open on this node; call OpenNamespace"));
}

absl::StatusOr<NamespaceDescriptor> ParseDescriptor(std::string_view bytes) {
  v1::NamespaceDescriptor proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("not a polarkv.v1.NamespaceDescriptor");
  }
  return DescriptorFromProto(proto);
}

bool NamesProfile(const NamespaceDescriptor& descriptor) { return descriptor.profile_digest != ProfileDigest{}; }

MetadataDb::Change ProfileRow(NamespaceId id, const KeyMeanProfile& profile) {
  const std::span<const uint8_t> bytes = profile.bytes();
  return {ProfileRowKey(id), std::string(bytes.begin(), bytes.end())};
}

}  // namespace

absl::StatusOr<std::unique_ptr<NamespaceRegistry>> NamespaceRegistry::Open(MetadataDb* db, size_t max_namespaces,
                                                                           uint64_t max_profile_bytes) {
  std::unique_ptr<NamespaceRegistry> registry(new NamespaceRegistry(db, max_namespaces, max_profile_bytes));
  if (db != nullptr) {
    if (absl::Status s = registry->Load(); !s.ok()) return s;
  }
  return registry;
}

absl::Status NamespaceRegistry::Load() {
  absl::Status damage;
  absl::Status status = db_->Scan(kNamespaceRows, [&](std::string_view key, std::string_view value) {
    const std::optional<NamespaceId> id = ParseNamespaceRowKey(key);
    const absl::StatusOr<NamespaceDescriptor> descriptor = ParseDescriptor(value);
    if (id.has_value() && descriptor.ok()) {
      damage.Update(Add(*id, *descriptor, LoadProfile(*id, *descriptor)));
    } else {
      damage.Update(absl::DataLossError(absl::StrCat("stored namespace ", id.value_or(0), " cannot be read: ",
                                                     descriptor.status().message())));
    }
  });
  status.Update(damage);
  if (!status.ok()) return status;
  const absl::StatusOr<std::optional<std::string>> next = db_->Read(kNextNamespace);
  if (!next.ok()) return next.status();
  if (next->has_value()) {
    next_id_ = std::max(next_id_, static_cast<NamespaceId>(ParseNumber(**next).value_or(0)));
  }
  return absl::OkStatus();
}

// A cache may forget: who opens the namespace next brings a profile that is gone or damaged again.
KeyMeanProfilePtr NamespaceRegistry::LoadProfile(NamespaceId id, const NamespaceDescriptor& descriptor) const {
  if (!NamesProfile(descriptor)) return nullptr;
  const absl::StatusOr<std::optional<std::string>> bytes = db_->Read(ProfileRowKey(id));
  if (!bytes.ok() || !bytes->has_value()) return nullptr;
  absl::StatusOr<KeyMeanProfilePtr> profile =
      KeyMeanProfile::Parse({reinterpret_cast<const uint8_t*>((*bytes)->data()), (*bytes)->size()});
  if (!profile.ok() || !CheckProfileBelongs(**profile, descriptor).ok()) return nullptr;
  return *std::move(profile);
}

absl::Status NamespaceRegistry::Add(NamespaceId id, const NamespaceDescriptor& descriptor, KeyMeanProfilePtr profile) {
  if (absl::Status s = ValidateNamespaceDescriptor(descriptor); !s.ok()) return s;
  auto ns = std::make_shared<KnownNamespace>();
  ns->id = id;
  ns->descriptor = descriptor;
  ns->fingerprint = NamespaceFingerprint(descriptor);
  ns->largest_block_bytes = LargestBlockBytes(descriptor);
  if (profile != nullptr) profile_bytes_ += profile->bytes().size();
  ns->profile = std::move(profile);
  by_name_[descriptor.name] = ns;
  by_fingerprint_[ns->fingerprint] = ns;
  next_id_ = std::max(next_id_, id + 1);
  return absl::OkStatus();
}

absl::Status NamespaceRegistry::CheckProfile(const NamespaceDescriptor& descriptor,
                                             const KeyMeanProfilePtr& profile) const {
  if (!NamesProfile(descriptor)) return absl::OkStatus();
  if (profile == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("namespace ", descriptor.name, " names key-mean profile ",
                     ProfileDigestText(descriptor.profile_digest), ", which this node does not have; open it with the profile"));
  }
  if (profile_bytes_ + profile->bytes().size() > max_profile_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this node has ", profile_bytes_, " bytes of key-mean profiles and may have ", max_profile_bytes_,
                     ", the namespace's has ", profile->bytes().size(),
                     "; delete a namespace, or raise --memory-budget and --disk-budget"));
  }
  return absl::OkStatus();
}

absl::StatusOr<NamespaceRegistry::Opened> NamespaceRegistry::OpenKnown(const NamespacePtr& known,
                                                                       KeyMeanProfilePtr profile) {
  if (!NamesProfile(known->descriptor) || known->profile != nullptr) return Opened{known, false};
  if (absl::Status s = CheckProfile(known->descriptor, profile); !s.ok()) return s;
  if (db_ != nullptr) {
    const MetadataDb::Change changes[] = {ProfileRow(known->id, *profile)};
    if (absl::Status s = db_->Write(changes, MetadataDb::Survives::kPower); !s.ok()) return s;
  }
  const NamespacePtr before = known;  // Add gives its places to another
  if (absl::Status s = Add(before->id, before->descriptor, std::move(profile)); !s.ok()) return s;
  return Opened{by_name_[before->descriptor.name], false};
}

absl::StatusOr<NamespaceRegistry::Opened> NamespaceRegistry::OpenNamespace(const NamespaceDescriptor& descriptor,
                                                                           KeyMeanProfilePtr profile) {
  if (absl::Status s = ValidateNamespaceDescriptor(descriptor); !s.ok()) return s;
  if (profile != nullptr) {
    if (absl::Status s = CheckProfileBelongs(*profile, descriptor); !s.ok()) return s;
  }
  const std::lock_guard lock(mu_);
  if (const auto known = by_name_.find(descriptor.name); known != by_name_.end()) {
    const std::string difference = FirstDifference(known->second->descriptor, descriptor);
    if (difference.empty()) return OpenKnown(known->second, std::move(profile));
    return absl::FailedPreconditionError(
        absl::StrCat("namespace ", descriptor.name, " is known with another descriptor: ", difference,
                     "; use another name, or delete the namespace first"));
  }
  if (by_name_.size() >= max_namespaces_) {
    return absl::ResourceExhaustedError(absl::StrCat("this node has ", by_name_.size(),
                                                     " namespaces, as many as it may; delete one first"));
  }
  if (absl::Status s = CheckProfile(descriptor, profile); !s.ok()) return s;
  const NamespaceId id = next_id_;
  if (db_ != nullptr) {
    const absl::StatusOr<v1::NamespaceDescriptor> proto = DescriptorToProto(descriptor);
    if (!proto.ok()) return proto.status();
    std::vector<MetadataDb::Change> changes = {{NamespaceRowKey(id), proto->SerializeAsString()},
                                               {std::string(kNextNamespace), EncodeNumber(uint64_t{id} + 1)}};
    if (profile != nullptr) changes.push_back(ProfileRow(id, *profile));
    if (absl::Status s = db_->Write(changes, MetadataDb::Survives::kPower); !s.ok()) return s;
  }
  if (absl::Status s = Add(id, descriptor, std::move(profile)); !s.ok()) return s;
  return Opened{by_name_[descriptor.name], true};
}

absl::StatusOr<NamespacePtr> NamespaceRegistry::Find(const Fingerprint& fingerprint) const {
  const std::lock_guard lock(mu_);
  const auto known = by_fingerprint_.find(fingerprint);
  if (known == by_fingerprint_.end()) return NotOpen(fingerprint);
  return known->second;
}

absl::StatusOr<NamespacePtr> NamespaceRegistry::Remove(const Fingerprint& fingerprint) {
  const std::lock_guard lock(mu_);
  const auto known = by_fingerprint_.find(fingerprint);
  if (known == by_fingerprint_.end()) return NotOpen(fingerprint);
  NamespacePtr ns = known->second;
  if (db_ != nullptr) {
    const MetadataDb::Change changes[] = {{NamespaceRowKey(ns->id), std::nullopt}, {ProfileRowKey(ns->id), std::nullopt}};
    if (absl::Status s = db_->Write(changes, MetadataDb::Survives::kPower); !s.ok()) return s;
  }
  if (ns->profile != nullptr) profile_bytes_ -= ns->profile->bytes().size();
  by_fingerprint_.erase(known);
  by_name_.erase(ns->descriptor.name);
  return ns;
}

std::vector<NamespacePtr> NamespaceRegistry::List() const {
  const std::lock_guard lock(mu_);
  std::vector<NamespacePtr> list;
  for (const auto& [name, ns] : by_name_) list.push_back(ns);
  return list;
}

std::set<NamespaceId> NamespaceRegistry::Ids() const {
  const std::lock_guard lock(mu_);
  std::set<NamespaceId> ids;
  for (const auto& [name, ns] : by_name_) ids.insert(ns->id);
  return ids;
}

size_t NamespaceRegistry::size() const {
  const std::lock_guard lock(mu_);
  return by_name_.size();
}

uint64_t NamespaceRegistry::profile_bytes() const {
  const std::lock_guard lock(mu_);
  return profile_bytes_;
}

}  // namespace polarkv
