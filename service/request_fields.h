// Fields that several requests have in common, checked against what this server allows.
#ifndef POLARKV_SERVICE_REQUEST_FIELDS_H_
#define POLARKV_SERVICE_REQUEST_FIELDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_key.h"
#include "service/service_context.h"

namespace polarkv {

// INVALID_ARGUMENT, NOT_FOUND.
absl::StatusOr<NamespacePtr> FindNamespace(const ServiceContext& context, const std::string& fingerprint);
// INVALID_ARGUMENT; RESOURCE_EXHAUSTED: more keys than this server takes in one request.
absl::StatusOr<std::vector<BlockKey>> TakeKeys(const ServiceContext& context, const std::string& packed);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_REQUEST_FIELDS_H_
