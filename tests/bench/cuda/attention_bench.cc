// Times attention and scores alone on blocks in device memory, next to a kernel that only reads and a device-to-device copy, which
// reads and writes, in the same run. One JSON line a case;
// attention_bench.py adds the rivals and the ratios.
//
// usage: cuda_attention_bench [--rounds N]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "codec/block_layout.h"
#include "codec/rope_phase.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/scores.h"
#include "tests/bench/cuda/device_timing.h"
#include "tests/bench/cuda/read_bandwidth.h"

namespace polarkv::cuda {
namespace {

constexpr uint32_t kTilesPerPage = 4, kHeadDim = 128;

struct Case {
  uint32_t sequences, tokens, kv_heads, group, queries;
  CodecPair codec;
  CodeKind key_kind, value_kind;  // as read
  bool scores_alone = false;
  bool key_means = false;  // all tokens', each block's own, RoPE on all coordinates
};

// Bytes a microsecond that this run's device reads, and that a copy moves.
struct Yardsticks {
  double read, copy;
};

// Pages of random codes with scales around one; what the codes mean does not change the work.
struct Pages {
  Pages(const Case& c, const BaseTileLayout& tile) : tile_bytes(tile.bytes) {
    const uint64_t pages = uint64_t{c.sequences} * ((c.tokens / 64 + kTilesPerPage - 1) / kTilesPerPage);
    const uint64_t tiles = pages * c.kv_heads * kTilesPerPage;
    std::mt19937 random(1);
    std::vector<uint8_t> one(tile.bytes);
    for (uint8_t& byte : one) byte = static_cast<uint8_t>(random());
    struct {
      TileHead head{};
      uint8_t scales[2 * kTileTokens];
    } prefix;
    prefix.head.k_exponent = -12 * kScaleStepsPerOctave - 255;
    prefix.head.v_exponent = -8 * kScaleStepsPerOctave - 255;
    prefix.head.k_mean = c.key_means ? ~uint64_t{0} : 0;
    for (uint8_t& scale : prefix.scales) scale = static_cast<uint8_t>(240 + random() % 16);
    base_plane = std::make_unique<Buffer>(tiles * tile.bytes);
    for (uint64_t i = 0; i < tiles; ++i) {
      uint8_t* const to = base_plane->As<uint8_t>() + i * tile.bytes;
      Check(cudaMemcpyAsync(to, one.data(), tile.bytes, cudaMemcpyHostToDevice), "fill");
      Check(cudaMemcpyAsync(to, &prefix, sizeof prefix, cudaMemcpyHostToDevice), "fill");
    }
    std::vector<uint8_t> refinement(8 * kHeadDim * 64);
    for (uint8_t& byte : refinement) byte = static_cast<uint8_t>(random());
    for (auto& plane : refine) {
      plane = std::make_unique<Buffer>(tiles * 8 * kHeadDim + refinement.size());
      for (uint64_t at = 0; at < tiles * 8 * kHeadDim; at += refinement.size()) {
        Check(cudaMemcpyAsync(plane->As<uint8_t>() + at, refinement.data(), refinement.size(), cudaMemcpyHostToDevice),
              "fill");
      }
    }
    const uint64_t record_bytes = c.kv_heads * VectorRecordBytes(kHeadDim);
    if (c.key_means) MakeMeans(pages * record_bytes, random);
    std::vector<PageLayer> layers(pages);
    for (uint64_t page = 0; page < pages; ++page) {
      const uint64_t first = page * c.kv_heads * kTilesPerPage;
      layers[page].base = base_plane->As<uint8_t>() + first * tile.bytes;
      for (int i = 0; i < 4; ++i) layers[page].refine[i / 2][i % 2] = refine[i]->As<uint8_t>() + first * 8 * kHeadDim;
      if (c.key_means) layers[page].means = means->As<uint8_t>() + page * record_bytes;
      layers[page].first_position = page * 64 * kTilesPerPage;
      layers[page].tiles = kTilesPerPage;
      layers[page].tokens = 64 * kTilesPerPage;
    }
    page_layers = std::make_unique<Buffer>(layers);
    std::vector<int32_t> numbers(pages);
    for (uint64_t i = 0; i < pages; ++i) numbers[i] = static_cast<int32_t>(i);
    std::shuffle(numbers.begin(), numbers.end(), random);
    table = std::make_unique<Buffer>(numbers);
    stride = static_cast<uint32_t>(pages / c.sequences);
  }
  // Records one after the other: an exponent of 0 and coordinates of one half to two, of either sign.
  void MakeMeans(uint64_t bytes, std::mt19937& random) {
    std::vector<uint8_t> records(bytes);
    for (uint64_t at = 0; at < bytes; at += VectorRecordBytes(kHeadDim)) {
      for (uint32_t i = 0; i < kHeadDim; ++i) {
        const auto half = static_cast<uint16_t>(0x3800 + random() % 0x800 + (random() % 2 << 15));
        std::memcpy(&records[at + sizeof(VectorRecordHead) + 2 * i], &half, sizeof half);
      }
    }
    means = std::make_unique<Buffer>(records);
  }

