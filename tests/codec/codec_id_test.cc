#include "codec/codec_id.h"

#include <gtest/gtest.h>

#include <string>

namespace polarkv {
namespace {

TEST(CodecId, NamesAreReadBack) {
  for (const CodecId k : AllCodecs()) {
    EXPECT_TRUE(IsKnownCodec(static_cast<uint8_t>(k)));
    for (const CodecId v : AllCodecs()) {
      if (TraitsOf(v).keys_only) continue;
      const CodecPair pair = {k, v};
      EXPECT_EQ(ParseCodecPair(CodecPairName(pair)).value(), pair) << CodecPairName(pair);
    }
  }
  EXPECT_EQ(CodecPairName({CodecId::kTurbo4, CodecId::kTurbo4}), "turbo4");
  EXPECT_EQ(CodecPairName({CodecId::kPolar44, CodecId::kTurbo4}), "k=polar44,v=turbo4");
}

TEST(CodecId, EitherOrderOfAPairIsRead) {
  EXPECT_EQ(ParseCodecPair("v=turbo4,k=polar44").value(), (CodecPair{CodecId::kPolar44, CodecId::kTurbo4}));
}

TEST(CodecId, NamesFollowThePattern) {
  EXPECT_EQ(CodecName(CodecId::kDeep1_5), "deep1.5");
  EXPECT_EQ(CodecName(CodecId::kPolarRecursive), "polarR");
  EXPECT_EQ(CodecName(CodecId::kTurbo3Qjl), "turbo3q");
  EXPECT_EQ(CodecName(CodecId::kPolar44), "polar44");
  EXPECT_EQ(PolarCodec(4, 4), CodecId::kPolar44);
  for (uint32_t radius = 1; radius <= 7; ++radius) {
    for (uint32_t angle = 1; radius + angle <= 8; ++angle) {
      const CodecId codec = PolarCodec(radius, angle);
      EXPECT_TRUE(IsPolarPair(codec));
      EXPECT_EQ(CodecName(codec), "polar" + std::to_string(radius) + std::to_string(angle));
      EXPECT_EQ(PolarRadiusBits(codec), radius);
      EXPECT_EQ(PolarAngleBits(codec), angle);
    }
  }
  EXPECT_FALSE(IsKnownCodec(static_cast<uint8_t>(PolarCodec(4, 5))));
  EXPECT_FALSE(IsKnownCodec(static_cast<uint8_t>(PolarCodec(3, 0))));
}

TEST(CodecId, AliasesStandForPairs) {
  EXPECT_EQ(CodecPairName(ParseCodecPair("default").value()), "turbo4");
  EXPECT_EQ(CodecPairName(ParseCodecPair("compact").value()), "trellis3");
  EXPECT_EQ(CodecPairName(ParseCodecPair("small").value()), "k=trellis3,v=trellis2");
  EXPECT_EQ(CodecPairName(ParseCodecPair("tiny").value()), "k=trellis2,v=trellis1");
  EXPECT_EQ(CodecPairName(ParseCodecPair("archive").value()), "k=deep3,v=deep2");
  EXPECT_EQ(ParseCodecPair("default").value(), CodecPair{});
}

TEST(CodecId, CodecsForKeysOnlyAreRefusedForValuesByName) {
  EXPECT_EQ(ParseCodecPair("k=qjl2,v=turbo2").value(), (CodecPair{CodecId::kQjl2, CodecId::kTurbo2}));
  for (const char* text : {"qjl2", "k=turbo4,v=qjl2", "v=qjl2,k=qjl2"}) {
    const absl::Status status = ParseCodecPair(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_NE(status.message().find("codec qjl2 is for keys only"), absl::string_view::npos) << status;
  }
}

TEST(CodecId, TraitsAreInTheOrderOfTheIds) {
  ASSERT_EQ(AllCodecTraits().size(), AllCodecs().size());
  for (size_t i = 0; i < AllCodecs().size(); ++i) {
    EXPECT_EQ(AllCodecTraits()[i].id, AllCodecs()[i]);
    EXPECT_EQ(&TraitsOf(AllCodecs()[i]), &AllCodecTraits()[i]);
  }
}

TEST(CodecId, UnknownNamesAreRefusedWithTheListOfKnownOnes) {
  for (const char* text :
       {"", "turbo6", "polar45", "polar40", "Default", "TURBO4", "turbo4 ", "k=turbo4", "v=turbo4", "k=turbo4,v=", "k=turbo4,k=turbo4", "turbo4,turbo4",
        "k=turbo4,v=turbo4,k=turbo4", "k=turbo9,v=turbo4", "k=turbo4,v=turbo9"}) {
    const absl::Status status = ParseCodecPair(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_NE(std::string(status.message()).find("fp16, turbo2, turbo3, turbo4, turbo1, turbo5, trellis1"), std::string::npos) << status;
  }
}

TEST(CodecId, OtherIdsAreUnknown) {
  int known = 0;
  for (int id = 0; id < 256; ++id) known += IsKnownCodec(static_cast<uint8_t>(id));
  EXPECT_EQ(known, 28 + 28);
  EXPECT_FALSE(IsKnownCodec(0));
}

}  // namespace
}  // namespace polarkv
