// Encode, store, match, fetch, attend: for every codec, whole blocks and parts of them.
#include <cmath>
#include <string>
#include <vector>

#include "codec/reference_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/kv_kernels.h"
#include "tests/e2e/client_over_server.h"

namespace polarkv::testing {
namespace {

using ::testing::Each;

constexpr uint32_t kQueryHeads = 4, kQueries = 2;

struct Case {
  std::string codec;
  uint32_t head_dim;
  RopePairing pairing;
  // Bound on |o - exact o| / |exact o| over one layer, of attention on Gaussian keys and values: several times what the
  // codec's bits give, so that wrong data fails and the codec's own error does not.
  double tolerance;
};

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  std::string name = info.param.codec + "_d" + std::to_string(info.param.head_dim);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ',' || c == '='; }, '_');
  return name;
}

struct Attention {
  std::vector<float> o, lse;
};

Attention Zeros(uint32_t head_dim) {
  return {std::vector<float>(kQueryHeads * kQueries * head_dim), std::vector<float>(kQueryHeads * kQueries)};
}

std::vector<float> SomeQueries(uint32_t head_dim) {
  std::vector<float> q(kQueryHeads * kQueries * head_dim);
  for (size_t i = 0; i < q.size(); ++i) q[i] = std::sin(0.37f * static_cast<float>(i) + 0.1f);
  return q;
}

// Softmax attention in double over the chain's own floats.
Attention ExactAttention(const BlockChain& chain, uint32_t layer, const std::vector<float>& q) {
  const NamespaceDescriptor& d = chain.ns.descriptor;
  const size_t tokens = chain.blocks.size() * d.block_tokens;
  Attention result = Zeros(d.head_dim);
  for (uint32_t row = 0; row < kQueryHeads * kQueries; ++row) {
    const uint32_t kv_head = row / kQueries / (kQueryHeads / d.kv_heads);
    const size_t base = (size_t{layer} * d.kv_heads + kv_head) * tokens * d.head_dim;
    std::vector<double> weights(tokens);
    double total = 0;
    for (size_t t = 0; t < tokens; ++t) {
      double score = 0;
      for (uint32_t i = 0; i < d.head_dim; ++i) {
        score += double{q[row * d.head_dim + i]} * chain.k[base + t * d.head_dim + i];
      }
      weights[t] = std::exp(score / std::sqrt(d.head_dim));
      total += weights[t];
    }
    for (uint32_t i = 0; i < d.head_dim; ++i) {
      double sum = 0;
      for (size_t t = 0; t < tokens; ++t) sum += weights[t] * chain.v[base + t * d.head_dim + i];
      result.o[row * d.head_dim + i] = static_cast<float>(sum / total);
    }
    result.lse[row] = static_cast<float>(std::log(total));
  }
  return result;
}

double RelativeError(const std::vector<float>& got, const std::vector<float>& wanted) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(double{got[i]} - wanted[i], 2);
    norm += std::pow(double{wanted[i]}, 2);
  }
  return std::sqrt(error / norm);
}

class RoundTrip : public ::testing::TestWithParam<Case> {
 protected:
  static NamespaceDescriptor Descriptor() {
    const Case& c = GetParam();
    NamespaceDescriptor descriptor = SmallDescriptor("test/" + CaseName({c, 0}), ParseCodecPair(c.codec).value());
    descriptor.head_dim = c.head_dim;
    descriptor.rope = {c.pairing, 10000.0f, static_cast<uint16_t>(c.head_dim)};
    if (c.pairing == RopePairing::kNone) descriptor.rope = {};
    descriptor.block_tokens = 128;
    return descriptor;
  }
  // All cases share a server: namespaces keep them apart.
  static KvClient& Client() {
    static const auto* over = new ClientOverServer({"--memory-budget", "256MiB"});
    return *over->client;
  }
};

