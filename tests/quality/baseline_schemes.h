// The rivals that the codecs are compared with, on the same data, their true bits counted.
#ifndef POLARKV_TESTS_QUALITY_BASELINE_SCHEMES_H_
#define POLARKV_TESTS_QUALITY_BASELINE_SCHEMES_H_

#include <string>

#include "tests/quality/scheme.h"
#include "tests/quality/side_quantizer.h"

namespace polarkv::quality {

// One quantizer for keys and one for values. Counts codes and parameters, and no container around them.
class BaselineScheme final : public Scheme {
 public:
  BaselineScheme(std::string name, std::string family, SideQuantizerPtr keys, SideQuantizerPtr values)
      : Scheme(SchemeKind::kBaseline, std::move(name), std::move(family)),
        keys_(std::move(keys)),
        values_(std::move(values)) {}

  absl::StatusOr<Reconstruction> Apply(const KvCase& kv) const override;

 private:
  SideQuantizerPtr keys_, values_;
};

inline constexpr char kKivi4[] = "KIVI int4 G=128";
inline constexpr char kKivi4Fine[] = "KIVI int4 G=32";
inline constexpr char kLloydMax4[] = "Lloyd-Max 4";
inline constexpr char kPolarPublished[] = "PolarQuant r4t4";

Schemes BaselineSchemes();

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_BASELINE_SCHEMES_H_
