// The cases of the tests of encoders, means and decoders on emulated lanes, on a device: every type of numbers with every
// codec and head_dim.
#include <cuda_runtime_api.h>

#include "tests/kernels/cuda/biased_keys.h"
#include "tests/kernels/cuda/decode_fixture.h"
#include "tests/kernels/cuda/device_memory.h"

namespace polarkv::cuda {
namespace {

template <class T>
void CopyBack(const DeviceMemory& from, std::vector<T>& to) {
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
  ASSERT_EQ(cudaMemcpy(to.data(), from.As<void>(), to.size() * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
}

struct DeviceBackend {
  static void Encode(const EncodeCodec& codec, const ExpectedBlock& block, const std::vector<float>& given,
                     Tensors& tensors, std::vector<uint8_t>& bytes, std::vector<TileReport>& reports) {
    const DeviceMemory memory(tensors.memory), table(tensors.table), out(bytes), report(reports), means(given),
        phases(block.spec.phases);
    EncodedPlace place = PlaceOf(block, out.As<uint8_t>(), report.As<TileReport>());
    place.page_table = table.As<int32_t>();
    place.row_offset = tensors.offset;
    const DeviceMemory places(std::vector<EncodedPlace>{place});
    tensors.SetPointers(memory.As<uint8_t>());
    EncodeBatch batch = BatchOf(block, tensors);
    batch.places = places.As<EncodedPlace>();
    batch.means.given = means.As<float>();
    batch.means.phases = phases.As<uint64_t>();
    const DeviceMemory workspace(EncodeWorkspaceBytes(codec, batch));
    batch.means.workspace = workspace.As<void>();
    batch.means.workspace_bytes = EncodeWorkspaceBytes(codec, batch);
    const LaunchError error = LaunchEncode(codec, batch, nullptr);
    ASSERT_EQ(error, LaunchError::kNone) << LaunchErrorText(error);
    CopyBack(out, bytes);
    CopyBack(report, reports);
  }

  static void Decode(const AttentionCodec& codec, const BlockView& view, Tensors& rows) {
    const DeviceMemory bytes(std::vector<uint8_t>(view.bytes().begin(), view.bytes().end())), memory(rows.memory),
        table(rows.table);
    const auto of_profile = view.profile() == nullptr ? std::span<const uint8_t>() : view.profile()->bytes();
    const DeviceMemory profile(std::vector<uint8_t>(of_profile.begin(), of_profile.end()));
    std::vector<PageLayer> layers;
    for (uint32_t layer = 0; layer < view.spec().layers; ++layer) {
      layers.push_back(*PageLayerOf(view, layer, bytes.As<uint8_t>(), profile.As<uint8_t>()));
    }
    const DeviceMemory pages(layers), places(std::vector<RowPlace>{{table.As<int32_t>(), rows.offset, 0}});
    rows.SetPointers(memory.As<uint8_t>());
    DecodeBatch batch;
    batch.rows = rows.rows;
    batch.pages = pages.As<PageLayer>();
    batch.page_stride = view.spec().layers;
    batch.places = places.As<RowPlace>();
    batch.blocks = 1;
    batch.tiles_per_block = view.spec().tiles();
    batch.layers = view.spec().layers;
    batch.kv_heads = view.spec().kv_heads;
    const LaunchError error = LaunchDecode(codec, batch, nullptr);
    ASSERT_EQ(error, LaunchError::kNone) << LaunchErrorText(error);
    CopyBack(memory, rows.memory);
  }
};

class CudaDeviceEncodeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasDevice()) GTEST_SKIP() << "no CUDA device here";
  }
  static void Encode(const EncodeCase& c, uint32_t seed) { ExpectReferenceBytes<DeviceBackend>(c, seed); }
  static void Decode(const DecodeCase& c, uint32_t seed) { ExpectReferenceRows<DeviceBackend>(c, seed); }
};

constexpr ElementType kTypes[] = {ElementType::kF16, ElementType::kBF16, ElementType::kF32};
constexpr CodecId kAll[] = {CodecId::kTurbo2,   CodecId::kTurbo3,   CodecId::kTurbo4,
                            CodecId::kTrellis1, CodecId::kTrellis2, CodecId::kTrellis3};

TEST_F(CudaDeviceEncodeTest, EncodesEveryCodecHeadDimAndType) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodecId codec : kAll) {
      for (const ElementType type : kTypes) {
        SCOPED_TRACE(dim * 1000 + static_cast<uint32_t>(codec) * 10 + static_cast<uint32_t>(type));
        Encode({.shape = {2, 3, 150, dim}, .codec = {codec, codec}, .type = type, .first_position = 0}, dim);
      }
    }
  }
}

