// A tile in a warp's stage of shared memory: which lane copies what to where, and how it is read back.
//
// Every lane copies exactly the code vectors that it will read, to where it will read them (lane l at byte 16 l of each
// 512-byte vector): no bank conflict, no barrier between lanes. Only the head and the scales cross lanes.
#ifndef POLARKV_KERNELS_CUDA_TILE_STAGE_H_
#define POLARKV_KERNELS_CUDA_TILE_STAGE_H_

#include <cstdint>

#include "codec/block_format.h"
#include "kernels/cuda/tile_attention.h"

namespace polarkv::cuda {

// A tile head and 64 + 64 scales, as they lie at the start of a base tile.
inline constexpr uint32_t kTilePrefixBytes = 192;
inline constexpr uint32_t kPrefixStride = 256;
inline constexpr uint32_t kVectorBytes = 512;  // 32 lanes x 16 bytes

// Where a tile lies in device memory: the base plane and K1, K0, V1, V0. Planes that are not read may be null.
struct TileAddress {
  const uint8_t* base;
  const uint8_t* refine[2][2];  // [key, value][first, second refinement plane]
};

template <int kDim, int kKeyKind, int kValueKind>
struct TileStage {
  static constexpr uint32_t kGroups = kDim / 64;
  static constexpr uint32_t kKeyVectors = kGroups * BitsOfKind(kKeyKind);  // two of crumbs, one of each further bit
  static constexpr uint32_t kValueVectors = kGroups * BitsOfKind(kValueKind);
  static constexpr uint32_t kBytes = kPrefixStride + (kKeyVectors + kValueVectors) * kVectorBytes;

  // One lane's copies of one tile. copy(offset in the stage, from): 16 bytes.
  template <class Copy>
  POLARKV_WARP_FUNCTION static void Fill(const TileAddress& tile, uint32_t lane, const Copy& copy) {
    if (lane < kTilePrefixBytes / 16) copy(16 * lane, tile.base + 16 * lane);
    const uint32_t to = kPrefixStride + 16 * lane;
    const uint32_t from = 16 * TileVector(lane);
    FillSide<kKeyKind>(tile.base + kTilePrefixBytes + from, tile.refine[0], from, to, copy);
    FillSide<kValueKind>(tile.base + kTilePrefixBytes + kKeyPayload + from, tile.refine[1], from,
                         to + kKeyVectors * kVectorBytes, copy);
  }

 private:
  // A trellis code's third bit follows its crumbs in the base plane; those of turbo codes are planes of their own.
  static constexpr uint32_t kKeyPayload = kGroups * (kKeyKind == kTrellis3 ? 3 : 2) * kVectorBytes;

  template <int kKind, class Copy>
  POLARKV_WARP_FUNCTION static void FillSide(const uint8_t* payload, const uint8_t* const (&refine)[2], uint32_t from,
                                             uint32_t to, const Copy& copy) {
    POLARKV_UNROLL
    for (uint32_t i = 0; i < 2 * kGroups; ++i) copy(to + i * kVectorBytes, payload + i * kVectorBytes);
    POLARKV_UNROLL
    for (uint32_t plane = 0; plane + 2 < static_cast<uint32_t>(BitsOfKind(kKind)); ++plane) {
      const uint8_t* const bits =
          kKind == kTrellis3 ? payload + 2 * kGroups * kVectorBytes : refine[plane] + from;
      POLARKV_UNROLL
      for (uint32_t i = 0; i < kGroups; ++i) {
        copy(to + ((2 + plane) * kGroups + i) * kVectorBytes, bits + i * kVectorBytes);
      }
    }
  }
};

// The source of tile_attention.h over a filled stage.
template <class W, int kDim, int kKeyKind, int kValueKind>
class StagedTile {
 public:
  using U32 = typename W::U32;
  using Stage = TileStage<kDim, kKeyKind, kValueKind>;
  POLARKV_WARP_FUNCTION explicit StagedTile(const uint8_t* stage)
      : stage_(stage),
        key_scales_(W::LoadVector(stage, ScaleOffset(64))),
        value_scales_(W::LoadVector(stage, ScaleOffset(128))) {}

  POLARKV_WARP_FUNCTION const TileHead& Head() const { return *reinterpret_cast<const TileHead*>(stage_); }
  POLARKV_WARP_FUNCTION TileFacts<W> Facts(uint32_t tokens) const {
    const TileHead& head = Head();
    return {MakeScaleFacts<W>(head.k_exponent, head.k_shift), MakeScaleFacts<W>(head.v_exponent, head.v_shift), tokens,
            head.k_escapes | head.v_escapes};
  }
  POLARKV_WARP_FUNCTION Words4<W> KeyBase(int group, int vector) const {
    return Load(static_cast<uint32_t>(2 * group + vector));
  }
  POLARKV_WARP_FUNCTION Words4<W> KeyRefine(int plane, int group) const {
    return Load(static_cast<uint32_t>(3 - plane) * Stage::kGroups + static_cast<uint32_t>(group));
  }
  POLARKV_WARP_FUNCTION Words4<W> ValueBase(int group, int vector) const {
    return Load(Stage::kKeyVectors + static_cast<uint32_t>(2 * group + vector));
  }
  POLARKV_WARP_FUNCTION Words4<W> ValueRefine(int plane, int group) const {
    return Load(Stage::kKeyVectors + static_cast<uint32_t>(3 - plane) * Stage::kGroups + static_cast<uint32_t>(group));
  }
  POLARKV_WARP_FUNCTION U32 KeyScales(int pair) const { return TwoScales(key_scales_.w[pair]); }
  POLARKV_WARP_FUNCTION U32 ValueScales(int pair) const { return TwoScales(value_scales_.w[pair]); }

 private:
  // The 16 scales among which a lane's 8 slots are: slots 2i and 2i + 1 are in word i, in its half g % 2.
  POLARKV_WARP_FUNCTION static U32 ScaleOffset(uint32_t first) { return ((W::Lane() >> 3) << 4) + first; }
  POLARKV_WARP_FUNCTION static U32 TwoScales(U32 word) {
    return W::Permute(word, U32(0u), ((W::Lane() >> 2) & 1u) * 0x22u + 0x4410u);
  }
  POLARKV_WARP_FUNCTION Words4<W> Load(uint32_t vector) const {
    return W::LoadVector(stage_, (W::Lane() << 4) + (kPrefixStride + vector * kVectorBytes));
  }
  const uint8_t* stage_;
  Words4<W> key_scales_, value_scales_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TILE_STAGE_H_
