// The portable bodies against their arithmetic in double, on tiles of random bits; for machines that this project's tests do
// not run on. Plain C++; prints what failed, exits with 1 if anything did.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "codec/half_float.h"
#include "kernels/cpu/turbo_bodies.h"
#include "tests/kernels/portable/encode_check.h"
#include "tests/kernels/portable/random_tiles.h"

namespace polarkv::testing {
namespace {

using cpu::CodeKind;

struct Row {
  std::vector<int> query;  // rounded
  float scale;
};

// What one row is to come to: queries and weights rounded as kernels/README.md says, all else in double.
struct Expected {
  std::vector<double> output;
  double either_way = 0;  // weights so near to half a step that fp32 may round them the other way
  double log_sum = 0;     // base 2
};

double Logit(const RandomTiles& data, uint32_t token, const Row& row) {
  double score = 0;
  for (uint32_t j = 0; j < data.tiles.head_dim; ++j) score += row.query[j] * data.Key(token, j);
  return score * data.KeyScale(token) * double{row.scale};
}

Expected Expect(const RandomTiles& data, const Row& row, const std::vector<double>& added) {
  const uint32_t d = data.tiles.head_dim, tokens = data.tiles.tokens;
  std::vector<double> logits(tokens);
  for (uint32_t t = 0; t < tokens; ++t) logits[t] = Logit(data, t, row) + added[t];
  const double top = *std::max_element(logits.begin(), logits.end());
  Expected out{std::vector<double>(d, 0)};
  double sum = 0;
  for (uint32_t begin = 0; begin < tokens; begin += kTileTokens) {
    const uint32_t end = std::min(tokens, begin + kTileTokens);
    double likeliest = 0, largest_scale = 0;
    for (uint32_t t = begin; t < end; ++t) {
      sum += std::exp2(logits[t] - top);
      likeliest = std::max(likeliest, std::exp2(logits[t] - top));
    }
    for (uint32_t t = begin; t < begin + kTileTokens; ++t) largest_scale = std::max(largest_scale, data.ValueScale(t));
    const double step = likeliest * largest_scale / 255;
    for (uint32_t t = begin; t < end && step > 0; ++t) {
      const double steps = std::exp2(logits[t] - top) * data.ValueScale(t) / step;
      const double weight = std::nearbyint(steps) * step;
      for (uint32_t j = 0; j < d; ++j) out.output[j] += weight * data.Value(t, j);
      if (std::fabs(steps - std::floor(steps) - 0.5) < 4e-3) out.either_way += 127 * step;
    }
  }
  for (double& x : out.output) x /= sum;
  out.either_way /= sum;
  out.log_sum = top + std::log2(sum);
  return out;
}

struct Shape {
  SideCodec key, value;
  uint32_t head_dim, tokens, rows;
};

int failures = 0, checks = 0;

void Check(const char* what, const Shape& shape, double got, double expected, double allowed) {
  ++checks;
  if (std::fabs(got - expected) <= allowed) return;
  if (++failures > 20) return;
  std::printf("%s: keys of kind %d, values of kind %d, head_dim %u, %u tokens, %u rows: %.9g, not %.9g +- %.3g\n", what,
              static_cast<int>(shape.key.kind), static_cast<int>(shape.value.kind), static_cast<unsigned>(shape.head_dim),
              static_cast<unsigned>(shape.tokens), static_cast<unsigned>(shape.rows), got, expected, allowed);
}

// extras: something is added to the logits of the only tile, whose probabilities are asked for.
void CheckAttention(cpu::InstructionSet set, const Shape& shape, bool extras, RandomBits& random) {
  const RandomTiles data(shape.key, shape.value, shape.head_dim, shape.tokens, random);
  const uint32_t d = shape.head_dim;
  std::vector<Row> rows(shape.rows);
  std::vector<int32_t> words(size_t{shape.rows} * d / 4 + cpu::kWordsReadPast);
  std::vector<float> outputs(size_t{shape.rows} * 2 * d), added(size_t{shape.rows} * kTileTokens), probability(added.size());
  std::vector<cpu::TurboQuery> queries(shape.rows);
  std::vector<cpu::TurboRowState> states(shape.rows);
  for (uint32_t r = 0; r < shape.rows; ++r) {
    Row& row = rows[r];
    for (uint32_t j = 0; j < d; ++j) row.query.push_back(random.Between(-127, 127));
    row.scale = 1e-5f * static_cast<float>(random.Between(1, 9));
    for (uint32_t word = 0; word < d / 4; ++word) {
      const uint32_t first = word / 4 * 16 + cpu::kDwordFirstCode[word / 2 % 2][word % 2];
      uint32_t packed = 0;
      for (uint32_t byte = 0; byte < 4; ++byte) packed |= static_cast<uint32_t>(row.query[first - 4 * byte] & 0xFF) << 8 * byte;
      words[r * d / 4 + word] = static_cast<int32_t>(packed);
    }
    queries[r].words = &words[r * d / 4];
    for (const int x : row.query) queries[r].sum += x;
    queries[r].scale = row.scale;
    states[r].output = &outputs[size_t{r} * 2 * d];
  }
  if (extras) {
    for (float& x : added) x = static_cast<float>(random.Between(-400, 400)) / 100;
  }
  const cpu::TurboExtras both = {added.data(), shape.rows, probability.data()};
  cpu::TurboAttendBody* body = cpu::TurboAttendBodyFor(set, d, shape.rows);
  body(data.Reader(), data.tiles, queries.data(), states.data(), shape.rows, extras ? &both : nullptr);
  for (uint32_t r = 0; r < shape.rows; ++r) {
    std::vector<double> logits_added(shape.tokens, 0);
    for (uint32_t t = 0; extras && t < shape.tokens; ++t) logits_added[t] = added[r * kTileTokens + cpu::kScoreOrder.place[t]];
    const Expected expected = Expect(data, rows[r], logits_added);
    double largest = 0;
    for (uint32_t t = 0; t < shape.tokens; ++t) largest = std::max(largest, 127 * data.ValueScale(t));
    Check("log of the sum", shape, states[r].max + std::log2(states[r].sum), expected.log_sum, 3e-5 * (1 + std::fabs(expected.log_sum)));
    for (uint32_t j = 0; j < d; ++j) {
      Check("output", shape, states[r].output[j] / states[r].sum, expected.output[j], 2e-5 * largest + expected.either_way);
    }
    for (uint32_t t = 0; extras && t < shape.tokens; ++t) {
      const double p = std::exp2(Logit(data, t, rows[r]) + logits_added[t] - states[r].max);
      Check("probability", shape, probability[r * kTileTokens + cpu::kScoreOrder.place[t]], p, 3e-5);
    }
  }
}

// A decoded number, to the dtype's bits.
uint32_t Bits(float x, Dtype dtype) {
  constexpr float kLargestBFloat16 = 0x1.fep127f;
  if (dtype == Dtype::kF32) return std::bit_cast<uint32_t>(std::clamp(x, -0x1.fffffep127f, 0x1.fffffep127f));
  if (dtype == Dtype::kF16) return FloatToHalf(std::clamp(x, -kMaxHalf, kMaxHalf));
  const uint32_t bits = std::bit_cast<uint32_t>(std::clamp(x, -kLargestBFloat16, kLargestBFloat16));
  return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

// Both sides of the first tile, to every dtype; exactly.
void CheckDecode(cpu::TurboDecodeBody* body, const Shape& shape, bool rotated, RandomBits& random) {
  const RandomTiles data(shape.key, shape.value, shape.head_dim, shape.tokens, random);
  const uint32_t d = shape.head_dim, block = d & -d;
  alignas(64) uint32_t signs32[256];
  alignas(64) uint16_t signs16[256];
  for (uint32_t j = 0; j < 256; ++j) signs32[j] = (signs16[j] = (random() & 1) != 0 ? 0x8000 : 0) * 0x10000u;
  for (const bool keys : {true, false}) {
    cpu::TurboDecoderShape how = data.Decoder(keys);
    how.rotated = rotated;
    how.sign_bits16 = signs16;
    how.sign_bits32 = signs32;
    cpu::TurboDecodeTile tile = data.FirstTile(keys);
    for (float& factor : tile.factor) factor = random.Between(0, 9) == 0 ? 0 : std::ldexp(1.0f + 0.01f * static_cast<float>(random.Between(0, 99)), random.Between(-150, 127));
    for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const uint32_t bytes = dtype == Dtype::kF32 ? 4 : 2;
      std::vector<uint8_t> rows(size_t{bytes} * d * tile.tokens);
      how.dtype = static_cast<uint32_t>(dtype);
      tile.rows = rows.data();
      body(how, tile);
      for (uint32_t t = 0; t < tile.tokens; ++t) {
        int h[256];
        for (uint32_t j = 0; j < d; ++j) h[j] = keys ? data.Key(t, j) : data.Value(t, j);
        for (uint32_t stride = 1; stride < block && !rotated; stride *= 2) {
          for (uint32_t j = 0; j < d; ++j) {
            if ((j & stride) != 0) continue;
            const int a = h[j], b = h[j + stride];
            h[j] = a + b;
            h[j + stride] = a - b;
          }
        }
        for (uint32_t j = 0; j < d; ++j) {
          uint32_t got = 0;
          std::memcpy(&got, &rows[(size_t{t} * d + j) * bytes], bytes);
          uint32_t expected = Bits(tile.factor[t] * static_cast<float>(h[j]), dtype);
          if (!rotated) expected ^= dtype == Dtype::kF32 ? signs32[j] : signs16[j];
          Check("bits of a decoded number", shape, got, expected, 0);
        }
      }
    }
  }
}

// Codes as stored and as read with fewer planes.
std::vector<SideCodec> AllCodecs() {
  std::vector<SideCodec> codecs = {{CodeKind::kTrellis1, 0}, {CodeKind::kTrellis2, 0}, {CodeKind::kTrellis3, 0}, {CodeKind::kTurbo1, 1}};
  constexpr CodeKind kTurbo[] = {CodeKind::kTurbo2, CodeKind::kTurbo3, CodeKind::kTurbo4, CodeKind::kTurbo5};
  for (uint32_t stored = 2; stored <= 5; ++stored) {
    for (uint32_t read = stored == 5 ? 3 : 2; read <= stored; ++read) codecs.push_back({kTurbo[read - 2], stored});
  }
  return codecs;
}

void CheckBodies(cpu::InstructionSet set, RandomBits& random) {
  const std::vector<SideCodec> codecs = AllCodecs();
  for (size_t i = 0; i < codecs.size(); ++i) {
    for (const uint32_t d : {64u, 80u, 96u, 128u, 192u, 256u}) {
      const SideCodec other = codecs[(i + 1 + random() % (codecs.size() - 1)) % codecs.size()];
      const auto tokens = static_cast<uint32_t>(random.Between(1, 200));
      CheckAttention(set, {codecs[i], other, d, tokens, 1}, false, random);
      CheckAttention(set, {other, codecs[i], d, 64, 5}, false, random);
      CheckAttention(set, {codecs[i], codecs[i], d, static_cast<uint32_t>(random.Between(1, 64)), 2}, true, random);
      CheckDecode(cpu::TurboDecodeBodyFor(set, d), {codecs[i], other, d, tokens, 0}, i % 2 == 0, random);
      CheckDecode(cpu::TurboDecodeBodyFor(set, d), {other, codecs[i], d, tokens, 0}, i % 2 == 1, random);
    }
  }
}

}  // namespace
}  // namespace polarkv::testing

int main(int argc, char** argv) {
  using namespace polarkv;
  int bodies = 0;
  const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : static_cast<uint64_t>(std::time(nullptr));
  for (const cpu::InstructionSet set : cpu::kInstructionSets) {
    if (cpu::TurboAttendBodyFor(set, 64, 1) == nullptr || !cpu::Supports(set)) continue;
    testing::checks = testing::failures = 0;
    testing::RandomBits random(seed);
    testing::CheckBodies(set, random);
    const testing::CheckCount encoders = testing::CheckEncoders(set, random);
    testing::checks += encoders.checks;
    testing::failures += encoders.failures;
    std::printf("%s: %d of %d comparisons failed; seed %llu\n", cpu::InstructionSetName(set).data(), testing::failures,
                testing::checks, static_cast<unsigned long long>(seed));
    if (testing::failures != 0) return 1;
    ++bodies;
  }
  if (bodies == 0) std::puts("no body for this machine");
  return bodies == 0 ? 1 : 0;
}
