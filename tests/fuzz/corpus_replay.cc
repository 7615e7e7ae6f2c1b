// The main of a fuzzer where there is no libFuzzer: runs every file of a corpus folder, then mutations of each, always
// the same ones. Usage: <fuzzer> FOLDER [mutations per file]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;
using Input = std::vector<uint8_t>;

Input ReadInput(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void Run(const Input& input) { LLVMFuzzerTestOneInput(input.data(), input.size()); }

// Overwrites a few places, mostly near the beginning where lengths are, and sometimes cuts the end off.
Input Mutate(Input input, std::mt19937& random) {
  if (input.empty()) return input;
  const uint32_t changes = 1 + random() % 4;
  for (uint32_t i = 0; i < changes; ++i) {
    const size_t limit = random() % 2 == 0 ? std::min<size_t>(input.size(), 256) : input.size();
    input[random() % limit] = static_cast<uint8_t>(random());
  }
  if (random() % 8 == 0) input.resize(random() % input.size());
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER [mutations per file]\n", argv[0]);
    return 2;
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(argv[1])) files.push_back(entry.path());
  std::ranges::sort(files);
  const int mutations = argc > 2 ? std::atoi(argv[2]) : 0;
  std::mt19937 random(1);
  for (const fs::path& file : files) {
    const Input input = ReadInput(file);
    Run(input);
    for (int i = 0; i < mutations; ++i) Run(Mutate(input, random));
  }
  std::printf("%zu files, %d mutations each\n", files.size(), mutations);
  return files.empty() ? 1 : 0;  // an empty corpus tests nothing
}
