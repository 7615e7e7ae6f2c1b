// Batches of sequences over real blocks, and the check of a launch against attention in double precision on the decoded
// tokens. The same for emulated lanes and for a device.
#ifndef POLARKV_TESTS_KERNELS_CUDA_ATTENTION_FIXTURE_H_
#define POLARKV_TESTS_KERNELS_CUDA_ATTENTION_FIXTURE_H_

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "codec/rotation.h"
#include "gtest/gtest.h"
#include "kernels/cuda/resident_block.h"
#include "kernels/cuda/scores.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/cuda/elements.h"
#include "tests/kernels/cuda/key_mean_case.h"
#include "tests/kernels/cuda/sign_logit.h"

namespace polarkv::cuda {

struct Shape {
  CodecPair codec = {CodecId::kTurbo4, CodecId::kTurbo4};
  CodeKind key_kind = kTurbo4, value_kind = kTurbo4;  // as read
  uint32_t kv_heads = 2, group = 4, queries = 1, tiles_per_page = 2;
  std::vector<uint32_t> tokens = {130};
  uint32_t warps = 3;
  float magnitude = 1;  // of keys and values
  KeyMeanShape means = {};
  Rope rope = {};
  bool equal_keys = false;  // of all tokens of a head in a block
  ElementType type = ElementType::kF32;  // of queries and output
};

// One launch, all in host memory.
struct AttentionCase {
  const AttentionCodec& codec;
  const AttentionBatch& batch;
  uint32_t warps;  // for the host
  const std::vector<std::vector<uint8_t>>& blocks;  // what pages point into
  const std::vector<uint8_t>& profile;              // or into this; may be empty
  const std::vector<PageLayer>& page_layers;
  const std::vector<int32_t>& page_table;
  const std::vector<uint8_t>& q;  // as large as o; of the batch's type
  ScoresTarget target = {};     // of scores alone
  std::vector<float>* scores = nullptr;
};

// A batch of sequences in pages of one pool, which stand in no order; pages that no sequence uses are NaN throughout.
// Backend: static void Attend(const AttentionCase&), Score(const AttentionCase&).
template <class Backend>
class AttentionFixture {
 public:
  static constexpr uint32_t kLayers = 2, kLayer = 1;
  static constexpr float kUntouched = 12345.0f;

  AttentionFixture(const Shape& shape, uint32_t head_dim, uint32_t seed) : shape_(shape), dim_(head_dim), random_(seed) {
    const uint32_t page_tokens = 64 * shape.tiles_per_page;
    uint32_t pages = 3;
    for (const uint32_t tokens : shape.tokens) {
      stride_ = std::max(stride_, (tokens + page_tokens - 1) / page_tokens);
      pages += (tokens + page_tokens - 1) / page_tokens;
    }
    page_layers_.resize(pages * kLayers);
    std::vector<int32_t> free(pages);
    std::iota(free.begin(), free.end(), 0);
    std::ranges::shuffle(free, random_);
    table_.assign(shape.tokens.size() * stride_, -1);
    for (size_t s = 0; s < shape.tokens.size(); ++s) {
      for (uint32_t first = 0; first < shape.tokens[s]; first += page_tokens) {
        table_[s * stride_ + first / page_tokens] = free.back();
        // The last block of a sequence may be as short as the sequence, or hold more than is attended to.
        const bool short_block = s % 2 == 0 && shape.tokens[s] - first < page_tokens;
        AddPage(static_cast<uint32_t>(free.back()), short_block ? shape.tokens[s] - first : page_tokens, first);
        free.pop_back();
      }
    }
    if (views_.empty()) AddPage(0, page_tokens, 0);
    PoisonUnusedPages();
    MakeQueries();
  }

