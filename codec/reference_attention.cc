#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "codec/fma_target.h"
#include "codec/key_mean.h"
#include "codec/polar_coordinates.h"
#include "codec/polar_tile.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "codec/rotation.h"
#include "codec/tile_matrix.h"

// Everything is accumulated in double. A score is table look-up throughout: a turbo key's images times the rotated
// query, a polar key's entries of cos/sin tables that were multiplied with the query once for 64 tokens.
namespace polarkv::reference {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
using Vector = std::array<double, kMaxHeadDim>;  // the first head_dim entries count

// y[row] += sum over columns of matrix[column][row] * x[column]; rows and columns are multiples of 4.
[[gnu::always_inline]] inline void MultiplyBody(const float* matrix, uint32_t rows, uint32_t columns, const double* x,
                                                double* y) {
  for (uint32_t c = 0; c < columns; c += 4, matrix += 4 * rows) {
    const float* __restrict m0 = matrix;
    const float* __restrict m1 = m0 + rows;
    const float* __restrict m2 = m1 + rows;
    const float* __restrict m3 = m2 + rows;
    double* __restrict sum = y;
    for (uint32_t row = 0; row < rows; ++row) {
      sum[row] += (m0[row] * x[c] + m1[row] * x[c + 1]) + (m2[row] * x[c + 2] + m3[row] * x[c + 3]);
    }
  }
}

POLARKV_FMA_TARGET void MultiplyFast(const float* matrix, uint32_t rows, uint32_t columns, const double* x, double* y) {
  MultiplyBody(matrix, rows, columns, x, y);
}

void Multiply(const float* matrix, uint32_t rows, uint32_t columns, const double* x, double* y) {
  (HasHardwareFma() ? MultiplyFast : MultiplyBody)(matrix, rows, columns, x, y);
}

// The rotation of one block, on doubles.
class DoubleRotation {
 public:
  explicit DoubleRotation(const BlockSpec& spec)
      : head_dim_(spec.head_dim), block_(RotationBlock(spec.head_dim)), signs_(RotationSigns(spec.rotation_seed)) {}

  void Forward(Vector& x) const {
    for (uint32_t j = 0; j < head_dim_; ++j) x[j] *= signs_[j];
    Transform(x);
  }
  void Inverse(Vector& x) const {
    Transform(x);
    for (uint32_t j = 0; j < head_dim_; ++j) x[j] *= signs_[j];
  }

 private:
  void Transform(Vector& x) const {
    HadamardBlocks(x.data(), head_dim_, block_, 1);
    const double scale = 1 / std::sqrt(static_cast<double>(block_));
    for (uint32_t j = 0; j < head_dim_; ++j) x[j] *= scale;
  }

  uint32_t head_dim_;
  uint32_t block_;
  std::array<float, kMaxHeadDim> signs_;
};

// Softmax-weighted sum of values so far: sum of exp(score - top) * value, and of exp(score - top).
struct Partial {
  double top = kMinusInfinity;
  double weight = 0;
  Vector sum{};
  Vector raw{};  // of escaped values, which are not rotated when `sum` is; added to it after each block

  void Rescale(double new_top, uint32_t head_dim) {
    if (new_top == top) return;
    const double factor = std::exp(top - new_top);
    weight *= factor;
    for (uint32_t j = 0; j < head_dim; ++j) {
      sum[j] *= factor;
      raw[j] *= factor;
    }
    top = new_top;
  }

  void Merge(Partial& other, uint32_t head_dim) {
    if (other.top == kMinusInfinity) return;
    const double new_top = std::max(top, other.top);
    Rescale(new_top, head_dim);
    other.Rescale(new_top, head_dim);
    weight += other.weight;
    for (uint32_t j = 0; j < head_dim; ++j) sum[j] += other.sum[j];
  }
};

// Attention of the queries that read one KV head, block by block and tile by tile. Scratch memory is one tile.
class HeadAttention {
 public:
  explicit HeadAttention(uint32_t head_dim)
      : key_reader_(KvSide::kKey, head_dim), value_reader_(KvSide::kValue, head_dim) {
    key_vectors_.reserve(kTileTokens);
    value_vectors_.reserve(kTileTokens);
  }

  // Adds a block's tokens to `totals`, one for each of `queries`.
  void AddBlock(const BlockView& block, uint32_t layer, uint32_t kv_head, std::span<const Vector> queries, double scale,
                std::vector<Partial>& totals) {
    const BlockSpec& spec = block.spec();
    const DoubleRotation rotation(spec);
    const CodecPair codec = block.layout().layer(layer).codec;
    std::vector<Vector> key_queries(queries.begin(), queries.end());
    if (TraitsOf(codec.k).rotates) {
      for (Vector& q : key_queries) rotation.Forward(q);
    }
    std::vector<Partial> partials(queries.size());
    for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
      ReadTile(block, layer, kv_head, tile);
      for (size_t i = 0; i < queries.size(); ++i) AddTile(spec, queries[i], key_queries[i], scale, partials[i]);
    }
    for (size_t i = 0; i < queries.size(); ++i) {
      Partial& partial = partials[i];
      if (TraitsOf(codec.v).rotates) rotation.Inverse(partial.sum);
      for (uint32_t j = 0; j < spec.head_dim; ++j) partial.sum[j] += partial.raw[j];
      totals[i].Merge(partial, spec.head_dim);
    }
  }

