// codec/FORMAT.md is the specification: its tables and test vectors are compared with the code, so that they cannot
// drift.
#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "codec/block_layout.h"
#include "codec/namespace_descriptor.h"
#include "tests/codec/block_defects.h"

namespace polarkv {
namespace {

using nlohmann::json;
using Row = std::vector<std::string>;

std::string Document() {
  std::ifstream in(POLARKV_SOURCE_DIR "/codec/FORMAT.md");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string Trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" `");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" `") - begin + 1);
}

// The rows of the table whose head begins with `head`, cells without blanks and back quotes around them.
std::vector<Row> Table(const std::string& head) {
  std::istringstream document(Document());
  std::vector<Row> rows;
  bool inside = false;
  for (std::string line; std::getline(document, line);) {
    if (line.starts_with(head)) {
      inside = true;
    } else if (inside && !line.starts_with("|")) {
      break;
    } else if (inside && !line.starts_with("|---")) {
      Row row;
      std::istringstream cells(line.substr(1));
      for (std::string cell; std::getline(cells, cell, '|');) row.push_back(Trimmed(cell));
      rows.push_back(row);
    }
  }
  return rows;
}

TEST(FormatDocument, HeaderTableIsTheStruct) {
#define FIELD(name)                                                   \
  {                                                                   \
#name, { offsetof(BlockHeader, name), sizeof(BlockHeader::name) } \
  }
  const std::map<std::string, std::pair<size_t, size_t>> fields = {
      FIELD(magic),     FIELD(version),         FIELD(features),       FIELD(total_bytes),    FIELD(layers),
      FIELD(kv_heads),  FIELD(first_kv_head),   FIELD(head_dim),       FIELD(tokens),         FIELD(k_codec),
      FIELD(v_codec),   FIELD(source_dtype),    FIELD(rope_pairing),   FIELD(first_position), FIELD(rope_base),
      FIELD(rope_dims), FIELD(rotation_kind),   FIELD(planes),         FIELD(rotation_seed),  FIELD(rotation_block),
      FIELD(codebook),  FIELD(extension_bytes), FIELD(profile_digest), FIELD(namespace_tag),  FIELD(key_tag),
      FIELD(reserved),  FIELD(directory_xxh3),  FIELD(header_xxh3)};
#undef FIELD
  const std::vector<Row> rows = Table("| offset | size | type | field | valid | meaning |");
  size_t next = 0;
  for (const Row& row : rows) {
    ASSERT_TRUE(fields.contains(row[3])) << row[3];
    EXPECT_EQ(std::stoul(row[0]), fields.at(row[3]).first) << row[3];
    EXPECT_EQ(std::stoul(row[1]), fields.at(row[3]).second) << row[3];
    EXPECT_EQ(std::stoul(row[0]), next) << row[3];
    next += std::stoul(row[1]);
  }
  EXPECT_EQ(rows.size(), fields.size());
  EXPECT_EQ(next, sizeof(BlockHeader));
}

TEST(FormatDocument, CodecTableIsTheLayout) {
  const std::vector<Row> rows = Table("| id | name |");
  EXPECT_EQ(rows.size(), AllCodecs().size());
  for (const Row& row : rows) {
    const CodecPair pair = ParseCodecPair(row[1]).value();
    EXPECT_EQ(std::stoi(row[0]), static_cast<int>(pair.k));
    EXPECT_NEAR(std::stod(row[4]), CodecBits(pair, 128).k, 0.0005) << row[1];
    for (const uint32_t head_dim : kHeadDims) {
      BlockSpec spec = testing::DefectSpec(pair);
      spec.head_dim = static_cast<uint16_t>(head_dim);
      const BlockLayout layout = BlockLayout::Make(spec).value();
      EXPECT_EQ(std::stoul(row[2]) * head_dim, layout.base_tile().bytes - layout.base_tile().v_payload) << row[1];
      EXPECT_EQ(1 + 2 * std::stoul(row[3]), layout.planes()) << row[1];
      for (uint32_t plane = 1; plane < layout.planes(); ++plane) EXPECT_EQ(layout.TileBytes(plane), 8 * head_dim);
    }
  }
}