TEST_F(CudaDeviceEncodeTest, EncodesMixedCodecsAndWaysOfEqualCost) {
  const FillNumber sparse = [](uint32_t token, uint32_t j, float) { return j == token % 64 ? 3.0f : 0.0f; };
  for (const CodecId k : kAll) {
    for (const CodecId v : kAll) {
      SCOPED_TRACE(static_cast<uint32_t>(k) * 100 + static_cast<uint32_t>(v));
      Encode({.shape = {1, 2, 70, 64}, .codec = {k, v}, .first_position = 0}, 7);
      Encode({.shape = {1, 1, 64, 128}, .codec = {k, v}, .escapes = false, .k = sparse, .v = sparse}, 8);
    }
  }
}

TEST_F(CudaDeviceEncodeTest, EncodesLayoutsOfEngines) {
  for (const RowLayout layout : {RowLayout::kContiguous, RowLayout::kStrided, RowLayout::kNhdPages,
                                 RowLayout::kHndPages, RowLayout::kInterleavedPages}) {
    SCOPED_TRACE(static_cast<int>(layout));
    for (const uint32_t tokens : {1u, 63u, 64u, 65u, 1009u})
      Encode({.shape = {2, 2, tokens, 128}, .layout = layout}, tokens);
  }
}

TEST_F(CudaDeviceEncodeTest, EncodesHugeTinyAndMisfitNumbers) {
  for (const float magnitude : {0.0f, 1e38f, 1e-36f, 1e-41f}) {
    SCOPED_TRACE(magnitude);
    const FillNumber scaled = [=](uint32_t, uint32_t, float x) { return std::clamp(x, -3.0f, 3.0f) * magnitude; };
    for (const ElementType type : {ElementType::kBF16, ElementType::kF32}) {
      for (const CodecId codec : {CodecId::kTurbo4, CodecId::kTrellis2}) {
        Encode({.shape = {1, 1, 70, 128}, .codec = {codec, codec}, .type = type, .k = scaled, .v = scaled}, 1);
      }
    }
  }
  const FillNumber far = [](uint32_t token, uint32_t j, float x) {
    return j == 5 && token % 7 == 0 ? 60.0f : std::ldexp(x, token % 9 == 0 ? -40 : 40);
  };
  for (const bool escapes : {true, false}) {
    for (const CodecId codec : {CodecId::kTurbo4, CodecId::kTrellis3}) {
      Encode({.shape = {1, 2, 128, 128}, .codec = {codec, codec}, .first_position = 0, .escapes = escapes, .k = far,
              .v = far}, 2);
    }
  }
}

TEST_F(CudaDeviceEncodeTest, ReportsWhatIsNotFinite) {
  for (const ElementType type : kTypes) {
    const FillNumber bad = [](uint32_t token, uint32_t j, float x) { return token == 67 && j == 100 ? NAN : x; };
    Encode({.shape = {.tokens = 100}, .type = type, .k = bad}, 1);
    Encode({.shape = {.tokens = 100}, .type = type, .v = bad}, 1);
  }
}

TEST_F(CudaDeviceEncodeTest, EncodesBlocksWithMeansOfTheirOwn) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodecId codec : kAll) {
      for (const ElementType type : kTypes) {
        SCOPED_TRACE(dim * 1000 + static_cast<uint32_t>(codec) * 10 + static_cast<uint32_t>(type));
        EncodeCase c{.shape = {4, 3, 150, dim}, .codec = {codec, codec}, .type = type, .first_position = 0};
        c.rope = {RopePairing::kHalf, 10000, static_cast<uint16_t>(dim)};
        c.key_mean = KeyMeanPolicy::kAuto;
        Encode(WithBias(c, {{0, 20, 120, 600}}), dim);
      }
    }
  }
  for (const CodecId k : kAll) {
    for (const CodecId v : kAll) {
      SCOPED_TRACE(static_cast<uint32_t>(k) * 100 + static_cast<uint32_t>(v));
      EncodeCase c{.shape = {2, 2, 70, 128}, .codec = {k, v}, .first_position = 0};
      c.rope = {RopePairing::kInterleaved, 500000, 128};
      c.key_mean = KeyMeanPolicy::kAlways;
      Encode(WithBias(c, {{20}}), 7);
    }
  }
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint16_t dims : {2, 32, 96, 128}) {
      for (const uint64_t position : {uint64_t{0}, (uint64_t{1} << 53) - 5000}) {
        SCOPED_TRACE(dims);
        EncodeCase c{.shape = {3, 2, 1009, 128}, .layout = RowLayout::kNhdPages, .first_position = position};
        c.rope = {pairing, 500000, dims};
        for (const KeyMeanPolicy policy : {KeyMeanPolicy::kAuto, KeyMeanPolicy::kAlways}) {
          c.key_mean = policy;
          Encode(WithBias(c, {{0, .6f, 20}, BiasShape::kFewPairs}), dims);
        }
      }
    }
  }
}

