#include "codec/canonical_bytes.h"

#include <openssl/evp.h>

#include <cstdio>
#include <cstdlib>

namespace polarkv {

std::array<uint8_t, 32> Sha256Of(std::string_view bytes) {
  std::array<uint8_t, 32> digest{};
  // Fails only when OpenSSL has no SHA-256 or no memory. A made-up key would serve wrong blocks, so there is no going
  // on.
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    std::fputs("polarkv: OpenSSL cannot compute SHA-256\n", stderr);
    std::abort();
  }
  return digest;
}

std::array<uint8_t, 32> CanonicalBytes::Sha256() const { return Sha256Of(bytes_); }

}  // namespace polarkv
