// What the encoder accepts and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "codec/half_float.h"
#include "tests/codec/codec_cases.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Encode;
using testing::Gaussian;
using testing::GaussianKv;
using ::testing::HasSubstr;
using testing::Kv;
using testing::OneHead;
using testing::View;

BlockSpec SmallSpec(CodecPair codec = {CodecId::kTurbo4, CodecId::kTurbo4}) {
  BlockSpec spec = OneHead(codec, 64, 70);
  spec.layers = 2;
  spec.kv_heads = 3;
  return spec;
}

absl::Status EncodeStatus(const BlockSpec& spec, const TensorView& k, const TensorView& v) {
  return reference::EncodeBlock(spec, k, v).status();
}

void ExpectInvalid(const absl::Status& status, const std::string& text) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
}

TEST(EncodeInput, NansAndInfinitiesAreRefusedByName) {
  const BlockSpec spec = SmallSpec();
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    Kv kv = GaussianKv(spec, 1);
    // layer 1, head 2, token 67, coordinate 9
    kv.v[((1 * 3 + 2) * 70 + 67) * 64 + 9] = bad;
    const absl::Status status = EncodeStatus(spec, View(spec, kv.k), View(spec, kv.v));
    ExpectInvalid(status, "tensor v");
    ExpectInvalid(status, "layer 1, head 2, token 67, coordinate 9");
  }
  Kv kv = GaussianKv(spec, 1);
  kv.k[0] = std::numeric_limits<float>::quiet_NaN();
  ExpectInvalid(EncodeStatus(spec, View(spec, kv.k), View(spec, kv.v)), "tensor k");
}

TEST(EncodeInput, NansOfShortDtypesAreRefused) {
  const BlockSpec spec = SmallSpec();
  const Kv kv = GaussianKv(spec, 1);
  std::vector<uint16_t> halves(kv.k.size());
  halves[7] = 0x7C00;
  const TensorView half_view = TensorView::Contiguous(halves.data(), Dtype::kF16, {2, 3, 70, 64});
  ExpectInvalid(EncodeStatus(spec, half_view, View(spec, kv.v)), "layer 0, head 0, token 0, coordinate 7");
  halves[7] = 0x7FC0;
  const TensorView brain_view = TensorView::Contiguous(halves.data(), Dtype::kBF16, {2, 3, 70, 64});
  ExpectInvalid(EncodeStatus(spec, brain_view, View(spec, kv.v)), "layer 0, head 0, token 0, coordinate 7");
}

TEST(EncodeInput, EveryWrongDimensionIsRefused) {
  const BlockSpec spec = SmallSpec();
  const Kv kv = GaussianKv(spec, 1);
  for (size_t i = 0; i < 4; ++i) {
    TensorView wrong = View(spec, kv.k);
    --wrong.shape[i];
    ExpectInvalid(EncodeStatus(spec, wrong, View(spec, kv.v)), "tensor k has shape");
    ExpectInvalid(EncodeStatus(spec, View(spec, kv.k), wrong), "tensor v has shape");
  }
}

TEST(EncodeInput, MissingDataUnknownDtypeAndBadSpecAreRefused) {
  const BlockSpec spec = SmallSpec();
  const Kv kv = GaussianKv(spec, 1);
  TensorView view = View(spec, kv.k);
  view.data = nullptr;
  ExpectInvalid(EncodeStatus(spec, view, View(spec, kv.v)), "tensor k has no data");
  view = View(spec, kv.k);
  view.dtype = static_cast<Dtype>(9);
  ExpectInvalid(EncodeStatus(spec, view, View(spec, kv.v)), "unknown dtype 9");
  BlockSpec bad = spec;
  bad.head_dim = 65;
  EXPECT_EQ(EncodeStatus(bad, View(spec, kv.k), View(spec, kv.v)).code(), absl::StatusCode::kInvalidArgument);
}

class EncodeInputOf : public ::testing::TestWithParam<CodecId> {};

