// One side of a layer's tiles by any codec, and the tokens of a tile that its codec serves badly.
#ifndef POLARKV_CODEC_SIDE_ENCODER_H_
#define POLARKV_CODEC_SIDE_ENCODER_H_

#include <cstdint>
#include <memory>

#include "codec/band_code.h"
#include "codec/block_spec.h"
#include "codec/rotated_tile.h"
#include "codec/tile_decoder.h"

namespace polarkv {

// Holds scratch memory: one thread at a time.
class SideEncoder {
 public:
  // `spec` must outlive the encoder.
  SideEncoder(const BlockSpec& spec, CodecId codec, KvSide side);

  // For codecs in bands, before each head: its table, in the bytes of a block, which must outlive its use.
  void UseBands(const uint8_t* table);

  // Encodes `tokens` (1..64) contiguous finite rows into zeroed planes and scales. Tokens whose bit in `counted` is
  // clear take no part; all take part in codecs without scales. Returns base and shift of the scales, or the exponent
  // and 0.
  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const;

  // The same into planes and scales of whatever content; where `escapes`, then once more without the misfits, which it
  // takes out of `counted`.
  ScaleRange EncodeFits(const float* rows, uint32_t tokens, bool escapes, uint64_t& counted,
                        const TilePlanes<uint8_t>& planes, uint8_t* scales);

  // Of the counted tokens those which had better be stored raw: their codes, which Encode wrote, err by much more than
  // their codec does on ordinary vectors; or a few scales are so far from the others that all had to be coarsened.
  uint64_t Misfits(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                   const uint8_t* scales, ScaleRange range);

 private:
  void Clear(const TilePlanes<uint8_t>& planes, uint8_t* scales) const;

  const BlockSpec* spec_;
  CodecId codec_;
  std::unique_ptr<RotatedTileEncoder> rotated_;  // null for fp16 and for RoPE pairs
  BandTileEncoder* banded_ = nullptr;            // the same, of codecs in bands
  const uint8_t* bands_ = nullptr;
  std::unique_ptr<TileDecoder> decoder_;
  std::unique_ptr<float[]> decoded_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_SIDE_ENCODER_H_
