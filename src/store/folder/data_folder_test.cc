#include "store/folder/data_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "base/check.h"

namespace tau::store {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class DataFolderTest : public ::testing::Test {
 protected:
  DataFolderTest() {
    std::string name = (fs::temp_directory_path() / "tau-folder-XXXXXX").string();
    CHECK(::mkdtemp(name.data()));
    folder = fs::path(name) / "data";
  }
  ~DataFolderTest() override { fs::remove_all(folder.parent_path()); }

  std::string read(const std::string& file) const {
    std::ifstream in(folder / file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder / file).parent_path());
    std::ofstream(folder / file) << text;
  }

  fs::path folder;
};

// Steps as later programs may have: the first renames a file, the second rewrites it.
Status rename_notes(const fs::path& folder) {
  if (fs::exists(folder / "notes")) fs::rename(folder / "notes", folder / "journal");
  return {};
}
Status double_journal(const fs::path& folder) {
  std::ifstream in(folder / "journal");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (text.starts_with("v3 ")) return {};
  return replace_file(folder / "journal", "v3 " + text);
}
Status disk_is_full(const fs::path&) { return fail(ErrorCode::unavailable, "no room"); }

constexpr DataFolder::Step kLater[] = {{0, "numbers", [](const fs::path&) { return Status{}; }},
                                       {1, "notes are the journal", rename_notes},
                                       {2, "the journal has a head", double_journal}};

TEST_F(DataFolderTest, AnEmptyFolderGetsTheFormatOfToday) {
  ASSERT_TRUE(DataFolder::open(folder, "tau 0.1.0"));
  EXPECT_EQ(read("format"), "tau data 1\nwritten by tau 0.1.0\n");
  ASSERT_TRUE(DataFolder::open(folder, "tau 0.1.1"));
  EXPECT_EQ(read("format"), "tau data 1\nwritten by tau 0.1.1\n");
}

TEST_F(DataFolderTest, AFolderFromBeforeFormatsIsTakenAsItIsAndNumbered) {
  write("db/CURRENT", "MANIFEST-000004\n");
  write("git/project/code.git/HEAD", "ref: refs/heads/main\n");
  ASSERT_TRUE(DataFolder::open(folder, "tau 0.1.0"));
  EXPECT_EQ(read("format"), "tau data 1\nwritten by tau 0.1.0\n");
  EXPECT_EQ(read("db/CURRENT"), "MANIFEST-000004\n");
  EXPECT_EQ(read("git/project/code.git/HEAD"), "ref: refs/heads/main\n");
}

TEST_F(DataFolderTest, ALaterFormatIsRefusedWithWhatToDo) {
  write("format", "tau data 3\nwritten by tau 2.4.0\n");
  const auto opened = DataFolder::open(folder, "tau 0.1.0");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), ErrorCode::failed_precondition);
  EXPECT_THAT(opened.error().message(),
              HasSubstr("has format 3, written by tau 2.4.0; tau 0.1.0 reads up to format 1: "
                        "install that program or a later one"));
  EXPECT_EQ(read("format"), "tau data 3\nwritten by tau 2.4.0\n");
}

TEST_F(DataFolderTest, EveryStepFromAnOlderFormatIsTakenOnceAndInOrder) {
  write("db/CURRENT", "x");
  write("notes", "hello");
  ASSERT_TRUE(DataFolder::open(folder, "tau 3.0.0", 3, kLater));
  EXPECT_EQ(read("journal"), "v3 hello");
  EXPECT_EQ(read("format"), "tau data 3\nwritten by tau 3.0.0\n");
  ASSERT_TRUE(DataFolder::open(folder, "tau 3.0.0", 3, kLater));
  EXPECT_EQ(read("journal"), "v3 hello");
}

TEST_F(DataFolderTest, AStepThatWasCutShortIsTakenAgain) {
  write("db/CURRENT", "x");
  write("notes", "hello");
  // Cut: after the first change of the second step, before its record.
  constexpr DataFolder::Step kCut[] = {kLater[0], kLater[1], {2, "the same", disk_is_full}};
  const auto cut = DataFolder::open(folder, "tau 3.0.0", 3, kCut);
  ASSERT_FALSE(cut);
  EXPECT_THAT(cut.error().message(), HasSubstr("from format 2 to 3 (the same): no room"));
  EXPECT_EQ(read("format"), "tau data 2\nwritten by tau 3.0.0\n");
  EXPECT_EQ(read("journal"), "hello");
  write("format", "tau data 1\n");  // as if the power had gone between rename and record
  ASSERT_TRUE(DataFolder::open(folder, "tau 3.0.0", 3, kLater));
  EXPECT_EQ(read("journal"), "v3 hello");
}

// _exit in the middle of every step: what a kill leaves.
TEST_F(DataFolderTest, AProcessThatDiesInAStepLeavesAFolderThatOpens) {
  write("db/CURRENT", "x");
  write("notes", "hello");
  static constexpr DataFolder::Step kDies[] = {kLater[0],
                                               {1, "dies", [](const fs::path& f) -> Status {
                                                  TRY_STATUS(rename_notes(f));
                                                  ::_exit(9);
                                                }}};
  const pid_t child = ::fork();
  if (child == 0) {
    (void)DataFolder::open(folder, "tau 3.0.0", 2, kDies);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 9);
  EXPECT_EQ(read("format"), "tau data 1\nwritten by tau 3.0.0\n");
  ASSERT_TRUE(DataFolder::open(folder, "tau 3.0.0", 3, kLater));
  EXPECT_EQ(read("journal"), "v3 hello");
}

TEST_F(DataFolderTest, AFormatThatIsTooOldIsRefusedWithWhatToDo) {
  write("db/CURRENT", "x");
  write("format", "tau data 1\n");
  constexpr DataFolder::Step kOnlyTheLast[] = {kLater[2]};
  const auto opened = DataFolder::open(folder, "tau 9.0.0", 3, kOnlyTheLast);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message(), HasSubstr("start it once with a program in between"));
}

TEST_F(DataFolderTest, ARecordThatDoesNotReadIsNoOldFormat) {
  for (const char* text : {"", "tau data", "tau data 0\n", "tau data 1x\n", "something else"}) {
    write("format", text);
    const auto opened = DataFolder::open(folder, "tau 0.1.0");
    ASSERT_FALSE(opened) << text;
    EXPECT_EQ(opened.error().code(), ErrorCode::data_loss);
  }
}

TEST_F(DataFolderTest, TwoNeverHaveItAtOnce) {
  auto first = DataFolder::open(folder, "tau 0.1.0");
  ASSERT_TRUE(first);
  const auto second = DataFolder::open(folder, "tau 0.1.0");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(),
              HasSubstr("is in use by process " + std::to_string(::getpid()) +
                        ": stop that node, or give this one a folder of its own"));
  first->reset();
  EXPECT_TRUE(DataFolder::open(folder, "tau 0.1.0"));
}

}  // namespace
}  // namespace tau::store
