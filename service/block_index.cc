#include "service/block_index.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace polarkv {

template <auto kLink>
void EntryList<kLink>::PushFront(BlockEntry* entry) {
  (entry->*kLink) = {nullptr, front_};
  if (front_ != nullptr) (front_->*kLink).previous = entry;
  front_ = entry;
  if (back_ == nullptr) back_ = entry;
}

template <auto kLink>
void EntryList<kLink>::Remove(BlockEntry* entry) {
  const auto [previous, next] = entry->*kLink;
  (previous == nullptr ? front_ : (previous->*kLink).next) = next;
  (next == nullptr ? back_ : (next->*kLink).previous) = previous;
  (entry->*kLink) = {};
}

BlockIndex::BlockIndex() = default;
BlockIndex::~BlockIndex() = default;

BlockEntry* BlockIndex::FindAny(const BlockName& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : found->get();
}

BlockEntry* BlockIndex::Find(const BlockName& name) const {
  BlockEntry* entry = FindAny(name);
  return entry == nullptr || entry->ghost ? nullptr : entry;
}

BlockEntry* BlockIndex::NewEntry(const BlockName& name) {
  auto entry = std::make_unique<BlockEntry>();
  entry->name = name;
  return entries_.insert(std::move(entry)).first->get();
}

absl::StatusOr<BlockEntry*> BlockIndex::Insert(const BlockName& name, const std::optional<BlockKey>& parent,
                                               uint64_t block_index, uint64_t size, uint64_t header_xxh3) {
  // A child is one further than its parent: so a chain cannot run in a circle, which would have no leaf to evict.
  BlockEntry* entry = FindAny(name);
  if (entry != nullptr && entry->block_index != block_index) {
    return absl::FailedPreconditionError(absl::StrCat("the block says it is number ", block_index,
                                                      " of its chain; a stored block that names it as parent makes it ",
                                                      entry->block_index));
  }
  BlockEntry* above = nullptr;
  if (parent.has_value()) {
    if (block_index == 0) {
      return absl::FailedPreconditionError("the block is the first of its chain and yet has a parent");
    }
    const BlockName parent_name = {name.ns, *parent};
    if (parent_name == name) return absl::FailedPreconditionError("the block names itself as its parent");
    above = FindAny(parent_name);
    if (above != nullptr && above->block_index != block_index - 1) {
      return absl::FailedPreconditionError(absl::StrCat("the block says it is number ", block_index,
                                                        " of its chain; its parent is number ", above->block_index));
    }
    if (above == nullptr) {
      above = NewEntry(parent_name);
      above->ghost = true;
      above->block_index = block_index - 1;
    }
  }
  if (entry == nullptr) entry = NewEntry(name);
  entry->ghost = false;
  entry->block_index = block_index;
  entry->size = size;
  entry->header_xxh3 = header_xxh3;
  entry->last_use = ++clock_;
  entry->parent = above;
  if (above != nullptr) {
    ++above->children;
    Refile(above);
  }
  namespaces_[name.ns].entries.PushFront(entry);
  CountUsage(entry, true);
  ++blocks_;
  return entry;
}

void BlockIndex::Remove(BlockEntry* entry) {
  TakeMemory(entry);
  TakeDisk(entry);
  SetDoomed(entry, true);
  const auto home = namespaces_.find(entry->name.ns);
  home->second.entries.Remove(entry);
  if (home->second.entries.front() == nullptr) namespaces_.erase(home);
  --blocks_;
  LeaveParent(entry);
  if (entry->children == 0) {
    Erase(entry);
    return;
  }
  entry->ghost = true;
  entry->doomed = false;
}

void BlockIndex::SetDoomed(BlockEntry* entry, bool doomed) {
  if (entry->doomed == doomed) return;
  entry->doomed = doomed;
  CountUsage(entry, !doomed);
}

void BlockIndex::CountUsage(const BlockEntry* entry, bool add) {
  BlockTotals& totals = namespaces_[entry->name.ns].totals;
  totals.blocks += add ? 1 : -1;
  totals.bytes += add ? entry->size : -entry->size;
}

void BlockIndex::LeaveParent(BlockEntry* entry) {
  BlockEntry* parent = std::exchange(entry->parent, nullptr);
  if (parent == nullptr) return;
  --parent->children;
  if (parent->ghost) {
    if (parent->children == 0) Erase(parent);
    return;
  }
  TakeOffShelf(parent);
  parent->last_use = std::max(parent->last_use, entry->last_use);
  Refile(parent);
}

