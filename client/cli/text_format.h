// How numbers, JSON and texts of unknown origin are printed.
#ifndef POLARKV_CLIENT_CLI_TEXT_FORMAT_H_
#define POLARKV_CLIENT_CLI_TEXT_FORMAT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "nlohmann/json_fwd.hpp"

namespace polarkv::cli {

std::string HumanBytes(uint64_t bytes);                // "512 B", "12.3 MiB"
std::string Fixed(double value, int decimals);         // "4.25"
std::string Plural(uint64_t count, const char* noun);  // "1 block", "2 blocks"
std::string HexText(std::span<const uint8_t> bytes);   // lower case
// For texts of files, which may be hostile: no control characters reach the terminal, and no endless line.
std::string Quoted(std::string_view text);  // 'text', escaped as in C, cut after 80 bytes

// Indented, on standard output; invalid UTF-8 is replaced, never thrown about.
void PrintJson(const nlohmann::ordered_json& json);
// A line on standard error that begins with "note: ".
void PrintNote(const std::string& text);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_TEXT_FORMAT_H_
