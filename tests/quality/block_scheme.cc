#include "tests/quality/block_scheme.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "client/aligned_buffer.h"
#include "codec/block_view.h"
#include "codec/key_mean_profile_builder.h"
#include "kernels/kv_kernels.h"

namespace polarkv::quality {
namespace {

BlockSpec SpecOf(const KvCase& kv, CodecPair pair, uint32_t first, uint32_t count) {
  BlockSpec spec;
  spec.layers = 1;
  spec.kv_heads = static_cast<uint16_t>(kv.kv_heads);
  spec.head_dim = static_cast<uint16_t>(kv.head_dim);
  spec.tokens = count;
  spec.first_position = kv.first_position + first;
  spec.codec = pair;
  spec.source_dtype = Dtype::kF32;
  spec.rope = kv.rope;
  return spec;
}

TensorView TokensOf(const KvCase& kv, const std::vector<float>& tensor, uint32_t first, uint32_t count) {
  TensorView view = TensorView::Contiguous(tensor.data() + size_t{first} * kv.head_dim, Dtype::kF32,
                                           {1, kv.kv_heads, kv.tokens, kv.head_dim});
  view.shape[2] = count;
  return view;
}

// Copies [kv_heads, count, head_dim] to its place among all tokens.
void PutTokens(const KvCase& kv, uint32_t first, uint32_t count, const std::vector<float>& from,
               std::vector<float>& to) {
  for (uint32_t head = 0; head < kv.kv_heads; ++head) {
    std::copy_n(from.begin() + static_cast<ptrdiff_t>(size_t{head} * count * kv.head_dim), size_t{count} * kv.head_dim,
                to.begin() + static_cast<ptrdiff_t>((size_t{head} * kv.tokens + first) * kv.head_dim));
  }
}

struct EncodedBlock {
  AlignedBuffer bytes;
  uint32_t first = 0, count = 0;
};

absl::StatusOr<KeyMeanProfilePtr> ProfileOf(const KvCase& kv) {
  const ProfileShape shape = {1, static_cast<uint16_t>(kv.kv_heads), static_cast<uint16_t>(kv.head_dim), kv.rope, {}};
  const absl::StatusOr<std::unique_ptr<KeyMeanProfileBuilder>> builder = KeyMeanProfileBuilder::Create(shape);
  if (!builder.ok()) return builder.status();
  const absl::Status added = (*builder)->Add(TokensOf(kv, kv.k, 0, kv.tokens), kv.first_position);
  if (!added.ok()) return added;
  return (*builder)->Build();
}

absl::StatusOr<std::vector<EncodedBlock>> EncodeAll(const KvCase& kv, CodecPair pair, uint32_t block_tokens,
                                                    const KeyMeanProfilePtr& profile = nullptr) {
  EncodeOptions options;
  options.profile = profile.get();
  std::vector<EncodedBlock> blocks;
  for (uint32_t first = 0; first < kv.tokens; first += block_tokens) {
    const uint32_t count = std::min(block_tokens, kv.tokens - first);
    const absl::StatusOr<std::vector<uint8_t>> bytes =
        EncodeBlock(SpecOf(kv, pair, first, count), TokensOf(kv, kv.k, first, count), TokensOf(kv, kv.v, first, count),
                    options);
    if (!bytes.ok()) return bytes.status();
    EncodedBlock block{AlignedBuffer(bytes->size()), first, count};
    std::memcpy(block.bytes.span().data(), bytes->data(), bytes->size());
    blocks.push_back(std::move(block));
  }
  return blocks;
}

absl::Status DecodeInto(const KvCase& kv, const EncodedBlock& block, const BlockView& view, Reconstruction& result) {
  const size_t elements = size_t{kv.kv_heads} * block.count * kv.head_dim;
  std::vector<float> k(elements), v(elements);
  if (absl::Status s = DecodeBlock(view, k, v); !s.ok()) return s;
  PutTokens(kv, block.first, block.count, k, result.k);
  PutTokens(kv, block.first, block.count, v, result.v);
  return absl::OkStatus();
}

// A block's bytes, header and directory taken as shared by the KV heads of one layer of a common model, eight: these cases
// have fewer to save time.
constexpr double kSharingHeads = 8;
double CountBytes(const KvCase& kv, const BlockLayout& layout) {
  const double shared = std::min(1.0, kv.kv_heads / kSharingHeads);
  return static_cast<double>(layout.total_bytes() - layout.payload_offset()) +
         static_cast<double>(layout.payload_offset()) * shared;
}

// What is not codes, scales and tile heads is shared half and half by keys and values.
void CountBits(const KvCase& kv, CodecPair pair, double bytes, Reconstruction& result) {
  const BitsPerCoordinate net = CodecBits(pair, kv.head_dim);
  result.net = {net.k, net.v};
  const double overhead = 8 * bytes / static_cast<double>(kv.coordinates()) - net.k - net.v;
  result.bits = {net.k + overhead / 2, net.v + overhead / 2};
}

}  // namespace

BlockScheme::BlockScheme(std::string name, CodecPair pair, uint32_t block_tokens)
    : Scheme(SchemeKind::kCodec, std::move(name), FamilyOf(pair)), pair_(pair), block_tokens_(block_tokens) {}

BlockScheme::BlockScheme(std::string name, std::string family, CodecPair pair, uint32_t block_tokens, MeanSource means)
    : Scheme(SchemeKind::kCodec, std::move(name), std::move(family)),
      pair_(pair),
      block_tokens_(block_tokens),
      means_(means) {}

absl::StatusOr<Reconstruction> BlockScheme::Apply(const KvCase& kv) const {
  absl::StatusOr<KeyMeanProfilePtr> profile = nullptr;
  if (means_ == MeanSource::kProfile) profile = ProfileOf(kv);
  if (!profile.ok()) return profile.status();
  const absl::StatusOr<std::vector<EncodedBlock>> blocks = EncodeAll(kv, pair_, block_tokens_, *profile);
  if (!blocks.ok()) return blocks.status();
  Reconstruction result;
  result.k.resize(kv.coordinates());
  result.v.resize(kv.coordinates());
  std::vector<BlockView> views;
  double bytes = 0;
  for (const EncodedBlock& block : *blocks) {
    const absl::StatusOr<BlockView> view = BlockView::Parse(block.bytes.span(), VerifyPayload::kYes, *profile);
    if (!view.ok()) return view.status();
    if (absl::Status s = DecodeInto(kv, block, *view, result); !s.ok()) return s;
    views.push_back(*view);
    bytes += CountBytes(kv, view->layout());
  }
  CountBits(kv, pair_, bytes, result);
  result.output.resize(kv.rows() * kv.head_dim);
  std::vector<float> log_sums(kv.rows());
  if (absl::Status s = Attend(views, 0, kv.q_heads, kv.queries, kv.q, 1 / std::sqrt(static_cast<float>(kv.head_dim)),
                              result.output, log_sums);
      !s.ok()) {
    return s;
  }
  return result;
}

std::string FamilyOf(CodecPair pair) {
  const std::string_view name = CodecName(pair.k);
  const auto end = std::find_if(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  const bool residual = name.starts_with("turbo") && name.ends_with("q");
  return std::string(name.begin(), end) + (residual ? "+QJL" : "");
}

namespace {

// Whether this build encodes the pair: some codecs are for keys alone, and a build may know a codec by name only.
bool IsEncodable(CodecPair pair) {
  KvCase kv;
  kv.tokens = 64;
  kv.head_dim = 64;
  kv.k.assign(kv.coordinates(), 1.0f);
  kv.v = kv.k;
  return EncodeAll(kv, pair, kv.tokens).ok();
}

}  // namespace

std::vector<NamedPair> KnownPairs() {
  std::vector<NamedPair> pairs;
  for (CodecId id : AllCodecs()) {
    CodecPair pair{id, id};
    if (!IsEncodable(pair)) pair.v = CodecId::kFp16;
    if (IsEncodable(pair)) pairs.push_back({pair, CodecPairName(pair), ""});
  }
  for (const char* alias : {"default", "compact", "small", "tiny", "archive"}) {
    const absl::StatusOr<CodecPair> pair = ParseCodecPair(alias);
    if (!pair.ok() || !IsEncodable(*pair)) continue;
    auto found = std::ranges::find(pairs, *pair, &NamedPair::pair);
    if (found == pairs.end()) found = pairs.insert(pairs.end(), {*pair, CodecPairName(*pair), ""});
    found->aliases += (found->aliases.empty() ? "" : ", ") + std::string(alias);
  }
  return pairs;
}

}  // namespace polarkv::quality
