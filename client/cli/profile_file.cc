#include "client/cli/profile_file.h"

#include "client/cli/cli_status.h"
#include "client/cli/input_file.h"

namespace polarkv::cli {

absl::StatusOr<KeyMeanProfilePtr> LoadProfile(const std::string& path) {
  if (path.empty()) return nullptr;
  const absl::StatusOr<InputFile> file = InputFile::Open(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<KeyMeanProfilePtr> profile = KeyMeanProfile::Parse(file->bytes());
  if (!profile.ok()) return Annotate(profile.status(), path);
  return profile;
}

absl::Status CheckProfileGiven(const PkvFile& file) {
  for (const BlockView& block : file.blocks()) {
    for (uint32_t layer = 0; layer < block.spec().layers; ++layer) {
      if (block.CheckMeans(layer).ok()) continue;
      return absl::FailedPreconditionError(
          file.path() + ": the blocks' key means are in profile " + ProfileDigestText(block.spec().profile_digest) +
          "; give its file with --profile (`polarkv get --profile-out` gets it from a server)");
    }
  }
  return absl::OkStatus();
}

}  // namespace polarkv::cli
