// Blocks decoded by a backend (emulated lanes, a device) into rows as engines have them, and by the reference.
#ifndef POLARKV_TESTS_KERNELS_CUDA_DECODE_FIXTURE_H_
#define POLARKV_TESTS_KERNELS_CUDA_DECODE_FIXTURE_H_

#include <vector>

#include "kernels/cuda/decode.h"
#include "kernels/cuda/resident_block.h"
#include "kernels/kv_kernels.h"
#include "tests/kernels/cuda/encode_fixture.h"
#include "tests/kernels/cuda/key_mean_case.h"

namespace polarkv::cuda {

struct DecodeCase {
  EncodeCase of;
  PlaneMask planes = kAllPlanes;
  ElementType type = ElementType::kF32;  // of the rows
  KeyMeanShape means = {};
  bool any_means = false;  // the means become random records, which all tokens lack
};

// Random finite numbers with random exponents for the block's means; no key has its own.
inline void Scramble(const BlockView& block, uint32_t seed, std::vector<uint8_t>& bytes) {
  std::mt19937 random(seed);
  const BlockSpec& spec = block.spec();
  const auto in_bytes = [&](const void* held) {
    return bytes.data() + (static_cast<const uint8_t*>(held) - block.bytes().data());
  };
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      auto* const halves = reinterpret_cast<uint16_t*>(in_bytes(block.KeyMean(layer, head).halves.data()));
      auto* const record = reinterpret_cast<VectorRecordHead*>(halves) - 1;
      const int16_t exponents[] = {127, 112, 0, -120, -150, -192};
      record->exponent = exponents[random() % 6];
      for (uint32_t j = 0; j < spec.head_dim; ++j) halves[j] = static_cast<uint16_t>(random() & 0xFBFF);
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        auto* const tile_head =
            reinterpret_cast<TileHead*>(in_bytes(block.Tile(layer, PlaneKind::kBase, head, tile).data()));
        const uint64_t valid = tile_head->tokens < 64 ? (uint64_t{1} << tile_head->tokens) - 1 : ~uint64_t{0};
        tile_head->k_mean = valid & ~tile_head->k_escapes;
      }
    }
  }
}

// Backend::Decode(codec, view, bytes of the view, tensors to write to) as a launch would.
template <class Backend>
void ExpectReferenceRows(const DecodeCase& c, uint32_t seed) {
  BlockSpec spec;
  spec.layers = static_cast<uint16_t>(c.of.shape.layers);
  spec.kv_heads = static_cast<uint16_t>(c.of.shape.kv_heads);
  spec.head_dim = static_cast<uint16_t>(c.of.shape.head_dim);
  spec.tokens = c.of.shape.tokens;
  spec.first_position = c.of.first_position;
  spec.codec = c.of.codec;
  EncodeOptions options;
  options.key_mean = KeyMeanPolicy::kNever;
  KeyMeanProfilePtr profile;
  FillNumber fill = c.of.k;
  if (c.means.in != MeansIn::kNothing) {
    options.key_mean = KeyMeanPolicy::kAlways;
    spec.rope = c.means.rope;
    if (c.means.in == MeansIn::kProfile) {
      spec.first_kv_head = 1;
      profile = ProfileOfBiases(c.means, spec, 1, seed);
      options.profile = profile.get();
    }
    // The bias of the first layer's first head is that of all.
    std::vector<float> biased = BiasedKv(c.means, spec, 1, seed, seed).k;
    fill = [biased = std::move(biased), d = spec.head_dim, k = c.of.k](uint32_t token, uint32_t j, float x) {
      return biased[size_t{token} * d + j] + k(token, j, x);
    };
  }
  const Tensors source(c.of.shape, ElementType::kF32, RowLayout::kContiguous, seed, fill, c.of.v);
  auto block = reference::EncodeBlock(spec, source.View(0), source.View(1), options);
  ASSERT_TRUE(block.ok()) << block.status();
  const auto whole = BlockView::Parse(*block, VerifyPayload::kYes);
  ASSERT_TRUE(whole.ok()) << whole.status();
  if (c.any_means) Scramble(*whole, seed, *block);
  const BlockSelection selection{0, 0, c.planes};
  std::vector<uint8_t> bytes;
  const auto ranges = SelectionRanges(whole->layout(), selection);
  ASSERT_TRUE(ranges.ok());
  for (const ByteRange& range : *ranges) {
    bytes.insert(bytes.end(), block->begin() + static_cast<ptrdiff_t>(range.offset),
                 block->begin() + static_cast<ptrdiff_t>(range.offset + range.length));
  }
  const VerifyPayload verify = c.any_means ? VerifyPayload::kNo : VerifyPayload::kYes;
  const auto view = BlockView::ParseSelection(bytes, selection, verify, profile);
  ASSERT_TRUE(view.ok()) << view.status();

  Tensors rows(c.of.shape, c.type, c.of.layout, seed, Plain, Plain);
  const std::vector<uint8_t> before = rows.memory;
  const auto codec = AttentionCodecOf(*view, 0, true);
  ASSERT_TRUE(codec.has_value());
  ASSERT_EQ(codec->means.any, c.means.in != MeansIn::kNothing);
  Backend::Decode(*codec, *view, rows);

  // What the reference says, in the places of the layout; the others are as they were.
  std::vector<uint8_t> expected = before;
  const size_t numbers = rows.plain[0].size() / static_cast<size_t>(rows.bytes);
  std::vector<uint8_t> k(numbers * static_cast<size_t>(rows.bytes)), v(k.size());
  ASSERT_TRUE(DecodeBlock(*view, DtypeOf(c.type), KvDomain::kModel, k, v).ok());
  if (c.type == ElementType::kF32) {
    std::vector<float> k32(numbers), v32(numbers);
    ASSERT_TRUE(reference::DecodeBlock(*view, k32, v32).ok());
    std::memcpy(k.data(), k32.data(), k.size());
    std::memcpy(v.data(), v32.data(), v.size());
  }
  const auto row_bytes = static_cast<size_t>(c.of.shape.head_dim * rows.bytes);
  const uint8_t* from[2] = {k.data(), v.data()};
  for (uint32_t layer = 0; layer < c.of.shape.layers; ++layer) {
    for (uint32_t head = 0; head < c.of.shape.kv_heads; ++head) {
      for (uint32_t token = 0; token < c.of.shape.tokens; ++token) {
        const int64_t row = rows.rows.Row(rows.table.data(), rows.offset, layer, head, token);
        for (int64_t side = 0; side < 2; ++side) {
          std::memcpy(expected.data() + (side * rows.side_elements + row) * rows.bytes, from[side], row_bytes);
          from[side] += row_bytes;
        }
      }
    }
  }
  const auto [mine, theirs] = std::ranges::mismatch(rows.memory, expected);
  EXPECT_TRUE(mine == rows.memory.end()) << "first difference at byte " << mine - rows.memory.begin() << " of "
                                         << expected.size();
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_DECODE_FIXTURE_H_
