// Tiles of random bits, and what their codes stand for: FORMAT.md's "Code order", "Turbo codes" and "Trellis codes" written
// out code by code. Plain C++: for programs of machines that have neither this library's dependencies nor a test framework.
#ifndef POLARKV_TESTS_KERNELS_PORTABLE_RANDOM_TILES_H_
#define POLARKV_TESTS_KERNELS_PORTABLE_RANDOM_TILES_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "codec/block_format.h"
#include "codec/code_order.h"
#include "codec/log_scale.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_decode.h"

namespace polarkv::testing {

// SplitMix64: the same numbers on every machine.
class RandomBits {
 public:
  explicit RandomBits(uint64_t seed) : state_(seed) {}

  uint64_t operator()() {
    uint64_t x = state_ += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
  }
  int Between(int low, int high) { return low + static_cast<int>((*this)() % static_cast<uint64_t>(high - low + 1)); }

 private:
  uint64_t state_;
};

// A codec as one side of a tile sees it: kind of codes as read, and codes as stored.
struct SideCodec {
  cpu::CodeKind kind;
  uint32_t stored_bits;  // of turbo codes: 5 if the third bits are in the payload

  bool turbo() const { return kind <= cpu::CodeKind::kTurbo5; }
  uint32_t bits() const {
    return static_cast<uint32_t>(kind) - static_cast<uint32_t>(turbo() ? cpu::CodeKind::kTurbo1 : cpu::CodeKind::kTrellis1) + 1;
  }
  // Bytes a coordinate.
  uint32_t payload() const {
    if (!turbo()) return 8 * bits();
    return stored_bits == 1 ? 8 : stored_bits == 5 ? 24 : 16;
  }
};

struct RandomTiles {
  RandomTiles(SideCodec key_codec, SideCodec value_codec, uint32_t head_dim, uint32_t tokens, RandomBits& random)
      : key(key_codec), value(value_codec) {
    const uint32_t count = (tokens + kTileTokens - 1) / kTileTokens;
    tiles.key_scales = 64;
    tiles.value_scales = 128;
    tiles.key_crumbs = 192;
    tiles.value_crumbs = 192 + key.payload() * head_dim;
    tiles.base_stride = tiles.value_crumbs + value.payload() * head_dim;
    tiles.refine_stride = 8 * head_dim;
    tiles.head_dim = head_dim;
    tiles.tokens = tokens;
    tiles.octave = kOctave.data();
    const auto fill = [&](std::vector<uint8_t>& bytes, size_t size) {
      bytes.resize(size);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    };
    fill(base, size_t{count} * tiles.base_stride);
    for (auto& plane : refine) fill(plane, size_t{count} * tiles.refine_stride);
    for (uint32_t i = 0; i < count; ++i) {
      TileHead head{};
      head.k_exponent = static_cast<int16_t>(random.Between(-160, -100));
      head.v_exponent = static_cast<int16_t>(random.Between(-400, 100));
      head.k_shift = static_cast<uint8_t>(random.Between(0, 3) == 3 ? 1 : 0);
      head.v_shift = static_cast<uint8_t>(random.Between(0, 2));
      std::memcpy(base.data() + size_t{i} * tiles.base_stride, &head, sizeof head);
      for (int zeros = random.Between(0, 2); zeros > 0; --zeros) {
        base[size_t{i} * tiles.base_stride + static_cast<size_t>(random.Between(64, 191))] = 0;
      }
    }
    tiles.base = base.data();
    for (uint32_t i = 0; i < 2; ++i) {
      tiles.key_refine[i] = refine[i].data();
      tiles.value_refine[i] = refine[2 + i].data();
    }
  }

  double KeyScale(uint32_t token) const { return Scale(token, tiles.key_scales, &TileHead::k_exponent, &TileHead::k_shift); }
  double ValueScale(uint32_t token) const { return Scale(token, tiles.value_scales, &TileHead::v_exponent, &TileHead::v_shift); }
  int Key(uint32_t token, uint32_t dim) const {
    return Image(key, KeyAtom(tiles.head_dim, token % kTileTokens, dim / 16), dim % 16, token / kTileTokens, tiles.key_crumbs, 0);
  }
  int Value(uint32_t token, uint32_t dim) const {
    const uint32_t t = token % kTileTokens;
    return Image(value, ValueAtom(tiles.head_dim, dim, t / 16), t % 16, token / kTileTokens, tiles.value_crumbs, 2);
  }

  cpu::TurboReader Reader() const {
    cpu::TurboReader reader;
    reader.key_kind = key.kind;
    reader.value_kind = value.kind;
    reader.key_third_in_base = key.turbo() && key.stored_bits == 5;
    reader.value_third_in_base = value.turbo() && value.stored_bits == 5;
    reader.key_table = Table(key, cpu::kKeyTableOffset);
    reader.value_table = Table(value, 0);
    return reader;
  }

