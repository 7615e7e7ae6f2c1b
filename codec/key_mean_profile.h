// The mean keys of a whole model, which a namespace has once so that its blocks need not have them each (FORMAT.md,
// "Key-mean profiles"). Immutable, addressed by a digest of its bytes.
#ifndef POLARKV_CODEC_KEY_MEAN_PROFILE_H_
#define POLARKV_CODEC_KEY_MEAN_PROFILE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_view.h"
#include "codec/encode_options.h"

namespace polarkv {

inline constexpr uint32_t kProfileMagic = 0x4D564B50;  // "PKVM"
inline constexpr uint16_t kProfileVersion = 1;
// A profile travels in one message.
inline constexpr uint64_t kMaxProfileBytes = uint64_t{4} << 20;

struct ProfileHeader {
  uint32_t magic;
  uint16_t version;
  uint8_t rope_pairing;
  uint8_t reserved0;
  uint64_t total_bytes;
  uint16_t layers;
  uint16_t kv_heads;  // of the whole model
  uint16_t head_dim;
  uint16_t rope_dims;
  float rope_base;
  uint8_t reserved1[20];
  uint64_t body_xxh3;    // XXH3-64 of everything after the header
  uint64_t header_xxh3;  // XXH3-64 of the 56 bytes before it
};
static_assert(sizeof(ProfileHeader) == 64);
static_assert(offsetof(ProfileHeader, layers) == 16);
static_assert(offsetof(ProfileHeader, body_xxh3) == 48);

// The model whose keys a profile is about.
struct ProfileShape {
  uint16_t layers = 0;
  uint16_t kv_heads = 0;  // of the whole model
  uint16_t head_dim = 0;
  Rope rope;
  std::vector<uint64_t> phases;  // of rope.dims / 2 pairs (BlockSpec::phases); none without RoPE
  friend bool operator==(const ProfileShape&, const ProfileShape&) = default;
};

// Thread-safe.
class KeyMeanProfile {
 public:
  // Copies the bytes. DATA_LOSS: they are damaged. FAILED_PRECONDITION: a version or a value that this build does not
  // know. Each defect has its own message.
  static absl::StatusOr<KeyMeanProfilePtr> Parse(std::span<const uint8_t> bytes);
  // `records`: a vector record (VectorRecordBytes) for each layer and head, heads running fastest; one of zeros stands
  // for no mean. INVALID_ARGUMENT: the shape is out of range, or larger than kMaxProfileBytes; records of another size,
  // or not sane.
  static absl::StatusOr<KeyMeanProfilePtr> Make(const ProfileShape& shape, std::span<const uint8_t> records);

  const ProfileShape& shape() const { return shape_; }
  std::span<const uint8_t> bytes() const { return bytes_; }
  const ProfileDigest& digest() const { return digest_; }

  // The mean key of one of the model's heads, at position 0; of zeros where there is none.
  VectorRecord Mean(uint32_t layer, uint32_t kv_head) const;
  bool HasMean(uint32_t layer, uint32_t kv_head) const;
  // Whether any head of a block's has one in the layer.
  bool HasMeans(const BlockSpec& block, uint32_t layer) const;

  // FAILED_PRECONDITION naming what differs: blocks of that shape cannot be of this profile's model.
  absl::Status CheckFits(const BlockSpec& block) const;

 private:
  KeyMeanProfile(ProfileShape shape, std::vector<uint8_t> bytes);
  std::span<const uint8_t> Record(uint32_t layer, uint32_t kv_head) const;

  ProfileShape shape_;
  std::vector<uint8_t> bytes_;
  ProfileDigest digest_{};
};

// Bytes of a profile of that shape.
uint64_t ProfileBytes(const ProfileShape& shape);
// The first bytes of SHA-256.
ProfileDigest ProfileDigestOf(std::span<const uint8_t> bytes);
std::string ProfileDigestText(const ProfileDigest& digest);  // 32 hexadecimal digits

// Completes the spec of a block that is to be encoded: with a profile in the options it is named in the spec, and the
// phases are its. INVALID_ARGUMENT: the spec names another profile, or one that the options lack though means are to be
// taken off; the profile is of another model, or of other phases than the spec.
absl::Status SettleProfile(const EncodeOptions& options, BlockSpec& spec);

}  // namespace polarkv

#endif  // POLARKV_CODEC_KEY_MEAN_PROFILE_H_
