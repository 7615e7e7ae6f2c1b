#include "kernels/cuda/device_codec.h"

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "codec/key_mean_profile.h"
#include "codec/reference_codec.h"
#include "codec/tensor_rows.h"
#include "kernels/cuda/resident_block.h"

namespace polarkv::cuda {
namespace {

ElementType TypeOf(Dtype dtype) {
  return dtype == Dtype::kF16 ? ElementType::kF16 : dtype == Dtype::kBF16 ? ElementType::kBF16 : ElementType::kF32;
}

// One after the other, [layers, kv_heads, tokens, head_dim] without gaps.
void Pack(const TensorView& tensor, uint8_t* to) {
  const size_t bytes = ElementBytes(TypeOf(tensor.dtype));
  const auto* const data = static_cast<const uint8_t*>(tensor.data);
  const size_t row_bytes = static_cast<size_t>(tensor.shape[3]) * bytes;
  for (int64_t layer = 0; layer < tensor.shape[0]; ++layer) {
    for (int64_t head = 0; head < tensor.shape[1]; ++head) {
      for (int64_t token = 0; token < tensor.shape[2]; ++token, to += row_bytes) {
        const int64_t row = layer * tensor.stride[0] + head * tensor.stride[1] + token * tensor.stride[2];
        const uint8_t* const from = data + row * static_cast<int64_t>(bytes);
        if (tensor.stride[3] == 1) {
          std::memcpy(to, from, row_bytes);
          continue;
        }
        for (int64_t j = 0; j < tensor.shape[3]; ++j) {
          std::memcpy(to + static_cast<size_t>(j) * bytes, from + j * tensor.stride[3] * static_cast<int64_t>(bytes), bytes);
        }
      }
    }
  }
}

// Rows of [layers, kv_heads, tokens, head_dim] without gaps, K and V one after the other.
TokenRows PackedRows(const BlockSpec& spec, ElementType type, uint8_t* first, size_t side_bytes) {
  TokenRows rows;
  rows.k = first;
  rows.v = first + side_bytes;
  rows.type = type;
  rows.token_stride = spec.head_dim;
  rows.head_stride = int64_t{spec.tokens} * spec.head_dim;
  rows.layer_stride = spec.kv_heads * rows.head_stride;
  return rows;
}

size_t SideBytes(const BlockSpec& spec, uint32_t layers, size_t number_bytes) {
  return size_t{layers} * spec.kv_heads * spec.tokens * spec.head_dim * number_bytes;
}

absl::Status NoKernel(std::string_view work, CodecPair codec, bool key_mean, uint32_t head_dim) {
  return absl::FailedPreconditionError(absl::StrCat("no CUDA kernel ", std::string(work), " ", CodecPairName(codec),
                                                    key_mean ? " with key means" : "", " at head_dim ", head_dim));
}

}  // namespace

DeviceCodec::DeviceCodec(Device& device)
    : device_(device),
      queue_(device),
      rows_(device),
      block_(device),
      reports_(device),
      places_(device),
      pages_(device),
      profile_(device),
      phases_(device),
      means_(device),
      workspace_(device) {}

// Work under way uses the buffers, which go before the queue.
DeviceCodec::~DeviceCodec() {
  if (queue_.get() != nullptr) static_cast<void>(device_.Finish(queue_.get()));
}

absl::Status DeviceCodec::Send(DeviceBuffer& to, const void* from, size_t bytes) {
  if (absl::Status s = to.Reserve(bytes); !s.ok()) return s;
  const bool sent = device_.CopyIn(to.As<void>(), from, bytes, queue_.get()) && device_.Finish(queue_.get());
  return sent ? absl::OkStatus() : DeviceFailure(device_);
}

absl::Status DeviceCodec::Encode(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                 const EncodeOptions& options, std::vector<uint8_t>& bytes) {
  const std::optional<EncodeCodec> codec = EncodeCodecOf(spec);
  const auto differs = [&](const LayerPart& part) { return part.codec != spec.codec; };
  if (std::ranges::any_of(spec.layer_parts, differs)) {
    return absl::FailedPreconditionError("CUDA kernels do not encode blocks whose layers have codecs of their own");
  }
  if (!codec.has_value()) return NoKernel("encodes", spec.codec, false, spec.head_dim);
  const absl::StatusOr<ExpectedBlock> expected = ExpectBlock(spec, options);
  if (!expected.ok()) return expected.status();
  const std::array<int64_t, 4> shape{spec.layers, spec.kv_heads, spec.tokens, spec.head_dim};
  if (absl::Status s = CheckTensor(k, "k", shape); !s.ok()) return s;
  if (absl::Status s = CheckTensor(v, "v", shape); !s.ok()) return s;
  if (k.dtype != v.dtype) return absl::FailedPreconditionError("the CUDA encoder wants k and v of one dtype");
  std::unique_ptr<HostSide> host = TakeHostSide();
  const absl::Status encoded = EncodeFrom(*host, *codec, *expected, options, k, v, bytes);
  GiveBack(std::move(host));
  return encoded;
}

std::unique_ptr<DeviceCodec::HostSide> DeviceCodec::TakeHostSide() {
  const std::lock_guard lock(idle_mutex_);
  if (idle_.empty()) return std::make_unique<HostSide>();
  std::unique_ptr<HostSide> host = std::move(idle_.back());
  idle_.pop_back();
  return host;
}

void DeviceCodec::GiveBack(std::unique_ptr<HostSide> host) {
  const std::lock_guard lock(idle_mutex_);
  idle_.push_back(std::move(host));
}

absl::Status DeviceCodec::EncodeFrom(HostSide& host, const EncodeCodec& codec, const ExpectedBlock& expected,
                                     const EncodeOptions& options, const TensorView& k, const TensorView& v,
                                     std::vector<uint8_t>& bytes) {
  const BlockSpec& spec = expected.spec;
  const size_t side_bytes = SideBytes(spec, spec.layers, ElementBytes(TypeOf(k.dtype)));
  host.rows.resize(2 * side_bytes);
  Pack(k, host.rows.data());
  Pack(v, host.rows.data() + side_bytes);
  host.block.resize(expected.layout.total_bytes());
  host.reports.resize(size_t{spec.layers} * spec.kv_heads * spec.tiles());
  {
    const std::lock_guard lock(mutex_);
    if (absl::Status s = LaunchEncode(host, codec, expected, options, TypeOf(k.dtype)); !s.ok()) return s;
  }
  const RowReader read = [&](KvSide side, uint32_t layer, uint32_t head, uint32_t first, uint32_t count, float* rows) {
    const bool key = side == KvSide::kKey;
    return ReadFiniteRows(key ? k : v, key ? "k" : "v", layer, head, first, count, rows);
  };
  absl::StatusOr<std::vector<uint8_t>> finished = FinishBlock(expected, options, host.block, host.reports, read);
  if (!finished.ok()) return finished.status();
  bytes = *std::move(finished);
  return absl::OkStatus();
}

// From host.rows to host.block and host.reports.
absl::Status DeviceCodec::LaunchEncode(HostSide& host, const EncodeCodec& codec, const ExpectedBlock& expected,
                                       const EncodeOptions& options, ElementType type) {
  if (queue_.get() == nullptr) return DeviceFailure(device_);
  const BlockSpec& spec = expected.spec;
  const size_t report_bytes = host.reports.size() * sizeof(TileReport);
  if (absl::Status s = block_.Reserve(host.block.size()); !s.ok()) return s;
  if (absl::Status s = reports_.Reserve(report_bytes); !s.ok()) return s;
  const EncodedPlace place = PlaceOf(expected, block_.As<uint8_t>(), reports_.As<TileReport>());
  if (absl::Status s = Send(places_, &place, sizeof place); !s.ok()) return s;
  if (absl::Status s = Send(rows_, host.rows.data(), host.rows.size()); !s.ok()) return s;
  EncodeBatch batch;
  batch.rows = PackedRows(spec, type, rows_.As<uint8_t>(), host.rows.size() / 2);
  batch.places = places_.As<EncodedPlace>();
  batch.blocks = 1;
  batch.tiles_per_block = spec.tiles();
  batch.layers = spec.layers;
  batch.kv_heads = spec.kv_heads;
  if (absl::Status s = SendMeans(codec, expected, options, batch); !s.ok()) return s;
  if (absl::Status s = LaunchStatus(device_.Encode(codec, batch, queue_.get()), device_); !s.ok()) return s;
  const bool copied = device_.CopyOut(host.block.data(), block_.As<void>(), host.block.size(), queue_.get()) &&
                      device_.CopyOut(host.reports.data(), reports_.As<void>(), report_bytes, queue_.get()) &&
                      device_.Finish(queue_.get());
  if (!copied) static_cast<void>(device_.Finish(queue_.get()));  // before others write to where it copies
  return copied ? absl::OkStatus() : DeviceFailure(device_);
}

absl::Status DeviceCodec::SendMeans(const EncodeCodec& codec, const ExpectedBlock& expected,
                                    const EncodeOptions& options, EncodeBatch& batch) {
  batch.means = EncodeMeansOf(expected);
  if (batch.means.source == MeanSource::kNone) return absl::OkStatus();
  const std::vector<uint64_t>& phases = expected.spec.phases;
  if (!phases.empty()) {
    if (absl::Status s = Send(phases_, phases.data(), phases.size() * sizeof phases[0]); !s.ok()) return s;
  }
  batch.means.phases = phases_.As<uint64_t>();
  if (batch.means.source == MeanSource::kGiven) {
    const std::vector<float> given = GivenMeans(expected, *options.profile);
    if (absl::Status s = Send(means_, given.data(), given.size() * sizeof given[0]); !s.ok()) return s;
    batch.means.given = means_.As<float>();
  }
  batch.means.workspace_bytes = EncodeWorkspaceBytes(codec, batch);
  if (absl::Status s = workspace_.Reserve(batch.means.workspace_bytes); !s.ok()) return s;
  batch.means.workspace = workspace_.As<void>();
  return absl::OkStatus();
}

absl::Status DeviceCodec::Decode(const BlockView& block, Dtype dtype, std::span<uint8_t> k, std::span<uint8_t> v) {
  if (dtype != Dtype::kF16 && dtype != Dtype::kBF16 && dtype != Dtype::kF32) {
    return absl::InvalidArgumentError("blocks are decoded to F16, BF16 or F32");
  }
  const uint32_t layers = block.layer_end() - block.layer_begin();
  const size_t side_bytes = SideBytes(block.spec(), layers, ElementBytes(TypeOf(dtype)));
  if (k.size() != side_bytes || v.size() != side_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("k has ", k.size(), " bytes and v ", v.size(), ", the block's layers have ",
                                                   side_bytes, " each"));
  }
  for (uint32_t layer = block.layer_begin(); layer < block.layer_end(); ++layer) {
    if (absl::Status s = block.CheckMeans(layer); !s.ok()) return s;
    const LayerLayout& shape = block.layout().layer(layer);
    if (!AttentionCodecOf(block, layer).has_value()) {
      return NoKernel("decodes", shape.codec, shape.key_mean, block.spec().head_dim);
    }
  }
  const std::lock_guard lock(mutex_);
  if (queue_.get() == nullptr) return DeviceFailure(device_);
  if (absl::Status s = LaunchDecode(block, TypeOf(dtype), side_bytes); !s.ok()) return s;
  const bool copied = device_.CopyOut(k.data(), rows_.As<uint8_t>(), side_bytes, queue_.get()) &&
                      device_.CopyOut(v.data(), rows_.As<uint8_t>() + side_bytes, side_bytes, queue_.get()) &&
                      device_.Finish(queue_.get());
  if (!copied) static_cast<void>(device_.Finish(queue_.get()));  // before others write to where it copies
  return copied ? absl::OkStatus() : DeviceFailure(device_);
}

