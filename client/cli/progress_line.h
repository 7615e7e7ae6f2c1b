// One line of progress for work that takes longer than a moment.
#ifndef POLARKV_CLIENT_CLI_PROGRESS_LINE_H_
#define POLARKV_CLIENT_CLI_PROGRESS_LINE_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace polarkv::cli {

// Silent unless standard error is a terminal and the work takes longer than half a second. Erased when it ends.
class ProgressLine {
 public:
  ProgressLine(std::string doing, uint64_t total, std::string unit);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Update(uint64_t done);

 private:
  using Clock = std::chrono::steady_clock;
  const std::string doing_;
  const uint64_t total_;
  const std::string unit_;
  const bool on_terminal_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point next_ = start_ + std::chrono::milliseconds(500);
  bool shown_ = false;
};

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_PROGRESS_LINE_H_
