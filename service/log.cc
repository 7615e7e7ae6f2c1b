#include "service/log.h"

#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

void WriteLine(char severity, const std::string& message) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  ::gmtime_r(&now.tv_sec, &utc);
  char time[40];
  const size_t length = std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(time + length, sizeof time - length, ".%03ldZ", now.tv_nsec / 1000000);
  const std::string line = absl::StrCat(time, " ", std::string(1, severity), " ", message, "\n");
  // Nowhere to report to when this fails.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void LogInfo(const std::string& message) { WriteLine('I', message); }
void LogWarning(const std::string& message) { WriteLine('W', message); }
void LogError(const std::string& message) { WriteLine('E', message); }

}  // namespace polarkv