  // Scores alone, against the same in double precision.
  void RunScores() {
    const AttentionBatch batch = Batch();
    AttentionCodec codec;
    ASSERT_NO_FATAL_FAILURE(FindCodec(codec));
    ASSERT_GT(ScoresWorkspaceBytes(codec, batch), 0u);
    // A row of scores is as long as the longest sequence and a bit.
    const int64_t width = (*std::ranges::max_element(shape_.tokens) + 5) / 2 * 2;
    const int64_t heads = int64_t{shape_.kv_heads} * shape_.group;
    std::vector<float> scores(lse_.size() * static_cast<size_t>(width), kUntouched);
    const ScoresTarget target{scores.data(), {width * shape_.queries * heads, width * heads, width}};
    ASSERT_NO_FATAL_FAILURE(
        Backend::Score({codec, batch, shape_.warps, blocks_, profile_, page_layers_, table_, q_memory_, target, &scores}));
    for (size_t row = 0; row < lse_.size(); ++row) {
      CheckScores(row, scores.data() + row * static_cast<size_t>(width), static_cast<size_t>(width));
    }
  }

  void Run() {
    const AttentionBatch batch = Batch();
    AttentionCodec codec;
    ASSERT_NO_FATAL_FAILURE(FindCodec(codec));
    ASSERT_EQ(codec.value_kind, shape_.value_kind);
    ASSERT_GT(AttentionWorkspaceBytes(codec, batch, shape_.warps), 0u);
    ASSERT_NO_FATAL_FAILURE(Backend::Attend({codec, batch, shape_.warps, blocks_, profile_, page_layers_, table_, q_memory_}));
    o_ = FloatsOf(shape_.type, o_memory_);
    Check();
  }

 private:
  void FindCodec(AttentionCodec& codec) const {
    const auto codec_of_block = AttentionCodecOf(views_.front(), kLayer);
    ASSERT_TRUE(codec_of_block.has_value());
    codec = *codec_of_block;
    for (const BlockView& view : views_) ASSERT_TRUE(JoinKeyMeans(*AttentionCodecOf(view, kLayer), codec));
    ASSERT_EQ(codec.means.any, shape_.means.in != MeansIn::kNothing);
    int raw_values = 0;
    for (const BlockView& view : views_) raw_values += RawValuesWithMean(view, kLayer);
    ASSERT_EQ(raw_values > 0, !shape_.means.on_every_token);
    ASSERT_EQ(codec.key_kind, shape_.key_kind);
  }
  AttentionBatch Batch() {
    AttentionBatch batch;
    batch.sequences = static_cast<uint32_t>(shape_.tokens.size());
    batch.kv_heads = shape_.kv_heads;
    batch.group = shape_.group;
    batch.queries = shape_.queries;
    batch.page_table = table_.data();
    batch.page_table_stride = stride_;
    batch.tokens = shape_.tokens.data();
    batch.tiles_per_page = shape_.tiles_per_page;
    batch.pages = page_layers_.data() + kLayer;
    batch.page_stride = kLayers;
    batch.q = q_memory_.data();
    o_memory_.assign(q_memory_.size(), 0xFF);  // NaN
    lse_.assign(q_.size() / dim_, kUntouched);
    batch.o = o_memory_.data();
    batch.lse = lse_.data();
    batch.type = shape_.type;
    const int64_t heads = int64_t{shape_.kv_heads} * shape_.group;
    const int64_t stride[3] = {shape_.queries * heads * dim_, heads * dim_, dim_};
    std::copy_n(stride, 3, batch.q_stride);
    std::copy_n(stride, 3, batch.o_stride);
    batch.scale = Scale();
    return batch;
  }
  float Scale() const { return 1.0f / (std::sqrt(static_cast<float>(dim_)) * shape_.magnitude); }

