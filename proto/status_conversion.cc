#include "proto/status_conversion.h"

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

static_assert(static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT) ==
              static_cast<int>(absl::StatusCode::kInvalidArgument));
static_assert(static_cast<int>(grpc::StatusCode::UNAVAILABLE) == static_cast<int>(absl::StatusCode::kUnavailable));
static_assert(static_cast<int>(grpc::StatusCode::DATA_LOSS) == static_cast<int>(absl::StatusCode::kDataLoss));
static_assert(static_cast<int>(grpc::StatusCode::UNAUTHENTICATED) ==
              static_cast<int>(absl::StatusCode::kUnauthenticated));

// Cuts between characters: never inside a UTF-8 sequence.
std::string Shortened(absl::string_view message) {
  constexpr std::string_view kEllipsis = "...";
  size_t end = kMaxStatusMessageBytes - kEllipsis.size();
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return std::string(message.data(), end).append(kEllipsis);
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::string_view message = status.message();
  return {static_cast<grpc::StatusCode>(status.code()),
          message.size() <= kMaxStatusMessageBytes ? std::string(message) : Shortened(message)};
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  const int code = static_cast<int>(status.error_code());
  if (code == 0) return absl::OkStatus();
  if (code < 0 || code > static_cast<int>(absl::StatusCode::kUnauthenticated)) {
    return absl::UnknownError(
        absl::StrCat("the server answered with status code ", code, ": ", status.error_message()));
  }
  return {static_cast<absl::StatusCode>(code), status.error_message()};
}

}  // namespace polarkv
