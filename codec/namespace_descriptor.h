// What must agree before two workers may share blocks, and its fingerprint (FORMAT.md, "Namespaces").
#ifndef POLARKV_CODEC_NAMESPACE_DESCRIPTOR_H_
#define POLARKV_CODEC_NAMESPACE_DESCRIPTOR_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "codec/block_key.h"
#include "codec/block_spec.h"

namespace polarkv {

class KeyMeanProfile;  // key_mean_profile.h

struct NamespaceDescriptor {
  std::string name;              // [A-Za-z0-9._/-]{1,128}
  std::string tenant;            // this and the other texts: up to 1024 bytes, may be empty, no control characters
  std::string model;             // model id
  std::string weights_digest;    // any text that changes with the weights
  std::string tokenizer_digest;  // any text that changes with the tokenizer
  uint32_t layers = 0;
  uint32_t kv_heads = 0;  // global count
  uint32_t head_dim = 0;
  Rope rope;
  std::string rope_scaling;  // engine's own text, e.g. "llama3:8:1:4:8192"; empty: none
  Dtype source_dtype = Dtype::kBF16;
  uint32_t block_tokens = 256;  // multiple of 64
  uint32_t shards = 1;          // kv_heads is a multiple of it; a block holds kv_heads / shards heads
  CodecPair codec;
  uint64_t rotation_seed = BlockSpec::kDefaultRotationSeed;
  ProfileDigest profile_digest{};  // of the key-mean profile that all its blocks name; zero: none
  friend bool operator==(const NamespaceDescriptor&, const NamespaceDescriptor&) = default;
};

// INVALID_ARGUMENT naming the first field that is out of range.
absl::Status ValidateNamespaceDescriptor(const NamespaceDescriptor& descriptor);
// The canonical bytes that are hashed; length-prefixed, independent of protobuf.
std::string CanonicalDescriptor(const NamespaceDescriptor& descriptor);
Fingerprint NamespaceFingerprint(const NamespaceDescriptor& descriptor);
// Name of the first field in which two descriptors differ, with both values ("layers: 32 here, 28 offered"); empty: equal.
std::string FirstDifference(const NamespaceDescriptor& here, const NamespaceDescriptor& offered);

// The next three take a valid descriptor.
// The spec of block number `block_index` of a chain, shard `shard` (below descriptor.shards), tagged with the fingerprint
// and with `key`, under which the block is stored: its chain key, or that key's ShardKey when there are several shards.
BlockSpec NamespaceBlockSpec(const NamespaceDescriptor& descriptor, const BlockKey& key, uint64_t block_index, uint32_t shard = 0);
// More bytes than any block of the namespace needs: those of one in fp16, with room for mean keys. kMaxBlockBytes where
// that is less.
uint64_t LargestBlockBytes(const NamespaceDescriptor& descriptor);
// INVALID_ARGUMENT naming what is wrong: the descriptor names no profile or another one, or the profile is of another model.
absl::Status CheckProfileBelongs(const KeyMeanProfile& profile, const NamespaceDescriptor& descriptor);
// FAILED_PRECONDITION naming the field in which a block does not belong to the namespace under that key; OK otherwise.
// `fingerprint` is the descriptor's. Only full blocks belong: `tokens` is block_tokens, positions are multiples of it.
// What single layers have of their own, codecs included, is the block's choice.
absl::Status CheckBlockBelongs(const BlockSpec& block, const NamespaceDescriptor& descriptor, const Fingerprint& fingerprint,
                               const BlockKey& key);

}  // namespace polarkv

#endif  // POLARKV_CODEC_NAMESPACE_DESCRIPTOR_H_
