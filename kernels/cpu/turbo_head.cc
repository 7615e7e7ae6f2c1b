#include "kernels/cpu/turbo_head.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "codec/key_mean.h"
#include "codec/log_scale.h"
#include "codec/rotation.h"
#include "codec/sign_sketch.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/logit_range.h"

namespace polarkv::cpu {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;
constexpr float kQueryMax = 127.0f;
constexpr uint32_t kLinesTogether = 64;  // rows of tiles: what is added to their logits stays in the first cache

// How one side's codes are read from the planes held.
struct SideReader {
  CodeKind kind = CodeKind::kNone;
  uint32_t bits = 0;  // of turbo codes
  bool third_in_base = false;
  TurboTable table{};
};

SideReader ReadSide(CodecId codec, PlaneMask planes, PlaneKind first, PlaneKind second, int offset) {
  if (TraitsOf(codec).kind == CodecKind::kQjl) return {};
  if (IsTrellis(codec)) {
    const uint32_t bits = TrellisBits(codec);
    constexpr CodeKind kKinds[] = {CodeKind::kTrellis1, CodeKind::kTrellis2, CodeKind::kTrellis3};
    return {kKinds[bits - 1], 0, false, MakeTrellisTable(TrellisCodebookFor(bits), bits, offset)};
  }
  const uint32_t whole = TurboBits(codec);
  uint32_t bits = whole == 5 ? 3 : std::min(whole, 2u);
  for (const PlaneKind plane : {first, second}) {
    if (bits == whole || (planes & PlaneBit(plane)) == 0) break;
    ++bits;
  }
  constexpr CodeKind kKinds[] = {CodeKind::kTurbo1, CodeKind::kTurbo2, CodeKind::kTurbo3, CodeKind::kTurbo4,
                                 CodeKind::kTurbo5};
  return {kKinds[bits - 1], bits, whole == 5, MakeTurboTable(TurboCodebookFor(codec, bits), offset)};
}

TurboReader MakeReader(const BlockView& block, CodecPair codec) {
  const SideReader key = ReadSide(codec.k, block.planes(), PlaneKind::kKeyRefine1, PlaneKind::kKeyRefine0, kKeyTableOffset);
  const SideReader value = ReadSide(codec.v, block.planes(), PlaneKind::kValueRefine1, PlaneKind::kValueRefine0, 0);
  TurboReader reader;
  reader.key_kind = key.kind;
  reader.value_kind = value.kind;
  reader.key_bits = key.bits;
  reader.value_bits = value.bits;
  reader.key_third_in_base = key.third_in_base;
  reader.value_third_in_base = value.third_in_base;
  reader.key_table = key.table;
  reader.value_table = value.table;
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

// What every set's body reads where it is.
bool HasPortableBody(CodecId codec) { return IsTurbo(codec) || IsTrellis(codec); }

// What AVX-512 reads where it is.
bool HasCodeBody(CodecPair codec) {
  const auto has_codes = [](CodecId id) { return HasTurboCodes(id) || IsTrellis(id); };
  return (has_codes(codec.k) || TraitsOf(codec.k).kind == CodecKind::kQjl) && has_codes(codec.v);
}

// Projections whose signs are to be read: qjl's, or that of what a turbo code leaves over, if the plane is there and the
// code is whole.
uint32_t Projections(const BlockView& block, uint32_t layer) {
  const CodecId codec = block.layout().layer(layer).codec.k;
  if (TraitsOf(codec).kind == CodecKind::kQjl) return QjlTileEncoder::QjlProjections(codec);
  if (!IsTurboQjl(codec) || (block.planes() & PlaneBit(PlaneKind::kKeyResidual)) == 0) return 0;
  const bool whole = (TurboBits(codec) < 3 || (block.planes() & PlaneBit(PlaneKind::kKeyRefine1)) != 0) &&
                     (TurboBits(codec) < 4 || (block.planes() & PlaneBit(PlaneKind::kKeyRefine0)) != 0);
  return whole ? 1 : 0;
}

// Rounds `x` to int8, the largest becoming kQueryMax, and negates it if `scale` is negative: bodies want logits that ascend
// with scores. Returns what one is worth.
float RoundQuery(const float* x, uint32_t head_dim, float scale, int32_t* words, TurboQuery& query) {
  float largest = 0;
  for (uint32_t i = 0; i < head_dim; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float to_int = largest > 0 ? std::copysign(kQueryMax / largest, scale) : 0;
  query.words = words;
  query.sum = 0;
  for (uint32_t word = 0; word < head_dim / 4; ++word) {
    const uint32_t first = word / 4 * 16 + kDwordFirstCode[word / 2 % 2][word % 2];
    uint32_t packed = 0;
    for (uint32_t byte = 0; byte < 4; ++byte) {
      const auto rounded = static_cast<int32_t>(std::lrint(x[first - 4 * byte] * to_int));
      query.sum += rounded;
      packed |= static_cast<uint32_t>(rounded & 0xFF) << 8 * byte;
    }
    words[word] = static_cast<int32_t>(packed);
  }
  return largest / kQueryMax;
}

}  // namespace

bool HasTurboBody(const BlockView& block, uint32_t layer, InstructionSet set) {
  const CodecPair codec = block.layout().layer(layer).codec;
  if (set >= InstructionSet::kAvx512) return true;
  return TurboAttendBodyFor(set, block.spec().head_dim, 1) != nullptr && HasPortableBody(codec.k) && HasPortableBody(codec.v);
}

TurboHead::TurboHead(uint32_t head_dim, uint64_t rotation_seed, uint32_t rows, InstructionSet set)
    : TurboHead(head_dim, rotation_seed, rows, TurboAttendBodyFor(set, head_dim, rows)) {
  means_.Use(set);
}

TurboHead::TurboHead(uint32_t head_dim, uint64_t rotation_seed, uint32_t rows, TurboAttendBody* attend)
    : attend_(attend),
      head_dim_(head_dim),
      rows_(rows),
      words_(size_t{rows} * head_dim / 4 + kWordsReadPast),
      outputs_(size_t{rows} * 2 * head_dim),
      means_(rows),
      tiles_together_(std::clamp(kLinesTogether / rows, 1u, KeyMeanLogits::kMostTiles)),
      added_(size_t{tiles_together_} * rows * kTileTokens),
      probability_(size_t{rows} * kTileTokens),
      queries_(rows),
      rotated_(size_t{rows} * head_dim),
      exponent_(rows),
      states_(rows) {
  const auto signs = RotationSigns(rotation_seed);
  signs_.assign(signs.begin(), signs.begin() + head_dim);
  for (uint32_t row = 0; row < rows; ++row) {
    states_[row].output = outputs_.data() + size_t{row} * 2 * head_dim;
  }
}

void TurboHead::PackQueries(const float* q, float scale) {
  for (uint32_t row = 0; row < rows_; ++row, q += head_dim_) {
    float* rotated = rotated_.data() + size_t{row} * head_dim_;
    float largest = 0;
    for (uint32_t i = 0; i < head_dim_; ++i) largest = std::max(largest, std::fabs(q[i]));
    // Rotating at a magnitude near one keeps huge and tiny queries inside fp32.
    exponent_[row] = largest > 0 ? std::ilogb(largest) : 0;
    for (uint32_t i = 0; i < head_dim_; ++i) rotated[i] = signs_[i] * std::ldexp(q[i], -exponent_[row]);
    HadamardBlocks(rotated, head_dim_, RotationBlock(head_dim_), 1);
    TurboQuery& query = queries_[row];
    const float unit = RoundQuery(rotated, head_dim_, scale, words_.data() + size_t{row} * head_dim_ / 4, query);
    query.scale = std::ldexp(unit * RotationScale(head_dim_) * std::fabs(scale) * kLog2E, exponent_[row]);
    beyond_ |= query.scale > kLargestUnit;
  }
}

// <y, transpose(S) sigma> = <S y, sigma>: queries are projected instead of signs being read back.
void TurboHead::ProjectQueries(const BlockView& block, uint32_t layer, float scale) {
  projections_ = Projections(block, layer);
  projected_words_.resize(size_t{projections_} * rows_ * head_dim_ / 4 + kWordsReadPast);
  projected_.resize(size_t{projections_} * rows_);
  const bool qjl = TraitsOf(block.layout().layer(layer).codec.k).kind == CodecKind::kQjl;
  std::array<float, kMaxHeadDim> x;
  for (uint32_t i = 0; i < projections_; ++i) {
    const SignProjection projection(head_dim_, block.spec().rotation_seed, i);
    const float constant = SketchConstant(head_dim_) / static_cast<float>(projections_ * projection.block()) *
                           (qjl ? QjlTileEncoder::kNormPerScale : 1);
    for (uint32_t row = 0; row < rows_; ++row) {
      const size_t at = size_t{i} * rows_ + row;
      std::copy_n(rotated_.begin() + size_t{row} * head_dim_, head_dim_, x.begin());
      projection.Apply(x.data(), 1);
      TurboQuery& query = projected_[at];
      const float unit = RoundQuery(x.data(), head_dim_, scale, projected_words_.data() + at * head_dim_ / 4, query);
      query.scale =
          std::ldexp(unit * constant * RotationScale(head_dim_) * std::fabs(scale) * kLog2E, exponent_[row]);
      beyond_ |= query.scale > kLargestUnit;
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
    lse[row] = beyond_ ? NAN : (state.max + std::log2(state.sum)) * kLn2;
  }
}

void TurboHead::StartMeans(const BlockView& block, uint32_t layer, uint32_t kv_head) {
  means_.Start(block, layer, kv_head, q_);
  beyond_ |= !(means_.Reach() * std::fabs(unit_) <= kLargestAddedLogit);
}

// The tiles in runs, which end at tiles that have tokens with records of their own or without their mean.
void TurboHead::AttendBlock(const TurboReader& reader, const BlockView& block, uint32_t layer, uint32_t kv_head) {
  const LayerLayout& shape = block.layout().layer(layer);
  const TurboTiles& all = runs_[run_ % kRuns];
  if (shape.key_mean) StartMeans(block, layer, kv_head);
  const auto tiles_from = [&](uint32_t first, uint32_t tokens) {
    TurboTiles part = all;
    part.base += uint64_t{first} * all.base_stride;
    for (const uint8_t** plane : {&part.key_refine[0], &part.key_refine[1], &part.value_refine[0], &part.value_refine[1]}) {
      if (*plane != nullptr) *plane += uint64_t{first} * all.refine_stride;
    }
    part.tokens = tokens;
    part.following = block.spec().tiles() - first - (tokens + kTileTokens - 1) / kTileTokens;
    return part;
  };
  uint32_t run = 0;
  const auto attend_run = [&](uint32_t end_token) {
    const uint32_t first = run * kTileTokens;
    if (end_token <= first) return;
    const TurboTiles tiles = tiles_from(run, end_token - first);
    if (shape.key_mean) return AttendTilesWithMeans(reader, tiles, run);
    attend_(reader, tiles, queries_.data(), states_.data(), rows_, nullptr);
  };
  const bool may_have_records = shape.key_mean || shape.escapes != 0 || projections_ != 0;
  for (uint32_t tile = 0; may_have_records && tile < block.spec().tiles(); ++tile) {
    TileHead head;
    std::memcpy(&head, all.base + uint64_t{tile} * all.base_stride, sizeof head);
    if (!shape.key_mean) head.k_mean = 0;
    if ((head.k_escapes | head.v_escapes) == 0 && projections_ == 0) {
      if (!shape.key_mean || tile - run < tiles_together_) continue;
      attend_run(tile * kTileTokens);
      run = tile;
      continue;
    }
    attend_run(tile * kTileTokens);
    const uint32_t tokens = std::min(kTileTokens, all.tokens - tile * kTileTokens);
    const TurboTiles part = tiles_from(tile, tokens);
    AttendTileWithRecords(block, layer, tile, head, [&](const TurboExtras& extras) {
      if (projections_ != 0) AddSigns(part, block, layer, tile);
      attend_(reader, part, queries_.data(), states_.data(), rows_, &extras);
    });
    run = tile + 1;
  }
  attend_run(all.tokens);
}

// Up to tiles_together_ tiles without records.
void TurboHead::AttendTilesWithMeans(const TurboReader& reader, const TurboTiles& tiles, uint32_t first_tile) {
  uint64_t with_mean[KeyMeanLogits::kMostTiles];
  const uint32_t count = (tiles.tokens + kTileTokens - 1) / kTileTokens;
  for (uint32_t i = 0; i < count; ++i) {
    TileHead head;
    std::memcpy(&head, tiles.base + uint64_t{i} * tiles.base_stride, sizeof head);
    with_mean[i] = head.k_mean;
    // The next tiles' heads will be asked for here before the body asks for those tiles.
    if (i < tiles.following) __builtin_prefetch(tiles.base + uint64_t{count + i} * tiles.base_stride);
  }
  std::fill_n(added_.begin(), size_t{count} * rows_ * kTileTokens, 0.0f);
  means_.Add(first_tile, {with_mean, count}, unit_, added_.data());
  const TurboExtras extras = {added_.data(), rows_, nullptr};
  attend_(reader, tiles, queries_.data(), states_.data(), rows_, &extras);
}

std::vector<MatrixQuery> TurboHead::MatrixQueries(bool rotated) const {
  std::vector<MatrixQuery> queries(rows_);
  for (uint32_t row = 0; row < rows_; ++row) {
    const size_t at = size_t{row} * head_dim_;
    queries[row] = {q_ + at, unit_};
    if (rotated) queries[row] = {rotated_.data() + at, std::ldexp(unit_ * RotationScale(head_dim_), exponent_[row])};
  }
  return queries;
}

void TurboHead::AttendMatrixBlock(const BlockView& block, uint32_t layer) {
  const LayerLayout& shape = block.layout().layer(layer);
  if (matrix_ == nullptr) matrix_ = std::make_unique<MatrixTiles>(head_dim_);
  if (shape.key_mean) StartMeans(block, layer, kv_head_);
  const std::vector<MatrixQuery> queries = MatrixQueries(TraitsOf(shape.codec.k).rotates);
  for (uint32_t tile = 0; tile < block.spec().tiles(); ++tile) {
    TileHead head;
    std::memcpy(&head, block.Tile(layer, PlaneKind::kBase, kv_head_, tile).data(), sizeof head);
    if (!shape.key_mean) head.k_mean = 0;
    AttendTileWithRecords(block, layer, tile, head, [&]([[maybe_unused]] const TurboExtras& extras) {
#if defined(__x86_64__)
      AttendMatrixAvx512(matrix_->Read(block, layer, kv_head_, tile), queries.data(), states_.data(), rows_,
                         TraitsOf(shape.codec.v).rotates ? 0 : head_dim_, extras);
#endif
    });
  }
}

template <typename AttendTile>
void TurboHead::AttendTileWithRecords(const BlockView& block, uint32_t layer, uint32_t number, const TileHead& head,
                                      const AttendTile& attend) {
  std::fill_n(added_.begin(), size_t{rows_} * kTileTokens, 0.0f);
  if (const uint64_t tokens = head.k_mean & ~head.k_escapes; tokens != 0) means_.Add(number, {&tokens, 1}, unit_, added_.data());
  uint32_t record = head.first_escape;
  for (uint32_t i = 0; i < kTileTokens; ++i) {
    if ((head.k_escapes >> i & 1) == 0) continue;
    const std::array<float, kMaxHeadDim> key = ReadRecord(block.EscapeRecord(layer, record++));
    for (uint32_t row = 0; row < rows_; ++row) {
      const float* q = q_ + size_t{row} * head_dim_;
      const float logit = unit_ * std::inner_product(q, q + head_dim_, key.data(), 0.0f);
      added_[row * kTileTokens + kScoreOrder.place[i]] = logit;
      beyond_ |= !(std::fabs(logit) <= kLargestAddedLogit);
    }
  }
  attend(TurboExtras{added_.data(), rows_, probability_.data()});
  for (uint32_t i = 0; i < kTileTokens; ++i) {
    if ((head.v_escapes >> i & 1) == 0) continue;
    const std::array<float, kMaxHeadDim> value = ReadRecord(block.EscapeRecord(layer, record++));
    for (uint32_t row = 0; row < rows_; ++row) {
      float* raw = states_[row].output + head_dim_;
      const float p = probability_[row * kTileTokens + kScoreOrder.place[i]];
      for (uint32_t j = 0; j < head_dim_; ++j) raw[j] += p * value[j];
    }
  }
}

void TurboHead::AddSigns(const TurboTiles& tile, const BlockView& block, uint32_t layer, uint32_t number) {
  const auto residual = block.Tile(layer, PlaneKind::kKeyResidual, kv_head_, number);
  for (uint32_t i = 0; i < projections_; ++i) {
    TurboSigns signs = {tile.base + tile.key_crumbs + size_t{i} * 8 * head_dim_, nullptr};
    if (!residual.empty()) signs = {residual.data() + kResidualNormBytes, residual.data()};
#if defined(__x86_64__)
    beyond_ |= !AddSignScoresAvx512(tile, signs, projected_.data() + size_t{i} * rows_, rows_, added_.data());
#endif
  }
}

// Describes the run `index` of this head, or of those of the next head that come after its last, for reading ahead.
void TurboHead::AddRun(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t kv_head, size_t index) {
  const BlockView& block = *blocks[index % blocks.size()];
  kv_head += static_cast<uint32_t>(index / blocks.size());
  if (kv_head >= block.spec().kv_heads) return;
  TurboTiles& run = runs_[index % kRuns];
  run = MakeTiles(block, layer, kv_head);
  if (index == 0) return;
  // Bodies look for planes of the kind that they are reading.
  const BlockView& before = *blocks[(index - 1) % blocks.size()];
  const bool alike = before.planes() == block.planes() &&
                     before.layout().layer(layer).codec == block.layout().layer(layer).codec;
  if (alike) runs_[(index - 1) % kRuns].next = &run;
}

void TurboHead::Attend(std::span<const BlockView* const> blocks, uint32_t layer, uint32_t kv_head, const float* q,
                       float scale, float* o, float* lse) {
  beyond_ = scale != 0 && !(std::fabs(scale) >= kSmallestScale && std::fabs(scale) <= kLargestUnit);
  PackQueries(q, scale);
  q_ = q;
  kv_head_ = kv_head;
  unit_ = scale * kLog2E;
  std::fill(outputs_.begin(), outputs_.end(), 0.0f);
  for (TurboRowState& state : states_) state.max = state.sum = 0;
  TurboReader reader;
  const BlockView* same = nullptr;  // the block that the reader was made for
  for (size_t i = 0; i + 1 < kRuns; ++i) AddRun(blocks, layer, kv_head, i);
  for (run_ = 0; run_ < blocks.size() && !beyond_; ++run_) {
    AddRun(blocks, layer, kv_head, run_ + kRuns - 1);
    const BlockView& block = *blocks[run_];
    const CodecPair codec = block.layout().layer(layer).codec;
    if (same == nullptr || codec != same->layout().layer(layer).codec || block.planes() != same->planes()) {
      if (HasCodeBody(codec)) {
        reader = MakeReader(block, codec);
        ProjectQueries(block, layer, scale);
      }
      same = &block;
    }
    HasCodeBody(codec) ? AttendBlock(reader, block, layer, kv_head) : AttendMatrixBlock(block, layer);
  }
  Finish(o, lse);
}

}  // namespace polarkv::cpu
