// The words for outcomes that logs, the CLI and reports use.
#include "client/kv_client.h"

namespace polarkv {

const char* MatchStopName(MatchStop stop) {
  switch (stop) {
    case MatchStop::kAllMatched:
      return "all matched";
    case MatchStop::kNotStored:
      return "not stored";
    case MatchStop::kEvicted:
      return "evicted";
    case MatchStop::kDeleted:
      return "deleted";
    case MatchStop::kCorrupt:
      return "corrupt";
    case MatchStop::kLostAtRestart:
      return "lost at restart";
    case MatchStop::kUnknown:
      break;
  }
  return "unknown";
}

const char* FetchOutcomeName(FetchOutcome outcome) {
  switch (outcome) {
    case FetchOutcome::kOk:
      return "ok";
    case FetchOutcome::kNotFound:
      return "not found";
    case FetchOutcome::kCorrupt:
      return "corrupt";
    case FetchOutcome::kNoSuchLayer:
      return "no such layer";
    case FetchOutcome::kBufferTooSmall:
      return "buffer too small";
    case FetchOutcome::kIoError:
      return "i/o error";
    case FetchOutcome::kNotReceived:
      break;
  }
  return "not received";
}

const char* StoreOutcomeName(StoreOutcome outcome) {
  switch (outcome) {
    case StoreOutcome::kStored:
      return "stored";
    case StoreOutcome::kDuplicate:
      return "duplicate";
    case StoreOutcome::kConflict:
      return "conflict";
    case StoreOutcome::kBadChecksum:
      return "bad checksum";
    case StoreOutcome::kUnsupported:
      return "unsupported";
    case StoreOutcome::kMismatch:
      return "mismatch";
    case StoreOutcome::kNoSpace:
      return "no space";
    case StoreOutcome::kTooLarge:
      return "too large";
    case StoreOutcome::kIoError:
      return "i/o error";
    case StoreOutcome::kNotAcknowledged:
      break;
  }
  return "not acknowledged";
}

}  // namespace polarkv
