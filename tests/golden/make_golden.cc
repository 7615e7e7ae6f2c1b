// Writes the golden files: make_golden tests/golden
// For a new version of the format only, by hand; no test runs it. A change in the files it writes is a change of the
// format.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>
#include <vector>

#include "tests/codec/block_defects.h"
#include "tests/codec/profile_samples.h"
#include "tests/golden/golden_blocks.h"

namespace {

namespace fs = std::filesystem;

template <typename T>
bool Write(const fs::path& path, const std::vector<T>& values) {
  std::ofstream out(path, std::ios::binary);
  const auto bytes = std::as_bytes(std::span(values));
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!out.good()) std::fprintf(stderr, "cannot write %s\n", path.c_str());
  return out.good();
}

bool WriteGood(const fs::path& folder) {
  bool ok = true;
  for (const polarkv::testing::GoldenBlock& block : polarkv::testing::GoldenBlocks()) {
    const std::vector<uint8_t> bytes = polarkv::testing::EncodeGolden(block);
    const polarkv::BlockView view = polarkv::BlockView::Parse(bytes, polarkv::VerifyPayload::kYes,
                                                                   polarkv::testing::GoldenProfile())
                                        .value();
    ok &= Write(folder / (block.name + ".pkv"), bytes);
    ok &= Write(folder / (block.name + ".f32"), polarkv::testing::DecodeGolden(view));
  }
  return ok;
}

bool WriteBad(const fs::path& folder) {
  bool ok = true;
  for (const polarkv::testing::BlockDefect& defect : polarkv::testing::AllBlockDefects()) {
    ok &= Write(folder / (defect.name + ".pkv"), defect.make());
  }
  return ok;
}

bool WriteProfiles(const fs::path& folder) {
  const auto good = polarkv::testing::GoldenProfile();
  bool ok = Write(folder / "good.pkm", std::vector<uint8_t>(good->bytes().begin(), good->bytes().end()));
  for (const polarkv::testing::ProfileDefect& defect : polarkv::testing::AllProfileDefects()) {
    ok &= Write(folder / (defect.name + ".pkm"), defect.bytes);
  }
  return ok;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  const fs::path folder = argv[1];
  fs::create_directories(folder / "v2");
  fs::create_directories(folder / "bad");
  fs::create_directories(folder / "profile");
  const bool good = WriteGood(folder / "v2");
  const bool bad = WriteBad(folder / "bad");
  const bool profiles = WriteProfiles(folder / "profile");
  return good && bad && profiles ? 0 : 1;
}
