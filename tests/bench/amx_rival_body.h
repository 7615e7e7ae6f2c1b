// The rival's body, over the type of the tile registers (kernels/cpu/amx_unit.h). For sources compiled with AVX-512 and BF16.
#ifndef POLARKV_TESTS_BENCH_AMX_RIVAL_BODY_H_
#define POLARKV_TESTS_BENCH_AMX_RIVAL_BODY_H_

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "kernels/cpu/amx_tile_config.h"
#include "tests/bench/amx_rival_attention.h"

namespace polarkv::bench {
namespace {

constexpr uint32_t kDim = 128, kTile = 64, kTileNumbers = kTile * kDim, kOperand = 512;

inline __m512 Exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(9.57010201e-3f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.59178603e-2f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.40247448e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.93121815e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.99999261e-1f));
  return _mm512_scalef_ps(y, whole);
}

struct alignas(64) RivalState {
  float scores[4][kAmxRivalRows][16];        // [16 tokens][row]
  uint16_t probabilities[kAmxRivalRows][kTile];  // bf16
  float outputs[kAmxRivalRows][kDim];
  float max[kAmxRivalRows], sum[kAmxRivalRows];
};

// Registers 0 to 3: sums; 4 and 5: operand B; 6 and 7: operand A.
inline cpu::AmxTileConfig RivalConfig(uint32_t rows) {
  cpu::AmxTileConfig config = {};
  for (uint32_t i = 0; i < 8; ++i) {
    config.rows[i] = static_cast<uint8_t>(i == 4 || i == 5 ? cpu::kAmxRows : rows);
    config.row_bytes[i] = cpu::kAmxRowBytes;
  }
  return config;
}

// Scores of 64 tokens.
template <class Unit>
inline void RivalScores(Unit& unit, const uint16_t* k, const uint16_t* q, RivalState& state) {
  unit.template Zero<0>();
  unit.template Zero<1>();
  unit.template Zero<2>();
  unit.template Zero<3>();
  for (uint32_t run = 0; run < 4; ++run, k += 4 * kOperand) {
    unit.template Load<6>(q + 32 * run, 2 * kDim);
    unit.template Load<4>(k, 64);
    unit.template DotBf16<0, 6, 4>();
    unit.template Load<5>(k + kOperand, 64);
    unit.template DotBf16<1, 6, 5>();
    unit.template Load<4>(k + 2 * kOperand, 64);
    unit.template DotBf16<2, 6, 4>();
    unit.template Load<5>(k + 3 * kOperand, 64);
    unit.template DotBf16<3, 6, 5>();
  }
  unit.template Store<0>(state.scores[0], 64);
  unit.template Store<1>(state.scores[1], 64);
  unit.template Store<2>(state.scores[2], 64);
  unit.template Store<3>(state.scores[3], 64);
}

// Sixteen dims of all outputs, of 64 tokens.
template <int kSum, class Unit>
[[gnu::always_inline]] inline void AddRun(Unit& unit, const uint16_t* v, float* outputs) {
  unit.template Load<kSum>(outputs, sizeof(float) * kDim);
  unit.template Load<4>(v, 64);
  unit.template DotBf16<kSum, 6, 4>();
  unit.template Load<5>(v + kOperand, 64);
  unit.template DotBf16<kSum, 7, 5>();
}

// The outputs are the sums' own memory: nothing is added by vectors.
template <class Unit>
inline void RivalValues(Unit& unit, const uint16_t* v, RivalState& state) {
  constexpr int64_t kStride = sizeof(float) * kDim;
  unit.template Load<6>(state.probabilities, 2 * kTile);
  unit.template Load<7>(&state.probabilities[0][kTile / 2], 2 * kTile);
  for (uint32_t run = 0; run < 8; run += 4, v += 8 * kOperand) {
    float* outputs = &state.outputs[0][16 * run];
    AddRun<0>(unit, v, outputs);
    AddRun<1>(unit, v + 2 * kOperand, outputs + 16);
    AddRun<2>(unit, v + 4 * kOperand, outputs + 32);
    AddRun<3>(unit, v + 6 * kOperand, outputs + 48);
    unit.template Store<0>(outputs, kStride);
    unit.template Store<1>(outputs + 16, kStride);
    unit.template Store<2>(outputs + 32, kStride);
    unit.template Store<3>(outputs + 48, kStride);
  }
}

// Scores of a row -> bf16 probabilities; what was summed so far shrinks when a larger score came.
inline void RivalSoftmax(uint32_t row, RivalState& state) {
  __m512 s[4];
  for (int i = 0; i < 4; ++i) s[i] = _mm512_load_ps(state.scores[i][row]);
  const float top = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_max_ps(s[2], s[3])));
  if (top > state.max[row]) {
    const float shrink = exp2f(state.max[row] - top);
    state.max[row] = top;
    state.sum[row] *= shrink;
    for (uint32_t i = 0; i < kDim; i += 16) {
      float* o = &state.outputs[row][i];
      _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), _mm512_set1_ps(shrink)));
    }
  }
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    s[i] = Exp2(_mm512_sub_ps(s[i], _mm512_set1_ps(state.max[row])));
    sum = _mm512_add_ps(sum, s[i]);
    const __m256i rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(s[i]));
    _mm256_store_si256(reinterpret_cast<__m256i*>(&state.probabilities[row][16 * i]), rounded);
  }
  state.sum[row] += _mm512_reduce_add_ps(sum);
}

// Lines [begin, end) of each of eight streams of the 32 KiB of a tile of keys and values.
inline void PrefetchLines(const uint16_t* k, const uint16_t* v, uint32_t begin, uint32_t end) {
  constexpr uint32_t kStreamBytes = kTileNumbers * 2 / 4;
  for (uint32_t i = 64 * begin; i < 64 * end; i += 64) {
    for (uint32_t stream = 0; stream < 4; ++stream) {
      _mm_prefetch(reinterpret_cast<const char*>(k) + stream * kStreamBytes + i, _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(v) + stream * kStreamBytes + i, _MM_HINT_T0);
    }
  }
}

template <class Unit>
void AttendOn(const uint16_t* k, const uint16_t* v, uint32_t tokens, const uint16_t* q, uint32_t rows, float* o, float* lse) {
  Unit unit;
  RivalState state;
  std::memset(&state, 0, sizeof state);
  for (float& each : state.max) each = -__builtin_inff();
  unit.Configure(RivalConfig(rows));
  RivalScores(unit, k, q, state);
  for (uint32_t token = 0; token < tokens; token += kTile, k += kTileNumbers, v += kTileNumbers) {
    const bool more = token + kTile < tokens;
    for (uint32_t row = 0; row < rows; ++row) {
      // Keys are needed a tile before values.
      if (token + 2 * kTile < tokens) PrefetchLines(k + 2 * kTileNumbers, v + kTileNumbers, 64 * row / rows, 64 * (row + 1) / rows);
      RivalSoftmax(row, state);
    }
    if (more) RivalScores(unit, k + kTileNumbers, q, state);
    RivalValues(unit, v, state);
  }
  unit.Release();
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t i = 0; i < kDim; ++i) o[row * kDim + i] = state.outputs[row][i] / state.sum[row];
    lse[row] = state.max[row] + log2f(state.sum[row]);
  }
}

}  // namespace
}  // namespace polarkv::bench

#endif  // POLARKV_TESTS_BENCH_AMX_RIVAL_BODY_H_
