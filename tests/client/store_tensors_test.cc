// Tensors become the blocks that anybody else would encode from them, under the right keys.
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/packed_keys.h"
#include "tests/client/client_over_fake.h"
#include "tests/testing/block_chain.h"

namespace polarkv::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

struct StoredBlock {
  std::string key, parent;
  std::string bytes;
};

// A server that keeps what it is sent.
struct Keeper {
  Record<StoredBlock> record;
  ClientOverFake over;

  Keeper() : over(Behaviour()) {}
  std::vector<StoredBlock> blocks() const { return record.All(); }

  FakeBehaviour Behaviour() {
    FakeBehaviour behaviour;
    behaviour.store = [this](grpc::ServerContext*, StoreStream* stream) {
      StoredBlock block;
      uint64_t total = 0;
      for (v1::BlockFrame frame; stream->Read(&frame);) {
        if (frame.offset() == 0) {
          block = {frame.key(), frame.parent_key(), ""};
          total = frame.total_bytes();
        }
        block.bytes += frame.body();
        if (block.bytes.size() < total) continue;
        record.Add(block);
        v1::StoreAck ack;
        ack.set_block_index(frame.block_index());
        ack.set_key(block.key);
        ack.set_status(v1::STORE_STATUS_STORED);
        stream->Write(ack);
      }
      return grpc::Status::OK;
    };
    return behaviour;
  }
};

std::string Text(const std::vector<uint8_t>& bytes) { return std::string(bytes.begin(), bytes.end()); }

TEST(StoreTensors, SendsTheReferenceEncodersBlocksWithTheirChain) {
  const BlockChain chain(SmallDescriptor(), 3, 4, EncodeOptions{});
  Keeper keeper;
  std::vector<StoreOutcome> outcomes(3);
  const absl::Status status =
      keeper.over->StoreTensors(chain.ns, chain.keys, {}, 0, chain.KeyTensor(), chain.ValueTensor(), outcomes);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(outcomes, Each(StoreOutcome::kStored));
  const std::vector<StoredBlock> blocks = keeper.blocks();
  ASSERT_EQ(blocks.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(blocks[i].key, PackKey(chain.keys[i]));
    EXPECT_EQ(blocks[i].parent, i == 0 ? "" : PackKey(chain.keys[i - 1]));
    EXPECT_EQ(blocks[i].bytes, Text(chain.blocks[i])) << i;
  }
}

TEST(StoreTensors, ALaterPartOfAChainKeepsItsPlaceInIt) {
  const BlockChain chain(SmallDescriptor(), 3, 5);
  Keeper keeper;
  // Tokens of the last block only.
  TensorView k = chain.KeyTensor(), v = chain.ValueTensor();
  for (TensorView* tensor : {&k, &v}) {
    tensor->data = static_cast<const float*>(tensor->data) + 2 * 64 * tensor->stride[2];
    tensor->shape[2] = 64;
  }
  std::vector<StoreOutcome> outcomes(1);
  const absl::Status status = keeper.over->StoreTensors(chain.ns, std::span(chain.keys).last(1), chain.keys[1],
                                                        /*first_block=*/2, k, v, outcomes);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<StoredBlock> blocks = keeper.blocks();
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(blocks[0].parent, PackKey(chain.keys[1]));
  EXPECT_EQ(blocks[0].bytes, Text(chain.blocks[2]));
}

TEST(StoreTensors, AShardIsStoredUnderItsOwnKeyWithItsHeads) {
  NamespaceDescriptor descriptor = SmallDescriptor("test/shards");
  descriptor.kv_heads = 4;
  descriptor.shards = 2;
  NamespaceDescriptor half = SmallDescriptor("test/shards");
  const BlockChain content(half, 2, 6);  // two heads: what one rank holds
  const NamespaceHandle ns{descriptor, NamespaceFingerprint(descriptor)};
  Keeper keeper;
  std::vector<StoreOutcome> outcomes(2);
  const absl::Status status = keeper.over->StoreTensors(ns, content.keys, {}, 0, content.KeyTensor(),
                                                        content.ValueTensor(), outcomes, /*shard=*/1);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<StoredBlock> blocks = keeper.blocks();
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[1].key, PackKey(ShardKey(content.keys[1], 1, 2)));
  EXPECT_EQ(blocks[1].parent, PackKey(ShardKey(content.keys[0], 1, 2)));
  EXPECT_EQ(blocks[0].parent, "");
  AlignedBuffer block(blocks[1].bytes.size());
  std::copy(blocks[1].bytes.begin(), blocks[1].bytes.end(), block.span().begin());
  const BlockView view = BlockView::Parse(block.span(), VerifyPayload::kYes).value();
  EXPECT_EQ(view.spec().first_kv_head, 2);
  EXPECT_EQ(view.spec().kv_heads, 2);
  const absl::Status belongs =
      CheckBlockBelongs(view.spec(), descriptor, ns.fingerprint, ShardKey(content.keys[1], 1, 2));
  EXPECT_TRUE(belongs.ok()) << belongs;
}

TEST(StoreTensors, RefusesTensorsOfAnotherShapeAndSaysWhich) {
  const BlockChain chain(SmallDescriptor(), 2, 7);
  Keeper keeper;
  std::vector<StoreOutcome> outcomes(2);
  for (size_t dimension = 0; dimension < 4; ++dimension) {
    TensorView v = chain.ValueTensor();
    v.shape[dimension] -= 1;
    const absl::Status status = keeper.over->StoreTensors(chain.ns, chain.keys, {}, 0, chain.KeyTensor(), v, outcomes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << dimension;
    EXPECT_THAT(std::string(status.message()), HasSubstr("v has shape"));
  }
  outcomes.resize(1);
  EXPECT_EQ(
      keeper.over->StoreTensors(chain.ns, chain.keys, {}, 0, chain.KeyTensor(), chain.ValueTensor(), outcomes).code(),
      absl::StatusCode::kInvalidArgument);
  outcomes.resize(2);
  EXPECT_EQ(
      keeper.over
          ->StoreTensors(chain.ns, chain.keys, {}, 0, chain.KeyTensor(), chain.ValueTensor(), outcomes, /*shard=*/1)
          .code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(keeper.blocks().empty());
}

TEST(StoreTensors, RefusesValuesThatAreNotFiniteAndNamesTheBlock) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    BlockChain chain(SmallDescriptor(), 2, 8);
    chain.k[(64 + 5) * 64 + 1] = value;  // layer 0, head 0, token 69: the second block
    Keeper keeper;
    std::vector<StoreOutcome> outcomes(2);
    const absl::Status status =
        keeper.over->StoreTensors(chain.ns, chain.keys, {}, 0, chain.KeyTensor(), chain.ValueTensor(), outcomes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("block 1"));
    EXPECT_EQ(outcomes[1], StoreOutcome::kNotAcknowledged);
  }
}

}  // namespace
}  // namespace polarkv::testing
