// A warp's ring of tiles in shared memory, filled with asynchronous 16-byte copies.
//
// Every lane copies exactly the code vectors that it will read, to where it will read them (lane l at byte 16 l of each
// 512-byte vector): no bank conflict, no barrier between lanes. Only the head and the scales cross lanes.
#ifndef POLARKV_KERNELS_CUDA_TILE_RING_CUH_
#define POLARKV_KERNELS_CUDA_TILE_RING_CUH_

#include <cstdint>

#include "kernels/cuda/device_warp.cuh"
#include "kernels/cuda/tile_attention.h"

namespace polarkv::cuda {

// Bytes of a tile head and 64 + 64 scales, as they lie at the start of a base tile.
inline constexpr int kTilePrefixBytes = 192;
inline constexpr int kPrefixStride = 512;
inline constexpr int kVectorBytes = 512;  // 32 lanes x 16 bytes

// Where a tile lies in device memory: the base plane and K1, V1, K0, V0. Planes that are not read may be null.
struct TileAddress {
  const uint8_t* base;
  const uint8_t* refine[2][2];  // [key, value][plane 1, plane 0]
};

template <int kDim, int kKeyBits, int kValueBits>
struct TileStage {
  static constexpr int kGroups = kDim / 64;
  static constexpr int kKeyVectors = kGroups * kKeyBits;  // two of the base plane, one of each refinement plane
  static constexpr int kValueVectors = kGroups * kValueBits;
  static constexpr int kBytes = kPrefixStride + (kKeyVectors + kValueVectors) * kVectorBytes;

  static __device__ __forceinline__ void Copy(uint32_t shared, const uint8_t* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
  }

  // Starts the copies of one tile into `stage`, this warp's shared memory.
  static __device__ __forceinline__ void Fill(uint32_t stage, const TileAddress& tile, uint32_t lane) {
    if (lane < kTilePrefixBytes / 16) Copy(stage + 16 * lane, tile.base + 16 * lane);
    const uint32_t to = stage + kPrefixStride + 16 * lane;
    const uint32_t from = 16 * TileVector(lane);
    const uint8_t* const base = tile.base + kTilePrefixBytes + from;
    POLARKV_UNROLL
    for (int i = 0; i < 2 * kGroups; ++i) {
      Copy(to + i * kVectorBytes, base + i * kVectorBytes);
      Copy(to + (kKeyVectors + i) * kVectorBytes, base + (2 * kGroups + i) * kVectorBytes);
    }
    POLARKV_UNROLL
    for (int plane = 0; plane < 2; ++plane) {
      POLARKV_UNROLL
      for (int i = 0; i < kGroups; ++i) {
        if (kKeyBits > 2 + plane) {
          Copy(to + ((2 + plane) * kGroups + i) * kVectorBytes, tile.refine[0][plane] + from + i * kVectorBytes);
        }
        if (kValueBits > 2 + plane) {
          Copy(to + (kKeyVectors + (2 + plane) * kGroups + i) * kVectorBytes,
               tile.refine[1][plane] + from + i * kVectorBytes);
        }
      }
    }
  }
};

// The source of tile_attention.h over a filled stage.
template <int kDim, int kKeyBits, int kValueBits>
class StagedTile {
 public:
  using Stage = TileStage<kDim, kKeyBits, kValueBits>;
  __device__ __forceinline__ StagedTile(const uint8_t* stage, uint32_t lane)
      : vectors_(stage + kPrefixStride + 16 * lane), scales_(stage + 64 + SlotToken<DeviceWarp>(lane, 0)) {}

  __device__ __forceinline__ Words4<DeviceWarp> KeyBase(int group, int vector) const {
    return Load(2 * group + vector);
  }
  __device__ __forceinline__ Words4<DeviceWarp> KeyRefine(int plane, int group) const {
    return Load((3 - plane) * Stage::kGroups + group);
  }
  __device__ __forceinline__ Words4<DeviceWarp> ValueBase(int group, int vector) const {
    return Load(Stage::kKeyVectors + 2 * group + vector);
  }
  __device__ __forceinline__ Words4<DeviceWarp> ValueRefine(int plane, int group) const {
    return Load(Stage::kKeyVectors + (3 - plane) * Stage::kGroups + group);
  }
  __device__ __forceinline__ uint32_t KeyScales(int pair) const { return Codes(scales_ + 4 * pair); }
  __device__ __forceinline__ uint32_t ValueScales(int pair) const { return Codes(scales_ + 64 + 4 * pair); }

 private:
  static __device__ __forceinline__ uint32_t Codes(const uint8_t* at) { return *reinterpret_cast<const uint16_t*>(at); }
  __device__ __forceinline__ Words4<DeviceWarp> Load(int vector) const {
    const uint4 words = *reinterpret_cast<const uint4*>(vectors_ + vector * kVectorBytes);
    return {{words.x, words.y, words.z, words.w}};
  }
  const uint8_t* vectors_;
  const uint8_t* scales_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TILE_RING_CUH_
