// Property: a block that passed its checks decodes to finite numbers, whoever wrote it and whatever part of it is held, and
// attending on it stays inside its bytes and comes out as near to the exact result as its rounding allows.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "codec/reference_codec.h"
#include "kernels/cpu/cpu_attention.h"
#include "kernels/cpu/cpu_decode.h"
#include "tests/codec/profile_samples.h"
#include "tests/fuzz/block_input.h"
#include "tests/kernels/attention_interval.h"

namespace polarkv {
namespace {

constexpr size_t kMaxNumbers = 1 << 16;  // a run should take microseconds
constexpr float kScale = 0.125f;

bool AllFinite(std::span<const float> numbers) {
  return std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); });
}

std::span<uint8_t> BytesOf(std::vector<float>& numbers) {
  return {reinterpret_cast<uint8_t*>(numbers.data()), numbers.size() * sizeof(float)};
}

// The same numbers as the reference's, and finite ones in the rotated domain.
void DecodeFast(const BlockView& view, cpu::InstructionSet set, const std::vector<float>& k, const std::vector<float>& v) {
  std::vector<float> fast_k(k.size()), fast_v(v.size());
  if (!cpu::DecodeBlock(view, Dtype::kF32, false, BytesOf(fast_k), BytesOf(fast_v), set).ok()) std::abort();
  if (fast_k != k || fast_v != v) std::abort();
  if (!cpu::DecodeBlock(view, Dtype::kF32, true, BytesOf(fast_k), BytesOf(fast_v), set).ok()) std::abort();
  if (!AllFinite(fast_k) || !AllFinite(fast_v)) std::abort();
}

// By every set's body and by the reference; `group` query heads to a KV head. The bounds hold for tiles of any scales, as what
// is too large for fp32 is handed over.
void Attend(const BlockView& view, uint32_t layer, uint32_t group, const std::vector<testing::AttentionInterval>& exact) {
  const BlockSpec& spec = view.spec();
  const uint32_t heads = group * spec.kv_heads, d = spec.head_dim;
  std::vector<float> q(size_t{heads} * d), o(q.size()), lse(heads);
  for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(i % 7) / 8 - 0.375f;
  std::vector<testing::AttentionInterval::Bounds> bounds;
  for (uint32_t head = 0; head < heads; ++head) bounds.push_back(exact[head / group].BoundsOf(&q[size_t{head} * d], kScale));
  for (const cpu::InstructionSet set : cpu::kInstructionSets) {
    if (!cpu::Supports(set)) continue;
    if (!cpu::Attend({&view, 1}, layer, heads, 1, q, kScale, o, lse, set).ok()) std::abort();
    for (uint32_t head = 0; head < heads; ++head) {
      const std::string defect = exact[head / group].Defect(bounds[head], lse[head], &o[size_t{head} * d]);
      if (defect.empty()) continue;
      std::fprintf(stderr, "%s, layer %u, head %u of %u: %s\n", cpu::InstructionSetName(set).data(), layer, head, heads,
                   defect.c_str());
      std::abort();
    }
  }
}

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
  if (!AllFinite(k) || !AllFinite(v)) std::abort();
  for (const cpu::InstructionSet set : cpu::kInstructionSets) {
    if (!cpu::Supports(set)) continue;
    DecodeFast(view, set, k, v);
  }
  for (uint32_t layer = view.layer_begin(); layer < view.layer_end(); ++layer) {
    std::vector<testing::AttentionInterval> exact;
    for (uint32_t head = 0; head < spec.kv_heads; ++head) exact.emplace_back(std::span(&view, 1), layer, head);
    Attend(view, layer, 1, exact);
    Attend(view, layer, 3, exact);
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
