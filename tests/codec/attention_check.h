// Whether the reference attends on a block as it decodes it.
#ifndef POLARKV_TESTS_CODEC_ATTENTION_CHECK_H_
#define POLARKV_TESTS_CODEC_ATTENTION_CHECK_H_

#include <cmath>
#include <vector>

#include "codec/reference_codec.h"
#include "gtest/gtest.h"
#include "tests/codec/exact_attention.h"

namespace polarkv::testing {

// One normal query on the only head of the only layer of `block`; `read`: its keys and values.
inline void ExpectAttentionOnDecoded(const BlockView& block, const Kv& read, uint32_t seed) {
  const uint32_t head_dim = block.spec().head_dim;
  const std::vector<float> q = Gaussian(head_dim, seed);
  std::vector<float> o(head_dim), lse(1);
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  ASSERT_EQ(reference::Attend({&block, 1}, 0, 1, 1, q, scale, o, lse), absl::OkStatus());
  const ExactRow exact = AttendExactly(q.data(), read.k.data(), read.v.data(), block.spec().tokens, head_dim, scale);
  EXPECT_NEAR(lse[0], exact.lse, exact.logit_size * 1e-6 + 1e-6);
  for (uint32_t j = 0; j < head_dim; ++j) {
    EXPECT_NEAR(o[j], exact.o[j], exact.value_size * (exact.logit_size * 2e-6 + 1e-6)) << j;
  }
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_ATTENTION_CHECK_H_
