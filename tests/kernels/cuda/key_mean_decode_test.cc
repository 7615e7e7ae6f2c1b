// Blocks with key means, decoded on emulated lanes: the reference's floats, bit by bit.
#include "tests/kernels/cuda/host_decode.h"

namespace polarkv::cuda {
namespace {

void Check(const DecodeCase& c, uint32_t seed) { ExpectReferenceRows<HostDecoder>(c, seed); }

TEST(CudaKeyMeanDecodeTest, BiasesInBlocksAndInAProfile) {
  for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kProfile}) {
    for (const double norm : {0.0, 20.0, 120.0, 600.0}) {
      for (const bool all_pairs : {true, false}) {
        SCOPED_TRACE(norm);
        Check({.of = {.shape = {2, 2, 130, 64}, .first_position = 0},
               .means = {.in = in, .norm = norm, .all_pairs = all_pairs, .on_every_token = false}},
              1);
      }
    }
  }
}

TEST(CudaKeyMeanDecodeTest, HeadDimsPairingsAndPartialRope) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const uint32_t dims : {dim, dim / 2, dim / 4 + 6, 2u, 0u}) {
      for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
        if (dims == 0 && pairing == RopePairing::kInterleaved) continue;
        SCOPED_TRACE(dim * 1000 + dims);
        const Rope rope = dims == 0 ? Rope{} : Rope{pairing, 500000.0f, static_cast<uint16_t>(dims)};
        Check({.of = {.shape = {1, 1, 70, dim}, .first_position = 131010},
               .means = {.in = MeansIn::kProfile, .norm = 120, .rope = rope, .first_position = 131010}},
              dims);
      }
    }
  }
}

// The lower half of the position overflows in the middle of a quarter.
TEST(CudaKeyMeanDecodeTest, FarPositions) {
  for (const uint64_t position : {(uint64_t{1} << 32) - 40, (uint64_t{1} << 40) + 12345, (uint64_t{1} << 53) - 200}) {
    for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
      SCOPED_TRACE(position);
      Check({.of = {.shape = {1, 1, 128, 64}, .first_position = position},
             .means = {.in = MeansIn::kBlocks, .norm = 20, .rope = {pairing, 10000.0f, 64}}},
            3);
    }
  }
}

// Records of any exponent and numbers of any size, infinite sums among them.
TEST(CudaKeyMeanDecodeTest, AnyMeans) {
  const FillNumber wild = [](uint32_t token, uint32_t, float x) {
    return std::clamp(x, -3.0f, 3.0f) * (token % 3 == 0 ? 1e38f : token % 3 == 1 ? 1e-40f : 1.0f);
  };
  for (uint32_t seed = 0; seed < 24; ++seed) {
    SCOPED_TRACE(seed);
    const Rope rope{seed % 2 == 0 ? RopePairing::kHalf : RopePairing::kInterleaved, 10000.0f,
                    static_cast<uint16_t>(seed % 3 == 0 ? 64 : 32)};
    Check({.of = {.shape = {1, 4, 70, 64}, .first_position = seed, .k = seed % 4 < 2 ? FillNumber(Plain) : wild},
           .means = {.in = MeansIn::kBlocks, .rope = rope},
           .any_means = true},
          seed);
  }
}

TEST(CudaKeyMeanDecodeTest, TypesOfRowsAndPlanesThatWereNotFetched) {
  const KeyMeanShape means{.in = MeansIn::kBlocks, .norm = 120, .rope = {RopePairing::kHalf, 10000.0f, 128}};
  for (const ElementType type : {ElementType::kF16, ElementType::kBF16, ElementType::kF32}) {
    Check({.of = {.shape = {2, 2, 100, 128}, .layout = RowLayout::kNhdPages}, .type = type, .means = means}, 5);
  }
  Check({.of = {.shape = {2, 2, 100, 128}}, .planes = PlaneBit(PlaneKind::kBase), .means = means}, 6);
  for (const CodecId codec : {CodecId::kTrellis1, CodecId::kTrellis3}) {
    Check({.of = {.shape = {1, 2, 100, 128}, .codec = {codec, codec}}, .means = means}, 7);
  }
}

}  // namespace
}  // namespace polarkv::cuda
