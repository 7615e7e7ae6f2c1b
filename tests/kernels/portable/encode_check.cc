#include "tests/kernels/portable/encode_check.h"

#include <cstdio>

#include "codec/half_float.h"
#include "codec/log_scale.h"
#include "kernels/cpu/turbo_bodies.h"
#include "tests/kernels/portable/written_out_encoder.h"

namespace polarkv::testing {
namespace {

// Rows in memory as a dtype has them, and as floats.
struct Rows {
  Rows(uint32_t head_dim, uint32_t count, Dtype type, RandomBits& random) : dtype(type), bytes(type == Dtype::kF32 ? 4 : 2) {
    for (uint32_t t = 0; t < count; ++t) {
      const int kind = random.Between(0, 9);
      for (uint32_t j = 0; j < head_dim; ++j) {
        uint32_t bits = static_cast<uint32_t>(random());  // any, where they are finite
        if (kind == 0) bits = 0x80000000u & bits;
        if (kind > 3) bits = std::bit_cast<uint32_t>(Bell(random));
        if (kind == 1 && j != t % head_dim) bits &= 0x807FFFFFu;  // subnormal beside one that need not be
        if ((bits & 0x7F800000u) == 0x7F800000u) bits ^= 0x40000000u;
        Add(bits, kind > 3);
      }
    }
    data.resize(data.size() + 64);
  }

  Dtype dtype;
  uint32_t bytes;
  std::vector<uint8_t> data;
  std::vector<float> floats;

 private:
  static float Bell(RandomBits& random) {
    int sum = 0;
    for (int i = 0; i < 8; ++i) sum += random.Between(-1000, 1000);
    return static_cast<float>(sum) * 0.001f;
  }
  void Add(uint32_t bits, bool convert) {
    uint32_t stored = dtype == Dtype::kF32 ? bits : bits >> 16;
    if (dtype == Dtype::kF16 && convert) stored = FloatToHalf(std::bit_cast<float>(bits));
    if (dtype == Dtype::kF16 && (stored & 0x7C00) == 0x7C00) stored ^= 0x4000;
    for (uint32_t i = 0; i < bytes; ++i) data.push_back(static_cast<uint8_t>(stored >> 8 * i));
    floats.push_back(dtype == Dtype::kF32   ? std::bit_cast<float>(bits)
                     : dtype == Dtype::kF16 ? HalfToFloat(static_cast<uint16_t>(stored))
                                            : std::bit_cast<float>(stored << 16));
  }
};

struct Case {
  bool trellis, keys;
  uint32_t bits, head_dim, tokens;
  Dtype dtype;
};

class Checker {
 public:
  Checker(cpu::InstructionSet set, RandomBits& random) : set_(set), random_(random) {
    for (uint32_t j = 0; j < 256; ++j) {
      negated_[j] = (random() & 1) != 0;
      signs32_[j] = negated_[j] ? 0x80000000u : 0;
      signs16_[j] = negated_[j] ? 0x8000 : 0;
    }
    for (int i = 0; i < kScaleSteps; ++i) {
      tables_.thresholds[i] = kOctaveThresholds[static_cast<size_t>(i)];
      tables_.below[i] = 0;
      for (const float threshold : kOctaveThresholds) tables_.below[i] += threshold <= 1 + static_cast<float>(i) / kScaleSteps ? 1 : 0;
    }
  }