// Layer after layer, for each may be coded in its own way. To rows_.
absl::Status DeviceCodec::LaunchDecode(const BlockView& block, ElementType type, size_t side_bytes) {
  const uint32_t layers = block.layer_end() - block.layer_begin();
  if (absl::Status s = rows_.Reserve(2 * side_bytes); !s.ok()) return s;
  if (absl::Status s = Send(block_, block.bytes().data(), block.bytes().size()); !s.ok()) return s;
  if (const KeyMeanProfilePtr& profile = block.profile(); profile != nullptr) {
    if (absl::Status s = Send(profile_, profile->bytes().data(), profile->bytes().size()); !s.ok()) return s;
  }
  std::vector<PageLayer> pages;
  for (uint32_t i = 0; i < layers; ++i) {
    // There is one: Decode asked CheckMeans.
    pages.push_back(*PageLayerOf(block, block.layer_begin() + i, block_.As<uint8_t>(), profile_.As<uint8_t>()));
  }
  if (absl::Status s = Send(pages_, pages.data(), pages.size() * sizeof(PageLayer)); !s.ok()) return s;
  const RowPlace place;
  if (absl::Status s = Send(places_, &place, sizeof place); !s.ok()) return s;
  for (uint32_t i = 0; i < layers; ++i) {
    DecodeBatch batch;
    batch.rows = PackedRows(block.spec(), type, rows_.As<uint8_t>() + i * (side_bytes / layers), side_bytes);
    batch.pages = pages_.As<PageLayer>() + i;
    batch.places = places_.As<RowPlace>();
    batch.blocks = 1;
    batch.tiles_per_block = block.spec().tiles();
    batch.layers = 1;
    batch.kv_heads = block.spec().kv_heads;
    const AttentionCodec codec = *AttentionCodecOf(block, block.layer_begin() + i);
    if (absl::Status s = LaunchStatus(device_.Decode(codec, batch, queue_.get()), device_); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace polarkv::cuda
