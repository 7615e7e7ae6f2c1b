#include "kernels/cuda/launch_error.h"

namespace polarkv::cuda {

const char* LaunchErrorText(LaunchError error) {
  switch (error) {
    case LaunchError::kNone:
      return "no error";
    case LaunchError::kUnsupportedShape:
      return "no kernel for this shape: head_dim 64, 128 or 256. Attention: turbo2 to turbo4 and trellis1 to trellis3 for "
             "keys and values, qjl1, qjl2, qjl4 and polar44 for keys; group and queries 1 to 16, a scale that is not negative. "
             "Encoding and decoding: turbo2 to turbo4, trellis1 to trellis3; at least one block, layer and head, at most 65535 "
             "layers and heads; means with what EncodeMeans asks for. Merging: head_dim a multiple of 8 up to 256, less than 2^31 "
             "rows, o and lse of both sides";
    case LaunchError::kMisalignedRows:
      return "keys and values must begin at multiples of 16 bytes, and so must their rows, heads, layers and pages; "
             "scores at multiples of 8 bytes, with even strides; outputs to merge and their rows at multiples of 16 bytes";
    case LaunchError::kWrongWarps:
      return "warps must be a positive multiple of a thread block's: of attention 8, at head_dim 256 6; of scores alone 16, at "
             "head_dim 256 10. AttentionWarps and ScoresWarps say how many the device runs, and 0 where there is none";
    case LaunchError::kWorkspaceTooSmall:
      return "the workspace is smaller than AttentionWorkspaceBytes (ScoresWorkspaceBytes, EncodeWorkspaceBytes), or not "
             "256-byte aligned";
    case LaunchError::kNoDevice:
      return "no CUDA device, or no kernel for its architecture (sm_80 and later)";
    case LaunchError::kLaunchFailed:
      return "the launch failed; the stream's earlier work may have";
  }
  return "";
}

}  // namespace polarkv::cuda
