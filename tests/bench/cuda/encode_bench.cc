// Times encoding and decoding of blocks in device memory, next to a device-to-device copy in the same run. One JSON
// line a case: bytes read plus written over the median time, and its share of what the copy reaches. "means" are
// blocks' own key means: "decided" of keys that have none, "taken off" of all.
//
// usage: cuda_encode_bench [--rounds N]
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "codec/block_layout.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"
#include "kernels/cuda/decode.h"
#include "kernels/cuda/finished_block.h"
#include "tests/bench/cuda/device_timing.h"

namespace polarkv::cuda {
namespace {

constexpr uint32_t kLayers = 32, kHeads = 8, kBlockTokens = 256, kBlocks = 8, kHeadDim = 128, kPageTokens = 16;

BlockSpec SpecOf(CodecPair codec) {
  BlockSpec spec;
  spec.layers = kLayers;
  spec.kv_heads = kHeads;
  spec.head_dim = kHeadDim;
  spec.tokens = kBlockTokens;
  spec.first_position = kBlockTokens;
  spec.codec = codec;
  return spec;
}

// K and V of all blocks as bf16 or fp16 numbers near one, in NHD pages or contiguous; and room for the blocks.
struct Memory {
  Memory(const BlockLayout& layout, bool paged, ElementType type)
      : row_bytes(uint64_t{2} * kLayers * kHeads * kBlocks * kBlockTokens * kHeadDim * 2),
        tokens(row_bytes),
        blocks(kBlocks * layout.total_bytes()),
        reports(sizeof(TileReport) * kBlocks * kLayers * kHeads * kBlockTokens / kTileTokens) {
    std::mt19937 random(1);
    std::vector<uint16_t> numbers(size_t{1} << 20);
    for (uint16_t& number : numbers) {
      const bool half = type == ElementType::kF16;
      number =
          static_cast<uint16_t>((half ? 0x3800 : 0x3F00) + random() % (half ? 0x800 : 0x100) + (random() % 2 << 15));
    }
    for (uint64_t at = 0; at < row_bytes; at += numbers.size() * 2) {
      Check(cudaMemcpy(tokens.As<uint8_t>() + at, numbers.data(), numbers.size() * 2, cudaMemcpyHostToDevice), "fill");
    }
    const int64_t d = kHeadDim, all = int64_t{kBlocks} * kBlockTokens;
    rows.k = tokens.As<void>();
    rows.v = tokens.As<uint8_t>() + row_bytes / 2;
    rows.type = type;
    rows.layer_stride = kHeads * all * d;
    rows.head_stride = paged ? d : all * d;
    rows.token_stride = paged ? kHeads * d : d;
    rows.page_tokens = paged ? kPageTokens : 0;
    rows.page_stride = paged ? kPageTokens * kHeads * d : 0;
    std::vector<int32_t> pages(static_cast<size_t>(all) / kPageTokens);
    for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(pages.size() - 1 - i);
    table = std::make_unique<Buffer>(pages);
  }

