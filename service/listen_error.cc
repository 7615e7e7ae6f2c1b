#include "service/listen_error.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

// Tries what gRPC tried. Empty: it works, or the address is of another kind than host:port.
std::string ReasonNotToBind(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (address.starts_with("unix:") || colon == std::string::npos) return "";
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), address.c_str() + colon + 1, &hints, &found);
  if (error != 0) return ::gai_strerror(error);
  std::string reason;
  const int fd = ::socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  const int yes = 1;
  if (fd >= 0) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (fd < 0 || ::bind(fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd, 1) != 0) {
    reason = std::system_category().message(errno);
    if (errno == EADDRINUSE) reason += "; is another server running there? choose another port with --listen";
  }
  if (fd >= 0) ::close(fd);
  ::freeaddrinfo(found);
  return reason;
}

}  // namespace

absl::Status ListenError(const std::string& address) {
  const std::string reason = ReasonNotToBind(address);
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ",
                                             reason.empty() ? "the address is not usable; write HOST:PORT" : reason));
}

}  // namespace polarkv
