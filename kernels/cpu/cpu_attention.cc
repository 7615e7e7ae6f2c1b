#include "kernels/cpu/cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "codec/attention_state.h"
#include "codec/reference_codec.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/turbo_head.h"

namespace polarkv::cpu {
namespace {

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

// Attention over turbo blocks that share a rotation seed; false when fp32 could not hold it.
bool AttendTurbo(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t rows, std::span<const float> q,
                 float scale, std::span<float> o, std::span<float> lse, InstructionSet set) {
  const BlockSpec& spec = blocks[0]->spec();
  TurboHead head(spec.head_dim, spec.rotation_seed, rows, set);
  for (uint32_t kv_head = 0; kv_head < spec.kv_heads; ++kv_head) {
    const size_t row = size_t{kv_head} * rows;
    head.Attend(blocks, layer, kv_head, &q[row * spec.head_dim], scale, &o[row * spec.head_dim], &lse[row]);
  }
  return AllFinite(o) && AllFinite(lse);
}

}  // namespace

absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse, InstructionSet set) {
  const FloatEnvironment environment;
  if (absl::Status s = reference::CheckAttend(blocks, layer, q_heads, queries, q, scale, o, lse); !s.ok()) return s;
  if (lse.empty()) return absl::OkStatus();  // no queries: there is no first row to point to
  // The reference takes what has no fast body; turbo blocks go in runs of one rotation seed each.
  std::vector<BlockView> others;
  std::vector<const BlockView*> turbo;
  for (const BlockView& block : blocks) {
    if (HasTurboBody(block, layer, set)) {
      turbo.push_back(&block);
    } else {
      others.push_back(block);
    }
  }
  if (turbo.empty()) return reference::Attend(blocks, layer, q_heads, queries, q, scale, o, lse);
  if (absl::Status s = reference::Attend(others, layer, q_heads, queries, q, scale, o, lse); !s.ok()) return s;

  std::vector<float> part_o(o.size()), part_lse(lse.size());
  const uint32_t head_dim = blocks[0].spec().head_dim;
  const uint32_t rows = q_heads / blocks[0].spec().kv_heads * queries;
  const auto seed = [](const BlockView* block) { return block->spec().rotation_seed; };
  // Blocks of one seed stay in their order, which is that of their addresses.
  std::sort(turbo.begin(), turbo.end(),
            [&](auto* a, auto* b) { return seed(a) != seed(b) ? seed(a) < seed(b) : std::less<>()(a, b); });
  for (auto first = turbo.begin(); first != turbo.end();) {
    const auto last = std::find_if(first, turbo.end(), [&](auto* block) { return seed(block) != seed(*first); });
    if (!AttendTurbo({first, last}, layer, rows, q, scale, part_o, part_lse, set)) {
      return reference::Attend(blocks, layer, q_heads, queries, q, scale, o, lse);
    }
    for (size_t row = 0; row < lse.size(); ++row) {
      MergeAttention(&o[row * head_dim], &lse[row], &part_o[row * head_dim], part_lse[row], head_dim);
    }
    first = last;
  }
  return absl::OkStatus();
}

}  // namespace polarkv::cpu
