#include "proto/status_conversion.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

struct CodePair {
  absl::StatusCode absl_code;
  grpc::StatusCode grpc_code;
};

class StatusCodes : public ::testing::TestWithParam<CodePair> {};

TEST_P(StatusCodes, KeepCodeAndMessageInBothDirections) {
  const grpc::Status wire = ToGrpcStatus(absl::Status(GetParam().absl_code, "why"));
  EXPECT_EQ(wire.error_code(), GetParam().grpc_code);
  EXPECT_EQ(wire.error_message(), "why");
  EXPECT_EQ(FromGrpcStatus(grpc::Status(GetParam().grpc_code, "why")), absl::Status(GetParam().absl_code, "why"));
}

INSTANTIATE_TEST_SUITE_P(
    All, StatusCodes,
    ::testing::Values(CodePair{absl::StatusCode::kCancelled, grpc::StatusCode::CANCELLED},
                      CodePair{absl::StatusCode::kUnknown, grpc::StatusCode::UNKNOWN},
                      CodePair{absl::StatusCode::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
                      CodePair{absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
                      CodePair{absl::StatusCode::kNotFound, grpc::StatusCode::NOT_FOUND},
                      CodePair{absl::StatusCode::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
                      CodePair{absl::StatusCode::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
                      CodePair{absl::StatusCode::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
                      CodePair{absl::StatusCode::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
                      CodePair{absl::StatusCode::kAborted, grpc::StatusCode::ABORTED},
                      CodePair{absl::StatusCode::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE},
                      CodePair{absl::StatusCode::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
                      CodePair{absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL},
                      CodePair{absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE},
                      CodePair{absl::StatusCode::kDataLoss, grpc::StatusCode::DATA_LOSS},
                      CodePair{absl::StatusCode::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED}));

TEST(StatusConversion, KeepsOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(StatusConversion, TurnsACodeItDoesNotKnowIntoUnknown) {
  const absl::Status status = FromGrpcStatus(grpc::Status(static_cast<grpc::StatusCode>(20), "strange"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("20"), HasSubstr("strange")));
}

TEST(StatusConversion, CutsAMessageThatWouldNotFitATrailer) {
  const std::string fits(kMaxStatusMessageBytes, 'x');
  EXPECT_EQ(ToGrpcStatus(absl::InternalError(fits)).error_message(), fits);
  const std::string cut = ToGrpcStatus(absl::InternalError(fits + "y")).error_message();
  EXPECT_EQ(cut.size(), kMaxStatusMessageBytes);
  EXPECT_THAT(cut, EndsWith("x..."));
}

TEST(StatusConversion, NeverCutsInsideACharacter) {
  for (const std::string padding : {"", "a", "ab", "abc"}) {
    std::string message = padding;
    while (message.size() <= kMaxStatusMessageBytes) message += "\xF0\x9F\x98\x80";  // a four-byte character
    const std::string cut = ToGrpcStatus(absl::InternalError(message)).error_message();
    EXPECT_THAT(cut, EndsWith("\x80...")) << padding.size();
    EXPECT_EQ((cut.size() - 3 - padding.size()) % 4, 0u);
  }
}

}  // namespace
}  // namespace polarkv
