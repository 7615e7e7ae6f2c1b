// Key-mean profiles as files (.pkm).
#ifndef POLARKV_CLIENT_CLI_PROFILE_FILE_H_
#define POLARKV_CLIENT_CLI_PROFILE_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/pkv_file.h"
#include "codec/key_mean_profile.h"

namespace polarkv::cli {

// The profile of a file; null if `path` is empty. Every error names the path.
absl::StatusOr<KeyMeanProfilePtr> LoadProfile(const std::string& path);

// FAILED_PRECONDITION: blocks of the file have their key means in a profile that it was not opened with.
absl::Status CheckProfileGiven(const PkvFile& file);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_PROFILE_FILE_H_
