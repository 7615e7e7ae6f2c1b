// attend against exact attention in double precision on the decoded tensors.
#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>

#include "client/cli/pkv_file.h"
#include "client/cli/selected_block.h"
#include "tests/cli/cli_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::Combine;
using ::testing::Values;

// kernels/README.md: bodies for turbo codecs may round the rotated query to 8 bits and the weights to 1/255 of a tile's
// largest. A logit then errs by sigma = |q|_inf / 127 / sqrt(12) * |k| / sqrt(d), 0.008 at most for these Gaussian
// vectors, independently for each token; its mean over the tokens that count, by a third of that. Three sigma and more.
constexpr double kRoundedTolerance = 0.025;
// All others compute in fp32 or better.
constexpr double kFloatTolerance = 1e-3;

double Tolerance(const std::string& codec) {
  return codec.starts_with("turbo") || codec.starts_with("k=turbo") ? kRoundedTolerance : kFloatTolerance;
}

std::string TestName(const std::string& codec, const std::string& more) {
  std::string name = codec + "_" + more;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '=' || c == ','; }, '_');
  return name;
}

struct Exact {
  std::vector<double> o, lse;
};

struct Decoded {
  KvShape shape;
  std::vector<float> k, v;
};

Exact ExactAttention(const Decoded& kv, const TestTensor& q) {
  const uint64_t layers = q.shape[0], heads = q.shape[1], queries = q.shape[2], d = q.shape[3];
  const uint64_t group = heads / kv.shape.kv_heads;
  Exact exact;
  for (uint64_t row = 0; row < layers * heads * queries; ++row) {
    const uint64_t layer = row / (heads * queries), head = row / queries % heads;
    const uint64_t first = (layer * kv.shape.kv_heads + head / group) * kv.shape.tokens * d;
    std::vector<double> logits(kv.shape.tokens), o(d);
    for (uint64_t t = 0; t < kv.shape.tokens; ++t) {
      for (uint64_t i = 0; i < d; ++i) logits[t] += double{q.values[row * d + i]} * kv.k[first + t * d + i];
      logits[t] /= std::sqrt(static_cast<double>(d));
    }
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit - top);
    for (uint64_t t = 0; t < kv.shape.tokens; ++t) {
      for (uint64_t i = 0; i < d; ++i) o[i] += std::exp(logits[t] - top) / sum * kv.v[first + t * d + i];
    }
    exact.o.insert(exact.o.end(), o.begin(), o.end());
    exact.lse.push_back(top + std::log(sum));
  }
  return exact;
}

void ExpectClose(const TensorFile& actual, const Exact& exact, double tolerance) {
  const uint64_t head_dim = actual.tensors.at("o").shape[3];
  const std::vector<float>& o = actual.tensors.at("o").values;
  const std::vector<float>& lse = actual.tensors.at("lse").values;
  ASSERT_EQ(o.size(), exact.o.size());
  ASSERT_EQ(lse.size(), exact.lse.size());
  for (size_t row = 0; row < lse.size(); ++row) {
    EXPECT_NEAR(lse[row], exact.lse[row], tolerance) << "row " << row;
    double error = 0, power = 0;
    for (size_t i = row * head_dim; i < (row + 1) * head_dim; ++i) {
      error += std::pow(o[i] - exact.o[i], 2);
      power += std::pow(exact.o[i], 2);
    }
    EXPECT_LT(std::sqrt(error / power), tolerance) << "row " << row;
  }
}

class AttendTest : public CliFixture {
 protected:
  static constexpr uint64_t kQueryHeads = 4, kQueries = 3;

