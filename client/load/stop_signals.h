// SIGINT and SIGTERM as events to wait for, in place of handlers.
#ifndef POLARKV_CLIENT_LOAD_STOP_SIGNALS_H_
#define POLARKV_CLIENT_LOAD_STOP_SIGNALS_H_

#include <signal.h>

#include <chrono>

namespace polarkv::load {

// Blocks both signals in the calling thread, and so in all threads that it starts later, while it lives.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Whether one arrived before `timeout` passed; takes it.
  bool WaitFor(std::chrono::milliseconds timeout);

 private:
  sigset_t signals_;
  sigset_t before_;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_STOP_SIGNALS_H_
