// A BlockStore that passes everything on, and fails where a test tells it to.
#ifndef POLARKV_TESTS_SERVICE_FAULT_INJECTING_STORE_H_
#define POLARKV_TESTS_SERVICE_FAULT_INJECTING_STORE_H_

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "service/block_store.h"

namespace polarkv::testing {

class FaultInjectingStore final : public BlockStore {
 public:
  explicit FaultInjectingStore(std::unique_ptr<BlockStore> inner) : inner_(std::move(inner)) {}

  // Faults, off at first. Thread-safe.
  std::atomic<bool> fail_allocate{false};  // RESOURCE_EXHAUSTED
  std::atomic<bool> fail_put{false};       // kIoError
  std::atomic<bool> fail_get{false};       // UNAVAILABLE
  std::atomic<bool> corrupt_get{false};    // DATA_LOSS

  absl::StatusOr<std::shared_ptr<BlockBuffer>> Allocate(uint64_t bytes) override {
    if (fail_allocate) return absl::ResourceExhaustedError("injected: no memory");
    return inner_->Allocate(bytes);
  }
  std::vector<PutResult> Put(NamespaceId ns, std::span<const PutItem> items) override {
    if (fail_put) return std::vector<PutResult>(items.size(), {PutOutcome::kIoError, "injected: cannot write"});
    return inner_->Put(ns, items);
  }
  PrefixMatchResult MatchPrefix(NamespaceId ns, std::span<const BlockKey> keys,
                                std::chrono::milliseconds lease) override {
    return inner_->MatchPrefix(ns, keys, lease);
  }
  std::vector<absl::StatusOr<BlockBytes>> Get(NamespaceId ns, std::span<const BlockKey> keys) override {
    if (fail_get) return AllFail(keys.size(), absl::UnavailableError("injected: cannot read"));
    if (corrupt_get) return AllFail(keys.size(), absl::DataLossError("injected: corrupt"));
    return inner_->Get(ns, keys);
  }
  std::vector<bool> Exists(NamespaceId ns, std::span<const BlockKey> keys) const override {
    return inner_->Exists(ns, keys);
  }
  BlockTotals Delete(NamespaceId ns, std::span<const BlockKey> keys) override { return inner_->Delete(ns, keys); }
  BlockTotals DeleteNamespace(NamespaceId ns) override { return inner_->DeleteNamespace(ns); }
  void ReleaseLease(uint64_t lease_id) override { inner_->ReleaseLease(lease_id); }
  BlockTotals Usage(NamespaceId ns) const override { return inner_->Usage(ns); }
  BlockStoreStats Stats() const override { return inner_->Stats(); }
  absl::Status Flush() override { return inner_->Flush(); }

 private:
  static std::vector<absl::StatusOr<BlockBytes>> AllFail(size_t count, const absl::Status& status) {
    return std::vector<absl::StatusOr<BlockBytes>>(count, status);
  }
  const std::unique_ptr<BlockStore> inner_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_FAULT_INJECTING_STORE_H_
