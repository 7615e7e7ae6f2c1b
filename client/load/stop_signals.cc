#include "client/load/stop_signals.h"

#include <ctime>

namespace polarkv::load {

StopSignals::StopSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
}

StopSignals::~StopSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

bool StopSignals::WaitFor(std::chrono::milliseconds timeout) {
  const timespec wait{timeout.count() / 1000, timeout.count() % 1000 * 1000000};
  return sigtimedwait(&signals_, nullptr, &wait) > 0;
}

}  // namespace polarkv::load
