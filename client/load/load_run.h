// One run of the load tester against a server.
#ifndef POLARKV_CLIENT_LOAD_LOAD_RUN_H_
#define POLARKV_CLIENT_LOAD_LOAD_RUN_H_

#include "client/load/load_options.h"

namespace polarkv::load {

// Runs as the flags say, prints and writes the report; the program's exit code. SIGINT and SIGTERM end the run with its
// report, a second one ends the program. To be called before any other thread exists: they must inherit its signal
// mask.
int RunLoad(const LoadOptions& options);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_LOAD_RUN_H_