  TestTensor Query(const KvShape& shape) const {
    return GaussianTensor({shape.layers, kQueryHeads, kQueries, shape.head_dim}, 3);
  }
  TensorFile Attend(std::vector<std::string> arguments, const TestTensor& q) const {
    arguments.insert(arguments.begin(), "attend");
    const std::string query = WriteTensors("q.safetensors", {{"q", q}}, {});
    arguments.insert(arguments.end(), {"--query", query, "--out", Path("out.safetensors")});
    const CliResult result = RunCli(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return ReadTensorFile(Path("out.safetensors"));
  }
  Decoded Decode(const std::string& pkv, const KvShape& shape) const {
    EXPECT_EQ(RunCli({"decode", "--in", pkv, "--out", Path("decoded.safetensors")}).exit_code, 0);
    const TensorFile file = ReadTensorFile(Path("decoded.safetensors"));
    return {shape, file.tensors.at("k").values, file.tensors.at("v").values};
  }
};

class AttendCodecTest : public AttendTest, public ::testing::WithParamInterface<std::tuple<std::string, uint64_t>> {};

TEST_P(AttendCodecTest, EqualsExactAttentionOnDecodedTensors) {
  const auto& [codec, head_dim] = GetParam();
  const KvShape shape{.head_dim = head_dim};
  const std::string pkv = EncodeGaussian(shape, codec, 128, {{"rope", "half"}, {"rope_base", "10000"}});
  const TestTensor q = Query(shape);
  const TensorFile out = Attend({"--block", pkv}, q);
  ASSERT_EQ(out.tensors.at("o").shape, q.shape);
  ASSERT_EQ(out.tensors.at("lse").shape, (std::vector<uint64_t>{shape.layers, kQueryHeads, kQueries}));
  ExpectClose(out, ExactAttention(Decode(pkv, shape), q), Tolerance(codec));
}

INSTANTIATE_TEST_SUITE_P(Codecs, AttendCodecTest,
                         Combine(Values("fp16", "turbo2", "turbo3", "turbo4", "turbo5", "polar44", "k=polar44,v=turbo3",
                                        "k=turbo1q,v=turbo4", "k=turbo2q,v=turbo5", "k=turbo3q,v=turbo3",
                                        "k=turbo4q,v=turbo2"),
                                 Values(64, 80, 96, 128, 192, 256)),
                         [](const auto& param) {
                           return TestName(std::get<0>(param.param), std::to_string(std::get<1>(param.param)));
                         });

struct PlanesCase {
  std::string codec;
  uint32_t bits;
  std::vector<PlaneKind> left_out;  // of the planes that the codecs have
};

class AttendPlanesTest : public AttendTest, public ::testing::WithParamInterface<PlanesCase> {};

TEST_P(AttendPlanesTest, ReadsFewerPlanesOfTheSameBlocks) {
  const auto& [codec, bits, left_out] = GetParam();
  const KvShape shape{.layers = 1, .kv_heads = 1, .tokens = 64, .head_dim = 128};
  const std::string pkv = EncodeGaussian(shape, codec);
  const absl::StatusOr<cli::PkvFile> file = cli::PkvFile::Open(pkv);
  ASSERT_TRUE(file.ok());
  BlockSelection selection{0, 1};
  for (const PlaneKind plane : left_out) {
    ASSERT_NE(file->blocks().front().planes() & PlaneBit(plane), 0u);
    selection.planes &= ~PlaneBit(plane);
  }
  const absl::StatusOr<cli::SelectedBlock> selected = cli::SelectedBlock::Copy(file->blocks().front(), selection);
  ASSERT_TRUE(selected.ok()) << selected.status();
  const Kv kv = testing::Decode(selected->view());
  const TestTensor q = Query(shape);
  const TensorFile out = Attend({"--block", pkv, "--planes", std::to_string(bits)}, q);
  ExpectClose(out, ExactAttention({shape, kv.k, kv.v}, q), Tolerance(codec));
}

constexpr PlaneKind kKey1 = PlaneKind::kKeyRefine1, kKey0 = PlaneKind::kKeyRefine0, kValue1 = PlaneKind::kValueRefine1,
                    kValue0 = PlaneKind::kValueRefine0, kResidual = PlaneKind::kKeyResidual;

// A base plane has two bits, of turbo5 three; a residual belongs to whole codes.
INSTANTIATE_TEST_SUITE_P(
    Bits, AttendPlanesTest,
    Values(PlanesCase{"turbo2", 2, {}}, PlanesCase{"turbo2", 3, {}}, PlanesCase{"turbo3", 2, {kKey1, kValue1}},
           PlanesCase{"turbo3", 3, {}}, PlanesCase{"turbo4", 2, {kKey1, kValue1, kKey0, kValue0}},
           PlanesCase{"turbo4", 3, {kKey0, kValue0}}, PlanesCase{"turbo4", 4, {}},
           PlanesCase{"turbo5", 2, {kKey1, kValue1, kKey0, kValue0}},
           PlanesCase{"turbo5", 3, {kKey1, kValue1, kKey0, kValue0}}, PlanesCase{"turbo5", 4, {kKey0, kValue0}},
           PlanesCase{"k=turbo1q,v=turbo4", 2, {kValue1, kValue0}}, PlanesCase{"k=turbo2q,v=turbo4", 2, {kValue1, kValue0}},
           PlanesCase{"k=turbo3q,v=turbo3", 2, {kKey1, kValue1, kResidual}}, PlanesCase{"k=turbo3q,v=turbo4", 3, {kValue0}},
           PlanesCase{"k=turbo4q,v=turbo3", 3, {kKey0, kResidual}}, PlanesCase{"k=turbo4q,v=turbo5", 4, {kValue0}},
           PlanesCase{"polar44", 2, {}}, PlanesCase{"k=polar44,v=turbo4", 2, {kValue1, kValue0}}),
    [](const auto& param) { return TestName(param.param.codec, "at_" + std::to_string(param.param.bits)); });

TEST_F(AttendTest, SeveralFilesAreOneSequence) {
  const KvShape shape{.tokens = 192};
  const TestTensors tensors = GaussianTensors(shape);
  const TestTensor q = Query(shape);
  const std::string whole = EncodeGaussian(shape);
  // Each block of the file as a file of its own, in another order: without a mask the order does not matter.
  const std::vector<std::string> blocks = SplitBlocks(ReadBytes(whole));
  ASSERT_EQ(blocks.size(), 3u);
  std::vector<std::string> arguments;
  for (const size_t i : {2u, 0u, 1u}) {
    arguments.push_back("--block");
    arguments.push_back(Write(std::to_string(i) + ".pkv", blocks[i]));
  }
  ExpectClose(Attend(arguments, q), ExactAttention(Decode(whole, shape), q), kRoundedTolerance);
}

TEST_F(AttendTest, HalfPrecisionQueriesAreConverted) {
  const KvShape shape;
  const std::string pkv = EncodeGaussian(shape);
  TestTensor q = Query(shape);
  q.dtype = "BF16";
  TestTensor rounded = q;
  for (float& value : rounded.values) value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xFFFF0000u);
  ExpectClose(Attend({"--block", pkv}, q), ExactAttention(Decode(pkv, shape), rounded), kRoundedTolerance);
}

