// Merging partial attention results (a mergeable softmax state). Host and device code.
#ifndef POLARKV_CODEC_ATTENTION_STATE_H_
#define POLARKV_CODEC_ATTENTION_STATE_H_

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "codec/code_order.h"

namespace polarkv {

// Merges (o_b, lse_b) into (o_a, lse_a): both are attention over disjoint sets of tokens, already normalised.
// An empty side has lse = -inf; two empty sides stay empty (that is where a naive form makes NaN). Weights are normalised
// before they meet the outputs, and the sum saturates: outputs that are the largest float merge to finite ones.
POLARKV_HOST_DEVICE inline void MergeAttention(float* o_a, float* lse_a, const float* o_b, float lse_b, uint32_t head_dim) {
  const float top = *lse_a > lse_b ? *lse_a : lse_b;
  if (top == -INFINITY) return;
  const float weight_a = expf(*lse_a - top);
  const float weight_b = expf(lse_b - top);
  const float total = weight_a + weight_b;
  const float share_a = weight_a / total;
  const float share_b = weight_b / total;
  for (uint32_t i = 0; i < head_dim; ++i) {
    const float sum = o_a[i] * share_a + o_b[i] * share_b;
    o_a[i] = sum > FLT_MAX ? FLT_MAX : sum < -FLT_MAX ? -FLT_MAX : sum;
  }
  *lse_a = top + logf(total);
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_ATTENTION_STATE_H_
