// Which pages of a sequence have escape records: few, mostly one, of very many. Lanes look at 64 pages at once, because a
// look at the page table and then at the page waits for memory twice.
#ifndef POLARKV_KERNELS_CUDA_ESCAPED_PAGES_H_
#define POLARKV_KERNELS_CUDA_ESCAPED_PAGES_H_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

template <class W>
class EscapedPages {
 public:
  POLARKV_WARP_FUNCTION EscapedPages(const AttentionArgs& args, uint32_t sequence)
      : batch_(args.batch),
        table_(args.batch.page_table + uint64_t{sequence} * args.batch.page_table_stride),
        tiles_(args.SequenceTiles(sequence)) {}

  // The first tile from `tile` on in a page with records; the number of tiles of the sequence if there is none. Tiles are
  // asked for in ascending order.
  POLARKV_WARP_FUNCTION uint32_t NextTile(uint32_t tile) {
    const uint32_t pages = (tiles_ + batch_.tiles_per_page - 1) / batch_.tiles_per_page;
    const uint32_t asked = tile / batch_.tiles_per_page;
    for (uint32_t page = asked; page < pages; page = first_ + 64) {
      if (page >= first_ + 64 || first_ == kNone) Look(page, pages);
      const uint64_t rest = mask_ >> (page - first_);
      if (rest == 0) continue;
      const uint32_t found = page + W::PopulationCount((rest & (~rest + 1)) - 1);
      return found == asked ? tile : found * batch_.tiles_per_page;
    }
    return tiles_;
  }

 private:
  static constexpr uint32_t kNone = 0xFFFFFF00u;

  POLARKV_WARP_FUNCTION void Look(uint32_t first, uint32_t pages) {
    using U32 = typename W::U32;
    first_ = first;
    uint32_t half[2];
    POLARKV_UNROLL
    for (uint32_t i = 0; i < 2; ++i) {
      const U32 number = W::Lane() + (first + 32 * i);
      const auto there = U32(pages) > number;
      const U32 page = W::BitsOf(W::LoadIntIf(there, table_, W::Wide(number)));
      constexpr int64_t kInts = sizeof(PageLayer) / sizeof(int32_t);
      const auto records = W::LoadIntIf(there, reinterpret_cast<const int32_t*>(&batch_.pages->escape_records),
                                        W::Wide(page) * (kInts * batch_.page_stride));
      half[i] = W::Ballot(W::BitsOf(records) > U32(0u));
    }
    mask_ = half[0] | uint64_t{half[1]} << 32;
  }

  const AttentionBatch& batch_;
  const int32_t* const table_;
  const uint32_t tiles_;
  uint32_t first_ = kNone;
  uint64_t mask_ = 0;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ESCAPED_PAGES_H_
