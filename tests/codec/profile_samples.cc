#include "tests/codec/profile_samples.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codec/half_float.h"

namespace polarkv::testing {
namespace {

constexpr absl::StatusCode kDamaged = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kUnsupported = absl::StatusCode::kFailedPrecondition;
using Bytes = std::vector<uint8_t>;

void PutHalf(Bytes& records, size_t head_dim, size_t record, size_t coordinate, float value) {
  const uint16_t half = FloatToHalf(value);
  std::memcpy(records.data() + record * VectorRecordBytes(static_cast<uint32_t>(head_dim)) + sizeof(VectorRecordHead) +
                  2 * coordinate,
              &half, sizeof half);
}

Bytes SampleBytes() {
  const KeyMeanProfilePtr profile = SampleProfile();
  return {profile->bytes().begin(), profile->bytes().end()};
}

ProfileDefect InHeader(std::string name, absl::StatusCode code, std::string message,
                       const std::function<void(ProfileHeader&)>& change) {
  Bytes bytes = SampleBytes();
  ProfileHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  change(header);
  std::memcpy(bytes.data(), &header, sizeof header);
  ResealProfile(bytes);
  return {std::move(name), code, (code == kDamaged ? "damaged profile: " : "unsupported profile: ") + message, bytes};
}

ProfileDefect InBytes(std::string name, std::string message, bool reseal, const std::function<void(Bytes&)>& change) {
  Bytes bytes = SampleBytes();
  change(bytes);
  if (reseal) ResealProfile(bytes);
  return {std::move(name), kDamaged, "damaged profile: " + message, bytes};
}

std::vector<ProfileDefect> MakeDefects() {
  constexpr size_t kSecond = 64 + 16 + 144;  // the record of head 1
  return {
      InBytes("empty", "cut off in the header, 0 of 64 bytes", false, [](Bytes& b) { b.clear(); }),
      InBytes("cut-in-header", "cut off in the header, 63 of 64 bytes", false, [](Bytes& b) { b.resize(63); }),
      InBytes("magic", "not a profile, magic is 0x4d564b51 instead of 0x4d564b50", false, [](Bytes& b) { b[0] ^= 1; }),
      InBytes("header-checksum", "header checksum does not match", false, [](Bytes& b) { b[16] ^= 1; }),
      InBytes("means-checksum", "checksum of the means does not match", false, [](Bytes& b) { b.back() ^= 1; }),
      InBytes("cut-off", "cut off after the header, 367 of 368 bytes", false, [](Bytes& b) { b.pop_back(); }),
      InBytes("trailing-bytes", "2 bytes after the end of a profile of 368 bytes", false,
              [](Bytes& b) { b.resize(b.size() + 2); }),
      InHeader("version", kUnsupported, "version 2, this build reads version 1", [](auto& h) { h.version = 2; }),
      InHeader("rope-pairing", kUnsupported, "rope_pairing 3 is not known to this build",
               [](auto& h) { h.rope_pairing = 3; }),
      InHeader("head-dim", kUnsupported, "head_dim 63 is not one of 64, 80, 96, 128, 192, 256",
               [](auto& h) { h.head_dim = 63; }),
      InHeader("reserved", kDamaged, "reserved header bytes are not zero", [](auto& h) { h.reserved1[19] = 1; }),
      InHeader("no-layers", kDamaged, "layers is 0; valid: 1 to 1024", [](auto& h) { h.layers = 0; }),
      InHeader("many-heads", kDamaged, "kv_heads is 1025; valid: 1 to 1024", [](auto& h) { h.kv_heads = 1025; }),
      InHeader("rope-base", kDamaged, "rope_base is nan; valid: finite and above 0 with RoPE",
               [](auto& h) { h.rope_base = NAN; }),
      InHeader("rope-dims", kDamaged, "rope_dims is 65; valid: even, 2 to head_dim (64)", [](auto& h) { h.rope_dims = 65; }),
      InHeader("over-the-limit", kDamaged, "a profile of this shape has 150995024 bytes; the limit is 4194304",
               [](auto& h) { h.layers = h.kv_heads = 1024; }),
      InHeader("total-bytes", kDamaged, "total_bytes is 369, a profile of this shape has 368",
               [](auto& h) { h.total_bytes = 369; }),
      InHeader("more-layers", kDamaged, "total_bytes is 368, a profile of this shape has 656", [](auto& h) { h.layers = 2; }),
      InBytes("exponent", "mean of layer 0, head 1: exponent out of range", true, [](Bytes& b) { b[kSecond + 1] = 1; }),
      InBytes("record-reserved", "mean of layer 0, head 0: reserved bytes are not zero", true,
              [](Bytes& b) { b[64 + 16 + 15] = 1; }),
      InBytes("not-a-number", "mean of layer 0, head 1: a value is not finite", true, [](Bytes& b) { b.back() = 0x7E; }),
  };
}

}  // namespace

ProfileShape SampleProfileShape() {
  return {1, 2, 64, {RopePairing::kHalf, 10000.0f, 4}, {0x28BE60DB9391054A, 0x00685DB99A3B1207}};
}

KeyMeanProfilePtr SampleProfile() {
  Bytes records(2 * VectorRecordBytes(64));
  for (size_t i = 0; i < 64; ++i) PutHalf(records, 64, 1, i, 8.0f * static_cast<float>(i % 7) - 24.0f);
  return KeyMeanProfile::Make(SampleProfileShape(), records).value();
}

KeyMeanProfilePtr MakeProfile(const ProfileShape& shape, uint32_t seed) {
  const size_t heads = size_t{shape.layers} * shape.kv_heads;
  Bytes records(heads * VectorRecordBytes(shape.head_dim));
  uint32_t state = seed;
  for (size_t head = 0; head < heads && seed != 0; ++head) {
    for (size_t i = 0; i < shape.head_dim; ++i) {
      state = state * 1664525 + 1013904223;
      PutHalf(records, shape.head_dim, head, i, static_cast<float>(static_cast<int>(state >> 24) - 128) / 16);
    }
  }
  return KeyMeanProfile::Make(shape, records).value();
}

ProfileShape ProfileShapeFor(const BlockSpec& spec, uint32_t kv_heads) {
  ProfileShape shape{spec.layers, static_cast<uint16_t>(kv_heads), spec.head_dim, spec.rope, spec.phases};
  shape.phases.resize(spec.rope.dims / 2u, 0x0123456789ABCDEF);
  return shape;
}

const std::vector<ProfileDefect>& AllProfileDefects() {
  static const auto* const all = new std::vector<ProfileDefect>(MakeDefects());
  return *all;
}

void ResealProfile(Bytes& bytes) {
  ProfileHeader header;
  if (bytes.size() < sizeof header) return;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.body_xxh3 = XXH3_64bits(bytes.data() + sizeof header, bytes.size() - sizeof header);
  header.header_xxh3 = XXH3_64bits(&header, offsetof(ProfileHeader, header_xxh3));
  std::memcpy(bytes.data(), &header, sizeof header);
}

}  // namespace polarkv::testing