  uint32_t tile_bytes, stride = 0;
  std::unique_ptr<Buffer> base_plane, refine[4], means, page_layers, table;
};

// Codes of one side of a tile, all planes that are read.
double TileBytes(CodeKind kind) {
  return kHeadDim * (kind == kPolar44 ? PayloadBytesPerDim(kind) : 8.0 * BitsOfKind(kind));
}

// What a launch reads of blocks: tiles, and of each block the records of means.
double BytesRead(const Case& c) {
  const double tiles = double{c.tokens / 64.0} * c.kv_heads * c.sequences;
  const double key_bytes = 64 + 64 * (HasKeyScales(c.key_kind) ? 1 : 0) + TileBytes(c.key_kind);
  const double records = c.key_means ? tiles / kTilesPerPage * VectorRecordBytes(kHeadDim) : 0;
  return tiles * (key_bytes + (c.scores_alone ? 0 : 64 + TileBytes(c.value_kind))) + records;
}

void Report(const Case& c, double us, const Yardsticks& yardsticks) {
  const double rate = BytesRead(c) / us;
  const int key_bits = c.key_kind == kPolar44 ? 4 : BitsOfKind(c.key_kind);
  std::printf("{\"scores_alone\": %s, \"key_means\": %s, \"sequences\": %u, \"tokens\": %u, \"kv_heads\": %u, \"group\": %u, "
              "\"queries\": %u, \"codec\": \"%s\", \"key_bits\": %d, \"value_bits\": %d, \"us\": %.2f, \"bytes\": %.0f, "
              "\"gb_per_s\": %.1f, \"read_gb_per_s\": %.1f, \"of_read\": %.3f, \"copy_gb_per_s\": %.1f, \"of_copy\": %.3f}\n",
              c.scores_alone ? "true" : "false", c.key_means ? "true" : "false", c.sequences, c.tokens, c.kv_heads, c.group,
              c.queries, CodecPairName(c.codec).c_str(), key_bits, c.scores_alone ? 0 : BitsOfKind(c.value_kind), us,
              BytesRead(c), rate / 1e3, yardsticks.read / 1e3, rate / yardsticks.read, yardsticks.copy / 1e3,
              rate / yardsticks.copy);
  std::fflush(stdout);
}

void Run(const Case& c, uint32_t rounds, const Buffer& flush, const Yardsticks& yardsticks) {
  BlockSpec spec;
  spec.layers = 1;
  spec.kv_heads = static_cast<uint16_t>(c.kv_heads);
  spec.head_dim = kHeadDim;
  spec.tokens = 64 * kTilesPerPage;
  spec.codec = c.codec;
  const BaseTileLayout tile = BlockLayout::Make(spec)->layer(0).base_tile;
  const Pages pages(c, tile);
  AttentionCodec codec;
  codec.head_dim = kHeadDim;
  codec.key_kind = c.key_kind;
  codec.value_kind = c.value_kind;
  for (int i = 0; i < 16; ++i) codec.key_image[i] = codec.value_image[i] = static_cast<int8_t>(16 * i - 120);
  codec.base_tile_bytes = tile.bytes;
  codec.refine_tile_bytes = 8 * kHeadDim;
  if (c.key_means) {
    codec.means.any = true;
    codec.means.rope_dims = kHeadDim;
    std::ranges::copy(RopePhases({RopePairing::kHalf, 500000.0f, kHeadDim}), codec.means.phases);
  }

  const Buffer tokens(std::vector<uint32_t>(c.sequences, c.tokens));
  const uint64_t rows = uint64_t{c.sequences} * c.queries * c.kv_heads * c.group;
  std::vector<uint16_t> queries(rows * kHeadDim);
  std::mt19937 random(2);
  for (uint16_t& q : queries) q = static_cast<uint16_t>(0x3F00 + random() % 0x100 + (random() % 2 << 15));
  const Buffer q(queries), o(queries), lse(rows * sizeof(float));
  AttentionBatch batch;
  batch.sequences = c.sequences;
  batch.kv_heads = c.kv_heads;
  batch.group = c.group;
  batch.queries = c.queries;
  batch.page_table = pages.table->As<int32_t>();
  batch.page_table_stride = pages.stride;
  batch.tokens = tokens.As<uint32_t>();
  batch.tiles_per_page = kTilesPerPage;
  batch.pages = pages.page_layers->As<PageLayer>();
  batch.q = q.As<void>();
  batch.o = o.As<void>();
  batch.lse = lse.As<float>();
  const int64_t heads = int64_t{c.kv_heads} * c.group;
  const int64_t stride[3] = {c.queries * heads * kHeadDim, heads * kHeadDim, kHeadDim};
  std::copy_n(stride, 3, batch.q_stride);
  std::copy_n(stride, 3, batch.o_stride);
  batch.scale = 0.0883883f;

  const uint32_t warps = c.scores_alone ? ScoresWarps(kHeadDim) : AttentionWarps(kHeadDim);
  const size_t bytes =
      c.scores_alone ? ScoresWorkspaceBytes(codec, batch) : AttentionWorkspaceBytes(codec, batch, warps);
  const Buffer workspace(bytes), scores(c.scores_alone ? rows * c.tokens * sizeof(float) : 1);
  const ScoresTarget target{scores.As<float>(), {c.queries * heads * c.tokens, heads * c.tokens, c.tokens}};
  const double us = MedianMicroseconds(rounds, flush, [&] {
    const LaunchError error =
        c.scores_alone ? LaunchScores(codec, batch, target, warps, workspace.As<void>(), bytes, nullptr)
                       : LaunchAttention(codec, batch, warps, workspace.As<void>(), bytes, nullptr);
    if (error == LaunchError::kNone) return;
    std::fprintf(stderr, "cuda_attention_bench: %s\n", LaunchErrorText(error));
    std::exit(1);
  });
  Report(c, us, yardsticks);
}

}  // namespace

int Main(uint32_t rounds) {
  if (AttentionWarps(kHeadDim) == 0) {
    std::fprintf(stderr, "cuda_attention_bench: no CUDA device here; run it on a machine with one\n");
    return 2;
  }
  const Buffer flush(kFlushBytes);
  const Yardsticks yardsticks{ReadBandwidth(rounds, flush), CopyBandwidth(rounds, flush)};
  constexpr CodecPair kTurbo{CodecId::kTurbo4, CodecId::kTurbo4}, kCompact{CodecId::kTrellis3, CodecId::kTrellis3},
      kSmall{CodecId::kTrellis3, CodecId::kTrellis2}, kTiny{CodecId::kTrellis2, CodecId::kTrellis1},
      kPolar{CodecId::kPolar44, CodecId::kTurbo4}, kSigns{CodecId::kQjl4, CodecId::kTurbo4};
  for (const uint32_t group : {1u, 4u, 8u}) {
    for (const uint32_t tokens : {131072u, 32768u}) {
      Run({1, tokens, 8, group, 1, kTurbo, kTurbo4, kTurbo4}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kTurbo, kTurbo3, kTurbo3}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kTurbo, kTurbo4, kTurbo2}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kTurbo, kTurbo2, kTurbo2}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kCompact, kTrellis3, kTrellis3}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kSmall, kTrellis3, kTrellis2}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kTiny, kTrellis2, kTrellis1}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kPolar, kPolar44, kTurbo4}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kSigns, kSigns4, kTurbo4}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kTurbo, kTurbo4, kTurbo4, false, true}, rounds, flush, yardsticks);
      Run({1, tokens, 8, group, 1, kTurbo, kTurbo4, kTurbo4, true, true}, rounds, flush, yardsticks);
      for (const CodeKind kind : {kTurbo4, kTurbo3, kTurbo2}) {
        Run({1, tokens, 8, group, 1, kTurbo, kind, kTurbo4, true}, rounds, flush, yardsticks);
      }
      Run({1, tokens, 8, group, 1, kCompact, kTrellis3, kTrellis3, true}, rounds, flush, yardsticks);
    }
    Run({64, 4096, 8, group, 1, kTurbo, kTurbo4, kTurbo4}, rounds, flush, yardsticks);
    Run({64, 4096, 8, group, 1, kTurbo, kTurbo4, kTurbo4, false, true}, rounds, flush, yardsticks);
  }
  Run({1, 131072, 8, 8, 2, kTurbo, kTurbo4, kTurbo4}, rounds, flush, yardsticks);
  return 0;
}

}  // namespace polarkv::cuda

int main(int argc, char** argv) { return polarkv::cuda::Main(polarkv::cuda::RoundsOf(argc, argv)); }
