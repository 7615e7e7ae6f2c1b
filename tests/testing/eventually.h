// Waiting for what another thread or process is about to do.
#ifndef POLARKV_TESTS_TESTING_EVENTUALLY_H_
#define POLARKV_TESTS_TESTING_EVENTUALLY_H_

#include <chrono>
#include <thread>

namespace polarkv::testing {

// Far beyond what anything takes on a machine that is busy with other things, too: reaching it is a failure.
constexpr std::chrono::seconds kLongWait{60};

// Whether the condition came to hold.
template <typename Condition>
bool Eventually(const Condition& condition, std::chrono::seconds longest = kLongWait) {
  const auto end = std::chrono::steady_clock::now() + longest;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_TESTING_EVENTUALLY_H_
