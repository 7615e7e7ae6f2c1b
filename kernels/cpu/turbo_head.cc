#include "kernels/cpu/turbo_head.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "codec/key_mean.h"
#include "codec/log_scale.h"
#include "codec/rotation.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/amx_attention.h"

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

TurboReader MakeReader(const BlockView& block, CodecPair codec) {
  TurboReader reader;
  reader.key_bits = BitsHeld(codec.k, block.planes(), PlaneKind::kKeyRefine1, PlaneKind::kKeyRefine0);
  reader.value_bits = BitsHeld(codec.v, block.planes(), PlaneKind::kValueRefine1, PlaneKind::kValueRefine0);
  reader.key_table = MakeTurboTable(TurboCodebookFor(codec.k, reader.key_bits), 128);
  reader.value_table = MakeTurboTable(TurboCodebookFor(codec.v, reader.value_bits), 0);
  return reader;
}

TurboTiles MakeTiles(const BlockView& block, uint32_t layer, uint32_t kv_head) {
  const BaseTileLayout& base = block.layout().layer(layer).base_tile;
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
  tiles.base_stride = base.bytes;
  tiles.refine_stride = 8 * block.spec().head_dim;
  tiles.octave = kOctave.data();
  tiles.key_scales = base.k_scales;
  tiles.value_scales = base.v_scales;
  tiles.key_crumbs = base.k_payload;
  tiles.value_crumbs = base.v_payload;
  tiles.head_dim = block.spec().head_dim;
  tiles.tokens = block.spec().tokens;
  return tiles;
}

bool HasBody(CodecId codec) {
  return codec == CodecId::kTurbo2 || codec == CodecId::kTurbo3 || codec == CodecId::kTurbo4;
}

}  // namespace

bool HasTurboBody(const BlockView& block, uint32_t layer, InstructionSet set) {
  const LayerLayout& shape = block.layout().layer(layer);
  return FindTurboBody(set, 1) != nullptr && HasBody(shape.codec.k) && HasBody(shape.codec.v) &&
         block.spec().head_dim % 64 == 0;
}

TurboBody* FindTurboBody([[maybe_unused]] InstructionSet set, [[maybe_unused]] uint32_t rows) {
#if defined(POLARKV_HAS_AMX_BODY)
  if (set == InstructionSet::kAmx && rows > kMostRowsWithoutAmx) return TurboAttendAmx;
#endif
#if defined(__x86_64__)
  if (HasAvx512(set)) return TurboAttendAvx512;
#endif
  return nullptr;
}

TurboHead::TurboHead(uint32_t head_dim, uint64_t rotation_seed, uint32_t rows, TurboBody* attend)
    : head_dim_(head_dim),
      rows_(rows),
      attend_(attend),
      words_(size_t{rows} * head_dim / 4),
      outputs_(size_t{rows} * 2 * head_dim),
      means_(rows),
      added_(size_t{rows} * kTileTokens),
      probability_(size_t{rows} * kTileTokens),
      queries_(rows),
      states_(rows) {
  const auto signs = RotationSigns(rotation_seed);
  signs_.assign(signs.begin(), signs.begin() + head_dim);
  for (uint32_t row = 0; row < rows; ++row) {
    queries_[row].words = words_.data() + size_t{row} * head_dim / 4;
    states_[row].output = outputs_.data() + size_t{row} * 2 * head_dim;
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
    for (uint32_t i = 0; i < head_dim_; ++i) {
      o[i] = signs_[i] * (state.output[i] * (unit / state.sum)) + state.output[head_dim_ + i] / state.sum;
    }
    lse[row] = (state.max + std::log2(state.sum)) * kLn2;
  }
}

