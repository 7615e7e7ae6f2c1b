#include "client/cli/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/tensor_file.h"
#include "tests/service/temporary_directory.h"

namespace polarkv::cli {
namespace {

namespace fs = std::filesystem;
using ::polarkv::testing::ReadBytes;
using ::polarkv::testing::WriteBytes;
using ::testing::HasSubstr;

std::span<const uint8_t> AsSpan(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

class OutputFileTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  size_t FileCount() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }
  static void WriteAndCommit(const std::string& path, const std::string& bytes) {
    absl::StatusOr<OutputFile> file = OutputFile::Create(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->Append(AsSpan(bytes)).ok());
    ASSERT_TRUE(file->Commit().ok());
  }

 private:
  polarkv::testing::TemporaryDirectory folder_;
};

TEST_F(OutputFileTest, AppearsWholeWithCommit) {
  absl::StatusOr<OutputFile> file = OutputFile::Create(Path("out"));
  ASSERT_TRUE(file.ok());
  OutputFile moved = *std::move(file);
  ASSERT_TRUE(moved.Append(AsSpan("hello")).ok());
  ASSERT_TRUE(moved.WriteAt(1, AsSpan("a")).ok());
  EXPECT_EQ(moved.size(), 5u);
  EXPECT_FALSE(fs::exists(Path("out")));
  ASSERT_TRUE(moved.Commit().ok());
  EXPECT_EQ(ReadBytes(Path("out")), "hallo");
  EXPECT_EQ(FileCount(), 1u);
}

TEST_F(OutputFileTest, LeavesNothingWithoutCommit) {
  WriteBytes(Path("out"), "old");
  {
    absl::StatusOr<OutputFile> file = OutputFile::Create(Path("out"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->Append(AsSpan("new")).ok());
  }
  EXPECT_EQ(ReadBytes(Path("out")), "old");
  EXPECT_EQ(FileCount(), 1u);
}

TEST_F(OutputFileTest, KeepsThePermissionsOfTheFileItReplaces) {
  WriteBytes(Path("out"), "old");
  ASSERT_EQ(chmod(Path("out").c_str(), 0640), 0);
  WriteAndCommit(Path("out"), "new");
  EXPECT_EQ(ReadBytes(Path("out")), "new");
  EXPECT_EQ(fs::status(Path("out")).permissions(), fs::perms{0640});
}

TEST_F(OutputFileTest, NewFilesFollowTheUmask) {
  const mode_t mask = umask(027);
  WriteAndCommit(Path("out"), "new");
  umask(mask);
  EXPECT_EQ(fs::status(Path("out")).permissions(), fs::perms{0640});
}

TEST_F(OutputFileTest, FollowsSymbolicLinks) {
  WriteBytes(Path("target"), "old");
  fs::create_symlink(Path("target"), Path("link"));
  WriteAndCommit(Path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(Path("link")));
  EXPECT_EQ(ReadBytes(Path("target")), "new");
}

TEST_F(OutputFileTest, NeverReplacesWhatIsNoRegularFile) {
  for (const char* path : {"/dev/null", "/tmp"}) {
    const absl::StatusOr<OutputFile> file = OutputFile::Create(path);
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("is not a regular file"));
  }
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(OutputFileTest, AbsentFolderIsNamed) {
  const absl::StatusOr<OutputFile> file = OutputFile::Create(Path("no/such/out"));
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("create the folder first"));
}

TEST_F(OutputFileTest, SameFileIsFoundThroughLinks) {
  WriteBytes(Path("a"), "");
  fs::create_symlink(Path("a"), Path("link"));
  WriteBytes(Path("b"), "");
  EXPECT_TRUE(IsSameFile(Path("a"), Path("link")));
  EXPECT_FALSE(IsSameFile(Path("a"), Path("b")));
  EXPECT_FALSE(IsSameFile(Path("absent"), Path("absent")));
}

}  // namespace
}  // namespace polarkv::cli
