#include "kernels/cpu/amx_emulated_unit.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace polarkv::cpu {
namespace {

[[noreturn]] void Fault() { __builtin_trap(); }

float FlushSubnormal(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

float Bf16At(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, sizeof half);
  return FlushSubnormal(std::bit_cast<float>(uint32_t{half} << 16));
}

}  // namespace

EmulatedAmxUnit::EmulatedAmxUnit() = default;

void EmulatedAmxUnit::Configure(const AmxTileConfig& config) {
  Release();
  if (config.palette == 0) return;
  if (config.palette != 1 || config.start_row >= kAmxRows) Fault();
  for (uint8_t byte : config.reserved) {
    if (byte != 0) Fault();
  }
  for (uint32_t i = 0; i < 16; ++i) {
    const uint32_t rows = config.rows[i], row_bytes = config.row_bytes[i];
    if (rows > kAmxRows || row_bytes > kAmxRowBytes || (rows == 0) != (row_bytes == 0)) Fault();
    if (i >= kAmxRegisters) {
      if (rows != 0) Fault();
      continue;
    }
    register_[i].rows = rows;
    register_[i].row_bytes = row_bytes;
  }
  // A body that starts anywhere but at the first row does not mean what it says.
  if (config.start_row != 0) Fault();
  configured_ = true;
}

void EmulatedAmxUnit::Release() {
  configured_ = false;
  for (Register& each : register_) each = Register();
}

const EmulatedAmxUnit::Register& EmulatedAmxUnit::Usable(uint32_t number) const {
  if (!configured_ || number >= kAmxRegisters || register_[number].rows == 0) Fault();
  if (register_[number].row_bytes % 4 != 0) Fault();
  return register_[number];
}

void EmulatedAmxUnit::Load(uint32_t to, const void* rows, int64_t stride) {
  Zero(to);
  Register& out = register_[to];
  for (uint32_t row = 0; row < out.rows; ++row) {
    std::memcpy(out.byte[row], static_cast<const uint8_t*>(rows) + row * stride, out.row_bytes);
  }
}

void EmulatedAmxUnit::Store(uint32_t from, void* rows, int64_t stride) const {
  const Register& in = Usable(from);
  for (uint32_t row = 0; row < in.rows; ++row) {
    std::memcpy(static_cast<uint8_t*>(rows) + row * stride, in.byte[row], in.row_bytes);
  }
}

void EmulatedAmxUnit::Zero(uint32_t to) {
  Usable(to);
  std::memset(register_[to].byte, 0, sizeof register_[to].byte);
}

void EmulatedAmxUnit::CheckDot(uint32_t sum, uint32_t a, uint32_t b) const {
  const Register &s = Usable(sum), &x = Usable(a), &y = Usable(b);
  if (sum == a || sum == b || a == b) Fault();
  if (s.rows != x.rows || s.row_bytes != y.row_bytes || x.row_bytes / 4 != y.rows) Fault();
}

template <typename Product>
void EmulatedAmxUnit::DotBytes(uint32_t sum, uint32_t a, uint32_t b, Product product) {
  CheckDot(sum, a, b);
  Register& out = register_[sum];
  for (uint32_t m = 0; m < out.rows; ++m) {
    for (uint32_t n = 0; n < out.row_bytes / 4; ++n) {
      uint32_t total;  // wraps around, as the instruction's does
      std::memcpy(&total, &out.byte[m][4 * n], sizeof total);
      for (uint32_t k = 0; k < register_[a].row_bytes; ++k) {
        total += static_cast<uint32_t>(product(register_[a].byte[m][k], register_[b].byte[k / 4][4 * n + k % 4]));
      }
      std::memcpy(&out.byte[m][4 * n], &total, sizeof total);
    }
  }
}

void EmulatedAmxUnit::DotS8S8(uint32_t sum, uint32_t a, uint32_t b) {
  DotBytes(sum, a, b, [](uint8_t x, uint8_t y) { return int32_t{static_cast<int8_t>(x)} * static_cast<int8_t>(y); });
}

void EmulatedAmxUnit::DotU8S8(uint32_t sum, uint32_t a, uint32_t b) {
  DotBytes(sum, a, b, [](uint8_t x, uint8_t y) { return int32_t{x} * static_cast<int8_t>(y); });
}

void EmulatedAmxUnit::DotBf16(uint32_t sum, uint32_t a, uint32_t b) {
  CheckDot(sum, a, b);
  Register& out = register_[sum];
  for (uint32_t m = 0; m < out.rows; ++m) {
    for (uint32_t n = 0; n < out.row_bytes / 4; ++n) {
      float half[2] = {0, 0};  // even and odd numbers of the pairs are summed apart
      for (uint32_t k = 0; k < register_[a].row_bytes / 4; ++k) {
        for (uint32_t i = 0; i < 2; ++i) {
          const float x = Bf16At(&register_[a].byte[m][4 * k + 2 * i]);
          const float y = Bf16At(&register_[b].byte[k][4 * n + 2 * i]);
          half[i] = FlushSubnormal(std::fma(x, y, half[i]));
        }
      }
      float total;
      std::memcpy(&total, &out.byte[m][4 * n], sizeof total);
      total = FlushSubnormal(FlushSubnormal(total) + FlushSubnormal(half[0] + half[1]));
      std::memcpy(&out.byte[m][4 * n], &total, sizeof total);
    }
  }
}

}  // namespace polarkv::cpu
