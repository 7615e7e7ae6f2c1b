#include "tests/service/store_bodies.h"

#include "tests/service/fault_injecting_store.h"

namespace polarkv::testing {

std::string BodyName(Body body) {
  switch (body) {
    case Body::kMemory:
      return "Memory";
    case Body::kDisk:
      return "Disk";
    case Body::kTiered:
      return "Tiered";
    case Body::kFaultInjecting:
      return "FaultInjecting";
  }
  return "";
}

LocalStoreOptions SmallOptions(Body body) {
  LocalStoreOptions options;
  options.memory_budget = kSmallMemory;
  options.disk_budget = kSmallDisk;
  options.keep_in_memory = body != Body::kDisk;
  options.max_lease = std::chrono::milliseconds(60000);
  return options;
}

OpenedStore::OpenedStore(Body body) {
  if (body == Body::kDisk || body == Body::kTiered) directory_ = DataDirectory::Open(place_.path()).value();
  auto local = LocalStore::Open(SmallOptions(body), directory_.get(), {kNs, kOtherNs}).value();
  if (body == Body::kFaultInjecting) {
    store_ = std::make_unique<FaultInjectingStore>(std::move(local));
  } else {
    store_ = std::move(local);
  }
}

OpenedStore::~OpenedStore() = default;

}  // namespace polarkv::testing