TEST_F(CudaDeviceEncodeTest, EncodesKeysWithoutMeansOfAProfile) {
  const auto skip = [](uint32_t layer, uint32_t head) { return layer == 1 || head == 2; };
  for (const CodecId codec : kAll) {
    for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
      for (const ElementType type : kTypes) {
        for (const float size : {.2f, 20.0f}) {
          SCOPED_TRACE(static_cast<float>(codec) * 1000 + size);
          EncodeCase c{.shape = {3, 2, 577, 128}, .codec = {codec, codec}, .type = type, .first_position = 0};
          c.rope = {pairing, 10000, 128};
          c.key_mean = KeyMeanPolicy::kAuto;
          c.first_kv_head = 1;
          const KeyMeanProfilePtr profile = ProfileOf(c, {{size}}, skip);
          c = WithBias(c, {{size}});
          c.profile = profile.get();
          Encode(c, 5);
        }
      }
    }
  }
}

TEST_F(CudaDeviceEncodeTest, EncodesMeansOfHugeTinyAndOddNumbers) {
  for (const float magnitude : {0.0f, 1e36f, 1e13f, 1e-13f, 1e-20f, 1e-37f, 1e-42f}) {
    for (const KeyMeanPolicy policy : {KeyMeanPolicy::kAuto, KeyMeanPolicy::kAlways}) {
      SCOPED_TRACE(magnitude);
      EncodeCase c{.shape = {1, 2, 90, 128}, .type = ElementType::kF32};
      c.k = [=](uint32_t, uint32_t j, float x) { return (j % 3 == 0 ? x + 10 : x) * magnitude; };
      c.rope = {RopePairing::kHalf, 10000, 64};
      c.key_mean = policy;
      for (const CodecId codec : {CodecId::kTurbo4, CodecId::kTrellis3}) {
        c.codec = {codec, codec};
        Encode(c, 7);
      }
    }
  }
  EncodeCase c{.shape = {2, 2, 100, 128}, .key_mean = KeyMeanPolicy::kAuto};
  c.k = [](uint32_t token, uint32_t j, float x) { return token == 67 && j == 100 ? NAN : x + 10; };
  Encode(c, 8);
}

TEST_F(CudaDeviceEncodeTest, DecodesEveryCodecHeadDimAndType) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodecId codec : kAll) {
      for (const ElementType type : kTypes) {
        SCOPED_TRACE(dim * 1000 + static_cast<uint32_t>(codec) * 10 + static_cast<uint32_t>(type));
        Decode({.of = {.shape = {2, 3, 150, dim}, .codec = {codec, codec}, .first_position = 0}, .type = type}, dim);
      }
    }
  }
}

TEST_F(CudaDeviceEncodeTest, DecodesKeyMeans) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodecId codec : kAll) {
      for (const ElementType type : kTypes) {
        for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
          SCOPED_TRACE(dim * 1000 + static_cast<uint32_t>(codec) * 10 + static_cast<uint32_t>(type));
          const Rope rope{pairing, 500000.0f, static_cast<uint16_t>(pairing == RopePairing::kHalf ? dim : dim / 2 + 6)};
          for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kProfile}) {
            const EncodeCase of{.shape = {2, 3, 150, dim}, .codec = {codec, codec}, .first_position = 131000};
            Decode({.of = of, .type = type, .means = {in, 120, true, rope, 131000, false}}, dim);
            if (in == MeansIn::kProfile) continue;
            Decode({.of = of, .type = type, .means = {in, 1, true, rope, 131000}, .any_means = true}, dim + 1);
          }
        }
      }
    }
  }
}

TEST_F(CudaDeviceEncodeTest, DecodesLayoutsPartialPlanesAndExtremes) {
  const PlaneMask base = PlaneBit(PlaneKind::kBase);
  for (const PlaneMask planes : {base, base | PlaneBit(PlaneKind::kKeyRefine1), kAllPlanes}) {
    for (const RowLayout layout : {RowLayout::kStrided, RowLayout::kNhdPages, RowLayout::kHndPages}) {
      Decode({.of = {.shape = {2, 2, 1009, 128}, .layout = layout}, .planes = planes}, planes);
    }
  }
  const FillNumber falling = [](uint32_t token, uint32_t, float x) {
    return std::ldexp(x, 60 - static_cast<int>(token % 200));
  };
  for (const ElementType type : kTypes)
    Decode({.of = {.shape = {1, 1, 200, 128}, .k = falling, .v = falling}, .type = type}, 5);
}

}  // namespace
}  // namespace polarkv::cuda
