// Defects of tiles, mean keys and escape records.
#include <cstring>

#include "codec/outlier_channels.h"

#include "tests/codec/block_defects.h"
#include "tests/codec/test_block.h"

namespace polarkv::testing {
namespace {

constexpr uint16_t kInfinity = 0x7C00, kMinusOne = 0xBC00, kNan = 0x7E00;
constexpr char kTile[] = "tile of layer 0, head 0, tile 0: ";

// A segment of a block of one layer and one head, and where things are in it.
struct OpenSegment {
  uint8_t* bytes;
  const LayerLayout& layout;

  uint8_t* tile() const { return bytes + layout.first_tile; }
  uint8_t* escapes() const { return bytes + layout.first_escape; }
  // Adds to the fields of the tile's head.
  void ChangeHead(const std::function<void(TileHead&)>& change) const {
    TileHead head;
    std::memcpy(&head, tile(), sizeof head);
    change(head);
    std::memcpy(tile(), &head, sizeof head);
  }
};

void Put16(uint8_t* place, uint16_t value) { std::memcpy(place, &value, sizeof value); }

// A good block with a segment changed, sealed again.
BlockDefect InSegment(std::string name, std::string message, const BlockSpec& spec,
                      std::function<void(const OpenSegment&)> change, PlaneKind kind = PlaneKind::kBase) {
  return {std::move(name), DefectPlace::kPayload, absl::StatusCode::kDataLoss, "damaged block: " + message,
          [spec, change, kind] {
            BlockBytes block = MakeBlock(spec);
            const BlockLayout layout = BlockLayout::Make(spec).value();
            const uint64_t offset = layout.SegmentOffset(0, kind);
            change({block.data() + offset, layout.layer(0)});
            ResealSegment(block, offset, layout.SegmentBytes(0, kind), static_cast<uint32_t>(layout.PlaneIndex(kind)));
            return block;
          }};
}

class Adder {
 public:
  explicit Adder(std::vector<BlockDefect>& all) : all_(all) {}
  void Head(std::string name, const char* message, const BlockSpec& spec, std::function<void(TileHead&)> change) {
    all_.push_back(InSegment(std::move(name), std::string(kTile) + message, spec,
                             [change](const OpenSegment& s) { s.ChangeHead(change); }));
  }
  void Tile(std::string name, const char* message, const BlockSpec& spec,
            std::function<void(uint8_t*, const BaseTileLayout&)> change) {
    all_.push_back(InSegment(std::move(name), std::string(kTile) + message, spec,
                             [change](const OpenSegment& s) { change(s.tile(), s.layout.base_tile); }));
  }
  void Layer(std::string name, const char* message, std::function<void(const OpenSegment&)> change) {
    all_.push_back(InSegment(std::move(name), message, LayeredDefectSpec(), std::move(change)));
  }
  void Bands(std::string name, std::string message, const BlockSpec& spec, std::function<void(uint8_t*)> change) {
    all_.push_back(InSegment(std::move(name), std::move(message), spec,
                             [change](const OpenSegment& s) { change(s.bytes + s.layout.first_band); }));
  }
  void Residual(std::string name, const char* message, const BlockSpec& spec, uint32_t token, uint16_t norm) {
    all_.push_back(InSegment(
        std::move(name), std::string(kTile) + message, spec,
        [token, norm](const OpenSegment& s) { Put16(s.bytes + 2 * token, norm); }, PlaneKind::kKeyResidual));
  }

