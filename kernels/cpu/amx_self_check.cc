#include "kernels/cpu/amx_self_check.h"

#include <cstring>
#include <vector>

#include "codec/block_format.h"
#include "codec/codec_id.h"
#include "codec/log_scale.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/amx_attention.h"

namespace polarkv::cpu {
namespace {

class RandomBits {
 public:
  uint64_t Next() {  // xorshift
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }
  template <typename T>
  void Fill(std::vector<T>& to) {
    auto* bytes = reinterpret_cast<uint8_t*>(to.data());
    for (size_t i = 0; i < to.size() * sizeof(T); ++i) bytes[i] = static_cast<uint8_t>(Next() >> 24);
  }

 private:
  uint64_t state_ = 0x9E3779B97F4A7C15;
};

// Tiles of random codes and scales, the last one ragged, and random queries: any bytes are codes.
class RandomProblem {
 public:
  RandomProblem(uint32_t head_dim, uint32_t tokens, uint32_t rows, RandomBits& random)
      : rows_(rows), words_(size_t{rows} * head_dim / 4), base_(kTiles * (kCrumbsAt + 32 * head_dim)), queries_(rows) {
    for (auto* plane : {&planes_[0], &planes_[1], &planes_[2], &planes_[3]}) {
      plane->resize(size_t{kTiles} * 8 * head_dim);
      random.Fill(*plane);
    }
    random.Fill(base_);
    random.Fill(words_);
    reader_.key_kind = reader_.value_kind = CodeKind::kTurbo4;
    reader_.key_bits = reader_.value_bits = 4;
    reader_.key_table = MakeTurboTable(TurboCodebookFor(CodecId::kTurbo4, 4), kKeyTableOffset);
    reader_.value_table = MakeTurboTable(TurboCodebookFor(CodecId::kTurbo4, 4), 0);
    tiles_.base = base_.data();
    for (int i = 0; i < 2; ++i) {
      tiles_.key_refine[i] = planes_[i].data();
      tiles_.value_refine[i] = planes_[2 + i].data();
    }
    tiles_.base_stride = kCrumbsAt + 32 * head_dim;
    tiles_.refine_stride = 8 * head_dim;
    tiles_.octave = kOctave.data();
    tiles_.key_scales = sizeof(TileHead);
    tiles_.value_scales = sizeof(TileHead) + kTileTokens;
    tiles_.key_crumbs = kCrumbsAt;
    tiles_.value_crumbs = kCrumbsAt + 16 * head_dim;
    tiles_.head_dim = head_dim;
    tiles_.tokens = tokens;
    TileHead head = {};
    head.k_exponent = head.v_exponent = -255;  // scales of at most one
    for (uint32_t tile = 0; tile < kTiles; ++tile) std::memcpy(&base_[tile * tiles_.base_stride], &head, sizeof head);
    for (uint32_t row = 0; row < rows; ++row) {
      queries_[row].words = &words_[row * head_dim / 4];
      for (uint32_t i = 0; i < head_dim; ++i) queries_[row].sum += reinterpret_cast<const int8_t*>(queries_[row].words)[i];
      queries_[row].scale = 1e-4f;
    }
  }

  // Every row's maximum, sum and output.
  std::vector<float> Run(TurboAttendBody* body) const {
    const uint32_t outputs = 2 * tiles_.head_dim;
    std::vector<float> result(rows_ * (outputs + 2), 0.0f);
    std::vector<TurboRowState> states(rows_);
    for (uint32_t row = 0; row < rows_; ++row) states[row].output = &result[row * outputs];
    body(reader_, tiles_, queries_.data(), states.data(), rows_, nullptr);
    for (uint32_t row = 0; row < rows_; ++row) {
      result[rows_ * outputs + 2 * row] = states[row].max;
      result[rows_ * outputs + 2 * row + 1] = states[row].sum;
    }
    return result;
  }

 private:
  static constexpr uint32_t kTiles = 3;
  static constexpr uint32_t kCrumbsAt = sizeof(TileHead) + 2 * kTileTokens;

  uint32_t rows_;
  std::vector<int32_t> words_;
  std::vector<uint8_t> base_, planes_[4];
  std::vector<TurboQuery> queries_;
  TurboReader reader_;
  TurboTiles tiles_;
};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

bool PassesAmxSelfCheck(TurboAttendBody* body) {
  RandomBits random;
  struct Shape {
    uint32_t head_dim, tokens, rows;
  };
  for (const Shape& shape : {Shape{128, 150, 16}, Shape{64, 192, 21}, Shape{256, 65, 5}}) {
    const RandomProblem problem(shape.head_dim, shape.tokens, shape.rows, random);
    if (!SameBits(problem.Run(body), problem.Run(TurboAttendEmulatedAmx))) return false;
  }
  return true;
}

}  // namespace polarkv::cpu
