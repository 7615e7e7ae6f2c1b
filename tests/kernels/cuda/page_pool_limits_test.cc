// What the page pool does where its room ends, on wrong calls and on a device that fails.
#include <algorithm>
#include <deque>

#include "kernels/cuda/page_pool.h"
#include "tests/codec/profile_samples.h"
#include "tests/kernels/cuda/pool_fixture.h"

namespace polarkv::cuda {
namespace {

TEST(PagePoolLimitsTest, AFullPoolPushesBackAndGoesOnAfterReleases) {
  const std::vector<PoolSequence> sequences = SomeSequences(1);
  EmulatedDevice device;
  const auto pool = MakePool(device, OptionsFor(sequences, 3));
  const Queue queue = device.MakeQueue();
  std::vector<int32_t> pages(3), more(1);
  ASSERT_EQ(pool->Take(pages, 0), PoolError::kNone);
  EXPECT_EQ(pool->Take(more, 0), PoolError::kFull);
  EXPECT_EQ(pool->WaitForProgress(), PoolError::kFull) << "nothing is under way that could end";
  device.Pause();
  // Not yet over, but the device can wait for it; then its own copies are in the way until they are done.
  ASSERT_EQ(pool->Release({&pages[0], 1}, queue), PoolError::kNone);
  EXPECT_EQ(pool->available(), 1u);
  ASSERT_EQ(pool->Take(more, 0), PoolError::kNone);
  EXPECT_EQ(more[0], pages[0]);
  uint64_t upload = 0;
  ASSERT_EQ(pool->Upload(sequences[0].views, more, kAllLayers, HostMemory::kPinned, upload), PoolError::kNone);
  ASSERT_EQ(pool->Release(more, queue), PoolError::kNone);
  EXPECT_EQ(pool->available(), 0u);
  EXPECT_EQ(pool->Take(more, 0), PoolError::kFull);
  EXPECT_FALSE(pool->IsDone(upload));
  device.Resume();
  ASSERT_EQ(pool->WaitForProgress(), PoolError::kNone);
  EXPECT_TRUE(pool->IsDone(upload));
  EXPECT_EQ(pool->Take(more, 0), PoolError::kNone);
  ASSERT_TRUE(device.Finish(queue));
  device.FreeQueue(queue);
}

TEST(PagePoolLimitsTest, APageThatIsStillBeingCopiedToIsNotGivenAway) {
  const std::vector<PoolSequence> sequences = SomeSequences(1);
  EmulatedBehaviour behaviour;
  behaviour.order = EmulatedBehaviour::kLastMade;
  EmulatedDevice device(behaviour);
  const auto pool = MakePool(device, OptionsFor(sequences, 1));
  const Queue queue = device.MakeQueue();
  device.Pause();
  int32_t page = -1;
  uint64_t upload = 0;
  ASSERT_EQ(pool->Take({&page, 1}, 0), PoolError::kNone);
  ASSERT_EQ(pool->Upload(sequences[0].views, {&page, 1}, kAllLayers, HostMemory::kPinned, upload), PoolError::kNone);
  // Nobody waited for the upload: the page's use is over before it has begun.
  ASSERT_EQ(pool->Release({&page, 1}, queue), PoolError::kNone);
  uint32_t available = 1;
  bool done = true;
  device.Call(queue, [&] {
    available = pool->available();
    done = pool->IsDone(upload);
  });
  device.Resume();
  ASSERT_TRUE(device.Finish(queue));
  EXPECT_FALSE(done);
  EXPECT_EQ(available, 0u);
  while (!pool->IsDone(upload)) ASSERT_EQ(pool->WaitForProgress(), PoolError::kNone);
  EXPECT_EQ(pool->available(), 1u);
  device.FreeQueue(queue);
}

TEST(PagePoolLimitsTest, UploadsUnderWayAndStagingMemoryAreBounded) {
  const std::vector<PoolSequence> sequences = SomeSequences(1);
  EmulatedDevice device;
  PagePoolOptions options = OptionsFor(sequences, 8);
  options.uploads = 3;
  const auto pool = MakePool(device, options);
  device.Pause();
  uint64_t upload = 0;
  std::vector<int32_t> pages(8);
  ASSERT_EQ(pool->Take(pages, 0), PoolError::kNone);
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(pool->Upload(sequences[0].views, {&pages[i], 1}, kAllLayers, HostMemory::kPinned, upload), PoolError::kNone);
  }
  EXPECT_EQ(pool->Upload(sequences[0].views, {&pages[3], 1}, kAllLayers, HostMemory::kPinned, upload), PoolError::kFull);
  device.Resume();
  while (!pool->IsDone(3)) ASSERT_EQ(pool->WaitForProgress(), PoolError::kNone);
  EXPECT_EQ(pool->Upload(sequences[0].views, {&pages[3], 1}, kAllLayers, HostMemory::kPinned, upload), PoolError::kNone);

