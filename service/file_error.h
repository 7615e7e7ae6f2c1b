// An errno value of a file operation as a status.
#ifndef POLARKV_SERVICE_FILE_ERROR_H_
#define POLARKV_SERVICE_FILE_ERROR_H_

#include <string>

#include "absl/status/status.h"

namespace polarkv {

// RESOURCE_EXHAUSTED: no space, quota, or file size limit. UNAVAILABLE: anything else. `what` names the file and what was
// tried; the system's reason is appended.
absl::Status FileError(int error_number, const std::string& what);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_FILE_ERROR_H_
