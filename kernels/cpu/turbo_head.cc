#include "kernels/cpu/turbo_head.h"

#include <algorithm>
#include <cmath>

#include "codec/rotation.h"
#include "codec/turbo_codebook.h"

namespace polarkv::cpu {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;
constexpr float kQueryMax = 127.0f;

// Bits of a code that the planes held let a reader see.
uint32_t BitsHeld(CodecId codec, PlaneMask planes, PlaneKind first, PlaneKind second) {
  uint32_t bits = 2;
  if (TurboBits(codec) >= 3 && (planes & PlaneBit(first)) != 0) {
    bits = 3;
    if (TurboBits(codec) == 4 && (planes & PlaneBit(second)) != 0) bits = 4;
  }
  return bits;
}

TurboReader MakeReader(const BlockView& block) {
  const CodecPair codec = block.spec().codec;
  TurboReader reader;
  reader.key_bits = BitsHeld(codec.k, block.planes(), PlaneKind::kKeyRefine1, PlaneKind::kKeyRefine0);
  reader.value_bits = BitsHeld(codec.v, block.planes(), PlaneKind::kValueRefine1, PlaneKind::kValueRefine0);
  reader.key_table = MakeTurboTable(TurboCodebookFor(codec.k, reader.key_bits), 128);
  reader.value_table = MakeTurboTable(TurboCodebookFor(codec.v, reader.value_bits), 0);
  return reader;
}

TurboTiles MakeTiles(const BlockView& block, uint32_t layer, uint32_t kv_head) {
  const BlockLayout& layout = block.layout();
  const auto first_tile = [&](PlaneKind kind) {
    const auto tile = block.Tile(layer, kind, kv_head, 0);
    return tile.empty() ? nullptr : tile.data();
  };
  TurboTiles tiles;
  tiles.base = first_tile(PlaneKind::kBase);
  tiles.key_refine[0] = first_tile(PlaneKind::kKeyRefine1);
  tiles.key_refine[1] = first_tile(PlaneKind::kKeyRefine0);
  tiles.value_refine[0] = first_tile(PlaneKind::kValueRefine1);
  tiles.value_refine[1] = first_tile(PlaneKind::kValueRefine0);
  tiles.base_stride = layout.base_tile().bytes;
  tiles.refine_stride = 8 * block.spec().head_dim;
  tiles.key_scales = layout.base_tile().k_scales;
  tiles.value_scales = layout.base_tile().v_scales;
  tiles.key_crumbs = layout.base_tile().k_payload;
  tiles.value_crumbs = layout.base_tile().v_payload;
  tiles.head_dim = block.spec().head_dim;
  tiles.tokens = block.spec().tokens;
  return tiles;
}

}  // namespace

bool HasTurboBody(const BlockView& block, InstructionSet set) {
  const BlockSpec& spec = block.spec();
  return set == InstructionSet::kAvx512 && IsTurbo(spec.codec.k) && IsTurbo(spec.codec.v) && spec.head_dim % 64 == 0;
}

TurboHead::TurboHead(uint32_t head_dim, uint64_t rotation_seed, uint32_t rows)
    : head_dim_(head_dim),
      rows_(rows),
      words_(size_t{rows} * head_dim / 4),
      outputs_(size_t{rows} * head_dim),
      queries_(rows),
      states_(rows) {
  const auto signs = RotationSigns(rotation_seed);
  signs_.assign(signs.begin(), signs.begin() + head_dim);
  for (uint32_t row = 0; row < rows; ++row) {
    queries_[row].words = words_.data() + size_t{row} * head_dim / 4;
    states_[row].output = outputs_.data() + size_t{row} * head_dim;
  }
}

void TurboHead::PackQueries(const float* q, float scale) {
  float rotated[kMaxHeadDim];
  for (uint32_t row = 0; row < rows_; ++row, q += head_dim_) {
    float largest_input = 0;
    for (uint32_t i = 0; i < head_dim_; ++i) largest_input = std::max(largest_input, std::fabs(q[i]));
    // Rotating at a magnitude near one keeps huge and tiny queries inside fp32.
    const int exponent = largest_input > 0 ? std::ilogb(largest_input) : 0;
    for (uint32_t i = 0; i < head_dim_; ++i) rotated[i] = signs_[i] * std::ldexp(q[i], -exponent);
    HadamardBlocks(rotated, head_dim_, RotationBlock(head_dim_), 1);
    float largest = 0;
    for (uint32_t i = 0; i < head_dim_; ++i) largest = std::max(largest, std::fabs(rotated[i]));
    // Bodies want logits that ascend with scores: a negative scale negates the query instead.
    const float to_int = largest > 0 ? std::copysign(kQueryMax / largest, scale) : 0;
    TurboQuery& query = queries_[row];
    query.sum = 0;
    query.scale = std::ldexp(largest / kQueryMax * RotationScale(head_dim_) * std::fabs(scale) * kLog2E, exponent);
    int32_t* words = words_.data() + size_t{row} * head_dim_ / 4;
    for (uint32_t word = 0; word < head_dim_ / 4; ++word) {
      const uint32_t first = word / 4 * 16 + kDwordFirstCode[word / 2 % 2][word % 2];
      uint32_t packed = 0;
      for (uint32_t byte = 0; byte < 4; ++byte) {
        const auto rounded = static_cast<int32_t>(std::lrint(rotated[first - 4 * byte] * to_int));
        query.sum += rounded;
        packed |= static_cast<uint32_t>(rounded & 0xFF) << 8 * byte;
      }
      words[word] = static_cast<int32_t>(packed);
    }
  }
}

void TurboHead::Finish(float* o, float* lse) {
  const float unit = RotationScale(head_dim_);
  for (uint32_t row = 0; row < rows_; ++row, o += head_dim_) {
    TurboRowState& state = states_[row];
    if (state.sum == 0) {
      std::fill_n(o, head_dim_, 0.0f);
      lse[row] = -INFINITY;
      continue;
    }
    HadamardBlocks(state.output, head_dim_, RotationBlock(head_dim_), 1);
    for (uint32_t i = 0; i < head_dim_; ++i) o[i] = signs_[i] * (state.output[i] * (unit / state.sum));
    lse[row] = (state.max + std::log2(state.sum)) * kLn2;
  }
}

void TurboHead::Attend(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t kv_head, const float* q,
                       float scale, float* o, float* lse) {
  PackQueries(q, scale);
  std::fill(outputs_.begin(), outputs_.end(), 0.0f);
  for (TurboRowState& state : states_) state.max = state.sum = 0;
  TurboReader reader;
  const BlockView* same = nullptr;  // the block that the reader was made for
  for (const BlockView* block : blocks) {
    if (same == nullptr || block->spec().codec != same->spec().codec || block->planes() != same->planes()) {
      reader = MakeReader(*block);
      same = block;
    }
#if defined(__x86_64__)
    TurboAttendAvx512(reader, MakeTiles(*block, layer, kv_head), queries_.data(), states_.data(), rows_);
#endif
  }
  Finish(o, lse);
}

}  // namespace polarkv::cpu
