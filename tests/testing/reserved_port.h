// A loopback port that stays this process's own while the server that listens on it is stopped.
#ifndef POLARKV_TESTS_TESTING_RESERVED_PORT_H_
#define POLARKV_TESTS_TESTING_RESERVED_PORT_H_

namespace polarkv::testing {

// Bound to a free port of 127.0.0.1 and never listening: a server can listen on it (gRPC's sockets allow that), connections
// are refused while none does, and the system gives the port to nobody else.
class ReservedPort {
 public:
  // std::runtime_error when there is no free port.
  ReservedPort();
  ~ReservedPort();
  ReservedPort(const ReservedPort&) = delete;
  ReservedPort& operator=(const ReservedPort&) = delete;

  int number() const { return number_; }

 private:
  int socket_ = -1;
  int number_ = 0;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_TESTING_RESERVED_PORT_H_
