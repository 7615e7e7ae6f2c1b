// What all rpcs of one server share.
#ifndef POLARKV_SERVICE_SERVICE_CONTEXT_H_
#define POLARKV_SERVICE_SERVICE_CONTEXT_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "service/block_store.h"
#include "service/namespace_registry.h"
#include "service/worker_pool.h"

namespace polarkv {

struct ServiceLimits {
  uint64_t max_block_bytes = uint64_t{64} << 20;
  uint32_t max_keys_per_request = 16384;
  uint32_t max_frame_bytes = uint32_t{4} << 20;      // body bytes
  uint32_t default_frame_bytes = uint32_t{1} << 20;  // of Fetch
  uint32_t max_streams = 512;                        // Fetch and Store together
  uint64_t max_receiving_bytes = uint64_t{256} << 20;  // blocks that are being received, all streams together
  // A Store stream that sends nothing for so long in the middle of a block is ended.
  std::chrono::milliseconds stalled_after{30000};
};

// Since start.
struct ServiceCounters {
  std::atomic<uint64_t> match_requests{0}, matched_blocks{0};
  std::atomic<uint64_t> fetched_blocks{0}, fetched_bytes{0};
  std::atomic<uint64_t> stored_blocks{0}, stored_bytes{0}, duplicate_blocks{0}, rejected_blocks{0};
};

struct ServiceContext {
  ServiceContext(BlockStore& the_store, NamespaceRegistry& the_namespaces, const ServiceLimits& the_limits,
                 int worker_threads)
      : store(the_store),
        namespaces(the_namespaces),
        limits(the_limits),
        receiving(std::make_shared<ByteBudget>(the_limits.max_receiving_bytes)),
        readers(worker_threads),
        writers(worker_threads) {}

  BlockStore& store;
  NamespaceRegistry& namespaces;
  const ServiceLimits limits;
  const std::string version = POLARKV_VERSION;
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  ServiceCounters counters;
  const std::shared_ptr<ByteBudget> receiving;
  std::atomic<uint32_t> streams{0};       // that have a place among max_streams
  std::atomic<uint32_t> open_streams{0};  // those, those refused, and those whose end is on its way to the client
  std::atomic<bool> draining{false};
  // Two pools, so that blocks that wait for the disk to keep up (writers) keep nobody else waiting. Last: they end first.
  WorkerPool readers;
  WorkerPool writers;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_SERVICE_CONTEXT_H_
