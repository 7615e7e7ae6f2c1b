// The page pool over a device that does its work late, in pieces and in any order, with attention on what arrives.
#include "kernels/cuda/page_pool.h"

#include <thread>

#include "tests/kernels/cuda/pool_fixture.h"

namespace polarkv::cuda {
namespace {

TEST(PagePoolTest, AttentionSeesEveryBlockWholeInEveryOrderOfWork) {
  const std::vector<PoolSequence> sequences = SomeSequences(6);
  std::vector<PoolResults> expected;
  for (const PoolSequence& sequence : sequences) expected.push_back(Expected(sequence));
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    for (const HostMemory memory : {HostMemory::kPinned, HostMemory::kPageable}) {
      SCOPED_TRACE(testing::SeedText(seed));
      EmulatedBehaviour behaviour{.seed = seed};
      behaviour.order = seed % 3 == 0   ? EmulatedBehaviour::kAny
                        : seed % 3 == 1 ? EmulatedBehaviour::kLastMade
                                        : EmulatedBehaviour::kFirstMade;
      EmulatedDevice device(behaviour);
      {
        const auto pool = MakePool(device, OptionsFor(sequences, 4));
        PoolReader reader(device, *pool);
        for (const PoolSequence& sequence : sequences) {
          ASSERT_EQ(reader.StartWhenThereIsRoom(sequence, memory), PoolError::kNone);
        }
        for (size_t i = 0; i < sequences.size(); ++i) EXPECT_TRUE(reader.Finish(i) == expected[i]) << i;
        EXPECT_EQ(pool->available(), 4u);
      }
      EXPECT_EQ(device.live(), 0u);
      EXPECT_TRUE(device.faults().empty()) << device.faults().front();
    }
  }
}

TEST(PagePoolTest, WithoutItsWaitsAttentionWouldSeePoison) {
  EmulatedBehaviour behaviour;
  behaviour.order = EmulatedBehaviour::kLastMade;
  behaviour.ignores_waits = true;
  EmulatedDevice device(behaviour);
  const std::vector<PoolSequence> sequences = SomeSequences(1);
  const auto pool = MakePool(device, OptionsFor(sequences, 4));
  PoolReader reader(device, *pool);
  device.Pause();
  // Without an order between queues, lengths and pointers would be poison, too: attention alone on the data, no launch.
  int32_t page = -1;
  uint64_t upload = 0;
  ASSERT_EQ(pool->Take({&page, 1}, 0), PoolError::kNone);
  ASSERT_EQ(pool->Upload(sequences[0].views, {&page, 1}, kAllLayers, HostMemory::kPinned, upload), PoolError::kNone);
  ASSERT_EQ(pool->WaitForLayer(upload, 0, reader.queue()), PoolError::kNone);
  bool poison = false;
  device.Call(reader.queue(), [&] {
    const auto* const entry = reinterpret_cast<const uint8_t*>(pool->pages() + page * kPoolLayers);
    poison = std::all_of(entry, entry + sizeof(PageLayer), [](uint8_t byte) { return byte == 0xFF; });
  });
  device.Resume();
  ASSERT_TRUE(device.Finish(reader.queue()));
  EXPECT_TRUE(poison);
}

TEST(PagePoolTest, TheFirstLayerIsAttendedToWhileOthersArrive) {
  EmulatedBehaviour behaviour;
  behaviour.order = EmulatedBehaviour::kLastMade;  // the reader's queue goes before copies whenever it can
  EmulatedDevice device(behaviour);
  const std::vector<PoolSequence> sequences = SomeSequences(3);
  const auto pool = MakePool(device, OptionsFor(sequences, 4));
  PoolReader reader(device, *pool);
  device.Pause();
  std::vector<int32_t> pages(3);
  uint64_t upload = 0;
  ASSERT_EQ(pool->Take(pages, 0), PoolError::kNone);
  ASSERT_EQ(pool->Upload(sequences[2].views, pages, kAllLayers, HostMemory::kPinned, upload), PoolError::kNone);
  bool done_after[kPoolLayers] = {true, true, false};
  for (uint32_t layer = 0; layer < kPoolLayers; ++layer) {
    ASSERT_EQ(pool->WaitForLayer(upload, layer, reader.queue()), PoolError::kNone);
    device.Call(reader.queue(), [&, layer] { done_after[layer] = pool->IsDone(upload); });
  }
  device.Resume();
  ASSERT_TRUE(device.Finish(reader.queue()));
  EXPECT_FALSE(done_after[0]);
  EXPECT_FALSE(done_after[1]);
  EXPECT_TRUE(done_after[2]);
}

TEST(PagePoolTest, PlanesThatWereNotFetchedAreNotCopied) {
  EmulatedDevice device;
  std::vector<PoolSequence> sequences = SomeSequences(3);
  const size_t whole = LargestBlock(sequences[2]);
  sequences[2].Select({0, 0, PlaneBit(PlaneKind::kBase)});
  const PoolSequence& sequence = sequences[2];
  size_t held = sequence.views.size() * kPoolLayers * sizeof(PageLayer);
  for (const BlockView& view : sequence.views) held += view.bytes().size() - view.layout().payload_offset();
  ASSERT_LT(LargestBlock(sequence), whole * 2 / 3);
  PagePoolOptions options = OptionsFor({sequence}, 4);
  const auto pool = MakePool(device, options);
  PoolReader reader(device, *pool);
  ASSERT_EQ(reader.Start(sequence, HostMemory::kPageable), PoolError::kNone);
  EXPECT_TRUE(reader.Finish(0) == Expected(sequence));
  EXPECT_EQ(device.copied_bytes(), held);
}

TEST(PagePoolTest, LayersComeInSeveralUploads) {
  const PoolSequence whole(2, 9);
  std::vector<PoolSequence> parts;
  for (uint32_t layer = 0; layer < kPoolLayers; ++layer) {
    parts.push_back(whole);
    parts.back().Select({layer, layer + 1, kAllPlanes});
  }
  EmulatedDevice device({.seed = 5});
  const auto pool = MakePool(device, OptionsFor({whole}, 2));
  PoolReader reader(device, *pool);
  std::vector<int32_t> pages(2);
  ASSERT_EQ(pool->Take(pages, 0), PoolError::kNone);
  uint64_t upload = 0;
  for (const uint32_t layer : {1u, 0u, 2u}) {
    ASSERT_EQ(pool->Upload(parts[layer].views, pages, {layer, layer + 1}, HostMemory::kPageable, upload), PoolError::kNone);
    EXPECT_EQ(pool->Upload(parts[layer].views, pages, {layer, layer + 1}, HostMemory::kPageable, upload), PoolError::kWrongPage);
  }
  ASSERT_EQ(pool->WaitForLayer(upload, 2, reader.queue()), PoolError::kNone);
  ASSERT_TRUE(device.Finish(reader.queue()));
  for (size_t i = 0; i < pages.size(); ++i) {
    for (uint32_t layer = 0; layer < kPoolLayers; ++layer) {
      const PageLayer& page = pool->pages()[static_cast<uint32_t>(pages[i]) * pool->page_stride() + layer];
      const auto base = whole.views[i].Segment(layer, PlaneKind::kBase);
      ASSERT_TRUE(std::equal(base.begin(), base.end(), page.base - whole.views[i].layout().layer(layer).first_tile));
    }
  }
}

TEST(PagePoolTest, ThreadsShareAPool) {
  const std::vector<PoolSequence> sequences = SomeSequences(3);
  std::vector<PoolResults> expected;
  for (const PoolSequence& sequence : sequences) expected.push_back(Expected(sequence));
  EmulatedDevice device({.seed = 8});
  const auto pool = MakePool(device, OptionsFor(sequences, 12));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < sequences.size(); ++i) {
    threads.emplace_back([&, i] {
      PoolReader reader(device, *pool);
      for (size_t round = 0; round < 3; ++round) {
        PoolError error = PoolError::kFull;
        while (error == PoolError::kFull) {
          error = reader.Start(sequences[i], HostMemory::kPageable);
          if (error == PoolError::kFull) std::this_thread::yield();
        }
        EXPECT_EQ(error, PoolError::kNone);
        EXPECT_TRUE(reader.Finish(round) == expected[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace polarkv::cuda
