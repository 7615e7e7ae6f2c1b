// Rows of a data directory's index: what is stored where, and what is about to be.
//
//   'b' namespace(4, big-endian) key(32)  ->  BlockRow: the block is in blocks.dat
//   'i' namespace(4, big-endian) key(32)  ->  nothing: the block was acknowledged and is not yet in blocks.dat
//   'n' namespace(4, big-endian)          ->  polarkv.v1.NamespaceDescriptor
//   'p' namespace(4, big-endian)          ->  the namespace's key-mean profile, if it has one
//   'm' name                              ->  a setting
#ifndef POLARKV_SERVICE_BLOCK_ROW_H_
#define POLARKV_SERVICE_BLOCK_ROW_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "service/block_name.h"
#include "service/extent_allocator.h"

namespace polarkv {

inline constexpr std::string_view kBlockRows = "b";
inline constexpr std::string_view kIntentRows = "i";
inline constexpr std::string_view kNamespaceRows = "n";
inline constexpr std::string_view kProfileRows = "p";

struct BlockRow {
  BlockName name;
  std::optional<BlockKey> parent;
  uint64_t block_index = 0;
  uint64_t size = 0;
  uint64_t header_xxh3 = 0;
  uint64_t sequence = 0;  // ascends with the time of writing
  Extents extents;
  friend bool operator==(const BlockRow&, const BlockRow&) = default;
};

std::string BlockRowKey(const BlockName& name);
std::string IntentRowKey(const BlockName& name);
std::string NamespaceRowKey(NamespaceId ns);
std::string ProfileRowKey(NamespaceId ns);
// nullopt: not a key of this kind of row.
std::optional<BlockName> ParseBlockRowKey(std::string_view key);  // also of an intent
std::optional<NamespaceId> ParseNamespaceRowKey(std::string_view key);

std::string EncodeBlockRow(const BlockRow& row);
// nullopt: not a row that EncodeBlockRow makes.
std::optional<BlockRow> ParseBlockRow(const BlockName& name, std::string_view value);

std::string EncodeNumber(uint64_t value);
std::optional<uint64_t> ParseNumber(std::string_view value);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_ROW_H_
