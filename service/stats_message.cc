#include "service/stats_message.h"

namespace polarkv {

v1::StatsResponse StatsMessage(const ServiceContext& context) {
  const BlockStoreStats store = context.store.Stats();
  const ServiceCounters& counters = context.counters;
  v1::StatsResponse message;
  message.set_version(context.version);
  message.set_uptime_ms(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - context.started)
          .count()));
  message.set_memory_blocks(store.memory.blocks);
  message.set_memory_bytes(store.memory_used);
  message.set_memory_budget(store.memory_budget);
  message.set_disk_blocks(store.disk.blocks);
  message.set_disk_bytes(store.disk_used);
  message.set_disk_budget(store.disk_budget);
  message.set_pending_writes(store.pending_writes);
  message.set_leases(store.leases);
  message.set_match_requests(counters.match_requests);
  message.set_matched_blocks(counters.matched_blocks);
  message.set_fetched_blocks(counters.fetched_blocks);
  message.set_fetched_bytes(counters.fetched_bytes);
  message.set_stored_blocks(counters.stored_blocks);
  message.set_stored_bytes(counters.stored_bytes);
  message.set_duplicate_blocks(counters.duplicate_blocks);
  message.set_rejected_blocks(counters.rejected_blocks);
  message.set_evicted_blocks(store.evicted_blocks);
  message.set_corrupt_blocks(store.corrupt_blocks);
  message.set_lost_blocks(store.lost_blocks);
  message.set_namespaces(context.namespaces.size());
  message.set_profile_bytes(context.namespaces.profile_bytes());
  return message;
}

}  // namespace polarkv
