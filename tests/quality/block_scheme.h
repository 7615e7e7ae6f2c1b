// The project's codecs, through the same calls that a worker makes.
#ifndef POLARKV_TESTS_QUALITY_BLOCK_SCHEME_H_
#define POLARKV_TESTS_QUALITY_BLOCK_SCHEME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "codec/codec_id.h"
#include "tests/quality/scheme.h"

namespace polarkv::quality {

inline constexpr uint32_t kDefaultBlockTokens = 512;

// Encodes blocks of `block_tokens` tokens, reads each back with every check on, decodes it, and attends on all of them.
class BlockScheme final : public Scheme {
 public:
  BlockScheme(std::string name, CodecPair pair, uint32_t block_tokens);

  absl::StatusOr<Reconstruction> Apply(const KvCase& kv) const override;
  CodecPair pair() const { return pair_; }

 private:
  CodecPair pair_;
  uint32_t block_tokens_;
};

// A codec pair under the names that lead to it.
struct NamedPair {
  CodecPair pair;
  std::string name;     // as measured: "turbo4", "k=qjl2,v=fp16"
  std::string aliases;  // "default", "default, ..."; often empty
};

// Every codec that this build knows, each for keys and values, or with fp16 values if it is for keys alone; then the
// pairs that aliases name. What the build does not know or cannot encode is not there.
std::vector<NamedPair> KnownPairs();
// The letters that a codec's name begins with, and "+QJL" for one with a residual plane: "turbo", "turbo+QJL".
std::string FamilyOf(CodecPair pair);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_BLOCK_SCHEME_H_
