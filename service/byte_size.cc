#include "service/byte_size.h"

#include <cctype>
#include <cmath>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace polarkv {
namespace {

constexpr char kPrefixes[] = "KMGTPE";

// The factor of a unit such as "", "B", "K", "KB" or "KiB", in upper case; 0: not a unit.
double UnitFactor(const std::string& unit) {
  if (unit.empty() || unit == "B") return 1;
  const char* prefix = std::strchr(kPrefixes, unit[0]);
  if (prefix == nullptr || *prefix == '\0') return 0;
  const std::string rest = unit.substr(1);
  const double power = static_cast<double>(prefix - kPrefixes + 1);
  if (rest.empty() || rest == "IB") return std::pow(1024.0, power);
  return rest == "B" ? std::pow(1000.0, power) : 0;
}

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(const std::string& text) {
  size_t digits = 0;
  while (digits < text.size() && (std::isdigit(static_cast<unsigned char>(text[digits])) || text[digits] == '.')) {
    ++digits;
  }
  double number = 0;
  const std::string unit = absl::AsciiStrToUpper(absl::StripAsciiWhitespace(text.substr(digits)));
  const double factor = UnitFactor(unit);
  if (!absl::SimpleAtod(text.substr(0, digits), &number) || factor == 0 || number * factor >= 0x1p63) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not a size; write 4GiB, 500MB or 1048576"));
  }
  return static_cast<uint64_t>(number * factor);
}

std::string FormatByteSize(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  size_t prefix = 0;
  for (value /= 1024; value >= 1024 && kPrefixes[prefix + 1] != '\0'; value /= 1024) ++prefix;
  return absl::StrFormat("%.1f %ciB", value, kPrefixes[prefix]);
}

}  // namespace polarkv
