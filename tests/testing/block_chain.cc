#include "tests/testing/block_chain.h"

#include <random>

#include "codec/reference_codec.h"

namespace polarkv::testing {
namespace {

std::vector<float> Gaussian(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

std::vector<int32_t> TokenIds(size_t count, uint32_t seed) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(seed * 100003 + i);
  return tokens;
}

TensorView TokenRange(TensorView tensor, size_t begin, uint32_t count) {
  tensor.data = static_cast<const float*>(tensor.data) + static_cast<int64_t>(begin) * tensor.stride[2];
  tensor.shape[2] = count;
  return tensor;
}

}  // namespace

NamespaceDescriptor SmallDescriptor(const std::string& name, CodecPair codec) {
  NamespaceDescriptor descriptor;
  descriptor.name = name;
  descriptor.model = "test-model";
  descriptor.layers = 3;
  descriptor.kv_heads = 2;
  descriptor.head_dim = 64;
  descriptor.rope = {RopePairing::kHalf, 10000.0f, 64};
  descriptor.source_dtype = Dtype::kF32;
  descriptor.block_tokens = 64;
  descriptor.codec = codec;
  return descriptor;
}

BlockChain::BlockChain(const NamespaceDescriptor& descriptor, size_t block_count, uint32_t seed,
                       const EncodeOptions& options)
    : ns{descriptor, NamespaceFingerprint(descriptor)} {
  const size_t tokens = block_count * descriptor.block_tokens;
  const size_t values = size_t{descriptor.layers} * descriptor.kv_heads * tokens * descriptor.head_dim;
  k = Gaussian(values, 2 * seed);
  v = Gaussian(values, 2 * seed + 1);
  keys = PrefixKeys(ns.fingerprint, "", TokenIds(tokens, seed), descriptor.block_tokens);
  for (size_t i = 0; i < block_count; ++i) {
    const size_t begin = i * descriptor.block_tokens;
    blocks.push_back(reference::EncodeBlock(NamespaceBlockSpec(descriptor, keys[i], i),
                                            TokenRange(KeyTensor(), begin, descriptor.block_tokens),
                                            TokenRange(ValueTensor(), begin, descriptor.block_tokens), options)
                         .value());
  }
}

TensorView BlockChain::Tensor(const std::vector<float>& data) const {
  const NamespaceDescriptor& d = ns.descriptor;
  const auto tokens = static_cast<int64_t>(data.size() / (size_t{d.layers} * d.kv_heads * d.head_dim));
  return TensorView::Contiguous(data.data(), Dtype::kF32, {d.layers, d.kv_heads, tokens, d.head_dim});
}

std::vector<StoreItem> BlockChain::Items() const {
  std::vector<StoreItem> items;
  for (size_t i = 0; i < blocks.size(); ++i) items.push_back({keys[i], Parent(i), blocks[i]});
  return items;
}

FetchBuffers::FetchBuffers(size_t count, uint64_t bytes_each) {
  for (size_t i = 0; i < count; ++i) {
    buffers.emplace_back(bytes_each);
    slots.push_back({.buffer = buffers.back().span()});
  }
}

std::vector<BlockView> FetchBuffers::Views() const {
  std::vector<BlockView> views;
  for (const FetchSlot& slot : slots) views.insert(views.end(), slot.view.begin(), slot.view.end());
  return views;
}

}  // namespace polarkv::testing
