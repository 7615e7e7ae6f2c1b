#include "kernels/cuda/launch_groups.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/resident_block.h"

namespace polarkv::cuda {
namespace {

// Every member of AttentionCodec, tied so that a new one does not go unseen.
bool ReadAlike(const AttentionCodec& a, const AttentionCodec& b) {
  const auto& [dim_a, key_a, value_a, key_image_a, value_image_a, seed_a, base_a, refine_a] = a;
  const auto& [dim_b, key_b, value_b, key_image_b, value_image_b, seed_b, base_b, refine_b] = b;
  return dim_a == dim_b && key_a == key_b && value_a == value_b && std::ranges::equal(key_image_a, key_image_b) &&
         std::ranges::equal(value_image_a, value_image_b) && seed_a == seed_b && base_a == base_b && refine_a == refine_b;
}

// Full blocks have as many tokens as the group's pages have room for.
void MakeSequences(std::span<const BlockView> blocks, std::span<const uint32_t> members, LaunchGroup& group) {
  for (const uint32_t i : members) group.tiles_per_page = std::max(group.tiles_per_page, blocks[i].spec().tiles());
  std::vector<uint32_t> short_blocks;
  group.sequences.emplace_back();
  for (const uint32_t i : members) {
    const bool full = blocks[i].spec().tokens == group.tiles_per_page * kTileTokens;
    (full ? group.sequences.front() : short_blocks).push_back(i);
  }
  for (size_t i = 0; i < short_blocks.size(); ++i) {
    if (i > 0) group.sequences.emplace_back();
    group.sequences.back().push_back(short_blocks[i]);
  }
}

}  // namespace

absl::StatusOr<std::vector<LaunchGroup>> GroupBlocks(std::span<const BlockView> blocks, uint32_t layer) {
  std::vector<LaunchGroup> groups;
  std::vector<std::vector<uint32_t>> members;
  for (uint32_t i = 0; i < blocks.size(); ++i) {
    const std::optional<AttentionCodec> codec = AttentionCodecOf(blocks[i], layer);
    if (!codec.has_value()) {
      const LayerLayout& shape = blocks[i].layout().layer(layer);
      return absl::FailedPreconditionError(absl::StrCat("no CUDA attention kernel reads ", CodecPairName(shape.codec),
                                                        shape.key_mean ? " with key means" : "", " at head_dim ",
                                                        blocks[i].spec().head_dim));
    }
    const auto same = std::ranges::find_if(groups, [&](const LaunchGroup& group) { return ReadAlike(group.codec, *codec); });
    if (same == groups.end()) {
      groups.push_back({*codec, 0, {}});
      members.push_back({i});
    } else {
      members[static_cast<size_t>(same - groups.begin())].push_back(i);
    }
  }
  for (size_t i = 0; i < groups.size(); ++i) MakeSequences(blocks, members[i], groups[i]);
  return groups;
}

}  // namespace polarkv::cuda
