// Tensors in engines' layouts, encoded by a backend (emulated lanes, a device) and by the reference.
#ifndef POLARKV_TESTS_KERNELS_CUDA_ENCODE_FIXTURE_H_
#define POLARKV_TESTS_KERNELS_CUDA_ENCODE_FIXTURE_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "codec/block_view.h"
#include "codec/half_float.h"
#include "codec/reference_codec.h"
#include "codec/tensor_rows.h"
#include "gtest/gtest.h"
#include "kernels/cuda/finished_block.h"

namespace polarkv::cuda {

enum class RowLayout { kContiguous, kStrided, kNhdPages, kHndPages, kInterleavedPages };

// Token, coordinate and a random number of N(0,1) -> a number of the tensor.
using FillNumber = std::function<float(uint32_t token, uint32_t coordinate, float normal)>;
inline float Plain(uint32_t, uint32_t, float normal) { return normal; }
// Changes a key, [head_dim], whose numbers FillNumber has made.
using ShapeKey = std::function<void(uint32_t layer, uint32_t head, uint32_t token, float* key)>;

inline Dtype DtypeOf(ElementType type) {
  return type == ElementType::kF16 ? Dtype::kF16 : type == ElementType::kBF16 ? Dtype::kBF16 : Dtype::kF32;
}

// Bytes of a number in memory, rounded towards zero where it must be.
inline uint32_t NumberBits(ElementType type, float x) {
  if (type == ElementType::kF16) return FloatToHalf(x);
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return type == ElementType::kBF16 ? bits >> 16 | ((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x40 : 0) : bits;
}

struct TensorShape {
  uint32_t layers = 1, kv_heads = 1, tokens = 64, head_dim = 128;
};

// K and V of one sequence, contiguous for the reference and in memory as an engine has them. Places that hold no token
// are NaN.
struct Tensors {
  Tensors(const TensorShape& of, ElementType type, RowLayout layout, uint32_t seed, const FillNumber& k,
          const FillNumber& v, const ShapeKey& shape_key = nullptr)
      : shape(of), bytes(ElementBytes(type)) {
    std::mt19937 random(seed);
    LayOut(type, layout, random);
    std::normal_distribution<float> normal;
    std::vector<float> numbers(shape.head_dim);
    for (int side = 0; side < 2; ++side) {
      plain[side].resize(size_t{shape.layers} * shape.kv_heads * shape.tokens * shape.head_dim * bytes);
      uint8_t* to = plain[side].data();
      for (uint32_t layer = 0; layer < shape.layers; ++layer) {
        for (uint32_t head = 0; head < shape.kv_heads; ++head) {
          for (uint32_t token = 0; token < shape.tokens; ++token) {
            const int64_t row = rows.Row(table.data(), offset, layer, head, token);
            for (uint32_t j = 0; j < shape.head_dim; ++j) numbers[j] = (side == 0 ? k : v)(token, j, normal(random));
            if (side == 0 && shape_key != nullptr) shape_key(layer, head, token, numbers.data());
            for (uint32_t j = 0; j < shape.head_dim; ++j, to += bytes) {
              const uint32_t number = NumberBits(type, numbers[j]);
              std::memcpy(to, &number, bytes);
              std::memcpy(memory.data() + (side * side_elements + row + j) * bytes, &number, bytes);
            }
          }
        }
      }
    }
    SetPointers(memory.data());
  }

  void SetPointers(uint8_t* first) {
    rows.k = first;
    rows.v = first + side_elements * bytes;
  }
  TensorView View(int side) const {
    return TensorView::Contiguous(plain[side].data(), DtypeOf(rows.type),
                                  {shape.layers, shape.kv_heads, shape.tokens, shape.head_dim});
  }

  TensorShape shape;
  int64_t bytes;  // of a number
  std::vector<uint8_t> plain[2];
  std::vector<uint8_t> memory;
  std::vector<int32_t> table;
  TokenRows rows;
  int64_t offset = 0, side_elements = 0;

 private:
  void LayOut(ElementType type, RowLayout layout, std::mt19937& random) {
    const int64_t d = shape.head_dim, heads = shape.kv_heads, tokens = shape.tokens, page = 16;
    rows.type = type;
    int64_t elements = 0;
    if (layout == RowLayout::kContiguous || layout == RowLayout::kStrided) {
      const int64_t gap = layout == RowLayout::kStrided ? 16 : 0;
      rows.token_stride = d + gap;
      rows.head_stride = tokens * rows.token_stride + gap;
      rows.layer_stride = heads * rows.head_stride;
      offset = 2 * gap;
      elements = offset + shape.layers * rows.layer_stride;
      side_elements = elements;
    } else {
      const int64_t pages = (tokens + page - 1) / page, all = pages + 3;
      rows.page_tokens = page;
      rows.token_stride = layout == RowLayout::kHndPages ? d : heads * d;
      rows.head_stride = layout == RowLayout::kHndPages ? page * d : d;
      // [pages, 2, ..] or [2, pages, ..]
      const bool interleaved = layout == RowLayout::kInterleavedPages;
      rows.page_stride = (interleaved ? 2 : 1) * page * heads * d;
      rows.layer_stride = all * rows.page_stride;
      elements = shape.layers * rows.layer_stride;
      side_elements = interleaved ? page * heads * d : elements;
      std::vector<int32_t> numbers(static_cast<size_t>(all));
      std::iota(numbers.begin(), numbers.end(), 0);
      std::shuffle(numbers.begin(), numbers.end(), random);
      table.assign(numbers.begin(), numbers.begin() + pages);
    }
    memory.assign(static_cast<size_t>((elements + side_elements) * bytes), 0xFF);
  }
};

inline RowReader ReaderOf(const Tensors& tensors) {
  return [&tensors](KvSide side, uint32_t layer, uint32_t head, uint32_t first, uint32_t count, float* rows) {
    const int index = side == KvSide::kKey ? 0 : 1;
    return ReadFiniteRows(tensors.View(index), index == 0 ? "k" : "v", layer, head, first, count, rows);
  };
}

struct EncodeCase {
  TensorShape shape;
  CodecPair codec{CodecId::kTurbo4, CodecId::kTurbo4};
  ElementType type = ElementType::kBF16;
  RowLayout layout = RowLayout::kContiguous;
  uint64_t first_position = 64;
  bool escapes = true;
  FillNumber k = Plain, v = Plain;
  ShapeKey shape_key = nullptr;
  Rope rope = {};
  KeyMeanPolicy key_mean = KeyMeanPolicy::kNever;
  const KeyMeanProfile* profile = nullptr;
  uint16_t first_kv_head = 0;
};

inline EncodeBatch BatchOf(const ExpectedBlock& block, const Tensors& tensors) {
  EncodeBatch batch;
  batch.rows = tensors.rows;
  batch.blocks = 1;
  batch.tiles_per_block = block.spec.tiles();
  batch.layers = block.spec.layers;
  batch.kv_heads = block.spec.kv_heads;
  batch.means = EncodeMeansOf(block);
  return batch;
}

inline BlockSpec SpecOf(const EncodeCase& c) {
  BlockSpec spec;
  spec.layers = static_cast<uint16_t>(c.shape.layers);
  spec.kv_heads = static_cast<uint16_t>(c.shape.kv_heads);
  spec.head_dim = static_cast<uint16_t>(c.shape.head_dim);
  spec.tokens = c.shape.tokens;
  spec.first_position = c.first_position;
  spec.codec = c.codec;
  spec.source_dtype = DtypeOf(c.type);
  spec.rope = c.rope;
  spec.first_kv_head = c.first_kv_head;
  return spec;
}

template <class Backend>
void CompareBytes(const EncodeCase& c, uint32_t seed, std::vector<bool>& has_means) {
  const BlockSpec spec = SpecOf(c);
  Tensors tensors(c.shape, c.type, c.layout, seed, c.k, c.v, c.shape_key);
  EncodeOptions options;
  options.key_mean = c.key_mean;
  options.escapes = c.escapes;
  options.profile = c.profile;

  const auto codec = EncodeCodecOf(spec);
  ASSERT_TRUE(codec.has_value());
  const auto expected = ExpectBlock(spec, options);
  ASSERT_TRUE(expected.ok()) << expected.status();
  std::vector<uint8_t> bytes(expected->layout.total_bytes(), 0xA5);
  std::vector<TileReport> reports(size_t{spec.layers} * spec.kv_heads * spec.tiles());
  std::memset(reports.data(), 0xA5, reports.size() * sizeof reports[0]);
  std::vector<float> given;
  if (expected->means == MeanSource::kGiven) given = GivenMeans(*expected, *c.profile);
  Backend::Encode(*codec, *expected, given, tensors, bytes, reports);

  const auto block = FinishBlock(*expected, options, bytes, reports, ReaderOf(tensors));
  const auto reference = reference::EncodeBlock(spec, tensors.View(0), tensors.View(1), options);
  ASSERT_EQ(block.status(), reference.status());
  if (!reference.ok()) return;
  ASSERT_EQ(block->size(), reference->size());
  const auto [mine, theirs] = std::ranges::mismatch(*block, *reference);
  EXPECT_TRUE(mine == block->end()) << "first difference at byte " << mine - block->begin() << " of " << block->size();
  const auto view = BlockView::Parse(*reference, VerifyPayload::kYes);
  ASSERT_TRUE(view.ok()) << view.status();
  for (uint32_t layer = 0; layer < spec.layers; ++layer) has_means.push_back(view->spec().layer_part(layer).key_mean);
}

// Backend::Encode(codec, expected block, its given means, tensors, the block's bytes, reports) as a launch would.
// Returns which layers have means.
template <class Backend>
std::vector<bool> ExpectReferenceBytes(const EncodeCase& c, uint32_t seed) {
  std::vector<bool> has_means;
  CompareBytes<Backend>(c, seed, has_means);
  return has_means;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_ENCODE_FIXTURE_H_
