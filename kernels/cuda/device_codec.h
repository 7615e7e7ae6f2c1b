// Encoding and decoding of tensors in host memory by a device: copied there, launched, waited for, copied back.
#ifndef POLARKV_KERNELS_CUDA_DEVICE_CODEC_H_
#define POLARKV_KERNELS_CUDA_DEVICE_CODEC_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "codec/block_view.h"
#include "codec/encode_options.h"
#include "codec/tensor_view.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda/finished_block.h"

namespace polarkv::cuda {

// Keeps device memory for as long as it lives: tensors and bytes of the largest block so far; and as much host memory for each of
// the calls that were under way at once. Thread-safe: calls take turns on the device, with what is copied there and back, but
// not in packing tensors and finishing blocks.
// FAILED_PRECONDITION: no kernel for the codecs, the shape or the options. RESOURCE_EXHAUSTED: device memory. INTERNAL: the
// device failed.
class DeviceCodec {
 public:
  explicit DeviceCodec(Device& device);
  ~DeviceCodec();

  // The bytes and the statuses of reference::EncodeBlock.
  absl::Status Encode(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                      std::vector<uint8_t>& bytes);
  // The numbers of DecodeBlock in kernels/kv_kernels.h, to the model's domain.
  absl::Status Decode(const BlockView& block, Dtype dtype, std::span<uint8_t> k, std::span<uint8_t> v);

 private:
  // The host's side of a call that encodes: packed tensors, what the device left.
  struct HostSide {
    std::vector<uint8_t> rows, block;
    std::vector<TileReport> reports;
  };
  std::unique_ptr<HostSide> TakeHostSide();
  void GiveBack(std::unique_ptr<HostSide> host);

  absl::Status EncodeFrom(HostSide& host, const EncodeCodec& codec, const ExpectedBlock& expected,
                          const EncodeOptions& options, const TensorView& k, const TensorView& v,
                          std::vector<uint8_t>& bytes);
  absl::Status LaunchEncode(HostSide& host, const EncodeCodec& codec, const ExpectedBlock& expected,
                            const EncodeOptions& options, ElementType type);
  // What keys lose means with, to the batch.
  absl::Status SendMeans(const EncodeCodec& codec, const ExpectedBlock& expected, const EncodeOptions& options,
                         EncodeBatch& batch);
  absl::Status LaunchDecode(const BlockView& block, ElementType type, size_t side_bytes);
  // To device memory, at once; RESOURCE_EXHAUSTED, INTERNAL.
  absl::Status Send(DeviceBuffer& to, const void* from, size_t bytes);

  Device& device_;
  std::mutex mutex_;  // of the turns: guards queue and device memory
  OwnedQueue queue_;
  DeviceBuffer rows_, block_, reports_, places_, pages_, profile_, phases_, means_, workspace_;
  std::mutex idle_mutex_;
  std::vector<std::unique_ptr<HostSide>> idle_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DEVICE_CODEC_H_
