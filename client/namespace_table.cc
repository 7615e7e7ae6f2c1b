#include "client/namespace_table.h"

#include <algorithm>
#include <utility>

#include "codec/block_format.h"

namespace polarkv {
namespace {

// 512 KiB of keys: far below any message limit.
constexpr uint32_t kMaxKeysPerRequest = 16384;

template <typename T>
T Within(T offered, T own) {
  return offered == 0 ? own : std::min(offered, own);
}

}  // namespace

NodeLimits NodeLimits::From(const v1::OpenNamespaceResponse& response, uint32_t frame_bytes_wanted) {
  return {.block_bytes = Within<uint64_t>(response.max_block_bytes(), kMaxBlockBytes),
          .keys_per_request = Within(response.max_keys_per_request(), kMaxKeysPerRequest),
          .frame_bytes = Within(response.max_frame_bytes(), frame_bytes_wanted)};
}

std::optional<NodeLimits> NamespaceTable::Find(const Fingerprint& fingerprint) const {
  const std::lock_guard lock(mutex_);
  const auto found = limits_.find(fingerprint);
  if (found == limits_.end()) return std::nullopt;
  return found->second;
}

void NamespaceTable::Remember(const Fingerprint& fingerprint, const NodeLimits& limits) {
  const std::lock_guard lock(mutex_);
  limits_[fingerprint] = limits;
}

void NamespaceTable::Forget(const Fingerprint& fingerprint) {
  const std::lock_guard lock(mutex_);
  limits_.erase(fingerprint);
}

KeyMeanProfilePtr NamespaceTable::FindProfile(const ProfileDigest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = profiles_.find(digest);
  return found == profiles_.end() ? nullptr : found->second;
}

void NamespaceTable::RememberProfile(KeyMeanProfilePtr profile) {
  const std::lock_guard lock(mutex_);
  profiles_.try_emplace(profile->digest(), profile);
}

}  // namespace polarkv