TEST_P(RoundTrip, WhatIsFetchedIsWhatWasStoredAndAttendsAsExactly) {
  const BlockChain chain(Descriptor(), 3, 11, EncodeOptions{});
  const NamespaceHandle ns = Client().OpenNamespace(Descriptor()).value();
  std::vector<StoreOutcome> outcomes(3);
  absl::Status status = Client().StoreTensors(ns, chain.keys, {}, 0, chain.KeyTensor(), chain.ValueTensor(), outcomes);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(outcomes, Each(StoreOutcome::kStored));

  const PrefixMatch match = Client().Match(ns, chain.keys).value();
  ASSERT_EQ(match.matched_blocks, 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(match.block_bytes[i], chain.blocks[i].size());

  FetchBuffers buffers(3, FetchBytes(Descriptor()).value());
  status = Client().Fetch(ns, chain.keys, {}, buffers.slots);
  ASSERT_TRUE(status.ok()) << status;
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(buffers.slots[i].outcome, FetchOutcome::kOk) << buffers.slots[i].message;
    // The bytes that the reference encoder makes, on another machine or here.
    EXPECT_TRUE(SpanEquals(buffers.slots[i].view[0].bytes(), chain.blocks[i])) << i;
  }

  const std::vector<BlockView> views = buffers.Views();
  const std::vector<float> q = SomeQueries(Descriptor().head_dim);
  const float scale = 1 / std::sqrt(static_cast<float>(Descriptor().head_dim));
  for (uint32_t layer = 0; layer < Descriptor().layers; ++layer) {
    Attention got = Zeros(Descriptor().head_dim);
    status = Attend(views, layer, kQueryHeads, kQueries, q, scale, got.o, got.lse);
    ASSERT_TRUE(status.ok()) << status;
    const Attention exact = ExactAttention(chain, layer, q);
    EXPECT_LT(RelativeError(got.o, exact.o), GetParam().tolerance) << "layer " << layer;
    EXPECT_LT(RelativeError(got.lse, exact.lse), GetParam().tolerance) << "layer " << layer;
  }
}

// Every range of layers and every set of planes that the codec has: the same bytes as in the whole block, tile by tile.
TEST_P(RoundTrip, PartsOfABlockAreThatPartOfTheWhole) {
  const BlockChain chain(Descriptor(), 1, 12);
  ASSERT_TRUE(StoreChain(Client(), chain).ok());
  AlignedBuffer whole_bytes(chain.blocks[0].size());
  std::copy(chain.blocks[0].begin(), chain.blocks[0].end(), whole_bytes.span().begin());
  const BlockView whole = BlockView::Parse(whole_bytes.span(), VerifyPayload::kYes).value();

  for (PlaneMask planes = 0; planes <= kAllPlanes; ++planes) {
    if ((planes & ~whole.planes()) != 0) continue;  // a plane that this codec does not have
    for (uint32_t begin = 0; begin < 3; ++begin) {
      for (uint32_t end = begin + 1; end <= 3; ++end) {
        const BlockSelection selection{begin, end, planes};
        FetchBuffers buffers(1, FetchBytes(Descriptor(), selection).value());
        const absl::Status status = Client().Fetch(chain.ns, chain.keys, selection, buffers.slots);
        ASSERT_TRUE(status.ok()) << status;
        ASSERT_EQ(buffers.slots[0].outcome, FetchOutcome::kOk) << buffers.slots[0].message;
        const BlockView& part = buffers.slots[0].view[0];
        EXPECT_EQ(buffers.slots[0].bytes, part.bytes().size());
        EXPECT_EQ(part.planes(), planes | PlaneBit(PlaneKind::kBase));
        for (uint32_t layer = 0; layer < 3; ++layer) {
          EXPECT_EQ(part.HasLayer(layer), layer >= begin && layer < end);
          for (uint32_t kind = 0; kind < kMaxPlanes && part.HasLayer(layer); ++kind) {
            const auto plane = static_cast<PlaneKind>(kind);
            if ((part.planes() & PlaneBit(plane)) == 0) continue;
            EXPECT_TRUE(SpanEquals(part.Segment(layer, plane), whole.Segment(layer, plane)))
                << "layer " << layer << " plane " << kind << " of [" << begin << ", " << end << ") mask " << planes;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Codecs, RoundTrip,
    ::testing::Values(Case{"fp16", 64, RopePairing::kHalf, 0.002}, Case{"turbo2", 64, RopePairing::kHalf, 0.8},
                      Case{"turbo3", 128, RopePairing::kNone, 0.4}, Case{"turbo4", 128, RopePairing::kHalf, 0.25},
                      Case{"turbo4", 80, RopePairing::kHalf, 0.25},
                      Case{"turbo4", 192, RopePairing::kInterleaved, 0.25},
                      Case{"polar44", 64, RopePairing::kInterleaved, 0.4}, Case{"polar44", 96, RopePairing::kHalf, 0.4},
                      Case{"k=polar44,v=turbo4", 64, RopePairing::kHalf, 0.4},
                      Case{"k=turbo3,v=turbo2", 256, RopePairing::kHalf, 0.8},
                      Case{"k=fp16,v=turbo3", 64, RopePairing::kHalf, 0.4}),
    CaseName);

}  // namespace
}  // namespace polarkv::testing
