// Property: whatever bytes arrive as a profile, parsing reads nothing but them, and an accepted one has sane means alone.
// Input: one byte, odd if the checksums are put right first (a fuzzer does not find them by itself), then the profile.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "tests/codec/profile_samples.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace polarkv;
  if (size == 0) return 0;
  std::vector<uint8_t> bytes(data + 1, data + size);
  if (data[0] % 2 == 1) testing::ResealProfile(bytes);
  const absl::StatusOr<KeyMeanProfilePtr> profile = KeyMeanProfile::Parse(bytes);
  if (!profile.ok()) return 0;
  const ProfileShape& shape = (*profile)->shape();
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (uint32_t head = 0; head < shape.kv_heads; ++head) {
      for (const uint16_t half : (*profile)->Mean(layer, head).halves) {
        if ((half & 0x7C00) == 0x7C00) std::abort();
      }
    }
  }
  // There is one encoding of each profile.
  const std::vector<uint8_t> records(bytes.end() - static_cast<ptrdiff_t>(size_t{shape.layers} * shape.kv_heads *
                                                                          VectorRecordBytes(shape.head_dim)),
                                     bytes.end());
  const absl::StatusOr<KeyMeanProfilePtr> again = KeyMeanProfile::Make(shape, records);
  if (!again.ok() || (*again)->digest() != (*profile)->digest()) std::abort();
  return 0;
}
