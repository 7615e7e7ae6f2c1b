#include "service/file_error.h"

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace polarkv {

absl::Status FileError(int error_number, const std::string& what) {
  const std::string text = absl::StrCat(what, ": ", std::system_category().message(error_number));
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    return absl::ResourceExhaustedError(text);
  }
  return absl::UnavailableError(text);
}

}  // namespace polarkv
