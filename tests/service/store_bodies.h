// The bodies of BlockStore that the conformance suite runs on, each small enough that a test fills it quickly.
#ifndef POLARKV_TESTS_SERVICE_STORE_BODIES_H_
#define POLARKV_TESTS_SERVICE_STORE_BODIES_H_

#include <memory>
#include <string>

#include "service/local_store.h"
#include "tests/service/temporary_directory.h"

namespace polarkv::testing {

enum class Body { kMemory, kDisk, kTiered, kFaultInjecting };
std::string BodyName(Body body);

inline constexpr NamespaceId kNs = 7;
inline constexpr NamespaceId kOtherNs = 8;

// Each holds about forty of the blocks in stored_block.h.
inline constexpr uint64_t kSmallMemory = uint64_t{1} << 20;
inline constexpr uint64_t kSmallDisk = uint64_t{1} << 20;

LocalStoreOptions SmallOptions(Body body);

// A store with the directory it lives in.
class OpenedStore {
 public:
  explicit OpenedStore(Body body);
  ~OpenedStore();
  BlockStore& operator*() { return *store_; }
  BlockStore* operator->() { return store_.get(); }

 private:
  TemporaryDirectory place_;
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<BlockStore> store_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_STORE_BODIES_H_
