// The page pool over a device that does its work late, in pieces and in any order, with attention on what arrives.
#include "kernels/cuda/page_pool.h"

#include <thread>

#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/pool_fixture.h"

namespace polarkv::cuda {
namespace {

constexpr size_t kRows = kPoolHeads * kPoolGroup;
constexpr uint32_t kWarps = 3;
constexpr LayerRange kAllLayers{0, kPoolLayers};

// What one sequence's attention left, and what there must be: the same on the host's own bytes, bit for bit.
struct Results {
  std::vector<float> o, lse;
  Results() : o(size_t{kPoolLayers} * kRows * kPoolDim, 777.0f), lse(size_t{kPoolLayers} * kRows, 777.0f) {}
  friend bool operator==(const Results&, const Results&) = default;
};

Results Expected(const PoolSequence& sequence) {
  Results results;
  std::vector<int32_t> table;
  for (size_t i = 0; i < sequence.views.size(); ++i) table.push_back(static_cast<int32_t>(i));
  for (uint32_t layer = sequence.views[0].layer_begin(); layer < sequence.views[0].layer_end(); ++layer) {
    std::vector<PageLayer> pages;
    for (const BlockView& view : sequence.views) pages.push_back(PageLayerOf(view, layer, view.bytes().data()));
    EmulateAttention(*AttentionCodecOf(sequence.views[0], layer),
                     PoolBatch(&sequence.tokens, table.data(), pages.data(), 1,
                               sequence.q.data() + layer * kRows * kPoolDim, results.o.data() + layer * kRows * kPoolDim,
                               results.lse.data() + layer * kRows),
                     kWarps);
  }
  return results;
}

size_t LargestBlock(const PoolSequence& sequence) {
  size_t bytes = 0;
  for (const BlockView& view : sequence.views) {
    bytes = std::max(bytes, PageBytes(view, {view.layer_begin(), view.layer_end()}));
  }
  return bytes;
}

std::unique_ptr<PagePool> MakePool(EmulatedDevice& device, const PagePoolOptions& options) {
  std::unique_ptr<PagePool> pool;
  EXPECT_EQ(PagePool::Create(device, options, pool), PoolError::kNone);
  return pool;
}

// A reader: a queue of its own, and a place for results that the device writes to when it comes to it.
class Reader {
 public:
  Reader(EmulatedDevice& device, PagePool& pool) : device_(device), pool_(pool), queue_(device.MakeQueue()) {}
  ~Reader() {
    static_cast<void>(device_.Finish(queue_));
    device_.FreeQueue(queue_);
  }

  // kFull if there is no room now; the host waits for nothing.
  PoolError Start(const PoolSequence& sequence, HostMemory memory) {
    std::vector<int32_t> pages(sequence.views.size());
    if (const PoolError error = pool_.Take(pages, 0); error != PoolError::kNone) return error;
    uint64_t upload = 0;
    const PoolError error = pool_.Upload(sequence.views, pages, kAllLayers, memory, upload);
    if (error == PoolError::kNone) {
      Run& run = *runs_.emplace_back(std::make_unique<Run>());
      run.table = pages;
      run.tokens = sequence.tokens;
      for (uint32_t layer = 0; layer < kPoolLayers; ++layer) Attend(sequence, upload, layer, run);
    }
    const PoolError released = pool_.Release(pages, queue_);
    return error != PoolError::kNone ? error : released;
  }
  PoolError StartWhenThereIsRoom(const PoolSequence& sequence, HostMemory memory) {
    PoolError error = Start(sequence, memory);
    while (error == PoolError::kFull) {
      if (error = pool_.WaitForProgress(); error == PoolError::kNone) error = Start(sequence, memory);
    }
    return error;
  }
  Results Finish(size_t run) {
    EXPECT_TRUE(device_.Finish(queue_));
    return runs_[run]->results;
  }
  Queue queue() const { return queue_; }

 private:
  struct Run {
    std::vector<int32_t> table;
    uint32_t tokens = 0;
    Results results;
  };
  void Attend(const PoolSequence& sequence, uint64_t upload, uint32_t layer, Run& run) {
    EXPECT_EQ(pool_.WaitForLayer(upload, layer, queue_), PoolError::kNone);
    const AttentionBatch batch =
        PoolBatch(&run.tokens, run.table.data(), pool_.pages() + layer, pool_.page_stride(),
                  sequence.q.data() + layer * kRows * kPoolDim, run.results.o.data() + layer * kRows * kPoolDim,
                  run.results.lse.data() + layer * kRows);
    const AttentionCodec codec = *AttentionCodecOf(sequence.views[0], layer);
    std::vector<uint8_t> workspace(AttentionWorkspaceBytes(codec, batch, kWarps));  // emulation has its own
    EXPECT_EQ(device_.Attend(codec, batch, kWarps, workspace.data(), workspace.size(), queue_), LaunchError::kNone);
  }

  EmulatedDevice& device_;
  PagePool& pool_;
  const Queue queue_;
  std::vector<std::unique_ptr<Run>> runs_;
};

std::vector<PoolSequence> SomeSequences(uint32_t count) {
  std::vector<PoolSequence> sequences;
  for (uint32_t i = 0; i < count; ++i) sequences.emplace_back(1 + i % 3, 100 * i);
  return sequences;
}

PagePoolOptions OptionsFor(const std::vector<PoolSequence>& sequences, uint32_t slots) {
  size_t bytes = 0;
  for (const PoolSequence& sequence : sequences) bytes = std::max(bytes, LargestBlock(sequence));
  return {.slots = slots, .layers = kPoolLayers, .slot_bytes = bytes, .uploads = 4, .staging_bytes = 5 * bytes};
}

TEST(PagePoolTest, AttentionSeesEveryBlockWholeInEveryOrderOfWork) {
  const std::vector<PoolSequence> sequences = SomeSequences(6);
  std::vector<Results> expected;
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
        Reader reader(device, *pool);
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
  Reader reader(device, *pool);
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
  Reader reader(device, *pool);
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
  Reader reader(device, *pool);
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
  Reader reader(device, *pool);
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

TEST(PagePoolTest, AFullPoolPushesBackAndGoesOnAfterReleases) {
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

TEST(PagePoolTest, APageThatIsStillBeingCopiedToIsNotGivenAway) {
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

TEST(PagePoolTest, UploadsUnderWayAndStagingMemoryAreBounded) {
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

TEST(PagePoolTest, RefusesWhatDoesNotFitAndChangesNothing) {
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

TEST(PagePoolTest, CreationFailsCleanly) {
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

TEST(PagePoolTest, ADeviceThatFailsEndsEverythingCleanly) {
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

TEST(PagePoolTest, ThreadsShareAPool) {
  const std::vector<PoolSequence> sequences = SomeSequences(3);
  std::vector<Results> expected;
  for (const PoolSequence& sequence : sequences) expected.push_back(Expected(sequence));
  EmulatedDevice device({.seed = 8});
  const auto pool = MakePool(device, OptionsFor(sequences, 12));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < sequences.size(); ++i) {
    threads.emplace_back([&, i] {
      Reader reader(device, *pool);
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
