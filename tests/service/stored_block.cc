#include "tests/service/stored_block.h"

#include <algorithm>
#include <cstring>

#include "tests/codec/test_block.h"

namespace polarkv::testing {

NamespaceDescriptor ServiceDescriptor(const std::string& name) {
  NamespaceDescriptor descriptor;
  descriptor.name = name;
  descriptor.model = "test-model";
  descriptor.layers = 2;
  descriptor.kv_heads = 2;
  descriptor.head_dim = 64;
  descriptor.rope = {RopePairing::kHalf, 10000.0f, 64};
  descriptor.block_tokens = 64;
  return descriptor;
}

BlockKey ChainKey(uint32_t chain, uint32_t index) {
  BlockKey key;
  key.bytes.fill(0x5A);
  std::memcpy(key.bytes.data(), &chain, sizeof chain);
  std::memcpy(key.bytes.data() + sizeof chain, &index, sizeof index);
  return key;
}

std::vector<BlockKey> ChainKeys(uint32_t chain, uint32_t count) {
  std::vector<BlockKey> keys;
  for (uint32_t i = 0; i < count; ++i) keys.push_back(ChainKey(chain, i));
  return keys;
}

std::vector<uint8_t> SealedBlock(const NamespaceDescriptor& descriptor, const BlockKey& key, uint64_t index,
                                 uint32_t variant) {
  const BlockSpec spec = NamespaceBlockSpec(descriptor, key, index);
  std::vector<uint8_t> bytes = MakeBlock(spec);
  // The last bytes of a block are payload: every key and variant has its own.
  uint8_t* tail = bytes.data() + bytes.size() - key.bytes.size() - sizeof variant;
  for (size_t i = 0; i < key.bytes.size(); ++i) tail[i] = key.bytes[i];
  std::memcpy(tail + key.bytes.size(), &variant, sizeof variant);
  SealBlock(spec, BlockLayout::Make(spec).value(), bytes);
  return bytes;
}

BlockBytes BytesFor(BlockStore& store, const std::vector<uint8_t>& bytes) {
  std::shared_ptr<BlockBuffer> buffer = store.Allocate(bytes.size()).value();
  std::ranges::copy(bytes, buffer->writable().begin());
  return buffer;
}

absl::StatusOr<PutItem> ChainItemIfRoom(BlockStore& store, uint32_t chain, uint32_t index, uint32_t variant) {
  PutItem item;
  item.key = ChainKey(chain, index);
  if (index > 0) item.parent = ChainKey(chain, index - 1);
  item.block_index = index;
  const std::vector<uint8_t> bytes = SealedBlock(ServiceDescriptor(), item.key, index, variant);
  absl::StatusOr<std::shared_ptr<BlockBuffer>> buffer = store.Allocate(bytes.size());
  if (!buffer.ok()) return buffer.status();
  std::ranges::copy(bytes, (*buffer)->writable().begin());
  item.bytes = *std::move(buffer);
  return item;
}

PutItem ChainItem(BlockStore& store, uint32_t chain, uint32_t index, uint32_t variant) {
  return ChainItemIfRoom(store, chain, index, variant).value();
}

std::vector<uint8_t> Copy(const BlockBytes& bytes) { return {bytes->bytes().begin(), bytes->bytes().end()}; }

}  // namespace polarkv::testing