// The tiles in runs, which end at tiles that have tokens with records of their own or without their mean.
void TurboHead::AttendBlock(const TurboReader& reader, const BlockView& block, uint32_t layer, uint32_t kv_head) {
  const LayerLayout& shape = block.layout().layer(layer);
  const TurboTiles all = MakeTiles(block, layer, kv_head);
  if (shape.key_mean) means_.Start(block, layer, kv_head, q_);
  const auto tiles_from = [&](uint32_t first, uint32_t tokens) {
    TurboTiles part = all;
    part.base += uint64_t{first} * all.base_stride;
    for (const uint8_t** plane : {&part.key_refine[0], &part.key_refine[1], &part.value_refine[0], &part.value_refine[1]}) {
      if (*plane != nullptr) *plane += uint64_t{first} * all.refine_stride;
    }
    part.tokens = tokens;
    return part;
  };
  uint32_t run = 0;
  const auto attend_run = [&](uint32_t end_token) {
    const uint32_t first = run * kTileTokens;
    if (end_token <= first) return;
    attend_(reader, tiles_from(run, end_token - first), queries_.data(), states_.data(), rows_, nullptr);
  };
  const bool may_have_records = shape.key_mean || shape.escapes != 0;
  for (uint32_t tile = 0; may_have_records && tile < block.spec().tiles(); ++tile) {
    TileHead head;
    std::memcpy(&head, all.base + uint64_t{tile} * all.base_stride, sizeof head);
    if (!shape.key_mean) head.k_mean = 0;
    if ((head.k_escapes | head.v_escapes | head.k_mean) == 0) continue;
    attend_run(tile * kTileTokens);
    const uint32_t tokens = std::min(kTileTokens, all.tokens - tile * kTileTokens);
    AttendTileWithRecords(reader, tiles_from(tile, tokens), block, layer, tile, head);
    run = tile + 1;
  }
  attend_run(all.tokens);
}

void TurboHead::AttendTileWithRecords(const TurboReader& reader, const TurboTiles& tile, const BlockView& block,
                                      uint32_t layer, uint32_t number, const TileHead& head) {
  std::fill(added_.begin(), added_.end(), 0.0f);
  if (const uint64_t tokens = head.k_mean & ~head.k_escapes; tokens != 0) means_.Add(number, tokens, unit_, added_.data());
  uint32_t record = head.first_escape;
  for (uint32_t i = 0; i < kTileTokens; ++i) {
    if ((head.k_escapes >> i & 1) == 0) continue;
    const std::array<float, kMaxHeadDim> key = ReadRecord(block.EscapeRecord(layer, record++));
    for (uint32_t row = 0; row < rows_; ++row) {
      const float* q = q_ + size_t{row} * head_dim_;
      added_[row * kTileTokens + kScoreOrder.place[i]] = unit_ * std::inner_product(q, q + head_dim_, key.data(), 0.0f);
    }
  }
  const TurboExtras extras = {added_.data(), probability_.data()};
  attend_(reader, tile, queries_.data(), states_.data(), rows_, &extras);
  for (uint32_t i = 0; i < tile.tokens; ++i) {
    if ((head.v_escapes >> i & 1) == 0) continue;
    const std::array<float, kMaxHeadDim> value = ReadRecord(block.EscapeRecord(layer, record++));
    for (uint32_t row = 0; row < rows_; ++row) {
      float* raw = states_[row].output + head_dim_;
      const float p = probability_[row * kTileTokens + kScoreOrder.place[i]];
      for (uint32_t j = 0; j < head_dim_; ++j) raw[j] += p * value[j];
    }
  }
}

void TurboHead::Attend(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t kv_head, const float* q,
                       float scale, float* o, float* lse) {
  PackQueries(q, scale);
  q_ = q;
  unit_ = scale * kLog2E;
  std::fill(outputs_.begin(), outputs_.end(), 0.0f);
  for (TurboRowState& state : states_) state.max = state.sum = 0;
  TurboReader reader;
  const BlockView* same = nullptr;  // the block that the reader was made for
  for (const BlockView* block : blocks) {
    const CodecPair codec = block->layout().layer(layer).codec;
    if (same == nullptr || codec != same->layout().layer(layer).codec || block->planes() != same->planes()) {
      reader = MakeReader(*block, codec);
      same = block;
    }
    AttendBlock(reader, *block, layer, kv_head);
  }
  Finish(o, lse);
}

}  // namespace polarkv::cpu