 private:
  std::vector<BlockDefect>& all_;
};

void AddScaledTiles(Adder& add) {
  const BlockSpec spec = DefectSpec();
  add.Head("tile-tokens", "token count differs from the header's", spec, [](TileHead& h) { h.tokens = 7; });
  add.Head("tile-reserved", "reserved tile bytes are not zero", spec, [](TileHead& h) { h.reserved[27] = 1; });
  add.Head("k-shift", "k_shift is above 5", spec, [](TileHead& h) { h.k_shift = 6; });
  add.Head("v-shift", "v_shift is above 5", spec, [](TileHead& h) { h.v_shift = 255; });
  add.Head("k-scale-base", "the K scales' base is out of range", spec, [](TileHead& h) {
    h.k_shift = 0;
    h.k_exponent = 7937;
  });
  add.Head("v-scale-base", "the V scales' base is out of range", spec, [](TileHead& h) {
    h.v_shift = 5;
    h.v_exponent = -514;
  });
  add.Tile("k-padding-scale", "the K scale of a padding token is not zero", spec,
           [](uint8_t* tile, const BaseTileLayout& at) { tile[at.k_scales + 6] = 1; });
  add.Tile("v-padding-scale", "the V scale of a padding token is not zero", spec,
           [](uint8_t* tile, const BaseTileLayout& at) { tile[at.v_scales + 63] = 1; });
}

void AddUnscaledTiles(Adder& add) {
  const BlockSpec fp16_k = DefectSpec({CodecId::kFp16, CodecId::kTurbo2});
  const BlockSpec fp16_v = DefectSpec({CodecId::kTurbo2, CodecId::kFp16});
  const BlockSpec polar_k = DefectSpec({CodecId::kPolar44, CodecId::kTurbo2});
  const BlockSpec polar_v = DefectSpec({CodecId::kTurbo2, PolarCodec(2, 3)});
  add.Head("k-exponent", "k_exponent out of range", fp16_k, [](TileHead& h) { h.k_exponent = 128; });
  add.Head("v-exponent", "v_exponent out of range", fp16_v, [](TileHead& h) { h.v_exponent = -193; });
  add.Head("k-shift-unused", "k_shift is not zero though the codec has no scales", polar_k,
           [](TileHead& h) { h.k_shift = 1; });
  add.Head("v-shift-unused", "v_shift is not zero though the codec has no scales", polar_v,
           [](TileHead& h) { h.v_shift = 1; });
  add.Head("k-escape-unscaled", "a key is marked as escaped though the codec has no scales", fp16_k,
           [](TileHead& h) { h.k_escapes = 1; });
  add.Head("v-escape-unscaled", "a value is marked as escaped though the codec has no scales", fp16_v,
           [](TileHead& h) { h.v_escapes = 1; });
  add.Tile("k-fp16-value", "an fp16 K value is not finite", fp16_k,
           [](uint8_t* tile, const BaseTileLayout& at) { Put16(tile + at.k_payload, kNan); });
  add.Tile("v-fp16-value", "an fp16 V value is not finite", fp16_v,
           [](uint8_t* tile, const BaseTileLayout& at) { Put16(tile + at.v_payload, kInfinity); });
  // The first parameter of a polar pair is an angle, which may be any 16 bits.
  add.Tile("k-polar-parameter", "a polar K step or radius is negative or not finite", polar_k,
           [](uint8_t* tile, const BaseTileLayout& at) { Put16(tile + at.k_payload + 2, kMinusOne); });
  add.Tile("v-polar-parameter", "a polar V step or radius is negative or not finite", polar_v,
           [](uint8_t* tile, const BaseTileLayout& at) { Put16(tile + at.v_payload + 4, kNan); });
  constexpr CodecPair kRecursive = {CodecId::kPolarRecursive, CodecId::kPolarRecursive};
  BlockSpec recursive = DefectSpec(kRecursive);
  add.Tile("k-polar-radius", "a radius of 16 K coordinates is negative or not finite", recursive,
           [](uint8_t* tile, const BaseTileLayout& at) { Put16(tile + at.k_payload, kInfinity); });
  add.Tile("v-polar-radius", "a radius of 16 V coordinates is negative or not finite", recursive,
           [](uint8_t* tile, const BaseTileLayout& at) { Put16(tile + at.v_payload + 8 * 64 - 2, kMinusOne); });
  // 31 * 80 bytes are no multiple of 64.
  recursive.head_dim = 80;
  add.Tile("k-payload-end", "K payload bytes after the codes are not zero", recursive,
           [](uint8_t* tile, const BaseTileLayout& at) { tile[at.k_payload + 31 * 80] = 1; });
  add.Tile("v-payload-end", "V payload bytes after the codes are not zero", recursive,
           [](uint8_t* tile, const BaseTileLayout& at) { tile[at.bytes - 1] = 1; });
}

void AddMasks(Adder& add) {
  const BlockSpec plain = DefectSpec(), layered = LayeredDefectSpec();
  add.Head("k-escape-padding", "the key of a padding token is marked as escaped", plain,
           [](TileHead& h) { h.k_escapes = uint64_t{1} << 6; });
  add.Head("v-escape-padding", "the value of a padding token is marked as escaped", plain,
           [](TileHead& h) { h.v_escapes = uint64_t{1} << 63; });
  add.Head("k-escape-scale", "the K scale of an escaped token is not zero", layered,
           [](TileHead& h) { h.k_escapes |= 2; });
  add.Head("v-escape-scale", "the V scale of an escaped token is not zero", layered,
           [](TileHead& h) { h.v_escapes |= 2; });
  add.Head("first-escape", "first_escape is not the number of escapes before the tile", layered,
           [](TileHead& h) { h.first_escape = 1; });
  add.Head("mean-flag-without-mean", "a key is marked as lacking the mean in a layer without key means", plain,
           [](TileHead& h) { h.k_mean = 1; });
  add.Head("mean-flag-padding", "the key of a padding token is marked as lacking the mean", layered,
           [](TileHead& h) { h.k_mean |= uint64_t{1} << 6; });
  add.Head("mean-flag-escaped", "an escaped key is marked as lacking the mean", layered,
           [](TileHead& h) { h.k_mean |= 1; });
  add.Tile("escapes-over-records", "more tokens are marked as escaped than have records", layered,
           [](uint8_t* tile, const BaseTileLayout& at) {
             tile[at.v_scales + 1] = 0;
             tile[offsetof(TileHead, v_escapes)] |= 2;
           });
  add.Layer("escapes-under-records", "layer 0: 3 escape records for 2 escaped keys and values",
            [](const OpenSegment& s) { s.ChangeHead([](TileHead& h) { h.v_escapes = 0; }); });
}

void AddRecords(Adder& add) {
  add.Layer("mean-exponent", "key mean 0 of layer 0: exponent out of range",
            [](const OpenSegment& s) { Put16(s.bytes, 128); });
  add.Layer("mean-reserved", "key mean 0 of layer 0: reserved bytes are not zero",
            [](const OpenSegment& s) { s.bytes[15] = 1; });
  add.Layer("mean-value", "key mean 0 of layer 0: a value is not finite",
            [](const OpenSegment& s) { Put16(s.bytes + 16, kInfinity); });
  add.Layer("mean-padding", "layer 0: padding after the key means is not zero",
            [](const OpenSegment& s) { s.tile()[-1] = 1; });
  add.Layer("escape-exponent", "escape record 0 of layer 0: exponent out of range",
            [](const OpenSegment& s) { Put16(s.escapes(), static_cast<uint16_t>(-193)); });
  add.Layer("escape-reserved", "escape record 1 of layer 0: reserved bytes are not zero",
            [](const OpenSegment& s) { s.escapes()[144 + 2] = 1; });
  add.Layer("escape-value", "escape record 2 of layer 0: a value is not finite",
            [](const OpenSegment& s) { Put16(s.escapes() + 2 * 144 + 142, kNan); });
  add.Layer("escape-padding", "layer 0: padding after the escape records is not zero",
            [](const OpenSegment& s) { s.escapes()[3 * 144] = 1; });
}

void AddBands(Adder& add) {
  const BlockSpec spec = DefectSpec({CodecId::kBand3, CodecId::kTurbo2});
  add.Bands("band-pair-twice", "band table 0 of layer 0: a pair is there twice", spec,
            [](uint8_t* table) { table[31] = table[0]; });
  add.Bands("band-pair", "band table 0 of layer 0: there is no such pair", spec,
            [](uint8_t* table) { table[0] = 32; });
  add.Bands("band-bits", "band table 0 of layer 0: a band has more than 6 bits", spec,
            [](uint8_t* table) { table[32] = 7; });
  add.Bands("band-budget", "band table 0 of layer 0: the bands' bits are not as many as the codec has", spec,
            [](uint8_t* table) { ++table[32]; });
  add.Bands("band-padding", "layer 0: padding after the band tables is not zero", spec,
            [](uint8_t* table) { table[40] = 1; });
}

void AddOutliers(Adder& add) {
  constexpr CodecPair kOutliers = {CodecId::kQjl1Outliers, CodecId::kTurbo2};
  const BlockSpec plain = DefectSpec(kOutliers);
  const auto tile = [&add](std::string name, const char* message, const BlockSpec& spec,
                           std::function<void(OutlierHead&, uint8_t*)> change) {
    add.Tile(std::move(name), message, spec, [change](uint8_t* bytes, const BaseTileLayout& at) {
      OutlierHead head;
      std::memcpy(&head, bytes + at.k_payload, sizeof head);
      change(head, bytes + at.k_payload + sizeof head);
      std::memcpy(bytes + at.k_payload, &head, sizeof head);
    });
  };
  tile("outlier-channel", "there is no such outlier channel", plain,
       [](OutlierHead& h, uint8_t*) { h.channel[1][7] = 64; });
  tile("outlier-order", "outlier channels do not ascend", plain,
       [](OutlierHead& h, uint8_t*) { h.channel[0][3] = h.channel[0][2]; });
  tile("outlier-shift", "the outliers' shift is above 5", plain, [](OutlierHead& h, uint8_t*) { h.shift = 6; });
  tile("outlier-base", "the outlier scales' base is out of range", plain,
       [](OutlierHead& h, uint8_t*) { h.base = -32768; });
  tile("outlier-reserved", "reserved bytes of the outliers are not zero", plain,
       [](OutlierHead& h, uint8_t*) { h.reserved[44] = 1; });
  tile("outlier-padding", "the outlier scale of a padding token is not zero", plain,
       [](OutlierHead&, uint8_t* scales) { scales[6] = 1; });
  tile("outlier-escaped", "the outlier scale of an escaped token is not zero", LayeredDefectSpec(kOutliers),
       [](OutlierHead&, uint8_t* scales) { scales[5] = 1; });
}

void AddResiduals(Adder& add) {
  constexpr CodecPair kResidual = {CodecId::kTurbo2Qjl, CodecId::kTurbo2};
  const BlockSpec plain = DefectSpec(kResidual);
  add.Residual("residual-norm", "a residual norm is negative or not finite", plain, 5, kMinusOne);
  add.Residual("residual-padding", "the residual norm of a padding token is not zero", plain, 6, 1);
  add.Residual("residual-escaped", "the residual norm of an escaped token is not zero", LayeredDefectSpec(kResidual), 0,
               1);
}

}  // namespace

void AddPayloadDefects(std::vector<BlockDefect>& all) {
  Adder add(all);
  AddScaledTiles(add);
  AddUnscaledTiles(add);
  AddMasks(add);
  AddRecords(add);
  AddBands(add);
  AddOutliers(add);
  AddResiduals(add);
}

}  // namespace polarkv::testing
