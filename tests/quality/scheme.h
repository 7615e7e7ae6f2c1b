// What is measured: anything that turns keys and values into bits and back.
#ifndef POLARKV_TESTS_QUALITY_SCHEME_H_
#define POLARKV_TESTS_QUALITY_SCHEME_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/quality/kv_case.h"

namespace polarkv::quality {

// Bits per coordinate of K and of V.
struct SideBits {
  double k = 0;
  double v = 0;
  double mean() const { return (k + v) / 2; }
};

// What a reader gets back, and what it cost.
struct Reconstruction {
  std::vector<float> k, v;  // shaped as the case's
  // Attention output [q_heads, queries, head_dim], as the scheme's own attention computes it; empty: attention over k
  // and v is meant.
  std::vector<float> output;
  SideBits bits;  // everything counted
  SideBits net;   // codes, scales and parameters alone
};

enum class SchemeKind { kCodec, kBaseline };

// Thread-safe: Apply changes nothing.
class Scheme {
 public:
  Scheme(SchemeKind kind, std::string name, std::string family)
      : kind_(kind), name_(std::move(name)), family_(std::move(family)) {}
  virtual ~Scheme() = default;
  Scheme(const Scheme&) = delete;
  Scheme& operator=(const Scheme&) = delete;

  virtual absl::StatusOr<Reconstruction> Apply(const KvCase& kv) const = 0;

  SchemeKind kind() const { return kind_; }
  const std::string& name() const { return name_; }
  const std::string& family() const { return family_; }  // schemes that a plot joins by a line

 private:
  SchemeKind kind_;
  std::string name_, family_;
};

using Schemes = std::vector<std::unique_ptr<Scheme>>;

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_SCHEME_H_