TEST_F(AttendTest, QueriesThatDoNotFitAreRefused) {
  const KvShape shape;
  const std::string pkv = EncodeGaussian(shape);
  const auto refuse = [&](const TestTensors& tensors, const std::string& message) {
    const std::string query = WriteTensors("q.safetensors", tensors, {});
    ExpectRefusal({"attend", "--block", pkv, "--query", query, "--out", Path("o")}, 1, message);
    EXPECT_FALSE(std::filesystem::exists(Path("o")));
  };
  refuse({{"k", Query(shape)}}, "no tensor 'q'");
  refuse({{"q", GaussianTensor({3, 4, 1, 64}, 1)}}, "q has 3 layers, but the blocks have 2");
  refuse({{"q", GaussianTensor({2, 3, 1, 64}, 1)}}, "q has 3 heads, which is not a multiple of the blocks' 2 KV heads");
  refuse({{"q", GaussianTensor({2, 4, 1, 128}, 1)}}, "q has 128 coordinates in a head, but the blocks have 64");
  refuse({{"q", GaussianTensor({2, 4, 64}, 1)}}, "expected four dimensions");
  refuse({{"q", GaussianTensor({2, 4, 0, 64}, 1)}}, "is empty");
  TestTensor nan = Query(shape);
  nan.values[5] = NAN;
  refuse({{"q", nan}}, "layer 0");
}

TEST_F(AttendTest, BlocksOfDifferentModelsAreRefused) {
  const std::string first = Write("a.pkv", ReadBytes(EncodeGaussian({})));
  const std::string second = EncodeGaussian({.layers = 3});
  const std::string query = WriteTensors("q.safetensors", {{"q", Query({})}}, {});
  ExpectRefusal({"attend", "--block", first, "--block", second, "--query", query, "--out", Path("o")}, 1,
                "kv.pkv: block 0: layers is 3, but 2 in the first block");
}

}  // namespace
}  // namespace polarkv::testing
