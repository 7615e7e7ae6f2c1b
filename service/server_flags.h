// The command line and configuration file of polarkv-server.
#ifndef POLARKV_SERVICE_SERVER_FLAGS_H_
#define POLARKV_SERVICE_SERVER_FLAGS_H_

#include <optional>
#include <string>

#include "service/server_options.h"

namespace polarkv {

struct ServerFlags {
  ServerOptions server;
  std::string port_file;  // empty: none
};

// nullopt: the program is to end with `exit_code` (help or version was asked for, or the flags are wrong, which is then
// explained on standard error).
std::optional<ServerFlags> ParseServerFlags(int argc, const char* const* argv, int& exit_code);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_SERVER_FLAGS_H_
