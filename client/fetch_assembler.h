// Puts the frames of one Fetch stream together, and believes nothing that it has not checked.
#ifndef POLARKV_CLIENT_FETCH_ASSEMBLER_H_
#define POLARKV_CLIENT_FETCH_ASSEMBLER_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/kv_client.h"
#include "proto/block_frame_wire.h"

namespace polarkv {

// Fills the slots keys[wanted[0]], keys[wanted[1]], ... from a stream that was asked for them in this order. A slot
// gets its outcome once all its bytes were received and verified, or the server said why there are none; the others
// stay kNotReceived. Not thread-safe; everything given must outlive it.
class FetchAssembler {
 public:
  // `profile`: the namespace's, which views are given.
  FetchAssembler(const NamespaceHandle& ns, KeyMeanProfilePtr profile, std::span<const BlockKey> keys,
                 const BlockSelection& selection, std::span<FetchSlot> slots, std::span<const uint32_t> wanted)
      : ns_(ns),
        profile_(std::move(profile)),
        keys_(keys),
        selection_(selection),
        slots_(slots),
        wanted_(wanted) {}

  // DATA_LOSS: the frame is not the one that is due. The stream is of no use then; the block under way is kCorrupt.
  absl::Status OnFrame(const ReceivedFrame& frame);

  // Every wanted slot has its outcome: no frame is due.
  bool complete() const { return next_ == wanted_.size(); }
  size_t completed() const { return next_; }

 private:
  FetchSlot& slot() { return slots_[wanted_[next_]]; }
  const BlockKey& key() const { return keys_[wanted_[next_]]; }

  absl::Status CheckPlace(const ReceivedFrame& frame) const;
  absl::Status BeginBlock(const ReceivedFrame& frame);
  void VerifyBlock();
  void EndBlock(FetchOutcome outcome, std::string message);

  const NamespaceHandle& ns_;
  const KeyMeanProfilePtr profile_;
  const std::span<const BlockKey> keys_;
  const BlockSelection selection_;
  const std::span<FetchSlot> slots_;
  const std::span<const uint32_t> wanted_;
  size_t next_ = 0;        // position in wanted_ of the block under way
  bool started_ = false;   // its first frame was seen
  uint64_t total_ = 0;     // its bytes, as announced
  uint64_t received_ = 0;  // of these
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_FETCH_ASSEMBLER_H_