  options.uploads = 8;
  options.staging_bytes = LargestBlock(sequences[0]) * 2;
  const auto small = MakePool(device, options);
  device.Pause();
  ASSERT_EQ(small->Take(pages, 0), PoolError::kNone);
  ASSERT_EQ(small->Upload(sequences[0].views, {&pages[0], 1}, kAllLayers, HostMemory::kPageable, upload), PoolError::kNone);
  ASSERT_EQ(small->Upload(sequences[0].views, {&pages[1], 1}, kAllLayers, HostMemory::kPageable, upload), PoolError::kNone);
  EXPECT_EQ(small->Upload(sequences[0].views, {&pages[2], 1}, kAllLayers, HostMemory::kPageable, upload), PoolError::kFull);
  device.Resume();
  ASSERT_EQ(small->WaitForProgress(), PoolError::kNone);
  EXPECT_EQ(small->Upload(sequences[0].views, {&pages[2], 1}, kAllLayers, HostMemory::kPageable, upload), PoolError::kNone);
  const std::vector<BlockView> three(3, sequences[0].views[0]);
  EXPECT_EQ(small->Upload(three, std::span(pages).subspan(3, 3), kAllLayers, HostMemory::kPageable, upload),
            PoolError::kStagingTooSmall);
}

TEST(PagePoolLimitsTest, RefusesWhatDoesNotFitAndChangesNothing) {
  const PoolSequence sequence(1, 1);
  PoolSequence base = sequence, last = sequence;
  base.Select({0, 0, PlaneBit(PlaneKind::kBase)});
  last.Select({2, 3, kAllPlanes});
  EmulatedDevice device;
  PagePoolOptions options = OptionsFor({sequence}, 2);
  const auto pool = MakePool(device, options);
  int32_t page = 0, other = 1;
  uint64_t upload = 99;
  const auto upload_to = [&](PagePool& to, const std::vector<BlockView>& views, std::vector<int32_t> pages) {
    const LayerRange held = views.empty() ? kAllLayers : LayerRange{views[0].layer_begin(), views[0].layer_end()};
    return to.Upload(views, pages, held, HostMemory::kPinned, upload);
  };
  EXPECT_EQ(upload_to(*pool, sequence.views, {page}), PoolError::kWrongPage) << "not taken";
  ASSERT_EQ(pool->Take({&page, 1}, 0), PoolError::kNone);
  EXPECT_EQ(upload_to(*pool, sequence.views, {-1}), PoolError::kWrongPage);
  EXPECT_EQ(upload_to(*pool, sequence.views, {2}), PoolError::kWrongPage);
  EXPECT_EQ(upload_to(*pool, {}, {}), PoolError::kWrongShape);
  EXPECT_EQ(upload_to(*pool, sequence.views, {0, 1}), PoolError::kWrongShape);
  ASSERT_EQ(pool->Take({&other, 1}, 1), PoolError::kNone);
  EXPECT_EQ(upload_to(*pool, sequence.views, {other}), PoolError::kWrongShape) << "layer 0 is before the page's first";
  EXPECT_EQ(upload_to(*pool, {sequence.views[0], last.views[0]}, {page, other}), PoolError::kWrongShape);
  EXPECT_EQ(upload_to(*pool, {last.views[0], last.views[0]}, {page, page}), PoolError::kWrongPage) << "named twice";
  EXPECT_EQ(upload, 99u);
  EXPECT_EQ(upload_to(*pool, last.views, {page}), PoolError::kNone);
  EXPECT_EQ(upload_to(*pool, base.views, {page}), PoolError::kWrongPage) << "other planes";
  EXPECT_EQ(pool->WaitForLayer(upload, 1, nullptr), PoolError::kWrongShape) << "the upload had layer 2 alone";
  EXPECT_EQ(pool->WaitForLayer(upload + 1, 1, nullptr), PoolError::kWrongPage);
  EXPECT_EQ(pool->WaitForLayer(0, 1, nullptr), PoolError::kWrongPage);
  EXPECT_EQ(pool->Release(std::vector<int32_t>{5}, nullptr), PoolError::kWrongPage);

  options.layers = kPoolLayers - 1;
  const auto shallow = MakePool(device, options);
  ASSERT_EQ(shallow->Take({&page, 1}, 0), PoolError::kNone);
  EXPECT_EQ(upload_to(*shallow, sequence.views, {page}), PoolError::kWrongShape);
  options.layers = kPoolLayers;
  options.slot_bytes /= 2;
  const auto small = MakePool(device, options);
  ASSERT_EQ(small->Take({&page, 1}, 0), PoolError::kNone);
  EXPECT_EQ(upload_to(*small, sequence.views, {page}), PoolError::kBlockTooLarge);
  EXPECT_TRUE(device.faults().empty());
}

TEST(PagePoolLimitsTest, ABlockWhoseMeansAreInAProfileWantsThatOne) {
  BlockSpec spec = testing::OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, kPoolDim, 64);
  const KeyMeanProfilePtr profile = testing::MakeProfile(testing::ProfileShapeFor(spec, 1), 1);
  spec.profile_digest = profile->digest();
  EncodeOptions options;
  options.profile = profile.get();
  const std::vector<uint8_t> bytes = testing::Encode(spec, testing::GaussianKv(spec, 1), options);
  const std::vector<BlockView> views = {BlockView::Parse(bytes, VerifyPayload::kYes, profile).value()};
  EmulatedDevice device;
  EXPECT_FALSE(PageLayerOf(views[0], 0, bytes.data(), nullptr).has_value());
  const KeyMeanProfilePtr other = testing::MakeProfile(testing::ProfileShapeFor(spec, 1), 2);
  for (const KeyMeanProfilePtr& of_pool : {KeyMeanProfilePtr(), other, profile}) {
    const auto pool = MakePool(
        device, {.slots = 1, .layers = 1, .slot_bytes = PageBytes(views[0], {0, 1}), .profile = of_pool});
    int32_t page = -1;
    uint64_t upload = 0;
    ASSERT_EQ(pool->Take({&page, 1}, 0), PoolError::kNone);
    EXPECT_EQ(pool->Upload(views, {&page, 1}, {0, 1}, HostMemory::kPinned, upload),
              of_pool == profile ? PoolError::kNone : PoolError::kWrongProfile);
  }
}

