#include "testnet/data_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace tau::testnet {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DataFolderTest : public ::testing::Test {
 protected:
  DataFolderTest() {
    std::string name = (fs::temp_directory_path() / "data-folder-XXXXXX").string();
    EXPECT_TRUE(::mkdtemp(name.data()));
    place = name;
  }
  ~DataFolderTest() override { fs::remove_all(place); }
  fs::path place;
};

TEST_F(DataFolderTest, ASecondDreamOnAFolderIsToldWhoHasIt) {
  auto first = LockedFolder::lock(place / "kept", "process 7");
  ASSERT_TRUE(first) << first.error().to_string();
  const auto second = LockedFolder::lock(place / "kept", "process 8");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::failed_precondition);
  EXPECT_THAT(second.error().message(), HasSubstr("process 7"));
  EXPECT_THAT(second.error().message(), HasSubstr("--data"));
}

TEST_F(DataFolderTest, TheLockEndsWithItsHolder) {
  {
    ASSERT_TRUE(LockedFolder::lock(place / "kept", "first"));
  }
  EXPECT_TRUE(LockedFolder::lock(place / "kept", "second"));
}

TEST_F(DataFolderTest, WhatAKilledDreamLeftIsRemovedAndNothingElse) {
  const auto living = LockedFolder::temporary(place, "living");
  ASSERT_TRUE(living);
  fs::create_directories(place / "dream-of-somebody");
  fs::create_directories(place / "other");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto dead = LockedFolder::temporary(place, "dead");
    if (dead) std::ofstream(dead->path() / "file") << "left";
    ::_exit(dead ? 0 : 1);  // as a kill: no destructor runs
  }
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(remove_left_over(place).size(), 1u);
  EXPECT_THAT(remove_left_over(place), IsEmpty());
  EXPECT_TRUE(fs::exists(living->path()));
  EXPECT_TRUE(fs::exists(place / "dream-of-somebody"));
  EXPECT_TRUE(fs::exists(place / "other"));
}

TEST_F(DataFolderTest, KeepsSomeUniversesAndForgetsOthers) {
  fs::path forgotten;
  {
    DataFolders folders({place / "kept", place, "test"});
    EXPECT_THAT(*folders.kept_universes(), IsEmpty());
    const auto kept = folders.folder_of("one", Keep::yes);
    ASSERT_TRUE(kept);
    fs::create_directories(*kept);
    std::ofstream(*kept / "root.key") << "key";
    fs::create_directories(place / "kept" / "universe-never-started");
    forgotten = *folders.folder_of("two", Keep::no);
    fs::create_directories(forgotten);
    EXPECT_NE(forgotten.parent_path(), kept->parent_path());
  }
  EXPECT_FALSE(fs::exists(forgotten.parent_path()));
  DataFolders folders({place / "kept", place, "test"});
  EXPECT_THAT(*folders.kept_universes(), ElementsAre("one"));
  EXPECT_FALSE(LockedFolder::lock(place / "kept", "another"));
}

TEST_F(DataFolderTest, AFileIsReplacedAsAWhole) {
  ASSERT_TRUE(replace_file(place / "file", "one"));
  ASSERT_TRUE(replace_file(place / "file", "two"));
  std::ifstream in(place / "file");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "two");
  EXPECT_FALSE(replace_file(place / "none" / "file", "x"));
}

}  // namespace
}  // namespace tau::testnet
