// Why an address cannot be listened on: gRPC only says that it cannot.
#ifndef POLARKV_SERVICE_LISTEN_ERROR_H_
#define POLARKV_SERVICE_LISTEN_ERROR_H_

#include <string>

#include "absl/status/status.h"

namespace polarkv {

// UNAVAILABLE, with the system's reason where it can be found out, and what to do.
absl::Status ListenError(const std::string& address);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_LISTEN_ERROR_H_
