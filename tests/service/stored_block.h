// Small valid blocks for tests of the service: their bytes follow from namespace, key, index and variant alone.
#ifndef POLARKV_TESTS_SERVICE_STORED_BLOCK_H_
#define POLARKV_TESTS_SERVICE_STORED_BLOCK_H_

#include <string>
#include <vector>

#include "codec/block_view.h"
#include "codec/namespace_descriptor.h"
#include "service/block_store.h"

namespace polarkv::testing {

// Two layers, two heads, 64 tokens, turbo4: a block of about 18 KB.
NamespaceDescriptor ServiceDescriptor(const std::string& name = "test/service");

// Key number `index` of chain `chain`.
BlockKey ChainKey(uint32_t chain, uint32_t index);
// Keys 0 .. count-1 of a chain.
std::vector<BlockKey> ChainKeys(uint32_t chain, uint32_t count);

// A sealed block that belongs to the namespace under that key. Variants differ in their payload.
std::vector<uint8_t> SealedBlock(const NamespaceDescriptor& descriptor, const BlockKey& key, uint64_t index,
                                 uint32_t variant = 0);

// Copies the bytes into memory of the store, which must have room.
BlockBytes BytesFor(BlockStore& store, const std::vector<uint8_t>& bytes);

// Block `index` of chain `chain`, ready to be put. Statuses as BlockStore::Allocate.
absl::StatusOr<PutItem> ChainItemIfRoom(BlockStore& store, uint32_t chain, uint32_t index, uint32_t variant = 0);
// The same in a store that must have room.
PutItem ChainItem(BlockStore& store, uint32_t chain, uint32_t index, uint32_t variant = 0);

std::vector<uint8_t> Copy(const BlockBytes& bytes);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_STORED_BLOCK_H_
