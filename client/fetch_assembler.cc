#include "client/fetch_assembler.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/packed_keys.h"

namespace polarkv {
namespace {

absl::Status WrongFrame(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the server sent a wrong frame: ", what));
}

std::pair<FetchOutcome, std::string> OutcomeFromProto(v1::BlockStatus status) {
  switch (status) {
    case v1::BLOCK_STATUS_NOT_FOUND:
      return {FetchOutcome::kNotFound, ""};
    case v1::BLOCK_STATUS_CORRUPT:
      return {FetchOutcome::kCorrupt, "the server found its copy corrupt and dropped it"};
    case v1::BLOCK_STATUS_NO_SUCH_LAYER:
      return {FetchOutcome::kNoSuchLayer, "the block has fewer layers than the selection"};
    case v1::BLOCK_STATUS_IO_ERROR:
      return {FetchOutcome::kIoError, "the server could not read the block"};
    default:
      return {FetchOutcome::kIoError,
              absl::StrCat("the server gave block status ", status, ", unknown to this client")};
  }
}

}  // namespace

absl::Status FetchAssembler::CheckPlace(const ReceivedFrame& frame) const {
  const v1::BlockFrame& head = frame.head();
  if (head.block_index() != next_) {
    return WrongFrame(absl::StrCat("block ", head.block_index(), " where block ", next_, " was due"));
  }
  if ((!started_ || !head.key().empty()) && head.key() != PackKey(key())) {
    return WrongFrame(absl::StrCat("block ", next_, " under another key than the one asked for"));
  }
  if (head.status() != v1::BLOCK_STATUS_OK) {
    return frame.body_bytes() == 0 ? absl::OkStatus()
                                   : WrongFrame(absl::StrCat("status ", head.status(), " together with a body"));
  }
  if (started_ && head.total_bytes() != 0 && head.total_bytes() != total_) {
    return WrongFrame(absl::StrCat("a block of ", total_, " bytes now has ", head.total_bytes()));
  }
  if (head.offset() != received_) {
    return WrongFrame(absl::StrCat("offset ", head.offset(), " where offset ", received_, " was due"));
  }
  // A stream of empty frames would never end.
  if (frame.body_bytes() == 0) return WrongFrame("no body");
  return absl::OkStatus();
}

absl::Status FetchAssembler::BeginBlock(const ReceivedFrame& frame) {
  total_ = frame.head().total_bytes();
  if (total_ < sizeof(BlockHeader) || total_ > kMaxBlockBytes) {
    return WrongFrame(
        absl::StrCat("a block of ", total_, " bytes; valid: ", sizeof(BlockHeader), " to ", kMaxBlockBytes));
  }
  started_ = true;
  return absl::OkStatus();
}

absl::Status FetchAssembler::OnFrame(const ReceivedFrame& frame) {
  if (complete()) return WrongFrame("more frames than blocks asked for");
  absl::Status status = CheckPlace(frame);
  if (status.ok() && frame.head().status() != v1::BLOCK_STATUS_OK) {
    auto [outcome, message] = OutcomeFromProto(frame.head().status());
    EndBlock(outcome, std::move(message));
    return absl::OkStatus();
  }
  if (status.ok() && !started_) status = BeginBlock(frame);
  if (status.ok() && frame.body_bytes() > total_ - received_) {
    status =
        WrongFrame(absl::StrCat(frame.body_bytes(), " bytes where ", total_ - received_, " were left of the block"));
  }
  if (!status.ok()) {
    EndBlock(FetchOutcome::kCorrupt, std::string(status.message()));
    return status;
  }
  const bool fits = slot().buffer.size() >= total_;
  if (fits) frame.CopyBodyTo(slot().buffer.data() + received_);
  received_ += frame.body_bytes();
  if (received_ < total_) return absl::OkStatus();
  if (fits) {
    VerifyBlock();
  } else {
    EndBlock(FetchOutcome::kBufferTooSmall,
             absl::StrCat("the block has ", total_, " bytes, the buffer ", slot().buffer.size()));
  }
  return absl::OkStatus();
}

void FetchAssembler::VerifyBlock() {
  absl::StatusOr<BlockView> view =
      BlockView::ParseSelection(slot().buffer.first(total_), selection_, VerifyPayload::kYes, profile_);
  if (!view.ok()) {
    const bool no_layer = absl::IsInvalidArgument(view.status());
    return EndBlock(no_layer ? FetchOutcome::kNoSuchLayer : FetchOutcome::kCorrupt,
                    std::string(view.status().message()));
  }
  absl::Status belongs = CheckBlockBelongs(view->spec(), ns_.descriptor, ns_.fingerprint, key());
  if (!belongs.ok()) return EndBlock(FetchOutcome::kCorrupt, std::string(belongs.message()));
  slot().view.push_back(*std::move(view));
  EndBlock(FetchOutcome::kOk, "");
}

void FetchAssembler::EndBlock(FetchOutcome outcome, std::string message) {
  slot().outcome = outcome;
  slot().message = std::move(message);
  const bool size_known = outcome == FetchOutcome::kOk || outcome == FetchOutcome::kBufferTooSmall;
  slot().bytes = size_known ? total_ : 0;
  ++next_;
  started_ = false;
  total_ = received_ = 0;
}

}  // namespace polarkv
