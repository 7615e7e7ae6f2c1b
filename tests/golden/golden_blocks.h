// The committed blocks of format version 2: their names, shapes and inputs. make_golden writes them, golden_test reads
// them.
#ifndef POLARKV_TESTS_GOLDEN_GOLDEN_BLOCKS_H_
#define POLARKV_TESTS_GOLDEN_GOLDEN_BLOCKS_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "codec/block_view.h"
#include "codec/encode_options.h"

namespace polarkv::testing {

// How a block's numbers are made. Only integer arithmetic and powers of two: the same bits everywhere.
enum class GoldenInput {
  kBellShaped,  // sums of four uniform numbers, coordinates of different variance
  kExtreme,     // the same, times 2^120, 2^0, 2^-140 or 0 from token to token
  kBiased       // the same, keys with one vector added to all
};

struct GoldenBlock {
  std::string name;  // <name>.pkv is the block, <name>.f32 what it decodes to: K, then V, f32
  BlockSpec spec;
  GoldenInput input = GoldenInput::kBellShaped;
  // What the encoder may add; by default codes alone.
  EncodeOptions options = {KeyMeanPolicy::kNever, 0, false, BandPolicy::kAlways};
};

const std::vector<GoldenBlock>& GoldenBlocks();

// The profile that the blocks which name one name; others ignore it.
KeyMeanProfilePtr GoldenProfile();

// [layers][kv_heads][tokens][head_dim], F32; `side` 0: K, 1: V.
std::vector<float> GoldenTensor(const GoldenBlock& block, uint32_t side);

std::vector<uint8_t> EncodeGolden(const GoldenBlock& block);
// K, then V.
std::vector<float> DecodeGolden(const BlockView& view);

std::vector<uint8_t> ReadBytes(const std::filesystem::path& path);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_GOLDEN_GOLDEN_BLOCKS_H_
