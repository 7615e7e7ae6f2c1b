// absl::Status <-> grpc::Status. The two share their codes; this is the only place that knows it.
#ifndef POLARKV_PROTO_STATUS_CONVERSION_H_
#define POLARKV_PROTO_STATUS_CONVERSION_H_

#include <grpcpp/support/status.h>

#include <cstddef>

#include "absl/status/status.h"

namespace polarkv {

// A status message travels in an HTTP/2 trailer, which peers limit to 8 KiB after percent-encoding (up to 3 bytes for
// 1); a longer one would replace the status by a transport error.
inline constexpr size_t kMaxStatusMessageBytes = 2048;

// Same code and message; a message over kMaxStatusMessageBytes is cut and ends in "...".
grpc::Status ToGrpcStatus(const absl::Status& status);

// Same code and message; a code that this build does not know becomes UNKNOWN, with the number in the message.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace polarkv

#endif  // POLARKV_PROTO_STATUS_CONVERSION_H_
