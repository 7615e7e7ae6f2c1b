// A small namespace and a chain of encoded blocks in it, made from seeds alone: every test process makes the same
// bytes.
#ifndef POLARKV_TESTS_TESTING_BLOCK_CHAIN_H_
#define POLARKV_TESTS_TESTING_BLOCK_CHAIN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "client/kv_client.h"
#include "codec/encode_options.h"

namespace polarkv::testing {

// Three layers, two KV heads of 64 coordinates, 64 tokens a block: a turbo4 block has about 27 KiB.
NamespaceDescriptor SmallDescriptor(const std::string& name = "test/small", CodecPair codec = {});

struct BlockChain {
  NamespaceHandle ns;
  std::vector<BlockKey> keys;
  std::vector<std::vector<uint8_t>> blocks;  // encoded, tagged
  std::vector<float> k, v;                   // [layers, kv_heads, blocks * block_tokens, head_dim], the blocks' content

  // Nothing raw: all blocks of a chain have one size.
  static constexpr EncodeOptions kPlain{KeyMeanPolicy::kNever, 0, false};

  // Two chains with different seeds have no key in common.
  BlockChain(const NamespaceDescriptor& descriptor, size_t block_count, uint32_t seed,
             const EncodeOptions& options = kPlain);

  TensorView KeyTensor() const { return Tensor(k); }
  TensorView ValueTensor() const { return Tensor(v); }
  // All blocks in order, each with its parent.
  std::vector<StoreItem> Items() const;
  BlockKey Parent(size_t block) const { return block == 0 ? BlockKey{} : keys[block - 1]; }

 private:
  TensorView Tensor(const std::vector<float>& data) const;
};

// Buffers and slots of one fetch.
struct FetchBuffers {
  std::vector<AlignedBuffer> buffers;
  std::vector<FetchSlot> slots;

  FetchBuffers(size_t count, uint64_t bytes_each);
  std::vector<BlockView> Views() const;  // of the slots that are kOk
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_TESTING_BLOCK_CHAIN_H_
