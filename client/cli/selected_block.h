// Some layers and planes of a block, copied out of it: what a reader of less than the whole block holds.
#ifndef POLARKV_CLIENT_CLI_SELECTED_BLOCK_H_
#define POLARKV_CLIENT_CLI_SELECTED_BLOCK_H_

#include "absl/status/statusor.h"
#include "client/aligned_buffer.h"
#include "codec/block_view.h"

namespace polarkv::cli {

// Move-only; its view points into its own copy.
class SelectedBlock {
 public:
  // `whole` is a verified view of a whole block. INVALID_ARGUMENT: it has no such layers.
  static absl::StatusOr<SelectedBlock> Copy(const BlockView& whole, const BlockSelection& selection);
  const BlockView& view() const { return view_; }

 private:
  SelectedBlock(AlignedBuffer bytes, BlockView view) : bytes_(std::move(bytes)), view_(std::move(view)) {}
  AlignedBuffer bytes_;
  BlockView view_;
};

// Planes that a reader of a layer of such codecs needs for `bits` bits of each turbo code, 2, 3 or 4: of turbo5 never
// less than the three of its base plane. The residual of turbo<b>q is one of them where its codes are whole, for only
// then is it read. May name planes that the codecs lack.
PlaneMask PlanesForBits(CodecPair codec, uint32_t bits);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_SELECTED_BLOCK_H_