 private:
  // A vector of a tile's token that is known as such.
  struct TokenVector {
    uint32_t token;
    std::array<float, kMaxHeadDim> x;
  };

  void ReadTile(const BlockView& block, uint32_t layer, uint32_t kv_head, uint32_t tile) {
    const BlockSpec& spec = block.spec();
    tokens_ = TileTokenCount(spec, tile);
    const TilePart k = FindTilePart(block, KvSide::kKey, layer, kv_head, tile);
    polar_ = IsPolarPair(k.codec);
    if (polar_) {
      for (uint32_t p = 0; p < spec.head_dim / 2; ++p)
        ReadPolarPair(PolarBitsOf(k.codec), k.planes.payload, spec.head_dim, p, polar_keys_[p]);
      keys_.factor.fill(std::ldexp(1.0, k.exponent));
    } else {
      key_reader_.Read(k, spec.rope, keys_);
    }
    ReadVectors(block, layer, k, key_vectors_);
    if (k.means != 0) {
      const std::array<float, kMaxHeadDim> mean = ReadRecord(block.KeyMean(layer, kv_head));
      for (uint32_t t = 0; t < tokens_; ++t) {
        if ((k.means >> t & 1) == 0) continue;
        TokenVector turned{t, {}};
        const uint64_t position = spec.first_position + tile * uint64_t{kTileTokens} + t;
        TurnToPosition(spec.rope, spec.phases, position, mean.data(), spec.head_dim, turned.x.data());
        key_vectors_.push_back(turned);
      }
    }
    const TilePart v = FindTilePart(block, KvSide::kValue, layer, kv_head, tile);
    value_reader_.Read(v, spec.rope, values_);
    ReadVectors(block, layer, v, value_vectors_);
  }

  void ReadVectors(const BlockView& block, uint32_t layer, const TilePart& part, std::vector<TokenVector>& out) const {
    out.clear();
    uint32_t escape = part.first_escape;
    for (uint32_t t = 0; t < tokens_; ++t) {
      if ((part.escapes >> t & 1) != 0) out.push_back({t, ReadRecord(block.EscapeRecord(layer, escape++))});
    }
  }

  void AddTile(const BlockSpec& spec, const Vector& query, const Vector& key_query, double scale,
               Partial& partial) const {
    double scores[kTileTokens] = {};
    if (polar_) {
      PolarScores(spec, key_query, scores);
    } else {
      Multiply(keys_.value.data(), kTileTokens, spec.head_dim, key_query.data(), scores);
    }
    for (uint32_t t = 0; t < tokens_; ++t) scores[t] *= keys_.factor[t];
    for (const TokenVector& key : key_vectors_) {
      for (uint32_t j = 0; j < spec.head_dim; ++j) scores[key.token] += query[j] * key.x[j];
    }
    double top = partial.top;
    for (uint32_t t = 0; t < tokens_; ++t) {
      scores[t] *= scale;
      top = std::max(top, scores[t]);
    }
    partial.Rescale(top, spec.head_dim);
    double weights[kTileTokens] = {};
    for (uint32_t t = 0; t < tokens_; ++t) {
      weights[t] = std::exp(scores[t] - top);
      partial.weight += weights[t];
    }
    for (const TokenVector& value : value_vectors_) {
      for (uint32_t j = 0; j < spec.head_dim; ++j) partial.raw[j] += weights[value.token] * value.x[j];
    }
    for (uint32_t t = 0; t < tokens_; ++t) weights[t] *= values_.factor[t];
    Multiply(values_.value.data(), spec.head_dim, kTileTokens, weights, partial.sum.data());
  }

  void PolarScores(const BlockSpec& spec, const Vector& query, double* scores) const {
    for (uint32_t p = 0; p < spec.head_dim / 2; ++p) {
      const PolarPair& polar = polar_keys_[p];
      const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
      double table[kMaxPolarLevels];
      for (uint32_t m = 0; m < 1u << polar.bits.angle; ++m) {
        table[m] = query[pair.first] * polar.cosine[m] + query[pair.second] * polar.sine[m];
      }
      for (uint32_t t = 0; t < kTileTokens; ++t) {
        scores[t] += table[polar.Angle(t)] * polar.radius[polar.Radius(t)];
      }
    }
  }

  TileMatrixReader key_reader_, value_reader_;
  TileMatrix keys_, values_;
  std::array<PolarPair, kMaxHeadDim / 2> polar_keys_;  // instead of keys_.value, if polar_
  bool polar_ = false;
  uint32_t tokens_ = 0;
  std::vector<TokenVector> key_vectors_;    // to be added to what codes say: escaped keys, turned means
  std::vector<TokenVector> value_vectors_;  // escaped values
};

