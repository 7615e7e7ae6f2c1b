// The bytes of a block: header, extension and segment directory. FORMAT.md is the specification; this is its C++ image.
//
//   +------------+-----------+-----------------------------+-----+-----------+-----------+-----
//   | header 128 | extension | directory 16 x layers*planes| pad | segment   | segment   | ...
//   +------------+-----------+-----------------------------+-----+-----------+-----------+-----
//                ^ 64-byte aligned, and so is the directory      ^ 64-byte aligned, layer-major: (layer 0, plane 0), ...
//
// Plain structs, little-endian, no implicit padding, usable from CUDA device code.
#ifndef POLARKV_CODEC_BLOCK_FORMAT_H_
#define POLARKV_CODEC_BLOCK_FORMAT_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace polarkv {

static_assert(std::endian::native == std::endian::little, "polarkv reads and writes little-endian blocks in place");

inline constexpr uint32_t kBlockMagic = 0x42564B50;  // "PKVB"
inline constexpr uint16_t kBlockVersion = 2;
inline constexpr uint32_t kTileTokens = 64;       // tokens in a tile; the last tile of a block is zero-padded
inline constexpr uint32_t kSegmentAlignment = 64;  // bytes
inline constexpr uint32_t kMaxLayers = 1024;
inline constexpr uint32_t kMaxKvHeads = 1024;
inline constexpr uint32_t kMaxBlockTokens = 65536;
inline constexpr uint64_t kMaxBlockBytes = uint64_t{1} << 30;
inline constexpr uint64_t kMaxPosition = uint64_t{1} << 53;  // first_position + tokens; positions stay exact as double
// Tile exponents: what an encoder of any codec can need for float32 input, so that readers may rely on the range.
inline constexpr int kMinTileExponent = -192;
inline constexpr int kMaxTileExponent = 127;
// Logarithmic scales: code c > 0 of a tile stands for 2^(((base + c) << shift) / 64). In 64ths of an octave, those of
// codes 1 and 255 lie within these bounds: no scale overflows a float, none is below 2^-256.
inline constexpr int kScaleStepsPerOctave = 64;
inline constexpr int kMinScaleStep = -256 * kScaleStepsPerOctave;
inline constexpr int kMaxScaleStep = 128 * kScaleStepsPerOctave - 1;
inline constexpr bool ScaleRangeInBounds(int base, int shift) {
  return (base + 1) * (1 << shift) >= kMinScaleStep && (base + 255) * (1 << shift) <= kMaxScaleStep;
}
inline constexpr uint8_t kMaxTileShift = 5;

// Bits of BlockHeader::features.
inline constexpr uint16_t kFeatureLayerTable = 1;  // the extension begins with a LayerEntry for each layer
inline constexpr uint16_t kFeaturePhaseTable = 2;  // the extension has rope_dims / 2 RoPE angles per position
inline constexpr uint16_t kFeatureProfile = 4;     // key means and phases are those of the profile that the header names
inline constexpr uint16_t kKnownFeatures = kFeatureLayerTable | kFeaturePhaseTable | kFeatureProfile;

enum class RopePairing : uint8_t { kNone = 0, kHalf = 1, kInterleaved = 2 };
enum class RotationKind : uint8_t { kNone = 0, kSignedBlockHadamard = 1 };
enum class Dtype : uint8_t { kF16 = 1, kBF16 = 2, kF32 = 3 };

