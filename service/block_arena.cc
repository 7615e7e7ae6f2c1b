#include "service/block_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

constexpr uint64_t kMaxPages = UINT32_MAX;

}  // namespace

absl::StatusOr<std::shared_ptr<BlockArena>> BlockArena::Make(uint64_t budget) {
  const uint64_t bytes = std::clamp<uint64_t>(budget / kExtentBytes, 1, kMaxPages) * kExtentBytes;
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot reserve ", bytes, " bytes of memory for blocks: ",
                                                     std::system_category().message(errno)));
  }
  return std::shared_ptr<BlockArena>(new BlockArena(static_cast<uint8_t*>(base), bytes));
}

BlockArena::BlockArena(uint8_t* base, uint64_t budget) : base_(base), mapped_bytes_(budget), budget_(budget) {
  pages_.Grow(budget / kExtentBytes);
}

BlockArena::~BlockArena() { ::munmap(base_, mapped_bytes_); }

std::shared_ptr<BlockBuffer> BlockArena::TryAllocate(uint64_t size, uint64_t leave) {
  if (size == 0 || size > mapped_bytes_ || !budget_.TryCharge(Charge(size), leave)) return nullptr;
  ExtentRun run;
  {
    const std::lock_guard lock(mu_);
    run = pages_.AllocateRun(ExtentUnits(size));
  }
  if (run.units == 0) {
    budget_.Release(Charge(size));
    return nullptr;
  }
  return std::shared_ptr<BlockBuffer>(new BlockBuffer(shared_from_this(), run, size));
}

void BlockArena::Free(ExtentRun run) {
  {
    const std::lock_guard lock(mu_);
    pages_.Free({run});
  }
  budget_.Release(run.units * kExtentBytes);
}

bool BlockArena::TryChargeOther(uint64_t bytes) {
  if (!budget_.TryCharge(bytes)) return false;
  const std::lock_guard lock(mu_);
  other_ += bytes;
  if (other_ > other_settled_ + mapped_bytes_ / 64) GiveBackFreePages();
  return true;
}

void BlockArena::ReleaseOther(uint64_t bytes) {
  budget_.Release(bytes);
  const std::lock_guard lock(mu_);
  other_ -= bytes;
  other_settled_ = std::min(other_settled_, other_);
}

// Pages that were used once stay with this process. As other things grow inside the budget, as many must go.
void BlockArena::GiveBackFreePages() {
  other_settled_ = other_;
  pages_.ForEachFreeRun([this](ExtentRun run) {
    ::madvise(base_ + run.begin * kExtentBytes, run.units * kExtentBytes, MADV_DONTNEED);
  });
}

BlockBuffer::BlockBuffer(std::shared_ptr<BlockArena> arena, ExtentRun run, uint64_t size)
    : arena_(std::move(arena)), run_(run), data_(arena_->base_ + run.begin * kExtentBytes), size_(size) {}

BlockBuffer::~BlockBuffer() { arena_->Free(run_); }

}  // namespace polarkv
