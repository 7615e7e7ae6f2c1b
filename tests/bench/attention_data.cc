#include "tests/bench/attention_data.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <map>
#include <tuple>

#include "codec/codec_id.h"
#include "codec/half_float.h"
#include "codec/rope_phase.h"
#include "kernels/kv_kernels.h"
#include "tests/codec/random_kv.h"

namespace polarkv::bench {
namespace {

using testing::Gaussian;

// Memory in huge pages, as stores have it: the same for every series.
std::span<uint8_t> HugeMemory(size_t size) {
  constexpr size_t kPage = size_t{2} << 20;
  size = (size + kPage - 1) / kPage * kPage;
  void* memory = std::aligned_alloc(kPage, size);
  madvise(memory, size, MADV_HUGEPAGE);
  return {static_cast<uint8_t*>(memory), size};
}

// With RoPE keys have a mean before it, which is coded apart.
std::vector<uint8_t> SelectedBlock(const BlockSpec& spec, const BlockSelection& selection) {
  auto k = Gaussian(size_t{kBlockTokens} * kDim, 1);
  const auto v = Gaussian(size_t{kBlockTokens} * kDim, 2), mean = Gaussian(kDim, 3);
  const std::vector<uint64_t> phases = RopePhases(spec.rope);
  for (uint32_t t = 0; t < kBlockTokens && !phases.empty(); ++t) {
    float turned[kDim];
    TurnToPosition(spec.rope, phases, spec.first_position + t, mean.data(), kDim, turned);
    for (uint32_t j = 0; j < kDim; ++j) k[t * kDim + j] += turned[j];
  }
  const std::array<int64_t, 4> shape = {1, 1, kBlockTokens, kDim};
  const auto whole = EncodeBlock(spec, TensorView::Contiguous(k.data(), Dtype::kF32, shape),
                                 TensorView::Contiguous(v.data(), Dtype::kF32, shape)).value();
  std::vector<uint8_t> block;
  const auto ranges = SelectionRanges(ParseBlockPrefix(whole).value(), selection).value();
  for (const ByteRange& range : ranges) {
    block.insert(block.end(), whole.begin() + range.offset, whole.begin() + range.offset + range.length);
  }
  return block;
}

}  // namespace

const HeadBlocks& Blocks(const std::string& codec, PlaneMask planes, bool means) {
  static std::map<std::tuple<std::string, PlaneMask, bool>, HeadBlocks> all;
  HeadBlocks& e = all[{codec, planes, means}];
  if (!e.heads.empty()) return e;
  BlockSpec spec;
  spec.layers = spec.kv_heads = 1;
  spec.head_dim = kDim;
  spec.tokens = kBlockTokens;
  spec.codec = ParseCodecPair(codec).value();
  spec.source_dtype = Dtype::kF32;
  if (means) spec.rope = {RopePairing::kHalf, 10000.0f, kDim};
  spec.first_position = kBlockTokens;  // not the first block, some of whose tokens are stored raw
  const BlockSelection selection{0, 0, planes};
  const std::vector<uint8_t> block = SelectedBlock(spec, selection);
  const size_t head_blocks = kTokens / kBlockTokens, heads = kBytes / (head_blocks * block.size()) + 1;
  const std::span<uint8_t> memory = HugeMemory(heads * head_blocks * block.size());
  e.bytes_per_token = static_cast<double>(block.size()) / kBlockTokens;
  e.heads.resize(heads);
  for (size_t i = 0; i < heads * head_blocks; ++i) {
    const std::span<uint8_t> copy = memory.subspan(i * block.size(), block.size());
    std::copy(block.begin(), block.end(), copy.begin());
    e.heads[i / head_blocks].push_back(BlockView::ParseSelection(copy, selection, VerifyPayload::kNo).value());
  }
  return e;
}

std::span<const uint16_t> SixteenBit(bool bf16) {
  static std::map<bool, std::span<uint16_t>> all;
  std::span<uint16_t>& data = all[bf16];
  if (!data.empty()) return data;
  const auto x = Gaussian(1 << 20, 3);
  const std::span<uint8_t> memory = HugeMemory(kBytes + (size_t{1} << 20));  // prefetched beyond the end
  data = {reinterpret_cast<uint16_t*>(memory.data()), kBytes / 2};
  for (size_t i = 0; i < data.size(); ++i) {
    const float value = x[i & (x.size() - 1)];
    data[i] = bf16 ? static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16) : FloatToHalf(value);
  }
  return data;
}

void Count(benchmark::State& state, size_t heads, double bytes_per_token) {
  const double tokens = static_cast<double>(state.iterations()) * static_cast<double>(heads) * kTokens;
  state.counters["tokens/s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
  state.counters["B/s"] = benchmark::Counter(tokens * bytes_per_token, benchmark::Counter::kIsRate);
}

}  // namespace polarkv::bench