TEST(PagePoolLimitsTest, CreationFailsCleanly) {
  const PagePoolOptions options{.slots = 2, .layers = 2, .slot_bytes = 1000, .uploads = 2, .staging_bytes = 5000};
  bool created = false;
  for (size_t memory = 0; memory < 9000; memory += 100) {
    EmulatedDevice device({.memory = memory});
    std::unique_ptr<PagePool> pool;
    const PoolError error = PagePool::Create(device, options, pool);
    EXPECT_EQ(error, pool != nullptr ? PoolError::kNone : PoolError::kOutOfMemory);
    created = created || pool != nullptr;
    pool.reset();
    EXPECT_EQ(device.live(), 0u);
  }
  EXPECT_TRUE(created);
  EmulatedDevice device;
  std::unique_ptr<PagePool> pool;
  EXPECT_EQ(PagePool::Create(device, {.slots = 0, .layers = 1, .slot_bytes = 1}, pool), PoolError::kWrongOptions);
  EXPECT_EQ(PagePool::Create(device, {.slots = 1, .layers = 0, .slot_bytes = 1}, pool), PoolError::kWrongOptions);
  EXPECT_EQ(PagePool::Create(device, {.slots = 1, .layers = 1, .slot_bytes = 0}, pool), PoolError::kWrongOptions);
}

TEST(PagePoolLimitsTest, ADeviceThatFailsEndsEverythingCleanly) {
  const std::vector<PoolSequence> sequences = SomeSequences(2);
  for (uint64_t copy = 1; copy <= 10; ++copy) {
    SCOPED_TRACE(copy);
    EmulatedDevice device({.seed = static_cast<uint32_t>(copy), .failing_copy = copy});
    {
      const auto pool = MakePool(device, OptionsFor(sequences, 3));
      const Queue queue = device.MakeQueue();
      PoolError error = PoolError::kNone;
      for (int round = 0; round < 100 && error != PoolError::kDeviceFailed; ++round) {
        for (const PoolSequence& sequence : sequences) {
          std::vector<int32_t> pages(sequence.views.size());
          uint64_t upload = 0;
          error = pool->Take(pages, 0);
          if (error == PoolError::kNone) error = pool->Upload(sequence.views, pages, kAllLayers, HostMemory::kPageable, upload);
          if (error == PoolError::kNone) error = pool->WaitForLayer(upload, 0, queue);
          if (error == PoolError::kNone) error = pool->Release(pages, queue);
          if (error == PoolError::kFull) error = pool->WaitForProgress();
        }
      }
      EXPECT_EQ(error, PoolError::kDeviceFailed);
      std::vector<int32_t> pages(1);
      EXPECT_EQ(pool->Take(pages, 0), PoolError::kDeviceFailed);
      EXPECT_EQ(pool->WaitForProgress(), PoolError::kDeviceFailed);
      EXPECT_EQ(pool->available(), 0u);
      device.FreeQueue(queue);
    }
    EXPECT_EQ(device.live(), 0u);
  }
}

// Against a map of who has which byte.
TEST(StagingRingTest, NobodyGetsABytesThatIsTaken) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    const size_t bytes = 1 + random() % 100;
    StagingRing ring(bytes);
    std::vector<int> owner(bytes, 0);
    std::deque<std::pair<int, uint64_t>> taken;
    for (int id = 1; id < 300; ++id) {
      const size_t count = random() % (bytes + 2);
      if (ring.HasRoom(count)) {
        const size_t at = ring.Take(count);
        ASSERT_LE(at + count, bytes);
        for (size_t i = at; i < at + count; ++i) {
          ASSERT_EQ(owner[i], 0);
          owner[i] = id;
        }
        taken.emplace_back(id, ring.mark());
      } else {
        ASSERT_TRUE(count > bytes || !taken.empty()) << "an empty ring has room for all that fits it";
      }
      if (!taken.empty() && random() % 2 == 0) {
        std::ranges::replace(owner, taken.front().first, 0);
        ring.Free(taken.front().second);
        taken.pop_front();
      }
    }
  }
}

}  // namespace
}  // namespace polarkv::cuda
