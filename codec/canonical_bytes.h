// The one canonical encoding of everything that is hashed (FORMAT.md, "Canonical bytes"): fixed-size integers in
// little-endian order, byte strings preceded by their length as u64. Internal to codec/.
#ifndef POLARKV_CODEC_CANONICAL_BYTES_H_
#define POLARKV_CODEC_CANONICAL_BYTES_H_

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace polarkv {

class CanonicalBytes {
 public:
  // `domain` keeps hashes of different things apart; it is the first string.
  explicit CanonicalBytes(std::string_view domain) { Text(domain); }

  template <std::unsigned_integral T>
  CanonicalBytes& Integer(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
    return *this;
  }
  CanonicalBytes& Float(float value) { return Integer(std::bit_cast<uint32_t>(value)); }
  // Fixed size: no length before it.
  CanonicalBytes& Raw(std::span<const uint8_t> bytes) {
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return *this;
  }
  CanonicalBytes& Text(std::string_view text) {
    Integer(uint64_t{text.size()});
    bytes_.append(text);
    return *this;
  }
  CanonicalBytes& Reserve(size_t bytes) {
    bytes_.reserve(bytes_.size() + bytes);
    return *this;
  }

  const std::string& bytes() const { return bytes_; }
  std::array<uint8_t, 32> Sha256() const;

 private:
  std::string bytes_;
};

std::array<uint8_t, 32> Sha256Of(std::string_view bytes);

}  // namespace polarkv

#endif  // POLARKV_CODEC_CANONICAL_BYTES_H_
