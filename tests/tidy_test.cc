// The house rules that a machine can check: dependencies point down, the top level is closed, files stay small.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

// A folder may include its own headers and those of the folders named here. A more specific path wins over its parent.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"codec", {}},
    {"kernels", {"codec"}},
    {"proto", {"codec", "polarkv/v1"}},
    {"service", {"codec", "proto", "polarkv/v1"}},
    {"client", {"codec", "kernels", "proto", "polarkv/v1"}},
};

// The half of codec/ that the service must not see: it stores what encoders made and never quantizes.
const std::set<std::string> kFormatHeaders = {
    "codec/attention_state.h", "codec/block_format.h", "codec/block_key.h", "codec/block_layout.h", "codec/block_spec.h",
    "codec/block_view.h", "codec/code_order.h", "codec/codec_id.h", "codec/key_mean_profile.h",
    "codec/namespace_descriptor.h"};

const std::set<std::string> kTopLevel = {"proto",  "service",        "client",    "codec",   "kernels", "deploy",
                                         "tests",  "CMakeLists.txt", "README.md", "LICENSE", "CMakePresets.json"};

constexpr int kMaxLines = 400;

struct SourceFile {
  std::string path;  // from the root, with forward slashes
  std::vector<std::string> lines;
};

std::vector<std::string> ReadLines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

const std::vector<SourceFile>& SourceFiles() {
  static const auto* files = [] {
    auto* found = new std::vector<SourceFile>;
    const std::set<std::string> extensions = {".cc", ".h", ".cu", ".cuh", ".py", ".proto"};
    for (const char* folder : {"proto", "service", "client", "codec", "kernels", "deploy", "tests"}) {
      for (const auto& entry : fs::recursive_directory_iterator(fs::path(POLARKV_SOURCE_DIR) / folder)) {
        if (!entry.is_regular_file() || !extensions.contains(entry.path().extension().string())) continue;
        found->push_back({fs::relative(entry.path(), POLARKV_SOURCE_DIR).generic_string(), ReadLines(entry.path())});
      }
    }
    return found;
  }();
  return *files;
}

std::string TopFolder(const std::string& path) { return path.substr(0, path.find('/')); }

// The project headers that a file includes, as written.
std::vector<std::string> ProjectIncludes(const SourceFile& file) {
  static const std::regex pattern(R"(^\s*#\s*include\s+"([^"]+)\")");
  std::vector<std::string> includes;
  for (const std::string& line : file.lines) {
    std::smatch match;
    if (!std::regex_search(line, match, pattern)) continue;
    const std::string target = match[1];
    if (kMayInclude.contains(TopFolder(target)) || target.starts_with("polarkv/v1/")) includes.push_back(target);
  }
  return includes;
}

bool Allowed(const std::string& from, const std::string& target) {
  const std::string folder = TopFolder(from);
  if (folder == "tests") return true;
  if (folder == "service" && target.starts_with("codec/")) return kFormatHeaders.contains(target);
  const std::string target_folder = target.starts_with("polarkv/v1/") ? "polarkv/v1" : TopFolder(target);
  return target_folder == folder || kMayInclude.at(folder).contains(target_folder);
}

TEST(TidyTest, FindsTheSources) { EXPECT_GT(SourceFiles().size(), 20u); }

TEST(TidyTest, IncludesPointDown) {
  std::vector<std::string> wrong;
  for (const SourceFile& file : SourceFiles()) {
    for (const std::string& target : ProjectIncludes(file)) {
      if (!Allowed(file.path, target)) wrong.push_back(file.path + " includes " + target);
    }
  }
  EXPECT_THAT(wrong, IsEmpty());
}

TEST(TidyTest, RulesCatchAnEdgeThatPointsUp) {
  EXPECT_FALSE(Allowed("codec/turbo.cc", "kernels/kv_kernels.h"));
  EXPECT_FALSE(Allowed("kernels/kv_kernels.cc", "proto/descriptor_conversion.h"));
  EXPECT_FALSE(Allowed("service/memory_store.cc", "codec/reference_codec.h"));
  EXPECT_FALSE(Allowed("client/kv_client.cc", "service/block_store.h"));
  EXPECT_TRUE(Allowed("service/memory_store.cc", "codec/block_view.h"));
}

TEST(TidyTest, OneFileKnowsRocksDb) {
  std::set<std::string> users;
  for (const SourceFile& file : SourceFiles()) {
    for (const std::string& line : file.lines) {
      if (line.find("#include \"rocksdb/") != std::string::npos || line.find("#include <rocksdb/") != std::string::npos) {
        users.insert(file.path);
      }
    }
  }
  std::erase_if(users, [](const std::string& path) { return path.starts_with("tests/"); });
  EXPECT_LE(users.size(), 1u) << ::testing::PrintToString(users);
}

TEST(TidyTest, ClientHeaderShowsNoTransport) {
  for (const std::string& line : ReadLines(fs::path(POLARKV_SOURCE_DIR) / "client/kv_client.h")) {
    if (!line.starts_with("#include")) continue;
    for (const char* hidden : {"grpc", "google/protobuf", "polarkv/v1", "rocksdb", "cuda", "proto/"}) {
      EXPECT_EQ(line.find(hidden), std::string::npos) << line;
    }
  }
}

TEST(TidyTest, TopLevelIsClosed) {
  for (const auto& entry : fs::directory_iterator(POLARKV_SOURCE_DIR)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") || name == "build") continue;
    EXPECT_TRUE(kTopLevel.contains(name)) << name << " does not belong at the top level";
  }
}

TEST(TidyTest, FilesAreSmall) {
  for (const SourceFile& file : SourceFiles()) {
    EXPECT_LE(file.lines.size(), static_cast<size_t>(kMaxLines)) << file.path;
  }
}

TEST(TidyTest, NoJunkDrawers) {
  const std::regex junk(R"(^(utils?|helpers?|common|misc|types|manager|base)\.(h|cc)$|_(utils?|manager|v2)\.(h|cc)$)");
  for (const SourceFile& file : SourceFiles()) {
    EXPECT_FALSE(std::regex_search(fs::path(file.path).filename().string(), junk)) << file.path;
  }
}

TEST(TidyTest, HeadersHaveTheirGuard) {
  for (const SourceFile& file : SourceFiles()) {
    if (!file.path.ends_with(".h") && !file.path.ends_with(".cuh")) continue;
    std::string guard = "POLARKV_" + file.path + "_";
    std::transform(guard.begin(), guard.end(), guard.begin(),
                   [](unsigned char c) { return std::isalnum(c) ? static_cast<char>(std::toupper(c)) : '_'; });
    const bool found = std::ranges::any_of(file.lines, [&](const std::string& l) { return l == "#ifndef " + guard; });
    EXPECT_TRUE(found) << file.path << " should start with #ifndef " << guard;
  }
}

}  // namespace
}  // namespace polarkv
