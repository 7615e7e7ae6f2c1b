// A directory that goes away with the test.
#ifndef POLARKV_TESTS_SERVICE_TEMPORARY_DIRECTORY_H_
#define POLARKV_TESTS_SERVICE_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace polarkv::testing {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "polarkv-test.XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_TEMPORARY_DIRECTORY_H_
