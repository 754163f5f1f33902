#include "services/monkey/dependency_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

namespace tau::monkey {
namespace {

namespace fs = std::filesystem;

class DependencyStoreTest : public ::testing::Test {
 protected:
  DependencyStoreTest() {
    std::string name = (fs::temp_directory_path() / "dependency-store-XXXXXX").string();
    EXPECT_TRUE(::mkdtemp(name.data()));
    folder = name;
  }
  ~DependencyStoreTest() override { fs::remove_all(folder); }
  // As if it had not been used for a while.
  static void age(const fs::path& file, int seconds) {
    const timespec at[2] = {{::time(nullptr) - seconds, 0}, {::time(nullptr) - seconds, 0}};
    EXPECT_EQ(::utimensat(AT_FDCWD, file.c_str(), at, 0), 0);
  }
  static process::ArchivedFile file(std::string_view text) { return {to_bytes(text), false}; }

  fs::path folder;
};

TEST_F(DependencyStoreTest, WhatIsUsedLeastRecentlyGoesFirst) {
  FileCache cache(folder / "c", 100);
  const Bytes forty(40, 1);
  for (const char* name : {"a", "b"}) ASSERT_TRUE(cache.put(name, forty));
  age(folder / "c" / "a", 20);
  age(folder / "c" / "b", 10);
  EXPECT_TRUE(cache.find("a"));  // finding is using
  ASSERT_TRUE(cache.put("c", forty));
  EXPECT_TRUE(cache.find("a"));
  EXPECT_FALSE(cache.find("b"));
  EXPECT_TRUE(cache.find("c"));
  EXPECT_EQ(cache.bytes(), 80u);
  EXPECT_FALSE(cache.put("d", Bytes(101, 1)));
  EXPECT_EQ(cache.read("a", 39), std::nullopt);
  EXPECT_EQ(cache.read("a", 40), forty);
}

TEST_F(DependencyStoreTest, WithoutAFolderNothingIsKept) {
  FileCache cache("", 100);
  EXPECT_FALSE(cache.put("a", Bytes(1, 1)));
  EXPECT_FALSE(cache.find("a"));
}

TEST_F(DependencyStoreTest, GivesASetWholeOrNotAtAll) {
  DependencyStore store(folder);
  const process::ArchivedFiles set = {{"store/m/@v/v1.zip", file("zip")},
                                      {"project/go.sum", file("sum")}};
  EXPECT_FALSE(store.find_set("go", "key"));
  ASSERT_TRUE(store.put_set("go", "key", set));
  EXPECT_EQ(store.find_set("go", "key"), set);
  EXPECT_FALSE(store.find_set("cargo", "key"));

  // Another one's sources find the module by name; what was for the project alone, they do not.
  EXPECT_EQ(store.find_names("go", {"m/@v/v1.zip", "m/@v/v2.zip", "go.sum"}).size(), 1u);
  EXPECT_TRUE(store.find_names("npm", {"m/@v/v1.zip"}).empty());

  for (const auto& entry : fs::directory_iterator(folder / "blobs")) {
    fs::remove(entry.path());
    break;
  }
  EXPECT_FALSE(store.find_set("go", "key"));
}

TEST_F(DependencyStoreTest, ASpoiledFileIsNotThere) {
  DependencyStore store(folder);
  ASSERT_TRUE(store.put_set("go", "key", {{"store/m/@v/v1.zip", file("zip")}}));
  for (const auto& entry : fs::directory_iterator(folder / "blobs"))
    std::ofstream(entry.path()) << "zap";
  EXPECT_FALSE(store.find_set("go", "key"));
  EXPECT_TRUE(store.find_names("go", {"m/@v/v1.zip"}).empty());
}

TEST_F(DependencyStoreTest, RefusesPathsOfNeitherKind) {
  DependencyStore store(folder);
  EXPECT_FALSE(store.put_set("go", "key", {{"etc/passwd", file("x")}}));
}

}  // namespace
}  // namespace tau::monkey
