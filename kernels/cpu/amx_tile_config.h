// Shapes of AMX tile registers: the operand of LDTILECFG for palette 1, eight registers of up to 16 rows x 64 bytes.
#ifndef POLARKV_KERNELS_CPU_AMX_TILE_CONFIG_H_
#define POLARKV_KERNELS_CPU_AMX_TILE_CONFIG_H_

#include <cstdint>

namespace polarkv::cpu {

inline constexpr uint32_t kAmxRegisters = 8;
inline constexpr uint32_t kAmxRows = 16;
inline constexpr uint32_t kAmxRowBytes = 64;

struct alignas(64) AmxTileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;  // where an interrupted load or store goes on
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};  // of registers 0 to 7; the others' are zero
  uint8_t rows[16] = {};
};
static_assert(sizeof(AmxTileConfig) == 64);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_TILE_CONFIG_H_