  void CheckTile(const Case& how) {
    const Rows rows(how.head_dim, how.tokens, how.dtype, random_);
    const uint64_t counted = random_.Between(0, 2) == 0 ? random_() | random_() : ~uint64_t{0};
    const uint64_t present = how.tokens == kTileTokens ? ~uint64_t{0} : (uint64_t{1} << how.tokens) - 1;
    WrittenOutEncoder encoder(how.trellis, how.bits, how.keys, how.head_dim, negated_);
    const WrittenOutTile expected = encoder.Encode(rows.floats.data(), how.tokens, counted);
    std::vector<uint8_t> payload(expected.payload.size(), 0xA5), refine1(expected.refine1.size(), 0xA5), refine0(expected.refine0.size(), 0xA5);
    cpu::TurboEncodedTile tile;
    tile.crumbs = payload.data();
    tile.refine1 = refine1.data();
    tile.refine0 = refine0.data();
    std::vector<cpu::TrellisPlace> places;
    const uint32_t atom_rows = how.keys ? kTileTokens : how.head_dim, atoms = (how.keys ? how.head_dim : kTileTokens) / 16;
    for (uint32_t i = 0; i < atoms * atom_rows; ++i) {
      const AtomPlace place = how.keys ? KeyAtom(how.head_dim, i % atom_rows, i / atom_rows) : ValueAtom(how.head_dim, i % atom_rows, i / atom_rows);
      places.push_back({place.base_word, place.refine_word, place.vector});
    }
    cpu::TurboEncoderShape shape = Shape(how.head_dim, how.keys, how.dtype);
    shape.bits = how.bits;
    shape.places = places.data();
    cpu::TurboEncodeRows in = {rows.data.data(), int64_t{rows.bytes} * how.head_dim, how.tokens, counted, rows.data.data()};
    const bool finite = cpu::TurboEncodeBodyFor(set_, how.trellis, how.bits, how.head_dim)(shape, in, tile);
    Check("finite rows", how, finite ? 1 : 0, 1);
    CheckBytes("byte of the payload", how, payload, expected.payload);
    CheckBytes("byte of the first refinement plane", how, refine1, expected.refine1);
    CheckBytes("byte of the second refinement plane", how, refine0, expected.refine0);
    int32_t steps[kTileTokens];
    cpu::ScaleStepsBodyFor(set_)(tables_, tile, steps);
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      const double scale = (counted & present) >> t & 1 ? expected.scale[t] : 0;
      Check("scale", how, std::ldexp(double{tile.mantissa[t]}, tile.exponent[t]), scale);
      const int binade = scale > 0 ? std::ilogb(scale) : 0;
      const int step = scale > 0 ? ScaleStep(static_cast<float>(std::ldexp(scale, -binade)), binade) : cpu::kNoStep;
      Check("step of a scale", how, steps[t], step);
    }
  }

  void CheckRefusal(const Case& how) {
    Rows rows(how.head_dim, how.tokens, how.dtype, random_);
    const uint32_t top = how.dtype == Dtype::kF16 ? 0x7C : how.dtype == Dtype::kBF16 ? 0x7F80 : 0x7F800000;
    const auto at = static_cast<uint32_t>(random_.Between(0, static_cast<int>(how.tokens * how.head_dim) - 1));
    uint8_t* number = rows.data.data() + size_t{at} * rows.bytes;
    if (how.dtype == Dtype::kF16) {
      number[1] = static_cast<uint8_t>((number[1] & 0x80) | top);
      number[0] = static_cast<uint8_t>(random_.Between(0, 255));
    } else {
      std::memcpy(number, &top, rows.bytes);
    }
    std::vector<uint8_t> planes(size_t{24} * how.head_dim), refine(size_t{16} * how.head_dim);
    cpu::TurboEncodedTile tile;
    tile.crumbs = planes.data();
    tile.refine1 = refine.data();
    tile.refine0 = refine.data() + 8 * how.head_dim;
    cpu::TurboEncoderShape shape = Shape(how.head_dim, how.keys, how.dtype);
    shape.bits = how.bits;
    const cpu::TurboEncodeRows in = {rows.data.data(), int64_t{rows.bytes} * how.head_dim, how.tokens, ~uint64_t{0}, rows.data.data()};
    Check("refusal", how, cpu::TurboEncodeBodyFor(set_, false, how.bits, how.head_dim)(shape, in, tile) ? 1 : 0, 0);
  }

