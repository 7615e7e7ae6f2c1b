// Every codec x head dim x RoPE pairing x token count that tests of whole blocks run over.
#ifndef POLARKV_TESTS_CODEC_CODEC_CASES_H_
#define POLARKV_TESTS_CODEC_CODEC_CASES_H_

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <vector>

#include "tests/codec/random_kv.h"

namespace polarkv::testing {

struct CodecCase {
  CodecPair codec;
  uint32_t head_dim;

  // One head, with every RoPE pairing and with token counts around a tile's end.
  std::vector<BlockSpec> Specs() const {
    std::vector<BlockSpec> specs;
    for (RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
      for (uint32_t tokens : {1u, 63u, 64u, 65u, 130u}) {
        specs.push_back(OneHead(codec, head_dim, tokens));
        if (pairing != RopePairing::kNone) specs.back().rope = {pairing, 10000.0f, static_cast<uint16_t>(head_dim)};
      }
    }
    return specs;
  }
};

inline std::string SpecText(const BlockSpec& spec) {
  return "pairing " + std::to_string(static_cast<int>(spec.rope.pairing)) + ", " + std::to_string(spec.tokens) +
         " tokens";
}

// Every codec, but of the polar ones, which differ in two numbers alone, the ends and the middle.
inline std::vector<CodecId> AllCodecsVector() {
  std::vector<CodecId> codecs;
  for (CodecId id : AllCodecs()) {
    const bool ordinary = IsPolarPair(id) && id != PolarCodec(1, 1) && id != PolarCodec(1, 7) &&
                          id != PolarCodec(7, 1) && id != PolarCodec(3, 5) && id != PolarCodec(2, 3) &&
                          id != CodecId::kPolar44;
    if (!ordinary) codecs.push_back(id);
  }
  return codecs;
}

// The codec for keys, and for values too unless it is for keys only.
inline CodecPair ForBothSides(CodecId id) { return {id, TraitsOf(id).keys_only ? CodecId::kTurbo2 : id}; }

inline std::vector<CodecCase> AllCodecCases() {
  std::vector<CodecPair> codecs;
  for (CodecId id : AllCodecsVector()) codecs.push_back(ForBothSides(id));
  codecs.push_back({CodecId::kPolar44, CodecId::kTurbo4});
  codecs.push_back({CodecId::kTurbo3, CodecId::kFp16});
  std::vector<CodecCase> cases;
  for (CodecPair codec : codecs) {
    // Deep codes take long to write.
    const bool deep = TraitsOf(codec.k).kind == CodecKind::kDeep || codec.k == CodecId::kBand2_5;
    for (uint32_t head_dim : kHeadDims) {
      if (!deep || head_dim == 64 || (head_dim == 80 && codec.k == CodecId::kDeep2_5))
        cases.push_back({codec, head_dim});
    }
  }
  return cases;
}

inline std::string AlphaNumeric(std::string text) {
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return text;
}

inline std::string CodecCaseName(const ::testing::TestParamInfo<CodecCase>& info) {
  return AlphaNumeric(CodecPairName(info.param.codec)) + "_d" + std::to_string(info.param.head_dim);
}

inline std::string CodecParamName(const ::testing::TestParamInfo<CodecId>& info) {
  return AlphaNumeric(std::string(CodecName(info.param)));
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_CODEC_CASES_H_