struct BlockHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t features;  // kFeature...; bits not understood are rejected
  uint64_t total_bytes;
  uint16_t layers;
  uint16_t kv_heads;       // heads held by this block (one shard)
  uint16_t first_kv_head;  // global index of the first of them
  uint16_t head_dim;
  uint32_t tokens;
  uint8_t k_codec;
  uint8_t v_codec;
  uint8_t source_dtype;
  uint8_t rope_pairing;
  uint64_t first_position;  // of token 0, in the sequence
  float rope_base;
  uint16_t rope_dims;  // leading coordinates that RoPE rotates; 0 without RoPE
  uint8_t rotation_kind;
  uint8_t planes;  // directory entries per layer: planes that some layer has
  uint64_t rotation_seed;
  uint16_t rotation_block;
  uint16_t codebook;           // 1: the tables of FORMAT.md
  uint32_t extension_bytes;    // between header and directory, a multiple of 64
  uint8_t profile_digest[16];  // first bytes of the SHA-256 of a key-mean profile; zero: none
  uint8_t namespace_tag[16];   // first bytes of the namespace fingerprint; zero in files outside a namespace
  uint8_t key_tag[8];          // first bytes of the block key; zero in files outside a namespace
  uint64_t reserved;           // zero
  uint64_t directory_xxh3;     // XXH3-64 of the extension's and the directory's bytes
  uint64_t header_xxh3;        // XXH3-64 of the 120 bytes before it; covers the directory, and so every segment
};
static_assert(sizeof(BlockHeader) == 128);
static_assert(offsetof(BlockHeader, total_bytes) == 8);
static_assert(offsetof(BlockHeader, layers) == 16);
static_assert(offsetof(BlockHeader, tokens) == 24);
static_assert(offsetof(BlockHeader, k_codec) == 28);
static_assert(offsetof(BlockHeader, first_position) == 32);
static_assert(offsetof(BlockHeader, rope_base) == 40);
static_assert(offsetof(BlockHeader, rotation_seed) == 48);
static_assert(offsetof(BlockHeader, rotation_block) == 56);
static_assert(offsetof(BlockHeader, profile_digest) == 64);
static_assert(offsetof(BlockHeader, namespace_tag) == 80);
static_assert(offsetof(BlockHeader, key_tag) == 96);
static_assert(offsetof(BlockHeader, directory_xxh3) == 112);
static_assert(offsetof(BlockHeader, header_xxh3) == 120);

struct DirectoryEntry {
  uint32_t offset_units;  // from the block's first byte, in units of 64 bytes
  uint32_t length;        // bytes, a multiple of 64
  uint64_t xxh3;          // XXH3-64 of the segment's bytes
};
static_assert(sizeof(DirectoryEntry) == 16);

// One layer of the layer table.
struct LayerEntry {
  uint8_t k_codec;
  uint8_t v_codec;
  uint8_t flags;  // kLayerKeyMean
  uint8_t reserved0;
  uint32_t escapes;  // escape records at the end of the layer's base segment
  uint64_t reserved1;
};
static_assert(sizeof(LayerEntry) == 16);
// Keys of the layer are without their head's mean. The means are at the beginning of the layer's base segment; with
// kFeatureProfile, in the profile.
inline constexpr uint8_t kLayerKeyMean = 1;

// First bytes of every tile in the base plane. Bit i of a mask is token i of the tile.
struct TileHead {
  int16_t k_exponent;  // codecs with scales: their base; others: what the tile stores is to be multiplied by 2^k_exponent
  int16_t v_exponent;
  uint16_t tokens;  // valid tokens, 1..64
  uint8_t k_shift;  // of the scales, 0..5; 0 for codecs without scales
  uint8_t v_shift;
  uint64_t k_escapes;     // the token's key is in an escape record, its scale is zero
  uint64_t v_escapes;     // likewise its value
  uint64_t k_mean;        // the head's mean key, rotated to the token's position, is to be added
  uint32_t first_escape;  // escape records of the layer before this tile's
  uint8_t reserved[28];
};
static_assert(sizeof(TileHead) == 64);
static_assert(offsetof(TileHead, k_shift) == 6);
static_assert(offsetof(TileHead, k_escapes) == 8);
static_assert(offsetof(TileHead, first_escape) == 32);

// A vector on its own, an escaped token's or a head's mean key: this head, then fp16 [head_dim], times 2^exponent.
struct VectorRecordHead {
  int16_t exponent;
  uint8_t reserved[14];
};
static_assert(sizeof(VectorRecordHead) == 16);
inline constexpr uint32_t VectorRecordBytes(uint32_t head_dim) {
  return static_cast<uint32_t>(sizeof(VectorRecordHead)) + 2 * head_dim;
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_FORMAT_H_
