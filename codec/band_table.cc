#include "codec/band_table.h"

#include <algorithm>
#include <bitset>

namespace polarkv {

const char* BandTableDefect(std::span<const uint8_t> table, CodecId codec, uint32_t head_dim) {
  const uint32_t pairs = head_dim / 2;
  std::bitset<kMaxBands * kBandPairs> seen;
  for (const uint8_t pair : table.first(pairs)) {
    if (pair >= pairs) return "there is no such pair";
    if (seen[pair]) return "a pair is there twice";
    seen[pair] = true;
  }
  uint32_t sum = 0;
  for (const uint8_t bits : table.subspan(pairs, BandCount(head_dim))) {
    if (bits > kMaxBandBits) return "a band has more than 6 bits";
    sum += bits;
  }
  return sum == BandBudget(codec, head_dim) ? nullptr : "the bands' bits are not as many as the codec has";
}

BandTable ReadBandTable(const uint8_t* table, CodecId codec, uint32_t head_dim) {
  const uint32_t pairs = head_dim / 2, bands = BandCount(head_dim);
  BandTable out;
  for (uint32_t i = 0; i < pairs; ++i) out.pair[i] = static_cast<uint8_t>(table[i] % pairs);
  uint32_t left = BandBudget(codec, head_dim);
  for (uint32_t band = 0; band < bands; ++band) {
    out.bits[band] = static_cast<uint8_t>(std::min({uint32_t{table[pairs + band]}, kMaxBandBits, left}));
    left -= out.bits[band];
    out.deviation[band] = table[pairs + bands + band];
  }
  return out;
}

void WriteBandTable(const BandTable& bands, uint32_t head_dim, uint8_t* table) {
  table = std::copy_n(bands.pair.begin(), head_dim / 2, table);
  table = std::copy_n(bands.bits.begin(), BandCount(head_dim), table);
  std::copy_n(bands.deviation.begin(), BandCount(head_dim), table);
}

}  // namespace polarkv
