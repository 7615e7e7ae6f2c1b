// The counters and gauges of a server as the wire carries them.
#ifndef POLARKV_SERVICE_STATS_MESSAGE_H_
#define POLARKV_SERVICE_STATS_MESSAGE_H_

#include "polarkv/v1/kv_store.pb.h"
#include "service/service_context.h"

namespace polarkv {

v1::StatsResponse StatsMessage(const ServiceContext& context);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_STATS_MESSAGE_H_
