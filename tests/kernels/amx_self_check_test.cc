// The check that stands between a machine's tiles and a caller's results.
#include "kernels/cpu/amx_self_check.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/cpu/amx_attention.h"
#include "kernels/cpu/amx_support.h"
#include "kernels/cpu/instruction_set.h"
#include "tests/kernels/amx_instruction_emulator.h"

namespace polarkv::cpu {
namespace {

class AmxSelfCheck : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Supports(InstructionSet::kAvx512)) GTEST_SKIP() << "this machine has no AVX-512 with VNNI and VBMI";
  }
};

TEST_F(AmxSelfCheck, PassesWhatIsRight) { EXPECT_TRUE(PassesAmxSelfCheck(TurboAttendEmulatedAmx)); }

// One bit of one code of the last row's last tile.
void WithOneCodeWrong(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                      uint32_t rows, const TurboExtras* extras) {
  const uint32_t planes = (tiles.tokens + 63) / 64 * tiles.refine_stride;
  std::vector<uint8_t> plane(tiles.value_refine[1], tiles.value_refine[1] + planes);
  plane.back() ^= 0x80;
  TurboTiles wrong = tiles;
  wrong.value_refine[1] = plane.data();
  TurboAttendEmulatedAmx(reader, wrong, queries, states, rows, extras);
}

TEST_F(AmxSelfCheck, SeesOneBit) { EXPECT_FALSE(PassesAmxSelfCheck(WithOneCodeWrong)); }

TEST_F(AmxSelfCheck, PassesTheCompiledInstructions) {
#if defined(POLARKV_HAS_AMX_BODY) && defined(__linux__)
  if (WhyNoAmx().empty()) GTEST_SKIP() << "this machine has AMX: the check ran on it";
  const testing::AmxInstructionEmulator emulator;
  EXPECT_TRUE(PassesAmxSelfCheck(TurboAttendAmx));
  EXPECT_GT(emulator.count(), 0u);
#else
  GTEST_SKIP() << "built without AMX instructions, or not for Linux";
#endif
}

TEST_F(AmxSelfCheck, DecidesWhatIsSupported) {
  EXPECT_EQ(Supports(InstructionSet::kAmx), WhyNoAmx().empty());
  RecordProperty("why_no_amx", std::string(WhyNoAmx()));
}

}  // namespace
}  // namespace polarkv::cpu