  uint64_t row_bytes;
  Buffer tokens, blocks, reports;
  TokenRows rows;
  std::unique_ptr<Buffer> table;
};

void Print(const char* what, KeyMeanPolicy means, const BlockSpec& spec, const TokenRows& rows, double us, double bytes,
           double copy_bandwidth) {
  std::printf(
      "{\"work\": \"%s\", \"means\": \"%s\", \"codec\": \"%s\", \"type\": \"%s\", \"rows\": \"%s\", \"us\": %.2f, "
      "\"bytes\": %.0f, "
      "\"gb_per_s\": %.1f, \"rows_gb_per_s\": %.1f, \"copy_gb_per_s\": %.1f, \"of_copy\": %.3f}\n",
      what,
      means == KeyMeanPolicy::kNever  ? "none"
      : means == KeyMeanPolicy::kAuto ? "decided"
                                      : "taken off",
      CodecPairName(spec.codec).c_str(), rows.type == ElementType::kF16 ? "fp16" : "bf16",
      rows.page_tokens == 0 ? "contiguous" : "pages", us, bytes, bytes / us / 1e3,
      2.0 * 2 * kLayers * kHeads * kBlocks * kBlockTokens * kHeadDim / us / 1e3, copy_bandwidth / 1e3,
      bytes / us / copy_bandwidth);
  std::fflush(stdout);
}

// The codes of `spec` as a whole block's planes have them; what they say does not change the decoder's work.
AttentionCodec CodecOf(const BlockSpec& spec, const LayerLayout& shape) {
  const auto kind = [](CodecId id) {
    return static_cast<CodeKind>(IsTrellis(id) ? 10 + TrellisBits(id) : TurboBits(id));
  };
  AttentionCodec codec;
  codec.head_dim = kHeadDim;
  codec.key_kind = kind(spec.codec.k);
  codec.value_kind = kind(spec.codec.v);
  for (int i = 0; i < 16; ++i) codec.key_image[i] = codec.value_image[i] = static_cast<int8_t>(16 * i - 120);
  codec.rotation_seed = spec.rotation_seed;
  codec.base_tile_bytes = shape.base_tile.bytes;
  codec.refine_tile_bytes = kTileTokens * kHeadDim / 8;
  return codec;
}

void Run(CodecPair pair, bool paged, ElementType type, KeyMeanPolicy means, uint32_t rounds, const Buffer& flush,
         double copy_bandwidth) {
  BlockSpec spec = SpecOf(pair);
  if (means != KeyMeanPolicy::kNever) spec.rope = {RopePairing::kHalf, 500000, kHeadDim};
  EncodeOptions options;
  options.key_mean = means;
  const auto expected = ExpectBlock(spec, options);
  if (!expected.ok()) std::exit(1);
  const BlockLayout& layout = expected->layout;
  const Memory memory(layout, paged, type);
  const uint64_t tiles = uint64_t{kLayers} * kHeads * spec.tiles();
  const double bytes =
      static_cast<double>(memory.row_bytes) + static_cast<double>(kBlocks * layout.layer(0).bytes * kLayers);

  std::vector<EncodedPlace> places;
  std::vector<RowPlace> targets;
  std::vector<PageLayer> pages;
  for (uint32_t block = 0; block < kBlocks; ++block) {
    uint8_t* const first = memory.blocks.As<uint8_t>() + block * layout.total_bytes();
    EncodedPlace place = PlaceOf(*expected, first, memory.reports.As<TileReport>() + block * tiles);
    place.page_table = memory.table->As<int32_t>();
    place.first_token = block * kBlockTokens;
    place.first_position += place.first_token;
    places.push_back(place);
    targets.push_back({place.page_table, 0, place.first_token});
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      const uint64_t offset = layer * place.layer_bytes;
      PageLayer page;
      page.base = place.base + offset;
      for (int i = 0; i < 4; ++i) {
        const uint8_t* const plane = place.refine[i / 2][i % 2];
        page.refine[i / 2][i % 2] = plane == nullptr ? nullptr : plane + offset;
      }
      page.tiles = spec.tiles();
      page.tokens = spec.tokens;
      pages.push_back(page);
    }
  }
  const auto encoded = EncodeCodecOf(spec);
  if (!encoded.has_value()) std::exit(1);
  const Buffer on_device(places), phases(expected->spec.phases);
  EncodeBatch encode{memory.rows, on_device.As<EncodedPlace>(), kBlocks, spec.tiles(), kLayers, kHeads,
                     EncodeMeansOf(*expected)};
  encode.means.phases = phases.As<uint64_t>();
  encode.means.workspace_bytes = EncodeWorkspaceBytes(*encoded, encode);
  const Buffer workspace(encode.means.workspace_bytes);
  encode.means.workspace = workspace.As<void>();
  const double encode_us = MedianMicroseconds(rounds, flush, [&] {
    const LaunchError error = LaunchEncode(*encoded, encode, nullptr);
    if (error == LaunchError::kNone) return;
    std::fprintf(stderr, "cuda_encode_bench: %s\n", LaunchErrorText(error));
    std::exit(1);
  });
  Print("encode", means, spec, memory.rows, encode_us, bytes, copy_bandwidth);
  if (means != KeyMeanPolicy::kNever) return;
  const Buffer page_layers(pages), row_places(targets);
  const DecodeBatch batch{memory.rows, page_layers.As<PageLayer>(), kLayers, row_places.As<RowPlace>(), kBlocks,
                          spec.tiles(), kLayers, kHeads};
  const AttentionCodec codec = CodecOf(spec, layout.layer(0));
  const double us = MedianMicroseconds(rounds, flush, [&] {
    const LaunchError error = LaunchDecode(codec, batch, nullptr);
    if (error == LaunchError::kNone) return;
    std::fprintf(stderr, "cuda_encode_bench: %s\n", LaunchErrorText(error));
    std::exit(1);
  });
  Print("decode", means, spec, memory.rows, us, bytes, copy_bandwidth);
}

}  // namespace

int Main(uint32_t rounds) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "cuda_encode_bench: no CUDA device here; run it on a machine with one\n");
    return 2;
  }
  const Buffer flush(kFlushBytes);
  const double copy_bandwidth = CopyBandwidth(rounds, flush);
  for (const CodecId codec : {CodecId::kTurbo4, CodecId::kTurbo3, CodecId::kTurbo2}) {
    for (const bool paged : {false, true})
      Run({codec, codec}, paged, ElementType::kBF16, KeyMeanPolicy::kNever, rounds, flush, copy_bandwidth);
  }
  const auto run = [&](CodecPair pair, ElementType type, KeyMeanPolicy means) {
    Run(pair, true, type, means, rounds, flush, copy_bandwidth);
  };
  run({CodecId::kTurbo4, CodecId::kTurbo4}, ElementType::kF16, KeyMeanPolicy::kNever);
  for (const CodecId codec : {CodecId::kTrellis3, CodecId::kTrellis2, CodecId::kTrellis1}) {
    run({codec, codec}, ElementType::kBF16, KeyMeanPolicy::kNever);
  }
  run({CodecId::kTrellis3, CodecId::kTurbo4}, ElementType::kBF16, KeyMeanPolicy::kNever);
  for (const KeyMeanPolicy means : {KeyMeanPolicy::kAuto, KeyMeanPolicy::kAlways}) {
    run({CodecId::kTurbo4, CodecId::kTurbo4}, ElementType::kBF16, means);
    run({CodecId::kTrellis3, CodecId::kTrellis3}, ElementType::kBF16, means);
  }
  return 0;
}

}  // namespace polarkv::cuda

int main(int argc, char** argv) { return polarkv::cuda::Main(polarkv::cuda::RoundsOf(argc, argv)); }