void BlockIndex::Erase(BlockEntry* entry) { entries_.erase(entries_.find(entry->name)); }

void BlockIndex::SetMemory(BlockEntry* entry, BlockBytes bytes) {
  entry->memory = std::move(bytes);
  ++memory_.blocks;
  memory_.bytes += entry->size;
  Refile(entry);
}

BlockBytes BlockIndex::TakeMemory(BlockEntry* entry) {
  BlockBytes bytes = std::move(entry->memory);
  entry->memory = nullptr;
  if (bytes != nullptr) {
    --memory_.blocks;
    memory_.bytes -= entry->size;
    Refile(entry);
  }
  return bytes;
}

void BlockIndex::SetDisk(BlockEntry* entry, Extents extents) {
  entry->disk = std::move(extents);
  ++disk_.blocks;
  disk_.bytes += entry->size;
  Refile(entry);
}

Extents BlockIndex::TakeDisk(BlockEntry* entry) {
  Extents extents = std::exchange(entry->disk, {});
  if (!extents.empty()) {
    --disk_.blocks;
    disk_.bytes -= entry->size;
    Refile(entry);
  }
  return extents;
}

void BlockIndex::Pin(BlockEntry* entry) {
  ++entry->pins;
  Refile(entry);
}

void BlockIndex::Unpin(BlockEntry* entry) {
  --entry->pins;
  Refile(entry);
}

void BlockIndex::Touch(BlockEntry* entry) {
  TakeOffShelf(entry);
  entry->last_use = ++clock_;
  Refile(entry);
  if (entry->cached && cached_.front() != entry) {
    cached_.Remove(entry);
    cached_.PushFront(entry);
  }
}

BlockIndex::Shelf BlockIndex::ShelfOf(const BlockEntry* entry) const {
  if (entry->pins > 0 || entry->children > 0) return Shelf::kNone;
  if (!entry->disk.empty()) return Shelf::kDiskLeaves;
  return entry->memory != nullptr ? Shelf::kMemoryLeaves : Shelf::kNone;
}

void BlockIndex::TakeOffShelf(BlockEntry* entry) {
  if (entry->shelf == Shelf::kMemoryLeaves) memory_leaves_.erase(entry);
  if (entry->shelf == Shelf::kDiskLeaves) disk_leaves_.erase(entry);
  entry->shelf = Shelf::kNone;
}

void BlockIndex::Refile(BlockEntry* entry) {
  if (const Shelf shelf = ShelfOf(entry); shelf != entry->shelf) {
    TakeOffShelf(entry);
    if (shelf == Shelf::kMemoryLeaves) memory_leaves_.insert(entry);
    if (shelf == Shelf::kDiskLeaves) disk_leaves_.insert(entry);
    entry->shelf = shelf;
  }
  const bool cached = entry->memory != nullptr && !entry->disk.empty();
  if (cached == entry->cached) return;
  entry->cached = cached;
  if (cached) {
    cached_.PushFront(entry);
  } else {
    cached_.Remove(entry);
  }
}

BlockEntry* BlockIndex::MemoryVictim() const {
  // The index holds one reference; somebody who holds another keeps the bytes in memory whatever is done here.
  BlockEntry* copy = cached_.back();
  while (copy != nullptr && copy->memory.use_count() > 1) copy = copy->by_recency.previous;
  const auto only = std::ranges::find_if(memory_leaves_, [](const BlockEntry* e) { return e->memory.use_count() == 1; });
  if (only == memory_leaves_.end()) return copy;
  if (copy == nullptr) return *only;
  return copy->last_use <= (*only)->last_use ? copy : *only;
}

BlockTotals BlockIndex::Usage(NamespaceId ns) const {
  const auto found = namespaces_.find(ns);
  return found == namespaces_.end() ? BlockTotals{} : found->second.totals;
}

void BlockIndex::ForEach(NamespaceId ns, const std::function<bool(BlockEntry*)>& visit) const {
  const auto found = namespaces_.find(ns);
  if (found == namespaces_.end()) return;
  for (BlockEntry* entry = found->second.entries.front(); entry != nullptr; entry = entry->by_namespace.next) {
    if (!visit(entry)) return;
  }
}

void BlockIndex::ForEach(const std::function<void(BlockEntry*)>& visit) const {
  for (const auto& entry : entries_) {
    if (!entry->ghost) visit(entry.get());
  }
}

}  // namespace polarkv
