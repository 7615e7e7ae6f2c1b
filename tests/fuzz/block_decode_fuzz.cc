// Property: a block that passed its checks decodes to finite numbers, whoever wrote it and whatever part of it is held,
// and attending on it stays inside its bytes.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "codec/reference_codec.h"
#include "kernels/kv_kernels.h"
#include "tests/codec/profile_samples.h"
#include "tests/fuzz/block_input.h"

namespace polarkv {
namespace {

constexpr size_t kMaxNumbers = 1 << 16;  // a run should take microseconds

void Decode(const BlockView& view) {
  const BlockSpec& spec = view.spec();
  const size_t layers = view.layer_end() - view.layer_begin();
  const size_t size = layers * spec.kv_heads * spec.tokens * spec.head_dim;
  if (size > kMaxNumbers) return;
  std::vector<float> k(size), v(size);
  for (uint32_t layer = view.layer_begin(); layer < view.layer_end(); ++layer) {
    if (view.CheckMeans(layer).ok()) continue;
    // Means in a profile that is not at hand: not to be decoded, and not to be taken for zero.
    if (!absl::IsFailedPrecondition(reference::DecodeBlock(view, k, v))) std::abort();
    return;
  }
  if (!reference::DecodeBlock(view, k, v).ok()) std::abort();
  const auto finite = [](float x) { return std::isfinite(x); };
  if (!std::ranges::all_of(k, finite) || !std::ranges::all_of(v, finite)) std::abort();

  std::vector<float> q(size_t{spec.kv_heads} * spec.head_dim, 0.125f), o(q.size()), lse(spec.kv_heads);
  const std::span<const BlockView> blocks(&view, 1);
  // The reference, and the body that this machine picks.
  for (const auto attend : {reference::Attend, polarkv::Attend}) {
    if (!attend(blocks, view.layer_begin(), spec.kv_heads, 1, q, 1.0f, o, lse).ok()) std::abort();
    if (!std::ranges::all_of(o, finite) || !std::ranges::all_of(lse, finite)) std::abort();
  }
}

}  // namespace
}  // namespace polarkv

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace polarkv;
  const auto input = testing::ReadBlockInput(data, size, testing::Reseal::kSegments);
  if (!input) return 0;
  for (const BlockSelection& selection : {BlockSelection{}, input->selection}) {
    static const KeyMeanProfilePtr profile = testing::SampleProfile();
    for (const KeyMeanProfilePtr& given : {KeyMeanProfilePtr(), profile}) {
      const absl::StatusOr<BlockView> view =
          BlockView::ParseSelection(input->block, selection, VerifyPayload::kYes, given);
      if (view.ok()) Decode(*view);
    }
  }
  return 0;
}
