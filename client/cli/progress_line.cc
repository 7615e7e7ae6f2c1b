#include "client/cli/progress_line.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace polarkv::cli {
namespace {

constexpr char kEraseLine[] = "\r\033[K";

}  // namespace

ProgressLine::ProgressLine(std::string doing, uint64_t total, std::string unit)
    : doing_(std::move(doing)), total_(total), unit_(std::move(unit)), on_terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::fputs(kEraseLine, stderr);
}

void ProgressLine::Update(uint64_t done) {
  const Clock::time_point now = Clock::now();
  if (!on_terminal_ || now < next_ || done == 0) return;
  next_ = now + std::chrono::milliseconds(100);
  shown_ = true;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double left = elapsed * static_cast<double>(total_ - done) / static_cast<double>(done);
  std::fprintf(stderr, "%s%s: %llu of %llu %s, %.0f s left", kEraseLine, doing_.c_str(),
               static_cast<unsigned long long>(done), static_cast<unsigned long long>(total_), unit_.c_str(), left);
  std::fflush(stderr);
}

}  // namespace polarkv::cli
