#include "tests/service/service_fixture.h"

#include <algorithm>

#include "proto/descriptor_conversion.h"
#include "proto/packed_keys.h"
#include "service/local_store.h"

namespace polarkv::testing {

ServiceFixture::ServiceFixture(const ServiceLimits& limits, uint64_t memory_budget) {
  namespaces_ = NamespaceRegistry::Open(nullptr, 4).value();
  LocalStoreOptions options;
  options.memory_budget = memory_budget;
  store_ = std::make_unique<FaultInjectingStore>(LocalStore::Open(options, nullptr, {}).value());
  context_ = std::make_unique<ServiceContext>(*store_, *namespaces_, limits, 2);
  service_ = std::make_unique<KvService>(*context_);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  stub_ = v1::KvStore::NewStub(channel_);
}

ServiceFixture::~ServiceFixture() {
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
  server_->Wait();
}

std::string ServiceFixture::OpenNamespace() {
  grpc::ClientContext call;
  v1::OpenNamespaceRequest request;
  *request.mutable_namespace_descriptor() = DescriptorToProto(ServiceDescriptor()).value();
  v1::OpenNamespaceResponse response;
  return stub_->OpenNamespace(&call, request, &response).ok() ? response.fingerprint() : "";
}

std::vector<v1::StoreAck> ServiceFixture::Store(const std::vector<v1::BlockFrame>& frames, grpc::Status* status) {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  const StoreCall stream = stub_->Store(&call);
  for (const v1::BlockFrame& frame : frames) {
    if (!stream->Write(frame)) break;
  }
  stream->WritesDone();
  std::vector<v1::StoreAck> acks;
  for (v1::StoreAck ack; stream->Read(&ack);) acks.push_back(ack);
  const grpc::Status end = stream->Finish();
  if (status != nullptr) *status = end;
  return acks;
}

void ServiceFixture::StoreChain(uint32_t chain, uint32_t count) {
  std::vector<v1::BlockFrame> frames;
  for (uint32_t i = 0; i < count; ++i) {
    for (const v1::BlockFrame& frame : ChainFrames(chain, i)) frames.push_back(frame);
  }
  const std::vector<v1::StoreAck> acks = Store(frames);
  const auto stored = [](const v1::StoreAck& ack) { return ack.status() == v1::STORE_STATUS_STORED; };
  if (acks.size() != count || !std::ranges::all_of(acks, stored)) throw std::runtime_error("a block was not stored");
}

v1::MatchPrefixResponse ServiceFixture::Match(uint32_t chain, uint32_t count, uint32_t lease_ms) {
  grpc::ClientContext call;
  v1::MatchPrefixRequest request;
  request.set_fingerprint(ServiceFingerprint());
  request.set_keys(PackKeys(ChainKeys(chain, count)));
  request.set_lease_ms(lease_ms);
  v1::MatchPrefixResponse response;
  if (!stub_->MatchPrefix(&call, request, &response).ok()) throw std::runtime_error("MatchPrefix failed");
  return response;
}

std::vector<v1::BlockFrame> ServiceFixture::Fetch(const v1::FetchRequest& request, grpc::Status* status) {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  const auto stream = stub_->Fetch(&call, request);
  std::vector<v1::BlockFrame> frames;
  for (v1::BlockFrame frame; stream->Read(&frame);) frames.push_back(frame);
  const grpc::Status end = stream->Finish();
  if (status != nullptr) *status = end;
  return frames;
}

std::string ServiceFingerprint() { return PackFingerprint(NamespaceFingerprint(ServiceDescriptor())); }

std::vector<v1::BlockFrame> Frames(const BlockKey& key, const std::vector<uint8_t>& bytes, uint64_t frame_bytes) {
  std::vector<v1::BlockFrame> frames;
  for (uint64_t offset = 0; offset < bytes.size(); offset += frame_bytes) {
    v1::BlockFrame& frame = frames.emplace_back();
    if (offset == 0) {
      frame.set_fingerprint(ServiceFingerprint());
      frame.set_key(PackKey(key));
      frame.set_total_bytes(bytes.size());
    }
    frame.set_offset(offset);
    frame.set_body(bytes.data() + offset, std::min<uint64_t>(frame_bytes, bytes.size() - offset));
  }
  return frames;
}

std::vector<v1::BlockFrame> ChainFrames(uint32_t chain, uint32_t index, uint64_t frame_bytes) {
  const BlockKey key = ChainKey(chain, index);
  std::vector<v1::BlockFrame> frames = Frames(key, SealedBlock(ServiceDescriptor(), key, index), frame_bytes);
  for (v1::BlockFrame& frame : frames) frame.set_block_index(index);
  if (index > 0) frames.front().set_parent_key(PackKey(ChainKey(chain, index - 1)));
  return frames;
}

v1::FetchRequest FetchOf(uint32_t chain, uint32_t count) {
  v1::FetchRequest request;
  request.set_fingerprint(ServiceFingerprint());
  request.set_keys(PackKeys(ChainKeys(chain, count)));
  return request;
}

}  // namespace polarkv::testing
