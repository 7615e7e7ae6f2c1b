// Makes a key-mean profile of a model's keys, sequence by sequence.
#ifndef POLARKV_CODEC_KEY_MEAN_PROFILE_BUILDER_H_
#define POLARKV_CODEC_KEY_MEAN_PROFILE_BUILDER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/key_mean.h"
#include "codec/key_mean_profile.h"
#include "codec/tensor_view.h"

namespace polarkv {

// Adds up keys turned back to position 0, in double and in the order of the calls: the same calls give the same bytes.
// Memory does not grow with the keys. One thread at a time.
class KeyMeanProfileBuilder {
 public:
  // INVALID_ARGUMENT: the shape is out of range. Phases that are empty are derived from RoPE's base.
  static absl::StatusOr<std::unique_ptr<KeyMeanProfileBuilder>> Create(const ProfileShape& shape);
  KeyMeanProfileBuilder(const KeyMeanProfileBuilder&) = delete;
  KeyMeanProfileBuilder& operator=(const KeyMeanProfileBuilder&) = delete;

  // Adds the keys [layers, kv_heads, tokens, head_dim], after RoPE, of a run of tokens that begins at `first_position`;
  // the heads are the model's from `first_kv_head` on. The first `raw_first_tokens` positions of a sequence are left out
  // (EncodeOptions). INVALID_ARGUMENT: the tensor is of another shape, or has a NaN or an infinity; nothing more can be
  // added then, and Build says the same.
  absl::Status Add(const TensorView& k, uint64_t first_position, uint32_t first_kv_head = 0,
                   uint32_t raw_first_tokens = EncodeOptions{}.raw_first_tokens);

  // What a mean takes off the keys of one head.
  struct Gain {
    uint64_t tokens = 0;
    double energy = 0;   // sum of the keys' squared norms
    double removed = 0;  // of other keys like them; what the mean has of these keys' own noise is not counted. May be < 0.
    // Whether that is at least a tenth, as the encoder wants it of a block's own means.
    bool Pays() const { return energy > 0 && removed >= energy / 10; }
  };
  Gain GainOf(uint32_t layer, uint32_t kv_head) const;

  // The means of all heads where they pay. INVALID_ARGUMENT: Add failed; FAILED_PRECONDITION: a head has no keys.
  absl::StatusOr<KeyMeanProfilePtr> Build() const;

 private:
  explicit KeyMeanProfileBuilder(const ProfileShape& shape);

  const ProfileShape shape_;
  std::vector<KeyMeanEstimator> heads_;  // [layers][kv_heads]
  absl::Status status_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_KEY_MEAN_PROFILE_BUILDER_H_
