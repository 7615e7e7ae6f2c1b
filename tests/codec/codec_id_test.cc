#include "codec/codec_id.h"

#include <gtest/gtest.h>

namespace polarkv {
namespace {

TEST(CodecId, NamesAreReadBack) {
  for (const CodecId k : AllCodecs()) {
    EXPECT_TRUE(IsKnownCodec(static_cast<uint8_t>(k)));
    for (const CodecId v : AllCodecs()) {
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

TEST(CodecId, UnknownNamesAreRefusedWithTheListOfKnownOnes) {
  for (const char* text :
       {"", "turbo5", "TURBO4", "turbo4 ", "k=turbo4", "v=turbo4", "k=turbo4,v=", "k=turbo4,k=turbo4", "turbo4,turbo4",
        "k=turbo4,v=turbo4,k=turbo4", "k=turbo9,v=turbo4", "k=turbo4,v=turbo9"}) {
    const absl::Status status = ParseCodecPair(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_NE(std::string(status.message()).find("fp16, turbo2, turbo3, turbo4, polar44"), std::string::npos) << status;
  }
}

TEST(CodecId, OtherIdsAreUnknown) {
  int known = 0;
  for (int id = 0; id < 256; ++id) known += IsKnownCodec(static_cast<uint8_t>(id));
  EXPECT_EQ(known, 5);
  EXPECT_FALSE(IsKnownCodec(0));
}

}  // namespace
}  // namespace polarkv
