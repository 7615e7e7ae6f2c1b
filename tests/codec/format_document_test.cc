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
#include "codec/key_mean_profile.h"
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

struct Member {
  size_t offset;
  size_t size;
};

// A struct's table: rows of offset, size, type and field, without gaps; `reserved` may be several fields in the struct.
void ExpectStruct(const std::vector<Row>& rows, const std::map<std::string, Member>& members, size_t bytes) {
  size_t next = 0;
  for (const Row& row : rows) {
    EXPECT_EQ(std::stoul(row[0]), next) << row[3];
    next += std::stoul(row[1]);
    if (row[3] == "reserved") continue;
    ASSERT_TRUE(members.contains(row[3])) << row[3];
    EXPECT_EQ(std::stoul(row[0]), members.at(row[3]).offset) << row[3];
    EXPECT_EQ(std::stoul(row[1]), members.at(row[3]).size) << row[3];
  }
  EXPECT_EQ(next, bytes);
}

#define MEMBER(type, name)                              \
  {                                                     \
#name, { offsetof(type, name), sizeof(type::name) } \
  }

TEST(FormatDocument, TileHeadTableIsTheStruct) {
  const std::map<std::string, Member> members = {
      MEMBER(TileHead, k_exponent), MEMBER(TileHead, v_exponent), MEMBER(TileHead, tokens),
      MEMBER(TileHead, k_shift),    MEMBER(TileHead, v_shift),    MEMBER(TileHead, k_escapes),
      MEMBER(TileHead, v_escapes),  MEMBER(TileHead, k_mean),     MEMBER(TileHead, first_escape)};
  const std::vector<Row> rows = Table("| offset | size | type | tile head field |");
  EXPECT_EQ(rows.size(), members.size() + 1);
  ExpectStruct(rows, members, sizeof(TileHead));
}

TEST(FormatDocument, LayerTableIsTheStruct) {
  const std::map<std::string, Member> members = {MEMBER(LayerEntry, k_codec), MEMBER(LayerEntry, v_codec),
                                                 MEMBER(LayerEntry, flags), MEMBER(LayerEntry, escapes)};
  const std::vector<Row> rows = Table("| offset | size | type | layer field |");
  EXPECT_EQ(rows.size(), members.size() + 2);
  ExpectStruct(rows, members, sizeof(LayerEntry));
}

TEST(FormatDocument, ProfileTableIsTheStruct) {
  const std::map<std::string, Member> members = {
      MEMBER(ProfileHeader, magic),       MEMBER(ProfileHeader, version),   MEMBER(ProfileHeader, rope_pairing),
      MEMBER(ProfileHeader, reserved0),   MEMBER(ProfileHeader, total_bytes), MEMBER(ProfileHeader, layers),
      MEMBER(ProfileHeader, kv_heads),    MEMBER(ProfileHeader, head_dim),  MEMBER(ProfileHeader, rope_dims),
      MEMBER(ProfileHeader, rope_base),   MEMBER(ProfileHeader, reserved1), MEMBER(ProfileHeader, body_xxh3),
      MEMBER(ProfileHeader, header_xxh3)};
  const std::vector<Row> rows = Table("| offset | size | type | profile field |");
  EXPECT_EQ(rows.size(), members.size());
  ExpectStruct(rows, members, sizeof(ProfileHeader));
}
#undef MEMBER

TEST(FormatDocument, CodecTableIsTheLayout) {
  std::map<std::string, Row> by_name;
  for (const Row& row : Table("| id | name |")) by_name[row[1]] = row;
  size_t listed = 0;
  for (const CodecTraits& codec : AllCodecTraits()) {
    if (codec.kind == CodecKind::kPolar && codec.id != CodecId::kPolar44) continue;  // the table has a formula
    const std::string name(CodecName(codec.id));
    ASSERT_TRUE(by_name.contains(name)) << name;
    ++listed;
    const Row& row = by_name[name];
    EXPECT_EQ(std::stoi(row[0]), static_cast<int>(codec.id)) << name;
    EXPECT_EQ(row[2] == "K", codec.keys_only) << name;
    EXPECT_EQ(row[3] == "yes", codec.rotates) << name;
    EXPECT_EQ(row[4] == "yes", codec.has_scales) << name;
    EXPECT_EQ(std::stoul(row[6]), uint32_t{codec.refine_planes} + codec.residual_plane) << name;
    const CodecPair pair = {codec.id, codec.keys_only ? CodecId::kTurbo2 : codec.id};
    EXPECT_NEAR(std::stod(row[7]), CodecBits(pair, 128).k, 0.0005) << name;
    for (const uint32_t head_dim : kHeadDims) {
      BlockSpec spec = testing::DefectSpec(pair);
      spec.head_dim = static_cast<uint16_t>(head_dim);
      const LayerLayout layer = BlockLayout::Make(spec)->layer(0);
      const size_t codes = std::stoul(row[5]) * head_dim;
      // "8 d + 640"
      const size_t plus = row[5].find('+');
      const size_t constant = plus == std::string::npos ? 0 : std::stoul(row[5].substr(plus + 1));
      const size_t payload = constant != 0 ? codes + constant : codec.kind == CodecKind::kBand ? codes / 128 * 128 : (codes + 63) / 64 * 64;
      EXPECT_EQ(payload, layer.base_tile.v_payload - layer.base_tile.k_payload) << name;
      EXPECT_EQ(layer.TileBytes(PlaneKind::kKeyRefine1), codec.refine_planes >= 1 ? 8 * head_dim : 0) << name;
      EXPECT_EQ(layer.TileBytes(PlaneKind::kKeyResidual), codec.residual_plane ? 128 + 8 * head_dim : 0) << name;
    }
  }
  EXPECT_EQ(by_name.size(), listed + 1);
  EXPECT_TRUE(by_name.contains("polar<r><t>"));
}

TEST(FormatDocument, AliasTableIsTheCode) {
  const std::vector<Row> rows = Table("| alias | stands for |");
  ASSERT_EQ(rows.size(), CodecAliases().size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i][0], CodecAliases()[i].name);
    EXPECT_EQ(ParseCodecPair(rows[i][1]).value(), CodecAliases()[i].codec);
    const BitsPerCoordinate bits = CodecBits(CodecAliases()[i].codec, 128);
    EXPECT_NEAR(std::stod(rows[i][2]), bits.k, 0.0005);
    EXPECT_NEAR(std::stod(rows[i][3]), bits.v, 0.0005);
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