  void AddPage(uint32_t page, uint32_t tokens, uint32_t first_token) {
    BlockSpec spec = testing::OneHead(shape_.codec, dim_, tokens);
    spec.layers = kLayers;
    spec.rope = shape_.rope;
    spec.kv_heads = static_cast<uint16_t>(shape_.kv_heads);
    const MeansIn means = shape_.means.in;
    const uint32_t seed = static_cast<uint32_t>(random_());
    const uint32_t bias_seed = means == MeansIn::kProfile ? 1 : static_cast<uint32_t>(random_());
    EncodeOptions options;
    KeyMeanProfilePtr profile;
    if (means != MeansIn::kNothing) {
      spec.rope = shape_.means.rope;
      spec.first_position = shape_.means.first_position + first_token;
      options.key_mean = means == MeansIn::kEverySecondBlock && views_.size() % 2 == 1 ? KeyMeanPolicy::kNever
                                                                                      : KeyMeanPolicy::kAlways;
    }
    if (means == MeansIn::kProfile) {
      spec.first_kv_head = 1;
      profile = ProfileOfBiases(shape_.means, spec, shape_.magnitude, bias_seed);
      profile_.assign(profile->bytes().begin(), profile->bytes().end());
      options.profile = profile.get();
    }
    testing::Kv kv = BiasedKv(shape_.means, spec, shape_.magnitude, seed, bias_seed);
    for (size_t i = 0; shape_.equal_keys && i < kv.k.size(); ++i) kv.k[i] = kv.k[i / (tokens * dim_) * tokens * dim_ + i % dim_];
    // Equal keys are equal to their mean.
    if (shape_.equal_keys) options.key_mean = KeyMeanPolicy::kNever;
    blocks_.push_back(testing::Encode(spec, kv, options));
    PlaneMask planes = PlaneBit(PlaneKind::kBase);
    if (HasRefinement(shape_.key_kind) && BitsOfKind(shape_.key_kind) > 2) planes |= PlaneBit(PlaneKind::kKeyRefine1);
    if (BitsOfKind(shape_.key_kind) > 3) planes |= PlaneBit(PlaneKind::kKeyRefine0);
    if (BitsOfKind(shape_.value_kind) > 2) planes |= PlaneBit(PlaneKind::kValueRefine1);
    if (BitsOfKind(shape_.value_kind) > 3) planes |= PlaneBit(PlaneKind::kValueRefine0);
    Select(planes, profile);
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      page_layers_[page * kLayers + layer] = *PageLayerOf(views_.back(), layer, views_.back().bytes().data(), profile_.data());
    }
    page_of_view_.push_back(page);
    decoded_.push_back(testing::Decode(views_.back()));
  }
  // Makes them look like the first block that there is, but for what is in it.
  void PoisonUnusedPages() {
    blocks_.emplace_back(views_.front().bytes().size(), uint8_t{0xFF});
    for (size_t i = 0; i < page_layers_.size(); ++i) {
      if (page_layers_[i].base != nullptr) continue;
      page_layers_[i] = *PageLayerOf(views_.front(), i % kLayers, blocks_.back().data(), profile_.data());
    }
  }
  // Keeps only those planes of the last block, as a reader does who fetched no more.
  void Select(PlaneMask planes, const KeyMeanProfilePtr& profile) {
    const BlockView whole = testing::Parse(blocks_.back());
    const BlockSelection selection{0, 0, planes};
    std::vector<uint8_t> part;
    const auto ranges = SelectionRanges(whole.layout(), selection).value();
    for (const ByteRange& range : ranges) {
      part.insert(part.end(), blocks_.back().begin() + static_cast<ptrdiff_t>(range.offset),
                  blocks_.back().begin() + static_cast<ptrdiff_t>(range.offset + range.length));
    }
    blocks_.back() = std::move(part);
    views_.push_back(BlockView::ParseSelection(blocks_.back(), selection, VerifyPayload::kYes, profile).value());
  }

  // Queries whose rotation is a row of integers up to 127, which int8 holds exactly. Numbers of 16 bits hold the queries
  // exactly too: integers up to 256, since no more is left for all coordinates but one together.
  void MakeQueries() {
    const size_t rows = shape_.tokens.size() * shape_.queries * shape_.kv_heads * shape_.group;
    const auto signs = RotationSigns(BlockSpec::kDefaultRotationSeed);
    const bool wide = shape_.type == ElementType::kF32;
    const float normal = wide ? 3.0f / (127.0f * std::sqrt(static_cast<float>(RotationBlock(dim_)))) : 1.0f / 64;
    for (size_t row = 0; row < rows; ++row) {
      std::vector<float> x(dim_);
      for (float& value : x) value = wide ? static_cast<float>(static_cast<int>(random_() % 255) - 127) : 0.0f;
      for (uint32_t i = 0; !wide && i < 21; ++i) x[random_() % dim_] = static_cast<float>(static_cast<int>(random_() % 13) - 6);
      x[random_() % dim_] = 127;
      HadamardBlocks(x.data(), dim_, RotationBlock(dim_), 1);
      for (uint32_t j = 0; j < dim_; ++j) q_.push_back(signs[j] * x[j] * normal);
    }
    q_memory_ = ElementsOf(shape_.type, q_);
    ASSERT_EQ(FloatsOf(shape_.type, q_memory_), q_);
  }