TEST(FormatDocument, EveryRejectionIsListedWithItsMessage) {
  const std::vector<Row> rows = Table("| sample | status | message |");
  EXPECT_EQ(rows.size(), testing::AllBlockDefects().size());
  std::map<std::string, Row> by_name;
  for (const Row& row : rows) by_name[row[0]] = row;
  for (const testing::BlockDefect& defect : testing::AllBlockDefects()) {
    ASSERT_TRUE(by_name.contains(defect.name)) << defect.name;
    EXPECT_EQ(by_name[defect.name][1], absl::StatusCodeToString(defect.code)) << defect.name;
    EXPECT_EQ(by_name[defect.name][2], defect.message);
  }
}

json Vectors() {
  const std::string document = Document();
  const std::string open = "```json\n";
  const size_t begin = document.find(open) + open.size();
  return json::parse(document.substr(begin, document.find("```", begin) - begin));
}

template <typename Bytes>
std::string Hex(const Bytes& bytes) {
  std::string hex;
  char digits[3];
  for (const auto byte : bytes) {
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<uint8_t>(byte)));
    hex += digits;
  }
  return hex;
}

NamespaceDescriptor DescriptorOf(const json& j) {
  NamespaceDescriptor d;
  d.name = j["name"];
  d.tenant = j["tenant"];
  d.model = j["model"];
  d.weights_digest = j["weights_digest"];
  d.tokenizer_digest = j["tokenizer_digest"];
  d.layers = j["layers"];
  d.kv_heads = j["kv_heads"];
  d.head_dim = j["head_dim"];
  d.rope = {static_cast<RopePairing>(j["rope_pairing"].get<int>()), j["rope_base"], j["rope_dims"]};
  d.rope_scaling = j["rope_scaling"];
  d.source_dtype = static_cast<Dtype>(j["source_dtype"].get<int>());
  d.block_tokens = j["block_tokens"];
  d.shards = j["shards"];
  d.codec = {ParseCodecPair(j["k_codec"].get<std::string>())->k, ParseCodecPair(j["v_codec"].get<std::string>())->v};
  d.rotation_seed = j["rotation_seed"];
  return d;
}

TEST(FormatDocument, FingerprintVectorsHold) {
  const json vectors = Vectors();
  EXPECT_GE(vectors["namespaces"].size(), 2u);
  for (const json& vector : vectors["namespaces"]) {
    const NamespaceDescriptor descriptor = DescriptorOf(vector["descriptor"]);
    EXPECT_TRUE(ValidateNamespaceDescriptor(descriptor).ok());
    EXPECT_EQ(Hex(CanonicalDescriptor(descriptor)), vector["canonical"]);
    EXPECT_EQ(Hex(NamespaceFingerprint(descriptor)), vector["fingerprint"]);
  }
}

TEST(FormatDocument, KeyVectorsHold) {
  const json vectors = Vectors();
  EXPECT_GE(vectors["chains"].size(), 2u);
  for (const json& vector : vectors["chains"]) {
    const Fingerprint fingerprint = BlockKey::FromHex(vector["fingerprint"].get<std::string>())->bytes;
    PrefixKeyChain chain(fingerprint, vector["salt"].get<std::string>());
    EXPECT_EQ(chain.current().ToHex(), vector["root"]);
    for (const json& block : vector["blocks"]) {
      std::vector<int32_t> tokens;
      for (int32_t id = block["tokens"][0]; id <= block["tokens"][1].get<int32_t>(); ++id) tokens.push_back(id);
      EXPECT_EQ(chain.Next(tokens, block["extra"].get<std::string>()).ToHex(), block["key"]);
    }
  }
  for (const json& vector : vectors["shards"]) {
    const BlockKey key = BlockKey::FromHex(vector["chain_key"].get<std::string>()).value();
    EXPECT_EQ(ShardKey(key, vector["shard"], vector["shards"]).ToHex(), vector["key"]);
  }
}

}  // namespace
}  // namespace polarkv
