#include "service/request_fields.h"

#include "absl/strings/str_cat.h"
#include "proto/packed_keys.h"

namespace polarkv {

absl::StatusOr<NamespacePtr> FindNamespace(const ServiceContext& context, const std::string& fingerprint) {
  const absl::StatusOr<Fingerprint> unpacked = UnpackFingerprint(fingerprint);
  if (!unpacked.ok()) return unpacked.status();
  return context.namespaces.Find(*unpacked);
}

absl::StatusOr<std::vector<BlockKey>> TakeKeys(const ServiceContext& context, const std::string& packed) {
  absl::StatusOr<std::vector<BlockKey>> keys = UnpackKeys(packed);
  if (keys.ok() && keys->size() > context.limits.max_keys_per_request) {
    return absl::ResourceExhaustedError(absl::StrCat("keys: ", keys->size(), " in one request, this server takes ",
                                                     context.limits.max_keys_per_request));
  }
  return keys;
}

}  // namespace polarkv