  void Check() const {
    const uint32_t heads = shape_.kv_heads * shape_.group;
    for (size_t row = 0; row < lse_.size(); ++row) {
      const size_t sequence = row / heads / shape_.queries;
      const size_t kv_head = row % heads / shape_.group;
      CheckRow(row, sequence, kv_head);
    }
  }
  void CheckScores(size_t row, const float* scores, size_t width) const {
    const uint32_t heads = shape_.kv_heads * shape_.group;
    const size_t sequence = row / heads / shape_.queries, kv_head = row % heads / shape_.group;
    const QueryRow query = RowOf(row);
    for (uint32_t token = 0; token < shape_.tokens[sequence]; ++token) {
      const Token found = FindToken(sequence, kv_head, token, query.x);
      const Logit logit = LogitOf(query, found);
      ASSERT_NEAR(scores[token], logit.value, logit.error + found.mean_error * Scale()) << "row " << row << " token " << token;
    }
    for (size_t at = shape_.tokens[sequence]; at < width; ++at) ASSERT_EQ(scores[at], kUntouched) << "row " << row;
  }
  struct Token {
    const float *key, *value;  // decoded
    const uint8_t* tile;       // that it is in, and its number there
    uint32_t in_tile;
    double mean;               // what <q, k> has of the key mean
    double mean_error;         // of that
  };
  Token FindToken(size_t sequence, size_t kv_head, uint32_t token, const float* q) const {
    const uint32_t page_tokens = 64 * shape_.tiles_per_page;
    const auto page = static_cast<uint32_t>(table_[sequence * stride_ + token / page_tokens]);
    const size_t view = static_cast<size_t>(std::ranges::find(page_of_view_, page) - page_of_view_.begin());
    const size_t in_block = views_[view].spec().tokens;
    const size_t at = ((size_t{kLayer} * shape_.kv_heads + kv_head) * in_block + token % page_tokens) * dim_;
    const uint32_t in_page = token % page_tokens;
    const auto tile = views_[view].Tile(kLayer, PlaneKind::kBase, static_cast<uint32_t>(kv_head), in_page / 64);
    const bool has_mean = !views_[view].KeyMean(kLayer, static_cast<uint32_t>(kv_head)).halves.empty();
    const double error = has_mean ? MeanLogitError(views_[view], kLayer, static_cast<uint32_t>(kv_head), q) : 0;
    TileHead head;
    std::memcpy(&head, tile.data(), sizeof head);
    const bool without = has_mean && (head.k_mean >> in_page % 64 & 1) != 0;
    const double product = without ? MeanProduct(views_[view], kv_head, in_page, q) : 0;
    return {decoded_[view].k.data() + at, decoded_[view].v.data() + at, tile.data(), in_page % 64, product, error};
  }
  double MeanProduct(const BlockView& block, size_t kv_head, uint32_t token, const float* q) const {
    const auto mean = ReadRecord(block.KeyMean(kLayer, static_cast<uint32_t>(kv_head)));
    const std::vector<uint64_t> phases(block.phases().begin(), block.phases().end());
    float turned[kMaxHeadDim];
    TurnToPosition(block.spec().rope, phases, block.spec().first_position + token, mean.data(), dim_, turned);
    return testing::Dot(q, turned, dim_);
  }
  struct QueryRow {
    const float* x;
    testing::SignLogit signs;  // of keys that are signs
  };
  QueryRow RowOf(size_t row) const {
    const float* const x = q_.data() + row * dim_;
    const int signs = IsSignKind(shape_.key_kind) ? BitsOfKind(shape_.key_kind) : 1;
    return {x, testing::SignLogit(x, dim_, BlockSpec::kDefaultRotationSeed, static_cast<uint32_t>(signs))};
  }
  // A scaled score, and how far from it a kernel's may be.
  struct Logit {
    double value, error;
  };
  Logit LogitOf(const QueryRow& query, const Token& token) const {
    double sum = 0, magnitude = 0;
    for (uint32_t j = 0; j < dim_; ++j) {
      const double product = double{query.x[j]} * token.key[j] * Scale();
      sum += product;
      magnitude += std::fabs(product);
    }
    TileHead head;
    std::memcpy(&head, token.tile, sizeof head);
    if (IsSignKind(shape_.key_kind) && (head.k_escapes >> token.in_tile & 1) == 0) {
      // Rounding ties may go either way: a few, since a projection is a sum of integers.
      const testing::RoundedScore score = query.signs.With(token.tile, token.in_tile);
      const double value = score.value + token.mean;
      return {value * Scale(), 8 * score.step * Scale() + 2e-6 * std::fabs(score.value) * Scale()};
    }
    // Query and key are rounded to fp16.
    if (shape_.key_kind == kPolar44) return {sum, 1.01 / 1024 * magnitude};
    // Products of codes are exact; scales, and sums over raw keys, are in fp32.
    return {sum, 1e-6 * magnitude};
  }
  void CheckRow(size_t row, size_t sequence, size_t kv_head) const {
    std::vector<double> logits;
    std::vector<const float*> values;
    double largest = 0, mean_error = 0;
    const QueryRow query = RowOf(row);
    double logit_error = 0;  // of keys whose scores are not exact
    for (uint32_t token = 0; token < shape_.tokens[sequence]; ++token) {
      const Token found = FindToken(sequence, kv_head, token, query.x);
      const Logit logit = LogitOf(query, found);
      if (shape_.key_kind == kPolar44 || IsSignKind(shape_.key_kind)) logit_error = std::max(logit_error, logit.error);
      logits.push_back(logit.value);
      values.push_back(found.value);
      mean_error = std::max(mean_error, found.mean_error * Scale());
      for (uint32_t j = 0; j < dim_; ++j) largest = std::max(largest, std::fabs(double{values.back()[j]}));
    }
    if (logits.empty()) {
      EXPECT_EQ(lse_[row], -INFINITY);
      for (uint32_t j = 0; j < dim_; ++j) EXPECT_EQ(o_[row * dim_ + j], 0.0f);
      return;
    }
    const double top = *std::ranges::max_element(logits);
    double sum = 0;
    for (const double x : logits) sum += std::exp(x - top);
    ASSERT_NEAR(lse_[row], top + std::log(sum), 2e-6 * (1 + std::fabs(top)) + logit_error + mean_error) << "row " << row;
    for (uint32_t j = 0; j < dim_; ++j) {
      double expected = 0;
      for (size_t i = 0; i < logits.size(); ++i) expected += std::exp(logits[i] - top) / sum * values[i][j];
      // Weights are rounded to half of 1/65535; a rotation back adds up the errors of its block over the block's root.
      const double tolerance = std::sqrt(static_cast<double>(RotationBlock(dim_))) * 0.5 / 65535 + 2e-6 +
                               2.1 * logit_error + std::expm1(2 * mean_error);
      const double rounding = RelativeRounding(shape_.type) * (std::fabs(expected) + tolerance * largest);
      ASSERT_NEAR(o_[row * dim_ + j], expected, tolerance * largest + rounding) << "row " << row << " coordinate " << j;
    }
  }

  const Shape shape_;
  const uint32_t dim_;
  std::mt19937 random_;
  uint32_t stride_ = 1;
  std::vector<int32_t> table_;
  std::vector<PageLayer> page_layers_;
  std::vector<std::vector<uint8_t>> blocks_;
  std::vector<uint8_t> profile_;
  std::vector<BlockView> views_;
  std::vector<uint32_t> page_of_view_;
  std::vector<testing::Kv> decoded_;
  std::vector<float> q_, o_, lse_;
  std::vector<uint8_t> q_memory_, o_memory_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_ATTENTION_FIXTURE_H_
