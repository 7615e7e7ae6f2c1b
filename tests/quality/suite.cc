#include "tests/quality/suite.h"

#include <cmath>

namespace polarkv::quality {
namespace {

constexpr BiasShape kShapes[] = {BiasShape::kFourPairs, BiasShape::kAllPairs};

using Specs = std::vector<SyntheticSpec>;

void AddGaussian(Profile profile, Specs& specs) {
  for (uint32_t head_dim : {64u, 128u, 256u}) {
    if (profile == Profile::kQuick && head_dim != 128) continue;
    specs.push_back({.name = "gaussian/d" + std::to_string(head_dim),
                     .group = kGaussianGroup,
                     .head_dim = head_dim,
                     .tokens = 2048,
                     .rope = {},
                     .seed = 11});
  }
}

SyntheticSpec Biased(const char* group, double bias, BiasShape shape, uint32_t tokens) {
  return {.name = BiasedName(group, bias, shape, tokens),
          .group = group,
          .tokens = tokens,
          .bias = bias,
          .bias_shape = shape,
          .seed = group == std::string(kBiasGroup) ? 7 : 20 + tokens};
}

void AddBiased(Profile profile, Specs& specs) {
  for (double bias : kBiases) {
    for (BiasShape shape : kShapes) {
      if (bias == 0 && shape == BiasShape::kAllPairs) continue;
      specs.push_back(Biased(kBiasGroup, bias, shape, 1024));
      specs.push_back(Biased(kContextGroup, bias, shape, 512));
      // The biases where schemes differ most: long cases take nearly all of a run's time.
      const bool also_long = shape == BiasShape::kFourPairs ? bias == 0 || bias == 120 : bias == 600;
      if (profile == Profile::kQuick || !also_long) continue;
      specs.push_back(Biased(kContextGroup, bias, shape, 4096));
      specs.push_back(Biased(kContextGroup, bias, shape, 32768));
    }
  }
}

void AddHeadDims(Specs& specs) {
  for (uint32_t head_dim : {64u, 256u}) {
    for (auto [bias, shape] : {std::pair{0.0, BiasShape::kFourPairs}, std::pair{120.0, BiasShape::kFourPairs},
                               std::pair{600.0, BiasShape::kAllPairs}}) {
      SyntheticSpec spec = Biased(kHeadDimGroup, bias, shape, 1024);
      spec.name += "/d" + std::to_string(head_dim);
      spec.head_dim = head_dim;
      spec.rope.dims = static_cast<uint16_t>(head_dim);
      spec.seed = 30 + head_dim;
      specs.push_back(spec);
    }
  }
}

void AddRope(Specs& specs) {
  const auto add = [&specs](const std::string& name, Rope rope, uint64_t first, double bias, BiasShape shape) {
    SyntheticSpec spec = Biased(kRopeGroup, bias, shape, 1024);
    spec.name = "rope/" + name;
    spec.rope = rope;
    spec.first_position = first;
    spec.seed = 40;
    specs.push_back(spec);
  };
  const Rope half{RopePairing::kHalf, 1e6f, 128}, interleaved{RopePairing::kInterleaved, 1e6f, 128};
  add("interleaved/120/four", interleaved, 1000, 120, BiasShape::kFourPairs);
  add("interleaved/600/all", interleaved, 1000, 600, BiasShape::kAllPairs);
  add("base1e4/120/four", {RopePairing::kHalf, 1e4f, 128}, 1000, 120, BiasShape::kFourPairs);
  add("base1e4/600/all", {RopePairing::kHalf, 1e4f, 128}, 1000, 600, BiasShape::kAllPairs);
  add("base5e5/120/four", {RopePairing::kHalf, 5e5f, 128}, 1000, 120, BiasShape::kFourPairs);
  add("first0/120/four", half, 0, 120, BiasShape::kFourPairs);
  add("first32k/120/four", half, 32768, 120, BiasShape::kFourPairs);
  add("first128k/120/four", half, 131072, 120, BiasShape::kFourPairs);
  add("first128k/600/all", half, 131072, 600, BiasShape::kAllPairs);
}

void AddPathologies(Profile profile, Specs& specs) {
  const auto add = [&specs](const char* name, SyntheticSpec spec) {
    spec.name = std::string("pathology/") + name;
    spec.group = kPathologyGroup;
    spec.seed = 50;
    specs.push_back(spec);
  };
  const uint32_t tokens = 1024;
  add("outlier_channels", {.tokens = tokens, .content = KeyContent::kOutlierChannels});
  add("low_rank", {.tokens = tokens, .content = KeyContent::kLowRank});
  add("heavy_tails", {.tokens = tokens, .content = KeyContent::kHeavyTails});
  add("decaying_spectrum", {.tokens = tokens, .content = KeyContent::kDecayingSpectrum});
  add("first_sink", {.tokens = tokens, .first_position = 0, .bias = 120, .sink = Sink::kFirstToken});
  add("inner_sink", {.tokens = tokens, .bias = 120, .sink = Sink::kInside});
  add("value_mean", {.tokens = tokens, .value_mean = 1});
  SyntheticSpec all{.tokens = tokens,
                    .first_position = 0,
                    .bias = 120,
                    .content = KeyContent::kDecayingSpectrum,
                    .sink = Sink::kFirstToken,
                    .value_mean = .5};
  add("all_at_once", all);
  if (profile == Profile::kQuick) return;
  all.tokens = 32768;
  add("all_at_once/32768", all);
}

// Without a bias the schemes of four bits are so close that one draw does not tell which errs less.
void AddDraws(Specs& specs) {
  const Specs drawn = specs;
  for (const SyntheticSpec& once : drawn) {
    const bool compared = once.group == kBiasGroup || once.group == kContextGroup || once.group == kHeadDimGroup;
    if (!compared || once.bias != 0 || once.tokens > 4096) continue;
    for (uint64_t draw = 2; draw <= 8; ++draw) {
      SyntheticSpec spec = once;
      spec.name += kDrawMark;
      spec.name += std::to_string(draw);
      spec.group = kDrawGroup;
      spec.seed += 1000 * draw;
      specs.push_back(spec);
    }
  }
}

}  // namespace

std::vector<std::string> SyntheticGroups() {
  return {kGaussianGroup, kBiasGroup, kContextGroup, kHeadDimGroup, kRopeGroup, kPathologyGroup, kDrawGroup};
}

std::string BiasedName(const std::string& group, double bias, BiasShape shape, uint32_t tokens) {
  return group + "/" + std::to_string(std::lround(bias)) + "/" + (shape == BiasShape::kFourPairs ? "four" : "all") +
         "/" + std::to_string(tokens);
}

Specs SuiteSpecs(Profile profile) {
  Specs specs;
  AddGaussian(profile, specs);
  AddBiased(profile, specs);
  if (profile == Profile::kFull) {
    AddHeadDims(specs);
    AddRope(specs);
  }
  AddPathologies(profile, specs);
  if (profile == Profile::kFull) AddDraws(specs);
  return specs;
}

}  // namespace polarkv::quality
