// Writes the fuzzers' seed corpus; the same files every time. Run by hand when the format changes, never by a test.
// Usage: make_corpus FOLDER (block/, profile/ and tensors/ in it)
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/codec/block_defects.h"
#include "tests/codec/profile_samples.h"
#include "tests/codec/test_block.h"

namespace {

namespace fs = std::filesystem;
using polarkv::BlockSpec;
using polarkv::CodecId;

bool Write(const fs::path& path, std::vector<uint8_t> control, const std::vector<uint8_t>& block) {
  control.insert(control.end(), block.begin(), block.end());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(control.data()), static_cast<std::streamsize>(control.size()));
  return out.good();
}

std::vector<float> OneHot() {
  std::vector<float> numbers(131);
  numbers[17] = 100;
  return numbers;
}

// Control bytes and numbers of block_encode_fuzz: each codec for keys, with numbers of one kind each.
bool WriteTensors(const fs::path& folder) {
  fs::create_directories(folder);
  struct Kind {
    const char* name;
    std::vector<float> numbers;
  };
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> gaussian(400), wide(300);
  for (float& x : gaussian) x = normal(random);
  for (float& x : wide) x = std::ldexp(normal(random), static_cast<int>(random() % 240) - 120);
  const std::vector<Kind> kinds = {{"gaussian", gaussian},       {"wide", wide},         {"zero", {0, -0.0f}},
                                   {"constant", {-3}},           {"one-hot", OneHot()},  {"subnormal", {1e-40f, -1e-45f, 0}},
                                   {"largest", {3e38f, -3e38f}}, {"infinite", {1, INFINITY}}, {"nan", {1, 2, NAN}}};
  bool ok = true;
  for (size_t i = 0; i < polarkv::AllCodecs().size(); ++i) {
    const CodecId codec = polarkv::AllCodecs()[i];
    if (polarkv::IsPolarPair(codec) && codec != CodecId::kPolar44 && codec != polarkv::PolarCodec(3, 2)) continue;
    const Kind& kind = kinds[i % kinds.size()];
    std::vector<uint8_t> bytes(4 * kind.numbers.size());
    std::memcpy(bytes.data(), kind.numbers.data(), bytes.size());
    const auto byte = [](size_t x) { return static_cast<uint8_t>(x); };
    // Heads, head_dim, tokens, codecs, F32, RoPE of all coordinates, position 0, policies by turns.
    const std::vector<uint8_t> control = {byte(i), byte(i / 2), byte(70 + i), byte(i), 3, 2, byte(i), 0, 0, 0, 0, 0, 0, 0,
                                          byte(i), 4};
    ok &= Write(folder / (std::string(polarkv::CodecName(codec)) + "-" + kind.name), control, bytes);
  }
  return ok;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  const fs::path folder = fs::path(argv[1]) / "block", profiles = fs::path(argv[1]) / "profile";
  fs::create_directories(folder);
  fs::create_directories(profiles);
  bool ok = WriteTensors(fs::path(argv[1]) / "tensors");
  // Whole blocks of every codec, resealed to every depth after mutation.
  uint8_t how_far = 0;
  for (const CodecId codec : polarkv::AllCodecs()) {
    const bool other_polar = polarkv::IsPolarPair(codec) && codec != CodecId::kPolar44 && codec != polarkv::PolarCodec(3, 2);
    if (other_polar) continue;
    const BlockSpec spec = polarkv::testing::DefectSpec({codec, CodecId::kTurbo3});
    const std::string name = "whole-" + std::string(polarkv::CodecName(codec));
    ok &= Write(folder / name, {how_far, 0, 0, 0xFF}, polarkv::testing::MakeBlock(spec));
    how_far = how_far % 3 + 1;
  }
  // Mean keys, escapes, a phase table; and layers that differ.
  ok &= Write(folder / "layered", {3, 0, 0, 0xFF}, polarkv::testing::MakeBlock(polarkv::testing::LayeredDefectSpec()));
  ok &= Write(folder / "layers-differ", {3, 1, 4, 0xFF}, polarkv::testing::MakeBlock(polarkv::testing::LayeredSpec()));
  ok &= Write(folder / "layers-differ-header", {2, 0, 0, 0xFF}, polarkv::testing::MakeBlock(polarkv::testing::LayeredSpec()));
  // Key means in a profile, and the profile.
  BlockSpec profiled = polarkv::testing::LayeredDefectSpec();
  const polarkv::KeyMeanProfilePtr profile = polarkv::testing::SampleProfile();
  profiled.rope = profile->shape().rope;
  profiled.phases.clear();
  profiled.profile_digest = profile->digest();
  ok &= Write(folder / "profiled", {3, 0, 0, 0xFF}, polarkv::testing::MakeBlock(profiled));
  ok &= Write(profiles / "sample", {1}, {profile->bytes().begin(), profile->bytes().end()});
  // Several layers, heads and tiles, with a selection of some of them.
  BlockSpec spec = polarkv::testing::SmallSpec({CodecId::kTurbo3, CodecId::kTurbo2});
  ok &= Write(folder / "two-layers", {3, 1, 2, 1}, polarkv::testing::MakeBlock(spec));
  spec.layers = 1;
  const std::vector<uint8_t> block = polarkv::testing::MakeBlock(spec);
  const polarkv::BlockLayout layout = polarkv::BlockLayout::Make(spec).value();
  const auto base_end = static_cast<std::ptrdiff_t>(layout.SegmentOffset(0, polarkv::PlaneKind::kKeyRefine1));
  ok &= Write(folder / "base-plane-only", {2, 0, 1, 1}, {block.begin(), block.begin() + base_end});
  if (!ok) std::fprintf(stderr, "cannot write to %s\n", argv[1]);
  return ok ? 0 : 1;
}
