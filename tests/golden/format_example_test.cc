// Replays the worked example at the end of codec/FORMAT.md: its hexdump is what encoding its input gives.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "codec/reference_codec.h"
#include "tests/codec/profile_samples.h"

namespace polarkv {
namespace {

// The text between a line `fence` and "```", and the prose after it.
struct Example {
  std::vector<uint8_t> bytes;
  std::string prose;
};

// Lines of an offset and up to sixteen bytes; '*' repeats the line before it up to the next offset.
Example ReadExample(const std::string& fence = "```hexdump") {
  std::ifstream in(POLARKV_SOURCE_DIR "/codec/FORMAT.md");
  Example example;
  bool inside = false, after = false;
  for (std::string line; std::getline(in, line);) {
    if (line == fence) {
      inside = true;
    } else if (inside && line == "```") {
      inside = false;
      after = true;
    } else if (inside && line != "*") {
      std::istringstream fields(line);
      size_t offset = 0;
      fields >> std::hex >> offset;
      const size_t last_line = example.bytes.size() < 16 ? 0 : example.bytes.size() - 16;
      while (example.bytes.size() < offset)
        example.bytes.push_back(example.bytes[last_line + example.bytes.size() % 16]);
      for (unsigned byte = 0; fields >> std::hex >> byte;) example.bytes.push_back(static_cast<uint8_t>(byte));
    } else if (after) {
      example.prose += line + "\n";
    }
  }
  return example;
}

struct Input {
  std::array<float, 64> k, v;
};

// As the document says: K is x[j] = j - 31.5, V is x[j] = j % 5 - 2.
Input ExampleInput() {
  Input input;
  for (int j = 0; j < 64; ++j) {
    input.k[static_cast<size_t>(j)] = static_cast<float>(j) - 31.5f;
    input.v[static_cast<size_t>(j)] = static_cast<float>(j % 5 - 2);
  }
  return input;
}

TEST(FormatExample, IsWhatEncodingItsInputGives) {
  const Input input = ExampleInput();
  BlockSpec spec;
  spec.layers = 1;
  spec.kv_heads = 1;
  spec.head_dim = 64;
  spec.tokens = 1;
  spec.codec = {CodecId::kTurbo2, CodecId::kTurbo2};
  spec.source_dtype = Dtype::kF32;
  const std::vector<uint8_t> bytes =
      reference::EncodeBlock(spec, TensorView::Contiguous(input.k.data(), Dtype::kF32, {1, 1, 1, 64}),
                             TensorView::Contiguous(input.v.data(), Dtype::kF32, {1, 1, 1, 64}),
                             {KeyMeanPolicy::kNever, 0, false})
          .value();
  EXPECT_EQ(ReadExample().bytes, bytes);
}

std::string ThreeNumbers(const std::array<float, 64>& x) {
  char text[64];
  std::snprintf(text, sizeof text, "%.9g, %.9g, %.9g", x[0], x[1], x[2]);
  return text;
}

TEST(FormatExample, TheProfileIsWhatItsNumbersGive) {
  const Example example = ReadExample("```hexdump profile");
  const KeyMeanProfilePtr profile = testing::SampleProfile();
  EXPECT_TRUE(std::ranges::equal(example.bytes, profile->bytes()));
  std::ifstream in(POLARKV_SOURCE_DIR "/codec/FORMAT.md");
  const std::string document{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  EXPECT_NE(document.find("its digest is\n" + ProfileDigestText(profile->digest())), std::string::npos);
}

TEST(FormatExample, DecodesToTheNumbersInTheText) {
  const Example example = ReadExample();
  const absl::StatusOr<BlockView> view = BlockView::Parse(example.bytes, VerifyPayload::kYes);
  ASSERT_TRUE(view.ok()) << view.status();
  Input decoded;
  ASSERT_TRUE(reference::DecodeBlock(*view, decoded.k, decoded.v).ok());
  EXPECT_NE(example.prose.find(ThreeNumbers(decoded.k)), std::string::npos) << ThreeNumbers(decoded.k);
  EXPECT_NE(example.prose.find(ThreeNumbers(decoded.v)), std::string::npos) << ThreeNumbers(decoded.v);
}

}  // namespace
}  // namespace polarkv