  // A mean, taken off; `distance` between a pair's coordinates, or 0.
  void CheckMeans(uint32_t d, uint32_t distance, uint32_t turned, Dtype dtype) {
    const Case how = {false, true, 0, d, 37, dtype};
    const cpu::KeyMeanBodies bodies = cpu::KeyMeanBodiesFor(set_, d, distance, turned);
    const Rows rows(d, how.tokens, dtype, random_);
    cpu::TurboEncodeRows in = {rows.data.data(), int64_t{rows.bytes} * d, how.tokens, random_() | 0xF0F0F0, rows.data.data()};
    const cpu::TurboEncoderShape shape = Shape(d, true, dtype);
    uint64_t phases[128] = {}, by_pair[128] = {};
    for (uint32_t p = 0; p < turned; ++p) phases[p] = random_();
    for (uint32_t p = 0; p < turned; ++p) by_pair[p] = phases[distance == 0 ? p : cpu::CoordinatesOf(bodies.pairs, p).first];
    std::vector<float> turns(size_t{how.tokens} * d), residual(size_t{kTileTokens} * d + 16), mean(d);
    for (float& x : mean) x = static_cast<float>(random_.Between(-1000, 1000)) * 0.003f;
    cpu::PairNumbers of_pairs, step, sum;
    for (uint32_t p = 0; p < d / 2; ++p) {
      const cpu::PairCoordinates pair = cpu::CoordinatesOf(bodies.pairs, p);
      of_pairs.first[p] = mean[pair.first];
      of_pairs.second[p] = mean[pair.second];
    }
    const uint64_t position = random_() >> 12;
    for (uint32_t t = 0; t < how.tokens; ++t) bodies.directions(by_pair, position + t, d / 2, &turns[size_t{t} * d], &turns[size_t{t} * d + d / 2]);
    float square = 0;
    for (const float x : mean) square += x * x;
    auto* aligned = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(residual.data()) + 63) & ~uintptr_t{63});
    const uint64_t taken = bodies.take_off(shape, in, bodies.pairs, of_pairs, turns.data(), square / 2, aligned);
    for (uint32_t t = 0; t < how.tokens; ++t) {
      float m[256], c, s;
      const float* row = &rows.floats[size_t{t} * d];
      std::memcpy(m, mean.data(), sizeof(float) * d);
      for (uint32_t p = 0; p < turned; ++p) {
        const uint32_t first = distance == 0 ? 2 * p : p, second = distance == 0 ? 2 * p + 1 : p + distance;
        DirectionOf(phases[p] * (position + t), c, s);
        m[first] = Fused(c, mean[first], -(s * mean[second]));
        m[second] = Fused(s, mean[first], c * mean[second]);
      }
      const bool take = (in.counted >> t & 1) != 0 && SumOfProducts(row, m, d) > square / 2;
      Check("token that loses the mean", how, static_cast<double>(taken >> t & 1), take ? 1 : 0);
      for (uint32_t j = 0; j < d; ++j) Check("key without the mean", how, aligned[t * d + j], take ? row[j] - m[j] : row[j]);
    }
    bodies.directions(by_pair, 4, d / 2, step.first, step.second);
    float energy = 0;
    bodies.sum(shape, in, 4, bodies.pairs, step, sum, &energy);
    CheckSums(how, rows, in.counted, phases, distance, turned, bodies.pairs, sum, energy);
  }

 private:
  cpu::TurboEncoderShape Shape(uint32_t d, bool keys, Dtype dtype) const {
    cpu::TurboEncoderShape shape;
    shape.head_dim = d;
    shape.keys = keys;
    shape.dtype = static_cast<uint32_t>(dtype);
    shape.sign_bits16 = signs16_;
    shape.sign_bits32 = signs32_;
    shape.gain = static_cast<float>(1664 * std::sqrt(static_cast<double>(d / (d & (~d + 1)))));
    shape.rotated_norm = static_cast<float>(1664 * std::sqrt(static_cast<double>(d)));
    shape.to_unit_variance = 1.0f / 1664;
    return shape;
  }

  void CheckSums(const Case& how, const Rows& rows, uint64_t counted, const uint64_t* phases, uint32_t distance, uint32_t turned,
                 const cpu::KeyPairs& pairs, const cpu::PairNumbers& got, float energy) {
    const uint32_t d = how.head_dim;
    float sum[256] = {}, partial[32] = {};
    for (uint32_t t = (how.tokens - 1) / 4 * 4 + 4; t >= 4;) {
      t -= 4;
      float key[256] = {};
      if ((counted >> t & 1) != 0) std::memcpy(key, &rows.floats[size_t{t} * d], sizeof(float) * d);
      for (uint32_t p = 0; p < turned; ++p) {
        const uint32_t first = distance == 0 ? 2 * p : p, second = distance == 0 ? 2 * p + 1 : p + distance;
        float c, s;
        DirectionOf(phases[p] * 4, c, s);
        const float a = sum[first], b = sum[second];
        sum[first] = Fused(c, a, Fused(s, b, key[first]));
        sum[second] = Fused(c, b, Fused(-s, a, key[second]));
      }
      for (uint32_t j = 2 * turned; j < d; ++j) sum[j] += key[j];
      for (uint32_t j = 0; j < d; ++j) partial[j % 32] = Fused(key[j], key[j], partial[j % 32]);
    }
    for (uint32_t stride = 1; stride < 32; stride *= 2) {
      for (uint32_t i = 0; i < 32; i += 2 * stride) partial[i] += partial[i + stride];
    }
    Check("energy of keys", how, energy, partial[0]);
    // With more energy sums are not used, and may be beyond fp32: whoever calls adds keys up in fp64 then.
    if (!(partial[0] <= 0x1p100f)) return;
    for (uint32_t p = 0; p < d / 2; ++p) {
      const cpu::PairCoordinates pair = cpu::CoordinatesOf(pairs, p);
      Check("sum of keys", how, got.first[p], sum[pair.first]);
      Check("sum of keys", how, got.second[p], sum[pair.second]);
    }
  }

  void CheckBytes(const char* what, const Case& how, const std::vector<uint8_t>& got, const std::vector<uint8_t>& expected) {
    for (size_t i = 0; i < expected.size(); ++i) Check(what, how, got[i], expected[i]);
  }

  void Check(const char* what, const Case& how, double got, double expected) {
    ++count.checks;
    if (got == expected || (std::isnan(got) && std::isnan(expected))) return;
    if (++count.failures > 20) return;
    std::printf("%s: %s%u, %s, head_dim %u, %u tokens, dtype %d: %.9g, not %.9g\n", what, how.trellis ? "trellis" : "turbo",
                static_cast<unsigned>(how.bits), how.keys ? "keys" : "values", static_cast<unsigned>(how.head_dim),
                static_cast<unsigned>(how.tokens), static_cast<int>(how.dtype), got, expected);
  }

  cpu::InstructionSet set_;
  RandomBits& random_;
  bool negated_[256];
  alignas(64) uint32_t signs32_[256];
  alignas(64) uint16_t signs16_[256];
  cpu::ScaleTables tables_;

 public:
  CheckCount count;
};

}  // namespace

CheckCount CheckEncoders(cpu::InstructionSet set, RandomBits& random) {
  Checker checker(set, random);
  constexpr Dtype kDtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};
  for (const uint32_t d : {64u, 80u, 96u, 128u, 192u, 256u}) {
    for (const Dtype dtype : kDtypes) {
      for (const bool keys : {true, false}) {
        for (uint32_t bits = 1; bits <= 5; ++bits) {
          const auto tokens = static_cast<uint32_t>(random.Between(0, 1) == 0 ? kTileTokens : random.Between(1, 64));
          checker.CheckTile({false, keys, bits, d, tokens, dtype});
          checker.CheckRefusal({false, keys, bits, d, tokens, dtype});
          // The search takes long: one dtype each.
          if (bits <= 3 && dtype == kDtypes[(bits + d / 16) % 3]) checker.CheckTile({true, keys, bits, d, tokens, dtype});
        }
      }
      checker.CheckMeans(d, d / 2, d / 2, dtype);
      checker.CheckMeans(d, 16, 16, dtype);
      checker.CheckMeans(d, 0, d / 2, dtype);
      checker.CheckMeans(d, 0, 5, dtype);
    }
  }
  return checker.count;
}

}  // namespace polarkv::testing
