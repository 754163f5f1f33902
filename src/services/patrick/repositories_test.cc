#include "services/patrick/repositories.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>

#include "base/check.h"

namespace tau::patrick {
namespace {

namespace fs = std::filesystem;

class RepositoriesTest : public ::testing::Test {
 protected:
  RepositoriesTest() {
    std::string name = (fs::temp_directory_path() / "tau-repositories-XXXXXX").string();
    CHECK(::mkdtemp(name.data()));
    folder = name;
    repository = folder / "project" / "code.git";
    write("config", std::string(kRepositoryConfig));
  }
  ~RepositoriesTest() override { fs::remove_all(folder); }

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((repository / file).parent_path());
    std::ofstream(repository / file) << text;
  }
  std::string read(const std::string& file) const {
    std::ifstream in(repository / file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder, repository;
};

TEST_F(RepositoriesTest, LeftoversGoAndNothingElse) {
  const std::vector<std::string> kept = {"HEAD",
                                         "refs/heads/main",
                                         "refs/heads/tmp_branch",
                                         "refs/heads/incoming-branch",
                                         "refs/heads/a.lock.b",
                                         "objects/pack/pack-1.pack",
                                         "objects/ab/cdef"};
  const std::vector<std::string> left = {"refs/heads/main.lock",
                                         "refs/heads/try/one.lock",
                                         "packed-refs.lock",
                                         "objects/ab/tmp_obj_x",
                                         "objects/pack/tmp_pack_x",
                                         "objects/incoming-x/pack/pack-2.pack",
                                         "objects/tmp_objdir-incoming-x/ab/cdef"};
  for (const auto& file : kept) write(file, "kept");
  for (const auto& file : left) write(file, "left");
  fs::create_directories(folder / "project" / "config.git.new" / "refs");
  ASSERT_TRUE(recover_repositories(folder));
  for (const auto& file : kept) EXPECT_EQ(read(file), "kept") << file;
  for (const auto& file : left) EXPECT_FALSE(fs::exists(repository / file)) << file;
  EXPECT_FALSE(fs::exists(repository / "objects" / "incoming-x"));
  EXPECT_FALSE(fs::exists(folder / "project" / "config.git.new"));
}

TEST_F(RepositoriesTest, ARepositoryOfAnOlderProgramGetsTheConfigOfToday) {
  write("config", "[core]\n\tbare = true\n\tfsync = committed,reference\n");
  ASSERT_TRUE(recover_repositories(folder));
  EXPECT_EQ(read("config"), kRepositoryConfig);
}

TEST_F(RepositoriesTest, GitThatOutlivedItsNodeIsEnded) {
  const auto start = [](const fs::path& root) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const std::string variable = "GIT_PROJECT_ROOT=" + root.string();
      const char* argv[] = {"sleep", "60", nullptr};
      const char* environment[] = {"PATH=/usr/bin:/bin", variable.c_str(), nullptr};
      ::execvpe("sleep", const_cast<char**>(argv), const_cast<char**>(environment));
      ::_exit(127);
    }
    // Until it is the program: its environment is its own from then on.
    const auto comm = "/proc/" + std::to_string(pid) + "/comm";
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::string name;
    while (name != "sleep" && std::chrono::steady_clock::now() < until) {
      std::ifstream in(comm);
      std::getline(in, name);
    }
    EXPECT_EQ(name, "sleep");
    return pid;
  };
  const pid_t ours = start(folder), anothers = start(folder / "other");
  ASSERT_TRUE(recover_repositories(folder));
  int status = 0;
  ASSERT_EQ(::waitpid(ours, &status, 0), ours);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(::waitpid(anothers, &status, WNOHANG), 0) << "the other node's git goes on";
  ::kill(anothers, SIGKILL);
  ::waitpid(anothers, &status, 0);
}

TEST_F(RepositoriesTest, TheNamesOfAPushAreSyncedWhereverItMadeThem) {
  for (const char* file : {"refs/heads/try/one", "objects/ab/cdef"}) write(file, "x");
  EXPECT_TRUE(sync_names(repository, fs::file_time_type::min()));
  EXPECT_TRUE(sync_names(repository, fs::file_time_type::max()));
  const Status synced = sync_names(folder / "nothing", fs::file_time_type::min());
  EXPECT_TRUE(synced) << "a repository that has gone needs nothing";
}

}  // namespace
}  // namespace tau::patrick
