// A tile in a warp's stage of shared memory: which lane copies what to where, and how it is read back.
//
// Every lane copies exactly the code vectors that it will read, to where it will read them (lane l at byte 16 l of each
// 512-byte vector): no bank conflict, no barrier between lanes. Only the head and the scales cross lanes.
#ifndef POLARKV_KERNELS_CUDA_TILE_STAGE_H_
#define POLARKV_KERNELS_CUDA_TILE_STAGE_H_

#include <cstdint>

#include "codec/block_format.h"
#include "kernels/cuda/polar_keys.h"
#include "kernels/cuda/sign_keys.h"
#include "kernels/cuda/tile_attention.h"

namespace polarkv::cuda {

// A tile head and 64 + 64 scales, as they lie at the start of a base tile; a stage without values has no scales of theirs.
inline constexpr uint32_t kTilePrefixBytes = 192;
inline constexpr uint32_t kPrefixStride = 256;
inline constexpr uint32_t kVectorBytes = 512;  // 32 lanes x 16 bytes

// Where a tile lies in device memory: head and scales, the payloads, and K1, K0, V1, V0. Planes that are not read may be null.
struct TileAddress {
  const uint8_t* base;
  const uint8_t* payload[2];    // [key, value]
  const uint8_t* refine[2][2];  // [key, value][first, second refinement plane]
  int key_kind, value_kind;     // what the codes are where the stage's type does not say
};

template <int kDim, int kKeyKind, int kValueKind>
struct TileStage {
  static constexpr uint32_t kGroups = kDim / 64;
  static constexpr uint32_t kKeyVectors = kGroups * BitsOfKind(kKeyKind);  // two of crumbs, one of each further bit
  static constexpr uint32_t kValueVectors = kGroups * BitsOfKind(kValueKind);
  static constexpr uint32_t kKeyBytes =
      kKeyKind == kPolar44 ? kDim * PayloadBytesPerDim(kPolar44) : kKeyVectors * kVectorBytes;
  static constexpr uint32_t kBytes = kPrefixStride + kKeyBytes + kValueVectors * kVectorBytes;

  // One lane's copies of one tile. copy(condition, offset in the stage, from): 16 bytes, nothing unless the condition holds.
  template <class Copy>
  POLARKV_WARP_FUNCTION static void Fill(const TileAddress& tile, uint32_t lane, const Copy& copy) {
    constexpr uint32_t kPrefix =
        kTilePrefixBytes - (kValueKind == kNoCodes ? kTileTokens : 0) - (HasKeyScales(kKeyKind) ? 0 : kTileTokens);
    // The place of keys' scales stays empty where there are none.
    const uint32_t gap = !HasKeyScales(kKeyKind) && lane >= 4 ? kTileTokens : 0;
    copy(lane < kPrefix / 16, 16 * lane + gap, tile.base + 16 * lane);
    const uint32_t to = kPrefixStride + 16 * lane;
    const uint32_t from = 16 * TileVector(lane);
    if constexpr (kKeyKind == kPolar44) {
      FillPolarKeys<kDim>(tile.payload[0], lane, kPrefixStride, copy);
    } else {
      FillSide<kKeyKind>(tile.key_kind, tile.payload[0] + from, tile.refine[0], from, to, copy);
    }
    FillSide<kValueKind>(tile.value_kind, tile.payload[1] + from, tile.refine[1], from, to + kKeyBytes, copy);
  }

 private:
  // Vectors of the payload, then those of refinement planes. A trellis code's third bit follows its crumbs in the payload;
  // those of turbo codes are planes of their own.
  template <int kKind, class Copy>
  POLARKV_WARP_FUNCTION static void FillSide(int kind, const uint8_t* payload, const uint8_t* const (&refine)[2],
                                             uint32_t from, uint32_t to, const Copy& copy) {
    const int known_kind = kKind == kAnyCodes || IsSignKind(kKind) ? kind : kKind;
    POLARKV_UNROLL
    for (int plane = 0; plane < BitsOfKind(kKind); ++plane) {
      const uint8_t* bytes = payload + plane * kGroups * kVectorBytes;
      if (plane >= 2 && HasRefinement(known_kind)) bytes = refine[plane - 2] + from;
      POLARKV_UNROLL
      for (uint32_t i = 0; i < kGroups; ++i) {
        copy(plane < BitsOfKind(known_kind), to + (static_cast<uint32_t>(plane) * kGroups + i) * kVectorBytes,
             bytes + i * kVectorBytes);
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
    ScaleFacts<W> key = MakeScaleFacts<W>(head.k_exponent, head.k_shift);
    if constexpr (!HasKeyScales(kKeyKind)) key = MakeExponentFacts<W>(head.k_exponent);
    return {key, MakeScaleFacts<W>(head.v_exponent, head.v_shift), tokens,
            head.k_escapes | head.v_escapes};
  }
  POLARKV_WARP_FUNCTION Words4<W> KeyBase(int group, int vector) const {
    return Load(static_cast<uint32_t>(2 * group + vector));
  }
  POLARKV_WARP_FUNCTION Words4<W> KeyRefine(int plane, int group) const {
    return Load(static_cast<uint32_t>(3 - plane) * Stage::kGroups + static_cast<uint32_t>(group));
  }
  POLARKV_WARP_FUNCTION Words4<W> ValueBase(int group, int vector) const {
    return ValueVector(2 * group + vector);
  }
  POLARKV_WARP_FUNCTION Words4<W> ValueRefine(int plane, int group) const {
    return ValueVector((3 - plane) * static_cast<int>(Stage::kGroups) + group);
  }
  // Vector number `index` of a side as the stage has them.
  POLARKV_WARP_FUNCTION Words4<W> KeyVector(int index) const { return Load(static_cast<uint32_t>(index)); }
  POLARKV_WARP_FUNCTION Words4<W> ValueVector(int index) const {
    return W::LoadVector(stage_, (W::Lane() << 4) + (kPrefixStride + Stage::kKeyBytes +
                                                     static_cast<uint32_t>(index) * kVectorBytes));
  }
  // Polar keys as FillPolarKeys left them.
  POLARKV_WARP_FUNCTION const uint8_t* PolarKeys() const { return stage_ + kPrefixStride; }
  POLARKV_WARP_FUNCTION U32 KeyScales(int pair) const {
    return HasKeyScales(kKeyKind) ? TwoScales(key_scales_.w[pair]) : U32(0xFFFFu);
  }
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
