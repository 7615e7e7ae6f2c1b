// Each way in which a safetensors file can be wrong, and the exact bytes that are written.
#include "client/cli/safetensors.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/tensor_file.h"
#include "tests/service/temporary_directory.h"

namespace polarkv::cli {
namespace {

using ::polarkv::testing::ReadBytes;
using ::polarkv::testing::TemporaryDirectory;
using ::polarkv::testing::TensorFileBytes;
using ::testing::HasSubstr;

std::span<const uint8_t> AsSpan(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

std::string LengthBytes(uint64_t length) { return {reinterpret_cast<const char*>(&length), 8}; }

struct Defect {
  const char* name;
  std::string file;
  const char* message;
};

void PrintTo(const Defect& defect, std::ostream* out) { *out << defect.name; }

class SafetensorsDefectTest : public ::testing::TestWithParam<Defect> {};

TEST_P(SafetensorsDefectTest, HasAMessageOfItsOwn) {
  const absl::StatusOr<SafetensorsContent> content = ParseSafetensors(AsSpan(GetParam().file));
  EXPECT_EQ(content.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(content.status().message()), HasSubstr(GetParam().message));
}

std::string Entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string OneTensor(const std::string& dtype, const std::string& shape, const std::string& offsets,
                      size_t data_bytes) {
  return TensorFileBytes("{\"t\":" + Entry(dtype, shape, offsets) + "}", std::string(data_bytes, 'x'));
}

std::string TwoTensors(const std::string& first, const std::string& second, size_t data_bytes) {
  return TensorFileBytes("{\"a\":" + Entry("U8", "[4]", first) + ",\"b\":" + Entry("U8", "[4]", second) + "}",
                         std::string(data_bytes, 'x'));
}

INSTANTIATE_TEST_SUITE_P(
    Reader, SafetensorsDefectTest,
    ::testing::ValuesIn(std::vector<Defect>{
        {"Empty", "", "the file is empty"},
        {"ShorterThanItsLength", "1234567", "only 7 bytes"},
        {"BlockFile", "PKVB567812345678", "this is a .pkv file"},
        {"HeaderOverTheLimit", LengthBytes(100'000'001) + "{", "header length 100000001 is over the limit"},
        {"HeaderLengthOverflows", LengthBytes(~uint64_t{0}) + "{}", "is over the limit"},
        {"HeaderCutShort", LengthBytes(100) + "{\"a\":", "header length 100, but only 5 bytes follow"},
        {"NoBrace", TensorFileBytes(" {}", ""), "does not begin with '{'"},
        {"EmptyHeader", TensorFileBytes("", ""), "does not begin with '{'"},
        {"BadJson", TensorFileBytes("{\"a\":}", ""), "not valid JSON"},
        {"BadUtf8", TensorFileBytes("{\"\xFF\":{}}", ""), "not valid JSON"},
        {"TrailingText", TensorFileBytes("{} x", ""), "not valid JSON"},
        {"DeepNesting", TensorFileBytes("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", ""),
         "nested deeper"},
        {"DuplicateTensor",
         TensorFileBytes("{\"t\":" + Entry("U8", "[1]", "[0,1]") + ",\"t\":" + Entry("U8", "[1]", "[0,1]") + "}", "x"),
         "names 't' twice"},
        {"DuplicateMetadata", TensorFileBytes(R"({"__metadata__":{"a":"1","a":"2"}})", ""), "names 'a' twice"},
        {"MetadataNotAnObject", TensorFileBytes(R"({"__metadata__":[]})", ""), "__metadata__ is not a JSON object"},
        {"MetadataNotAString", TensorFileBytes(R"({"__metadata__":{"a":1}})", ""), "__metadata__ 'a' is not a string"},
        {"EntryNotAnObject", TensorFileBytes(R"({"t":1})", ""), "'t' is not described by a JSON object"},
        {"NoDtype", TensorFileBytes(R"({"t":{"shape":[],"data_offsets":[0,0]}})", ""), "has no dtype string"},
        {"UnknownDtype", OneTensor("F12", "[1]", "[0,1]", 1), "unknown dtype 'F12'"},
        {"NoShape", TensorFileBytes(R"({"t":{"dtype":"U8","data_offsets":[0,0]}})", ""), "has no shape array"},
        {"NegativeShape", OneTensor("U8", "[-1]", "[0,1]", 1), "a shape entry is not a non-negative integer"},
        {"FractionalShape", OneTensor("U8", "[1.5]", "[0,1]", 1), "a shape entry is not a non-negative integer"},
        {"ShapeOverflows", OneTensor("F32", "[4294967296,4294967296]", "[0,0]", 0), "overflows 64 bits"},
        {"NoOffsets", TensorFileBytes(R"({"t":{"dtype":"U8","shape":[]}})", ""), "data_offsets is not an array"},
        {"ThreeOffsets", OneTensor("U8", "[1]", "[0,1,2]", 1), "data_offsets is not an array of two"},
        {"NegativeOffsets", OneTensor("U8", "[1]", "[-1,0]", 1), "data_offsets is not an array of two"},
        {"OffsetsBackwards", OneTensor("U8", "[1]", "[1,0]", 1), "run backwards"},
        {"OffsetsOutside", OneTensor("U8", "[2]", "[0,2]", 1), "reach outside the file's 1 data bytes"},
        {"OffsetsFarOutside", OneTensor("U8", "[1]", "[18446744073709551614,18446744073709551615]", 1),
         "reach outside"},
        {"WrongByteCount", OneTensor("F32", "[2]", "[0,7]", 7), "takes 8 bytes, but data_offsets span 7"},
        {"Overlap", TwoTensors("[0,4]", "[3,7]", 7), "'b' overlaps the tensor before it"},
        {"SamePlace", TwoTensors("[0,4]", "[0,4]", 4), "overlaps the tensor before it"},
        {"Gap", TwoTensors("[0,4]", "[5,9]", 9), "a gap of 1 bytes before tensor 'b'"},
        {"StrayBytes", OneTensor("U8", "[1]", "[0,1]", 3), "2 bytes after the last tensor belong to none"},
    }),
    [](const auto& param) { return param.param.name; });

TEST(SafetensorsReaderTest, EveryTruncationIsRefused) {
  const std::string whole = TwoTensors("[0,4]", "[4,8]", 8);
  ASSERT_TRUE(ParseSafetensors(AsSpan(whole)).ok());
  for (size_t length = 0; length < whole.size(); ++length) {
    const std::string cut = whole.substr(0, length);
    EXPECT_FALSE(ParseSafetensors(AsSpan(cut)).ok()) << length;
  }
}

TEST(SafetensorsReaderTest, ReadsTensorsInFileOrderWithPaddedHeader) {
  const std::string file =
      TensorFileBytes("{\"z\":" + Entry("U8", "[4]", "[0,4]") + ",\"a\":" + Entry("F16", "[1,2]", "[4,8]") +
                          R"(,"__metadata__":{"model":"m \u00e9"}}   )",
                      "wxyz1234");
  const absl::StatusOr<SafetensorsContent> content = ParseSafetensors(AsSpan(file));
  ASSERT_TRUE(content.ok()) << content.status();
  ASSERT_EQ(content->tensors.size(), 2u);
  EXPECT_EQ(content->tensors[0].name, "z");
  EXPECT_EQ(content->metadata.at("model"), "m \xC3\xA9");
  const SafetensorsEntry* a = content->Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(std::string(a->bytes.begin(), a->bytes.end()), "1234");
  EXPECT_EQ(content->Find("b"), nullptr);
}

TEST(SafetensorsReaderTest, ScalarsAndEmptyTensorsAreLegal) {
  const std::string file =
      TensorFileBytes("{\"s\":" + Entry("U8", "[]", "[0,1]") + ",\"e\":" + Entry("F32", "[0,3]", "[0,0]") + "}", "x");
  EXPECT_TRUE(ParseSafetensors(AsSpan(file)).ok());
}

TEST(SafetensorsReaderTest, ControlCharactersInNamesDoNotReachTheTerminal) {
  const std::string file = TensorFileBytes(R"({"\u001b[2J":1})", "");
  const std::string message(ParseSafetensors(AsSpan(file)).status().message());
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_THAT(message, HasSubstr("\\033[2J"));
}

TEST(SafetensorsWriterTest, WritesTheFormatsBytes) {
  const TemporaryDirectory folder;
  const std::string path = folder.path() + "/w.safetensors";
  absl::StatusOr<SafetensorsWriter> writer =
      SafetensorsWriter::Create(path, std::vector<SafetensorsSpec>{{"a", {2}}, {"b", {1, 1}}}, {{"rope", "none"}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  // Out of order, in pieces.
  ASSERT_TRUE(writer->Write(1, 0, std::vector<float>{3}).ok());
  ASSERT_TRUE(writer->Write(0, 1, std::vector<float>{2}).ok());
  ASSERT_TRUE(writer->Write(0, 0, std::vector<float>{1}).ok());
  EXPECT_EQ(ReadBytes(path), "");
  ASSERT_TRUE(writer->Commit().ok());
  const std::string header = R"({"__metadata__":{"rope":"none"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  const std::string data("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12);
  EXPECT_EQ(ReadBytes(path), LengthBytes(padded.size()) + padded + data);
}

TEST(SafetensorsWriterTest, SizesThatOverflowAreRefused) {
  const TemporaryDirectory folder;
  const absl::StatusOr<SafetensorsWriter> writer = SafetensorsWriter::Create(
      folder.path() + "/w", std::vector<SafetensorsSpec>{{"a", {uint64_t{1} << 40, uint64_t{1} << 40}}}, {});
  EXPECT_EQ(writer.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace polarkv::cli