float ToFloat(double value) {
  constexpr double kLimit = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kLimit, kLimit));
}

// A query head's shape, the same for all blocks.
struct HeadShape {
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
};

absl::StatusOr<HeadShape> CommonShape(std::span<const BlockView> blocks, uint32_t layer) {
  const HeadShape shape = {blocks[0].spec().kv_heads, blocks[0].spec().head_dim};
  for (size_t b = 0; b < blocks.size(); ++b) {
    const BlockSpec& spec = blocks[b].spec();
    if (spec.kv_heads != shape.kv_heads || spec.head_dim != shape.head_dim) {
      return absl::InvalidArgumentError(absl::StrCat("block ", b, " has ", spec.kv_heads, " KV heads of dim ",
                                                     spec.head_dim, ", block 0 has ", shape.kv_heads, " of ",
                                                     shape.head_dim));
    }
    if (spec.first_kv_head != blocks[0].spec().first_kv_head) {
      return absl::InvalidArgumentError(absl::StrCat("block ", b, " begins with KV head ", spec.first_kv_head,
                                                     ", block 0 with ", blocks[0].spec().first_kv_head,
                                                     "; attend to each shard on its own"));
    }
    if (!blocks[b].HasLayer(layer)) {
      return absl::InvalidArgumentError(absl::StrCat("block ", b, " holds layers [", blocks[b].layer_begin(), ", ",
                                                     blocks[b].layer_end(), "), layer ", layer, " is not among them"));
    }
    if (absl::Status s = blocks[b].CheckMeans(layer); !s.ok()) return s;
  }
  return shape;
}

absl::Status CheckQueries(HeadShape shape, uint32_t q_heads, uint32_t queries, std::span<const float> q,
                          size_t o_size) {
  if (q_heads == 0 || q_heads % shape.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("q_heads = ", q_heads, " is not a positive multiple of the blocks' ",
                                                   shape.kv_heads, " KV heads"));
  }
  const size_t size = size_t{q_heads} * queries * shape.head_dim;
  if (q.size() != size || o_size != size) {
    return absl::InvalidArgumentError(absl::StrCat("q and o need ", q_heads, " heads x ", queries, " queries x dim ",
                                                   shape.head_dim, " = ", size, " floats, got ", q.size(), " and ",
                                                   o_size));
  }
  for (size_t i = 0; i < size; ++i) {
    if (!std::isfinite(q[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("query is not finite (", q[i], ") at head ", i / shape.head_dim / queries, ", query ",
                       i / shape.head_dim % queries, ", coordinate ", i % shape.head_dim));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAttend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                         std::span<const float> q, float scale, std::span<const float> o, std::span<const float> lse) {
  const size_t rows = size_t{q_heads} * queries;
  if (lse.size() != rows) {
    return absl::InvalidArgumentError(absl::StrCat("lse needs ", rows, " floats, got ", lse.size()));
  }
  if (q.size() != o.size()) {
    return absl::InvalidArgumentError(absl::StrCat("q has ", q.size(), " floats, o has ", o.size()));
  }
  if (!std::isfinite(scale)) return absl::InvalidArgumentError(absl::StrCat("scale is not finite (", scale, ")"));
  if (blocks.empty()) return absl::OkStatus();
  absl::StatusOr<HeadShape> shape = CommonShape(blocks, layer);
  if (!shape.ok()) return shape.status();
  return CheckQueries(*shape, q_heads, queries, q, o.size());
}

absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse) {
  if (absl::Status s = CheckAttend(blocks, layer, q_heads, queries, q, scale, o, lse); !s.ok()) return s;
  if (blocks.empty()) {
    std::fill(o.begin(), o.end(), 0.0f);
    std::fill(lse.begin(), lse.end(), -std::numeric_limits<float>::infinity());
    return absl::OkStatus();
  }
  // All query heads of a group, and all their queries, read the same KV head.
  const uint32_t head_dim = blocks[0].spec().head_dim;
  const uint32_t kv_heads = blocks[0].spec().kv_heads;
  const size_t group_rows = size_t{q_heads} / kv_heads * queries;
  std::vector<Vector> group(group_rows);
  const auto attention = std::make_unique<HeadAttention>(head_dim);
  for (uint32_t head = 0; head < kv_heads; ++head) {
    const size_t first = head * group_rows;
    for (size_t i = 0; i < group_rows; ++i) std::copy_n(q.begin() + (first + i) * head_dim, head_dim, group[i].begin());
    std::vector<Partial> totals(group_rows);
    for (const BlockView& block : blocks) attention->AddBlock(block, layer, head, group, scale, totals);
    for (size_t i = 0; i < group_rows; ++i) {
      const Partial& total = totals[i];
      for (uint32_t j = 0; j < head_dim; ++j) o[(first + i) * head_dim + j] = ToFloat(total.sum[j] / total.weight);
      lse[first + i] = ToFloat(total.top + std::log(total.weight));
    }
  }
  return absl::OkStatus();
}

}  // namespace polarkv::reference
