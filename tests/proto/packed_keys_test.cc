#include "proto/packed_keys.h"

#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv {
namespace {

using ::testing::HasSubstr;

BlockKey CountingKey(uint8_t first) {
  BlockKey key;
  std::iota(key.bytes.begin(), key.bytes.end(), first);
  return key;
}

TEST(PackedKeys, RoundTripInOrder) {
  const std::vector<BlockKey> keys = {CountingKey(1), CountingKey(100), CountingKey(0)};
  const std::string packed = PackKeys(keys);
  EXPECT_EQ(packed.size(), 96u);
  EXPECT_EQ(packed[32], 100);
  EXPECT_EQ(UnpackKeys(packed).value(), keys);
  EXPECT_TRUE(UnpackKeys("").value().empty());
}

TEST(PackedKeys, RejectsAPartOfAKey) {
  for (const size_t size : {1, 31, 33, 63}) {
    const absl::Status status = UnpackKeys(std::string(size, 'k')).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << size;
  }
}

TEST(PackedKeys, NamesTheFieldWhoseKeyHasTheWrongLength) {
  EXPECT_EQ(UnpackKey(PackKey(CountingKey(7)), "key").value(), CountingKey(7));
  for (const size_t size : {0, 31, 33}) {
    const absl::Status status = UnpackKey(std::string(size, 'k'), "parent_key").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("parent_key"));
  }
}

TEST(PackedKeys, RejectsAFingerprintOfTheWrongLength) {
  const Fingerprint fingerprint = CountingKey(9).bytes;
  EXPECT_EQ(UnpackFingerprint(PackFingerprint(fingerprint)).value(), fingerprint);
  for (const size_t size : {0, 16, 31, 33, 64}) {
    EXPECT_EQ(UnpackFingerprint(std::string(size, 'f')).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace polarkv