TEST_P(EncodeInputOf, StridesDoNotChangeTheBlock) {
  const BlockSpec spec = SmallSpec(testing::ForBothSides(GetParam()));
  const Kv kv = GaussianKv(spec, 2);
  const std::vector<uint8_t> expected = Encode(spec, kv);
  // [tokens, layers, head_dim, kv_heads], and every second element of it.
  const std::array<int64_t, 4> stride = {2 * 64 * 3, 2, 2 * 2 * 64 * 3, 2 * 3};
  const auto spread = [&](const std::vector<float>& x) {
    std::vector<float> out(2 * x.size(), std::numeric_limits<float>::quiet_NaN());
    size_t i = 0;
    for (int64_t layer = 0; layer < 2; ++layer) {
      for (int64_t head = 0; head < 3; ++head) {
        for (int64_t token = 0; token < 70; ++token) {
          for (int64_t j = 0; j < 64; ++j) {
            out[layer * stride[0] + head * stride[1] + token * stride[2] + j * stride[3]] = x[i++];
          }
        }
      }
    }
    return out;
  };
  const std::vector<float> k = spread(kv.k), v = spread(kv.v);
  const TensorView k_view{k.data(), Dtype::kF32, {2, 3, 70, 64}, stride};
  const TensorView v_view{v.data(), Dtype::kF32, {2, 3, 70, 64}, stride};
  EXPECT_EQ(reference::EncodeBlock(spec, k_view, v_view).value(), expected);
}

TEST_P(EncodeInputOf, AllDtypesOfTheSameNumbersGiveTheSameBlock) {
  const BlockSpec spec = SmallSpec(testing::ForBothSides(GetParam()));
  Kv kv = GaussianKv(spec, 3);
  std::vector<uint16_t> k_half, v_half, k_brain, v_brain;
  const auto shorten = [](std::vector<float>& x, std::vector<uint16_t>& half, std::vector<uint16_t>& brain) {
    for (float& value : x) {
      // Eight bits of mantissa and no subnormal half: a number of both short dtypes.
      value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xFFFF0000u);
      if (std::fabs(value) < 0x1p-14f) value = 0;
      half.push_back(FloatToHalf(value));
      brain.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
    }
  };
  shorten(kv.k, k_half, k_brain);
  shorten(kv.v, v_half, v_brain);
  const std::vector<uint8_t> expected = Encode(spec, kv);
  const std::array<int64_t, 4> shape = {2, 3, 70, 64};
  const auto encode = [&](const std::vector<uint16_t>& k, const std::vector<uint16_t>& v, Dtype dtype) {
    return reference::EncodeBlock(spec, TensorView::Contiguous(k.data(), dtype, shape),
                                  TensorView::Contiguous(v.data(), dtype, shape))
        .value();
  };
  EXPECT_EQ(encode(k_half, v_half, Dtype::kF16), expected);
  EXPECT_EQ(encode(k_brain, v_brain, Dtype::kBF16), expected);
}

TEST_P(EncodeInputOf, LayersAndHeadsAreEncodedEachByItself) {
  const BlockSpec spec = SmallSpec(testing::ForBothSides(GetParam()));
  const Kv kv = GaussianKv(spec, 4);
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const Kv all = testing::Decode(testing::Parse(bytes));
  const size_t head_size = 70 * 64;
  for (size_t i = 0; i < 6; ++i) {
    const BlockSpec one = OneHead(spec.codec, 64, 70);
    const auto part = [&](const std::vector<float>& x) {
      return std::vector<float>(x.begin() + i * head_size, x.begin() + (i + 1) * head_size);
    };
    const std::vector<uint8_t> one_bytes = Encode(one, {part(kv.k), part(kv.v)});
    const Kv out = testing::Decode(testing::Parse(one_bytes));
    EXPECT_EQ(out.k, part(all.k)) << i;
    EXPECT_EQ(out.v, part(all.v)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, EncodeInputOf, ::testing::ValuesIn(testing::AllCodecsVector()),
                         testing::CodecParamName);

TEST(DecodeOutput, SpansOfAnotherSizeAreRefused) {
  const BlockSpec spec = SmallSpec();
  const std::vector<uint8_t> bytes = Encode(spec, GaussianKv(spec, 5));
  const BlockView block = testing::Parse(bytes);
  std::vector<float> right(testing::ElementCount(spec)), wrong(testing::ElementCount(spec) - 1);
  ExpectInvalid(reference::DecodeBlock(block, wrong, right), "decoding needs");
  ExpectInvalid(reference::DecodeBlock(block, right, wrong), "decoding needs");
  EXPECT_EQ(reference::DecodeBlock(block, right, right), absl::OkStatus());
}

}  // namespace
}  // namespace polarkv
