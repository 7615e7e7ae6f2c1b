// What a server may be told.
#ifndef POLARKV_SERVICE_SERVER_OPTIONS_H_
#define POLARKV_SERVICE_SERVER_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace polarkv {

struct ServerOptions {
  std::string listen = "0.0.0.0:7070";  // gRPC's syntax; port 0: any free one
  std::string data_dir;                 // empty: memory only
  uint64_t memory_budget = uint64_t{1} << 30;
  uint64_t disk_budget = uint64_t{16} << 30;
  uint64_t max_block_bytes = uint64_t{64} << 20;
  std::chrono::milliseconds max_lease{300000};
  std::chrono::milliseconds drain_timeout{30000};
  uint32_t max_streams = 512;
  uint32_t max_namespaces = 4096;
  int worker_threads = 0;  // 0: by the number of processors
  std::chrono::milliseconds stalled_after{30000};
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_SERVER_OPTIONS_H_
