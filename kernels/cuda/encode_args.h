// What one launch of an encoder is told about one side, keys or values. Plain C++; filled by encode_args.cc.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_ARGS_H_
#define POLARKV_KERNELS_CUDA_ENCODE_ARGS_H_

#include <cstdint>

#include "codec/codec_id.h"
#include "codec/kv_side.h"
#include "codec/log_scale.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"
#include "kernels/cuda/encode.h"

namespace polarkv::cuda {

// Which coordinates the rotation negates, 32 a word.
struct RowSigns {
  uint32_t single[8];  // bit j % 32: coordinate j
  // Of numbers in pairs, 8 pairs a chunk of 16: bits p + 8 q and p + 8 q + 16: the lower and the upper number of pair p
  // of the chunk of parity q.
  uint32_t paired[8];
};

struct EncodeArgs {
  TokenRows rows;
  const EncodedPlace* places;
  uint32_t blocks, tiles_per_block, layers, kv_heads;
  uint32_t side;            // 0: keys, 1: values
  uint32_t tile_bytes;      // of the base plane
  uint32_t scales, payload; // this side's, in a tile of the base plane
  RowSigns signs;
  float gain;               // RotationGain
  float rotated_norm;       // RotatedNorm
  float most_error;         // relative squared error of a token that is surely no misfit
  float octave[kScaleSteps];  // kOctaveThresholds
  uint32_t signed_images[4];  // SignedImageTables; of turbo4
  // Of trellis codes: what the search takes for images and rotated coordinates.
  float to_unit_variance;
  float levels[kTrellisWindows];          // by window
  float grouped_levels[kTrellisWindows];  // of three bits: [lowest bit of the symbol before][own][upper two bits]
};

// The codec whose codes are of this kind, all planes being there.
constexpr CodecId CodecOfKind(CodeKind kind) {
  switch (kind) {
    case kTurbo2:
      return CodecId::kTurbo2;
    case kTurbo3:
      return CodecId::kTurbo3;
    case kTurbo4:
      return CodecId::kTurbo4;
    case kTrellis1:
      return CodecId::kTrellis1;
    case kTrellis2:
      return CodecId::kTrellis2;
    case kTrellis3:
      return CodecId::kTrellis3;
    default:
      return CodecId::kTurbo4;
  }
}

// By code or window, what kernels look up.
struct KindImages {
  int8_t image[16];
};
constexpr KindImages ImagesOfKind(CodeKind kind) {
  KindImages images{};
  const auto bits = static_cast<uint32_t>(BitsOfKind(kind));
  for (uint32_t i = 0; i < 16; ++i) {
    images.image[i] = IsTrellisKind(kind) ? TrellisCodebookFor(bits).image[i]
                                          : TurboCodebookFor(CodecOfKind(kind), bits).image[i];
  }
  return images;
}

// Look-up tables of turbo4's images for WholeImagesOf (code_products.h), by nibbles of word kind 0.
struct SignedImageTables {
  uint32_t word[4];
};
constexpr SignedImageTables MakeSignedImageTables() {
  SignedImageTables tables{};
  for (int i = 0; i < 8; ++i) {
    const int without = ImagesOfKind(kTurbo4).image[permute_internal::CodeOfNibble<kTurbo4>(0, i)];
    const int with = ImagesOfKind(kTurbo4).image[permute_internal::CodeOfNibble<kTurbo4>(0, i + 8)];
    // Below the middle the first table has complements: the second one's entry is negative.
    tables.word[i / 4] |= permute_internal::Byte(without < 0 ? ~without : without, i);
    tables.word[2 + i / 4] |= permute_internal::Byte(with, i);
  }
  return tables;
}

EncodeArgs MakeEncodeArgs(const EncodeCodec& codec, const EncodeBatch& batch, KvSide side);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_ARGS_H_