  // How to decode one side; without what concerns the rows.
  cpu::TurboDecoderShape Decoder(bool keys) const {
    cpu::TurboDecoderShape shape;
    shape.kind = (keys ? key : value).kind;
    shape.head_dim = tiles.head_dim;
    shape.keys = keys;
    shape.table = Table(keys ? key : value, cpu::TurboDecoderShape::kImageOffset);
    return shape;
  }
  cpu::TurboDecodeTile FirstTile(bool keys) const {
    const SideCodec codec = keys ? key : value;
    cpu::TurboDecodeTile tile;
    const uint8_t* payload = tiles.base + (keys ? tiles.key_crumbs : tiles.value_crumbs);
    uint32_t plane = 0;
    tile.plane[plane++] = payload;
    if (codec.payload() == 24) tile.plane[plane++] = payload + 16 * tiles.head_dim;
    tile.plane[plane++] = refine[keys ? 0 : 2].data();
    tile.plane[plane++] = refine[keys ? 1 : 3].data();
    tile.tokens = tiles.tokens < kTileTokens ? tiles.tokens : kTileTokens;
    return tile;
  }

  SideCodec key, value;
  cpu::TurboTiles tiles;

 private:
  static const TurboCodebook& Book(SideCodec codec) {
    constexpr CodecId kIds[] = {CodecId::kTurbo1, CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTurbo5};
    return TurboCodebookFor(kIds[codec.stored_bits - 1], codec.bits());
  }
  static cpu::TurboTable Table(SideCodec codec, int offset) {
    if (codec.turbo()) return cpu::MakeTurboTable(Book(codec), offset);
    return cpu::MakeTrellisTable(TrellisCodebookFor(codec.bits()), codec.bits(), offset);
  }

  double Scale(uint32_t token, uint32_t scales, int16_t TileHead::*exponent, uint8_t TileHead::*shift) const {
    const uint8_t* tile = base.data() + size_t{token / kTileTokens} * tiles.base_stride;
    TileHead head;
    std::memcpy(&head, tile, sizeof head);
    return ScaleValue({head.*exponent, head.*shift}, tile[scales + token % kTileTokens]);
  }

  static uint32_t Word(const uint8_t* plane, uint32_t index) {
    uint32_t word;
    std::memcpy(&word, plane + size_t{4} * index, sizeof word);
    return word;
  }

  int Image(SideCodec codec, AtomPlace atom, uint32_t c, uint32_t tile, uint32_t payload, uint32_t first_refine) const {
    const uint8_t* own = base.data() + size_t{tile} * tiles.base_stride + payload;
    const uint8_t* after_crumbs = own + size_t{16} * tiles.head_dim;
    const auto refine_word = [&](uint32_t i) {
      return Word(refine[first_refine + i].data() + size_t{tile} * tiles.refine_stride, atom.refine_word);
    };
    if (!codec.turbo()) return TrellisImage(codec.bits(), own, after_crumbs, atom, c);
    const uint32_t first = FirstRefineShift(atom.vector, c), second = SecondRefineShift(atom.vector, c);
    if (codec.stored_bits == 1) return Book(codec).image[Word(own, atom.refine_word) >> first & 1];
    uint32_t code = Word(own, atom.base_word) >> CrumbShift(c) & 3;
    if (codec.stored_bits == 5) {
      code = code << 1 | (Word(after_crumbs, atom.refine_word) >> first & 1);
      if (codec.bits() >= 4) code = code << 1 | (refine_word(0) >> second & 1);
      if (codec.bits() == 5) code = code << 1 | (refine_word(1) >> first & 1);
    } else {
      if (codec.bits() >= 3) code = code << 1 | (refine_word(0) >> first & 1);
      if (codec.bits() == 4) code = code << 1 | (refine_word(1) >> second & 1);
    }
    return Book(codec).image[code];
  }

  static int TrellisImage(uint32_t bits, const uint8_t* own, const uint8_t* after_crumbs, AtomPlace atom, uint32_t c) {
    const uint32_t ring = TrellisRing(bits), at = bits == 1 ? 16 * atom.vector + c : c;
    const auto symbol = [&](uint32_t i) -> uint32_t {
      if (bits == 1) return Word(own, atom.refine_word) >> (31 - i) & 1;
      const uint32_t crumb = Word(own, atom.base_word) >> CrumbShift(i) & 3;
      return bits == 2 ? crumb : crumb << 1 | (Word(after_crumbs, atom.refine_word) >> TrellisLowShift(atom.vector, i) & 1);
    };
    uint32_t window = 0;
    for (uint32_t back = 4; back-- > 0;) window = (window << bits | symbol((at + ring - back) % ring)) & 15;
    return TrellisCodebookFor(bits).image[window];
  }

  std::vector<uint8_t> base;
  std::array<std::vector<uint8_t>, 4> refine;  // of keys, of values
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_PORTABLE_RANDOM_TILES_H_
