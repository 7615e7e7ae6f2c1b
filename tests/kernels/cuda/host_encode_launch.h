// LaunchEncode of kernels/cuda/encode.h on the host, on emulated lanes.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_LAUNCH_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_LAUNCH_H_

#include <vector>

#include "kernels/cuda/mean_args.h"
#include "tests/kernels/cuda/encode_fixture.h"

namespace polarkv::cuda {

// Its parts: one side, false where the tests do not emulate it; and what keys need of means.
bool EncodeTurboOnHost(uint32_t head_dim, CodeKind kind, const EncodeArgs& args, const MeanArgs& means);
bool EncodeTrellisOnHost(uint32_t head_dim, CodeKind kind, const EncodeArgs& args, const MeanArgs& means);
void PrepareMeansOnHost(uint32_t head_dim, const EncodeArgs& args, const MeanArgs& means);

LaunchError EncodeLaunchOnHost(const EncodeCodec& codec, const EncodeBatch& batch);

// A backend of encode_fixture.h.
struct HostBackend {
  static void Encode(const EncodeCodec& codec, const ExpectedBlock& block, const std::vector<float>& given,
                     Tensors& tensors, std::vector<uint8_t>& bytes, std::vector<TileReport>& reports) {
    EncodedPlace place = PlaceOf(block, bytes.data(), reports.data());
    place.page_table = tensors.table.data();
    place.row_offset = tensors.offset;
    EncodeBatch batch = BatchOf(block, tensors);
    batch.places = &place;
    batch.means.given = given.data();
    batch.means.phases = block.spec.phases.data();
    // NaN, so that what is read before it was written shows.
    std::vector<double> workspace(EncodeWorkspaceBytes(codec, batch) / sizeof(double), std::nan(""));
    batch.means.workspace = workspace.data();
    batch.means.workspace_bytes = workspace.size() * sizeof(double);
    ASSERT_EQ(EncodeLaunchOnHost(codec, batch), LaunchError::kNone);
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_LAUNCH_H_
