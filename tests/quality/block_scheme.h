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
// `default` in blocks as short as engines have them, with the means that each block has itself and with those of a profile.
inline constexpr char kShortBlocks[] = "default/64", kShortProfiled[] = "default+profile/64";
inline constexpr uint32_t kShortBlockTokens = 64;

// Where encoders find the means that they take off keys.
enum class MeanSource {
  kBlock,
  kProfile,  // of the case's own keys; there once for all blocks, 272 bytes a head at d = 128, which bits do not count
};

// Encodes blocks of `block_tokens` tokens, reads each back with every check on, decodes it, and attends on all of them.
class BlockScheme final : public Scheme {
 public:
  BlockScheme(std::string name, CodecPair pair, uint32_t block_tokens);
  BlockScheme(std::string name, std::string family, CodecPair pair, uint32_t block_tokens, MeanSource means);

  absl::StatusOr<Reconstruction> Apply(const KvCase& kv) const override;
  CodecPair pair() const { return pair_; }

 private:
  CodecPair pair_;
  uint32_t block_tokens_;
  MeanSource means_ = MeanSource::kBlock;
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
