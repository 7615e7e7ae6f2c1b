#include "service/block_row.h"

#include <cstring>

namespace polarkv {
namespace {

constexpr size_t kKeyBytes = sizeof(BlockKey::bytes);

template <typename T>
void Append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
bool Take(std::string_view& in, T& value) {
  if (in.size() < sizeof value) return false;
  std::memcpy(&value, in.data(), sizeof value);
  in.remove_prefix(sizeof value);
  return true;
}

void AppendNamespace(std::string& out, NamespaceId ns) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(ns >> shift & 0xFF));
}

std::string NamedKey(std::string_view kind, const BlockName& name) {
  std::string key(kind);
  AppendNamespace(key, name.ns);
  key.append(reinterpret_cast<const char*>(name.key.bytes.data()), kKeyBytes);
  return key;
}

NamespaceId NamespaceAt(std::string_view bytes) {
  NamespaceId ns = 0;
  for (size_t i = 0; i < 4; ++i) ns = ns << 8 | static_cast<uint8_t>(bytes[i]);
  return ns;
}

}  // namespace

std::string BlockRowKey(const BlockName& name) { return NamedKey(kBlockRows, name); }
std::string IntentRowKey(const BlockName& name) { return NamedKey(kIntentRows, name); }

std::string NamespaceRowKey(NamespaceId ns) {
  std::string key(kNamespaceRows);
  AppendNamespace(key, ns);
  return key;
}

std::string ProfileRowKey(NamespaceId ns) {
  std::string key(kProfileRows);
  AppendNamespace(key, ns);
  return key;
}

std::optional<BlockName> ParseBlockRowKey(std::string_view key) {
  if (key.size() != 1 + 4 + kKeyBytes) return std::nullopt;
  BlockName name;
  name.ns = NamespaceAt(key.substr(1));
  std::memcpy(name.key.bytes.data(), key.data() + 5, kKeyBytes);
  return name;
}

std::optional<NamespaceId> ParseNamespaceRowKey(std::string_view key) {
  if (key.size() != 1 + 4) return std::nullopt;
  return NamespaceAt(key.substr(1));
}

std::string EncodeBlockRow(const BlockRow& row) {
  std::string out;
  Append(out, uint8_t{row.parent.has_value()});
  Append(out, row.parent.value_or(BlockKey{}).bytes);
  Append(out, row.block_index);
  Append(out, row.size);
  Append(out, row.header_xxh3);
  Append(out, row.sequence);
  for (const ExtentRun& run : row.extents) {
    Append(out, run.begin);
    Append(out, run.units);
  }
  return out;
}

std::optional<BlockRow> ParseBlockRow(const BlockName& name, std::string_view value) {
  BlockRow row;
  row.name = name;
  uint8_t has_parent = 0;
  BlockKey parent;
  if (!Take(value, has_parent) || has_parent > 1 || !Take(value, parent.bytes) || !Take(value, row.block_index) ||
      !Take(value, row.size) || !Take(value, row.header_xxh3) || !Take(value, row.sequence)) {
    return std::nullopt;
  }
  if (has_parent == 1) row.parent = parent;
  while (!value.empty()) {
    ExtentRun run;
    if (!Take(value, run.begin) || !Take(value, run.units)) return std::nullopt;
    row.extents.push_back(run);
  }
  if (row.size == 0 || TotalUnits(row.extents) != ExtentUnits(row.size)) return std::nullopt;
  return row;
}

std::string EncodeNumber(uint64_t value) {
  std::string out;
  Append(out, value);
  return out;
}

std::optional<uint64_t> ParseNumber(std::string_view value) {
  uint64_t number = 0;
  if (!Take(value, number) || !value.empty()) return std::nullopt;
  return number;
}

}  // namespace polarkv
