// Inner products of codes' images with the rotated coordinates and with themselves; exact in 32 bits.
#ifndef POLARKV_KERNELS_CUDA_CODE_PRODUCTS_H_
#define POLARKV_KERNELS_CUDA_CODE_PRODUCTS_H_

#include "kernels/cuda/code_words.h"
#include "kernels/cuda/encode_args.h"

namespace polarkv::cuda {

template <class W>
struct CodeProducts {
  typename W::I32 with_row = 0;     // <y, C>
  typename W::I32 with_itself = 0;  // <C, C>, once `mixed` is in it
  typename W::I32 mixed = 0;        // of the images' two addends
};

// Images in one addend.
template <class W>
using WholeImages = CodeOperand<kTurbo3, W>;

// Of the codes in words of nibbles, their bits being in the order of word kind 0 (permute_tables.h). Of four bits,
// codes that differ in a nibble's bit 3 are on the same side of the middle: of two look-ups one is all zeros or all
// ones by its entry's sign, and the tables are such that an exclusive or gives the image.
template <int kBits, class W>
POLARKV_WARP_FUNCTION WholeImages<W> WholeImagesOf(const EncodeArgs& args, const PermuteTables<kBits>& tables,
                                                   typename W::U32 nibbles) {
  if constexpr (kBits == 4) {
    const uint32_t(&t)[4] = args.signed_images;
    const auto flipped = nibbles ^ 0x88888888u;
    WholeImages<W> images;
    images.low[0] = W::Permute(t[0], t[1], nibbles) ^ W::Permute(t[2], t[3], flipped);
    images.high[0] = W::Permute(t[0], t[1], nibbles >> 16) ^ W::Permute(t[2], t[3], flipped >> 16);
    return images;
  } else {
    const CodeOperand<kBits, W> images = LookUp<kBits, 0, W>(tables, nibbles);
    return {{images.low[0]}, {images.high[0]}};
  }
}

// `images`: of four lower halves' codes, and in `high` of the upper halves', of the words `y` in that order: two signed
// coordinates each.
template <int kKind, class W>
POLARKV_WARP_FUNCTION void AddProducts(const CodeOperand<kKind, W>& images, const typename W::U32 (&y)[4],
                                       CodeProducts<W>& products) {
  using U32 = typename W::U32;
  POLARKV_UNROLL
  for (int i = 0; i < CodeOperand<kKind, W>::kAddends; ++i) {
    const U32 first = W::Permute(images.low[i], images.high[i], U32(0x5140u));
    const U32 second = W::Permute(images.low[i], images.high[i], U32(0x7362u));
    products.with_row = W::DotLow(y[0], first, products.with_row);
    products.with_row = W::DotHigh(y[1], first, products.with_row);
    products.with_row = W::DotLow(y[2], second, products.with_row);
    products.with_row = W::DotHigh(y[3], second, products.with_row);
    products.with_itself = W::DotFour(images.low[i], images.low[i], products.with_itself);
    products.with_itself = W::DotFour(images.high[i], images.high[i], products.with_itself);
  }
  if constexpr (CodeOperand<kKind, W>::kAddends == 2) {
    products.mixed = W::DotFour(images.low[0], images.low[1], products.mixed);
    products.mixed = W::DotFour(images.high[0], images.high[1], products.mixed);
  }
}

// Over the two lanes of a token.
template <class W>
POLARKV_WARP_FUNCTION void SumOverToken(CodeProducts<W>& products) {
  products.with_row = products.with_row + W::ShuffleXor(products.with_row, 16);
  products.with_itself = products.with_itself + (products.mixed << 1);
  products.with_itself = products.with_itself + W::ShuffleXor(products.with_itself, 16);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_CODE_PRODUCTS_H_
