// A namespace's key-mean profile over a real server: from the worker that made it to those that only know its digest,
// through restarts and kills; attention on the blocks is that on the model's keys.
#include <cmath>

#include "codec/key_mean_profile_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/kv_kernels.h"
#include "tests/codec/biased_keys.h"
#include "tests/codec/exact_attention.h"
#include "tests/e2e/client_over_server.h"

namespace polarkv::testing {
namespace {

using ::testing::Each;

constexpr uint32_t kBlocks = 4, kHeadDim = 64, kTokens = kBlocks * 64;

// One layer and head, so that a test's keys are one sequence's.
NamespaceDescriptor OneHeadDescriptor() {
  NamespaceDescriptor d = SmallDescriptor("test/profiled");
  d.layers = d.kv_heads = 1;
  return d;
}

// Keys with a bias of norm 60, of `tokens` positions from `first` on; the bias is the same for every `noise`.
std::vector<float> Keys(uint64_t first, uint32_t tokens, uint32_t noise) {
  BlockSpec spec = OneHead({}, kHeadDim, tokens);
  spec.rope = OneHeadDescriptor().rope;
  spec.first_position = first;
  std::vector<float> keys = BiasedKeys(spec, {60, true}, 5);
  const std::vector<float> unbiased = BiasedKeys(spec, {0, true}, 5), fresh = Gaussian(keys.size(), noise);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] += fresh[i] - unbiased[i];
  return keys;
}

KeyMeanProfilePtr Learned() {
  const auto builder = KeyMeanProfileBuilder::Create({1, 1, kHeadDim, OneHeadDescriptor().rope, {}}).value();
  const std::vector<float> keys = Keys(10000, 2048, 77);
  EXPECT_TRUE(builder->Add(TensorView::Contiguous(keys.data(), Dtype::kF32, {1, 1, 2048, kHeadDim}), 10000).ok());
  return builder->Build().value();
}

struct Sequence {
  std::vector<float> k = Keys(0, kTokens, 1), v = Gaussian(kTokens * kHeadDim, 2);
  std::vector<BlockKey> keys;

  explicit Sequence(const NamespaceDescriptor& d) {
    keys = PrefixKeys(NamespaceFingerprint(d), "", std::vector<int32_t>(kTokens, 3), 64);
  }
  TensorView View(const std::vector<float>& x) const {
    return TensorView::Contiguous(x.data(), Dtype::kF32, {1, 1, kTokens, kHeadDim});
  }
};

// Fetches the sequence by a client that has nothing but the descriptor, and compares scores with those of the keys.
void ExpectGoodScores(const std::string& target, const NamespaceDescriptor& d, const Sequence& sequence) {
  const std::unique_ptr<KvClient> client = Connect(target);
  const NamespaceHandle ns = client->OpenNamespace(d).value();
  ASSERT_NE(ns.profile, nullptr);
  FetchBuffers buffers(kBlocks, FetchBytes(d).value());
  ASSERT_TRUE(client->Fetch(ns, sequence.keys, {}, buffers.slots).ok());
  const std::vector<BlockView> views = buffers.Views();
  ASSERT_EQ(views.size(), kBlocks);
  EXPECT_TRUE(views[1].layout().layer(0).key_mean);
  for (uint32_t i = 0; i < 8; ++i) {
    const std::vector<float> q = Gaussian(kHeadDim, 100 + i);
    std::vector<float> o(kHeadDim), lse(1);
    ASSERT_EQ(Attend(views, 0, 1, 1, q, .125f, o, lse), absl::OkStatus());
    const ExactRow exact = AttendExactly(q.data(), sequence.k.data(), sequence.v.data(), kTokens, kHeadDim, .125f);
    // A score errs by .1 (standard deviation); without its mean, or with another, by a multiple of the bias, tens.
    EXPECT_NEAR(lse[0], exact.lse, .5);
  }
}

TEST(Profile, GoesFromTheWorkerThatMadeItToOthersThroughRestartsAndKills) {
  const TempDir data;
  ClientOverServer over({"--data-dir", data.path()});
  const KeyMeanProfilePtr profile = Learned();
  NamespaceDescriptor d = OneHeadDescriptor();
  d.profile_digest = profile->digest();
  const Sequence sequence(d);
  // Nobody but its maker has it yet.
  EXPECT_TRUE(absl::IsFailedPrecondition(Connect(over.server.target())->OpenNamespace(d).status()));
  const NamespaceHandle ns = over->OpenNamespace(d, {}, profile).value();
  std::vector<StoreOutcome> outcomes(kBlocks);
  ASSERT_TRUE(over->StoreTensors(ns, sequence.keys, {}, 0, sequence.View(sequence.k), sequence.View(sequence.v), outcomes).ok());
  ASSERT_THAT(outcomes, Each(StoreOutcome::kStored));
  ExpectGoodScores(over.server.target(), d, sequence);
  ASSERT_EQ(over.server.Terminate(), 0) << over.server.Log();
  over.server.Start();
  ExpectGoodScores(over.server.target(), d, sequence);
  over.server.Kill();
  over.server.Start();
  ExpectGoodScores(over.server.target(), d, sequence);
}

TEST(Profile, IsThereRightAfterItsNamespaceThoughTheServerIsKilledAtOnce) {
  const TempDir data;
  ClientOverServer over({"--data-dir", data.path()});
  const KeyMeanProfilePtr profile = Learned();
  NamespaceDescriptor d = OneHeadDescriptor();
  d.profile_digest = profile->digest();
  ASSERT_TRUE(over->OpenNamespace(d, {}, profile).ok());
  over.server.Kill();
  over.server.Start();
  EXPECT_EQ(Connect(over.server.target())->OpenNamespace(d)->profile->digest(), profile->digest());
}

TEST(Profile, IsBroughtAgainToAServerThatForgotEverything) {
  ClientOverServer over;
  const KeyMeanProfilePtr profile = Learned();
  NamespaceDescriptor d = OneHeadDescriptor();
  d.profile_digest = profile->digest();
  const Sequence sequence(d);
  const NamespaceHandle ns = over->OpenNamespace(d, {}, profile).value();
  over.server.Kill();
  over.server.Start();
  std::vector<StoreOutcome> outcomes(kBlocks);
  ASSERT_TRUE(over->StoreTensors(ns, sequence.keys, {}, 0, sequence.View(sequence.k), sequence.View(sequence.v), outcomes).ok());
  ASSERT_THAT(outcomes, Each(StoreOutcome::kStored));
  ExpectGoodScores(over.server.target(), d, sequence);
}

}  // namespace
}  // namespace polarkv::testing
