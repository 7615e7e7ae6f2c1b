// Everything a store knows about its blocks but their bytes: where they are, how they hang together, who may go first.
//
// Eviction order. A block vanishes only when it is a leaf (no stored block names it as its parent) and is not pinned; of
// those the least recently used goes first. A parent counts as used whenever a child of it was. A block that is both in
// memory and on disk may lose its copy in memory at any time, since it stays readable.
#ifndef POLARKV_SERVICE_BLOCK_INDEX_H_
#define POLARKV_SERVICE_BLOCK_INDEX_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/status/statusor.h"
#include "service/block_name.h"
#include "service/extent_allocator.h"

namespace polarkv {

// One block. Written by BlockIndex alone, unless a field says otherwise.
struct BlockEntry {
  BlockName name;
  uint64_t block_index = 0;
  uint64_t size = 0;
  uint64_t header_xxh3 = 0;  // identifies the bytes: it covers the directory, which covers every segment
  BlockBytes memory;         // null: not in memory
  Extents disk;              // empty: not on disk
  uint32_t pins = 0;         // leases, reads and writes under way: it must not vanish
  bool doomed = false;       // deleted while pinned: not matched any more, vanishes with its last pin
  uint32_t leases = 0;       // those of the pins that are leases; kept by the store
  bool writing = false;      // queued for the disk or being written; kept by the store

  std::optional<BlockKey> ParentKey() const {
    return parent == nullptr ? std::nullopt : std::optional(parent->name.key);
  }

 private:
  friend class BlockIndex;
  enum class Shelf : uint8_t { kNone, kMemoryLeaves, kDiskLeaves };
  struct Link {
    BlockEntry* previous = nullptr;
    BlockEntry* next = nullptr;
  };

  BlockEntry* parent = nullptr;
  uint32_t children = 0;
  bool ghost = false;  // stands for an absent parent
  bool cached = false;
  Shelf shelf = Shelf::kNone;
  uint64_t last_use = 0;
  Link by_recency;    // among the blocks whose copy in memory may be dropped
  Link by_namespace;
};

// A doubly-linked list through the entries themselves.
template <auto kLink>
class EntryList {
 public:
  BlockEntry* front() const { return front_; }
  BlockEntry* back() const { return back_; }
  void PushFront(BlockEntry* entry);
  void Remove(BlockEntry* entry);

 private:
  BlockEntry* front_ = nullptr;
  BlockEntry* back_ = nullptr;
};

// Memory charged for an entry: itself, its place in the tables, its buffer's bookkeeping, and a ghost of its parent.
inline constexpr uint64_t kEntryBytes = 512;

// Not thread-safe.
class BlockIndex {
 public:
  BlockIndex();
  ~BlockIndex();

  // Null: not here. Doomed blocks are found.
  BlockEntry* Find(const BlockName& name) const;

  // A new entry, neither in memory nor on disk yet. `name` must not be here. FAILED_PRECONDITION: blocks that are here
  // put this key, or its parent, at another position of the chain.
  absl::StatusOr<BlockEntry*> Insert(const BlockName& name, const std::optional<BlockKey>& parent,
                                     uint64_t block_index, uint64_t size, uint64_t header_xxh3);
  // Forgets a block; its children, if any, stay.
  void Remove(BlockEntry* entry);

  void SetMemory(BlockEntry* entry, BlockBytes bytes);
  BlockBytes TakeMemory(BlockEntry* entry);
  void SetDisk(BlockEntry* entry, Extents extents);
  Extents TakeDisk(BlockEntry* entry);
  void SetDoomed(BlockEntry* entry, bool doomed);
  void Pin(BlockEntry* entry);
  void Unpin(BlockEntry* entry);
  void Touch(BlockEntry* entry);

  // The block whose leaving memory is due: if it is on disk its copy in memory may be dropped, else it must be removed.
  // Passes over blocks whose bytes somebody else holds, since nothing would be gained. Null: none.
  BlockEntry* MemoryVictim() const;
  // The least recently used unpinned leaf on disk, or in memory alone; null: none.
  BlockEntry* DiskVictim() const { return disk_leaves_.empty() ? nullptr : *disk_leaves_.begin(); }
  BlockEntry* MemoryOnlyVictim() const { return memory_leaves_.empty() ? nullptr : *memory_leaves_.begin(); }

  const BlockTotals& memory() const { return memory_; }
  const BlockTotals& disk() const { return disk_; }
  uint64_t blocks() const { return blocks_; }  // all, doomed ones included
  // Without doomed blocks.
  BlockTotals Usage(NamespaceId ns) const;
  // Visits the entries of a namespace until `visit` returns false. It must not change the index.
  void ForEach(NamespaceId ns, const std::function<bool(BlockEntry*)>& visit) const;
  void ForEach(const std::function<void(BlockEntry*)>& visit) const;

 private:
  struct ByName {
    using is_transparent = void;
    static const BlockName& NameOf(const std::unique_ptr<BlockEntry>& entry) { return entry->name; }
    static const BlockName& NameOf(const BlockName& name) { return name; }
    size_t operator()(const auto& value) const { return absl::Hash<BlockName>{}(NameOf(value)); }
    bool operator()(const auto& a, const auto& b) const { return NameOf(a) == NameOf(b); }
  };
  struct ByLastUse {
    bool operator()(const BlockEntry* a, const BlockEntry* b) const {
      return a->last_use != b->last_use ? a->last_use < b->last_use : a < b;
    }
  };
  struct NamespaceBlocks {
    BlockTotals totals;
    EntryList<&BlockEntry::by_namespace> entries;
  };
  using Shelf = BlockEntry::Shelf;

  BlockEntry* FindAny(const BlockName& name) const;
  BlockEntry* NewEntry(const BlockName& name);
  void Erase(BlockEntry* entry);
  void LeaveParent(BlockEntry* entry);
  void CountUsage(const BlockEntry* entry, bool add);
  Shelf ShelfOf(const BlockEntry* entry) const;
  void TakeOffShelf(BlockEntry* entry);
  void Refile(BlockEntry* entry);

  absl::flat_hash_set<std::unique_ptr<BlockEntry>, ByName, ByName> entries_;
  std::set<BlockEntry*, ByLastUse> memory_leaves_;  // in memory alone, unpinned, childless
  std::set<BlockEntry*, ByLastUse> disk_leaves_;    // on disk, unpinned, childless
  EntryList<&BlockEntry::by_recency> cached_;       // in memory and on disk, most recently used first
  std::unordered_map<NamespaceId, NamespaceBlocks> namespaces_;
  BlockTotals memory_, disk_;
  uint64_t blocks_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_INDEX_H_
