// Real git clients against the routes, over real sockets.
#include "services/patrick/local_provider.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "http/client.h"
#include "net/sockets.h"
#include "process/local.h"
#include "services/patrick/jobs.h"
#include "services/patrick/routes.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

// Patrick's side, as a test wants it.
class Listener final : public PushListener {
 public:
  Task<Result<Accepted>> accept(Push push) override {
    if (failures_left > 0) {
      --failures_left;
      co_return fail(ErrorCode::unavailable, "the disk is on fire");
    }
    CO_TRY_SYNC_STATUS(check_branch(push.branch));
    commits[{push.repository, push.branch}] = push.commit;
    if (push.commit.empty()) commits.erase({push.repository, push.branch});
    pushes.push_back(push);
    co_return Accepted{JobId("job7"), 7, "build 7 of branch " + push.branch + " accepted"};
  }
  std::string known_commit(const ProjectId&, const std::string& repository,
                           const std::string& branch) const override {
    const auto it = commits.find({repository, branch});
    return it == commits.end() ? "" : it->second;
  }
  std::vector<std::string> known_branches(const ProjectId&,
                                          const std::string& repository) const override {
    std::vector<std::string> found;
    for (const auto& [key, commit] : commits)
      if (key.first == repository) found.push_back(key.second);
    return found;
  }
  Task<Result<auth::Registration>> registration(ProjectId project) override {
    if (project != known.project()) co_return fail(ErrorCode::not_found, "nobody registered it");
    co_return known;
  }
  Task<Status> claim(ProjectId project) override {
    if (hosted_elsewhere) co_return fail(ErrorCode::failed_precondition, "hosted elsewhere");
    claimed.insert(project);
    co_return Status{};
  }

  auth::Registration known;
  std::set<ProjectId> claimed;
  bool hosted_elsewhere = false;
  std::map<std::pair<std::string, std::string>, std::string> commits;
  std::vector<Push> pushes;
  int failures_left = 0;
};

class LocalProviderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "tau-git-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    listener_.known.genesis.name = "hello";
    listener_.known.repositories = {{"config", auth::RepositoryKind::config, "local"},
                                    {"code", auth::RepositoryKind::code, "local"}};
    project_ = listener_.known.project();
    start();
  }
  void TearDown() override {
    stop();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    provider_ = std::make_unique<LocalProvider>(loop_, runner_, folder_ / "git", Logger());
    ASSERT_TRUE(runtime::block_on(loop_, provider_->start(listener_)));
    router_ = std::make_unique<http::Router>();
    mount_git(*router_, "/git", *provider_, files_);
    server_ = std::make_unique<http::Server>(loop_, router_->as_handler(), http::Server::Options{});
    auto listener = sockets_.listen({"127.0.0.1", 0});
    ASSERT_TRUE(listener);
    at_ = (*listener)->local();
    server_->serve(std::move(*listener));
  }
  void stop() {
    runtime::block_on(loop_, server_->stop());
    runtime::block_on(loop_, provider_->stop());
    server_.reset();
    provider_.reset();
  }
  std::string url(const std::string& repository) {
    return "http://" + at_.to_string() + "/git/" + project_.str() + "/" + repository + ".git";
  }
  struct Ran {
    int code = -1;
    std::string said;
  };
  Ran git(std::vector<std::string> arguments, const std::filesystem::path& in) {
    process::Command command;
    command.argv = {"git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org"};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    command.environment = {{"PATH", "/usr/bin:/bin"},
                           {"HOME", folder_.string()},
                           {"GIT_CONFIG_NOSYSTEM", "1"},
                           {"GIT_TERMINAL_PROMPT", "0"}};
    command.directory = in;
    Ran ran;
    auto exit = runtime::block_on(loop_, runner_.run(std::move(command), [&](auto, BytesView data) {
      ran.said += as_text(data);
    }));
    EXPECT_TRUE(exit) << exit.error().to_string();
    if (exit) ran.code = exit->code;
    return ran;
  }
  std::filesystem::path clone(const std::string& repository, const std::string& as) {
    const auto ran = git({"clone", url(repository), as}, folder_);
    EXPECT_EQ(ran.code, 0) << ran.said;
    return folder_ / as;
  }
  void write(const std::filesystem::path& file, const std::string& text) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void commit(const std::filesystem::path& in, const std::string& message) {
    EXPECT_EQ(git({"add", "-A"}, in).code, 0);
    const auto ran = git({"commit", "-q", "-m", message}, in);
    EXPECT_EQ(ran.code, 0) << ran.said;
  }
  std::string head(const std::filesystem::path& in) {
    return git({"rev-parse", "HEAD"}, in).said.substr(0, 40);
  }
  template <class F>
  bool eventually(F condition) {
    const auto until = loop_.now() + 20s;
    while (!condition()) {
      if (loop_.now() > until) return false;
      (void)runtime::block_on(loop_, runtime::sleep_for(5ms));
    }
    return true;
  }

  runtime::RealLoop loop_;
  process::LocalRunner runner_{loop_, {}, Logger()};
  runtime::ThreadPool files_{2};
  net::Sockets sockets_{loop_};
  Listener listener_;
  std::filesystem::path folder_;
  ProjectId project_;
  std::unique_ptr<LocalProvider> provider_;
  std::unique_ptr<http::Router> router_;
  std::unique_ptr<http::Server> server_;
  net::Endpoint at_;
};

TEST_F(LocalProviderTest, CloneOfAnEmptyRepositoryThenAPushBecomesAPush) {
  const auto work = clone("config", "work");
  EXPECT_EQ(git({"symbolic-ref", "HEAD"}, work).said, "refs/heads/main\n");
  write(work / "config.yaml", "name: hello\n");
  commit(work, "first");
  const auto pushed = git({"push", "origin", "main"}, work);
  EXPECT_EQ(pushed.code, 0) << pushed.said;
  EXPECT_NE(pushed.said.find("remote: tau: build 7 of branch main accepted"), std::string::npos)
      << pushed.said;
  ASSERT_EQ(listener_.pushes.size(), 1u);
  EXPECT_EQ(listener_.pushes[0], (Push{project_, "config", "main", head(work)}));

  const auto tar = runtime::block_on(loop_, provider_->archive(project_, "config", head(work)));
  ASSERT_TRUE(tar) << tar.error().to_string();
  EXPECT_NE(as_text(*tar).find("name: hello"), std::string_view::npos);
  EXPECT_FALSE(
      runtime::block_on(loop_, provider_->archive(project_, "config", std::string(40, '1'))));
  const auto other = clone("config", "other");
  EXPECT_EQ(head(other), head(work));
}

TEST_F(LocalProviderTest, BranchesMovedDeletedAndRewrittenAreTold) {
  const auto work = clone("code", "work");
  write(work / "a", "1");
  commit(work, "first");
  EXPECT_EQ(git({"push", "-q", "origin", "main", "main:idea", "main:bad..name"}, work).code, 128);
  EXPECT_EQ(git({"push", "-q", "origin", "main", "main:idea"}, work).code, 0);
  EXPECT_EQ(listener_.pushes.size(), 2u);
  EXPECT_EQ(git({"push", "-q", "origin", ":idea"}, work).code, 0);
  ASSERT_EQ(listener_.pushes.size(), 3u);
  EXPECT_EQ(listener_.pushes[2], (Push{project_, "code", "idea", ""}));
  EXPECT_EQ(git({"commit", "-q", "--amend", "-m", "rewritten"}, work).code, 0);
  EXPECT_NE(git({"push", "-q", "origin", "main"}, work).code, 0);
  EXPECT_EQ(git({"push", "-q", "--force", "origin", "main"}, work).code, 0);
  EXPECT_EQ(listener_.pushes.back().commit, head(work));
}

TEST_F(LocalProviderTest, APushThatPatrickCouldNotTakeFailsAndIsToldAgainUntilItIsTaken) {
  const auto work = clone("code", "work");
  write(work / "a", "1");
  commit(work, "first");
  listener_.failures_left = 2;
  const auto pushed = git({"push", "origin", "main"}, work);
  EXPECT_NE(pushed.code, 0);
  EXPECT_NE(pushed.said.find("the disk is on fire"), std::string::npos) << pushed.said;
  EXPECT_NE(pushed.said.find("the commits are stored"), std::string::npos) << pushed.said;
  EXPECT_TRUE(eventually([&] { return !listener_.pushes.empty(); }));
  EXPECT_EQ(listener_.pushes[0].commit, head(work));
}

TEST_F(LocalProviderTest, ACrashBetweenPushAndAcceptanceLosesNothing) {
  const auto work = clone("code", "work");
  write(work / "a", "1");
  commit(work, "first");
  EXPECT_EQ(git({"push", "-q", "origin", "main"}, work).code, 0);
  stop();
  listener_.commits.clear();  // as if it had not reached the disk
  listener_.pushes.clear();
  start();
  EXPECT_TRUE(eventually([&] { return !listener_.pushes.empty(); }));
  EXPECT_EQ(listener_.pushes[0].commit, head(work));
}

TEST_F(LocalProviderTest, WhatAKilledGitLeftBehindIsNotInTheWayOfTheNextPush) {
  const auto work = clone("code", "work");
  write(work / "a", "1");
  commit(work, "first");
  EXPECT_EQ(git({"push", "-q", "origin", "main"}, work).code, 0);
  stop();
  const auto repository = folder_ / "git" / project_.str() / "code.git";
  for (const char* left : {"refs/heads/main.lock", "packed-refs.lock", "HEAD.lock"})
    write(repository / left, "");
  start();
  write(work / "a", "2");
  commit(work, "second");
  const auto pushed = git({"push", url("code"), "main"}, work);
  EXPECT_EQ(pushed.code, 0) << pushed.said;
  EXPECT_EQ(listener_.pushes.back().commit, head(work));
}

TEST_F(LocalProviderTest, LargePushesAndClonesGoThroughFiles) {
  const auto work = clone("code", "work");
  SeededRandom random(1);
  Bytes noise(12u << 20);
  random.fill(noise);
  write(work / "noise", std::string(as_text(noise)));
  commit(work, "large");
  const auto pushed = git({"push", "origin", "main"}, work);
  EXPECT_EQ(pushed.code, 0) << pushed.said;
  const auto other = clone("code", "other");
  EXPECT_EQ(std::filesystem::file_size(other / "noise"), noise.size());
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "git" / "spool"));
}

TEST_F(LocalProviderTest, OnlyRegisteredRepositoriesExistAndNoPathLeadsOut) {
  EXPECT_NE(git({"ls-remote", url("website")}, folder_).code, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "git" / project_.str() / "website.git"));
  http::Client client(sockets_);
  const auto status = [&](const std::string& target, const std::string& method = "GET") {
    http::ClientRequest request;
    request.method = method;
    request.target = target;
    const auto answer = runtime::block_on(loop_, client.send(at_, std::move(request)));
    return answer ? answer->status : 0;
  };
  const std::string base = "/git/" + project_.str();
  const std::string refs = "/info/refs?service=git-upload-pack";
  EXPECT_EQ(status(base + "/config.git" + refs), 200);
  EXPECT_EQ(status(base + "/config.git/info/refs"), 400) << "the dumb protocol";
  EXPECT_EQ(status(base + "/config.git/info/refs?service=sh"), 400);
  EXPECT_EQ(status(base + "/config.git/HEAD"), 404);
  EXPECT_EQ(status(base + "/config.git/objects/info/packs"), 404);
  EXPECT_EQ(status(base + "/..%2f..%2fetc" + refs), 404);
  EXPECT_EQ(status(base + "/.." + refs), 404);
  EXPECT_EQ(status("/git/..%2f" + project_.str() + "/config.git" + refs), 404);
  EXPECT_EQ(status("/git/spool/x.git" + refs), 404);
  EXPECT_EQ(status(base + "/config.git/git-receive-pack", "POST"), 400) << "no content type";
  EXPECT_EQ(status(base + "/config.git/git-receive-pack", "GET"), 405);
}

TEST(Cgi, HeadsAreParsedAndBrokenOnesRefused) {
  const auto head = parse_cgi_head("Status: 403 Forbidden\r\nX-A: b\r\n\r\nbody");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 403);
  EXPECT_EQ(head->headers.get("x-a"), "b");
  EXPECT_EQ(head->size, 33u);
  for (const auto* broken : {"", "X: y\r\n", "no colon\r\n\r\n", "Status: 99\r\n\r\n"})
    EXPECT_FALSE(parse_cgi_head(broken)) << broken;
}

TEST(SideBand, PacketsAreAsGitReadsThem) {
  EXPECT_EQ(side_band_packet(Band::progress, "hi\n"), std::string("0008\x02hi\n"));
  EXPECT_TRUE(
      is_side_band(std::string("0030\x01"
                               "000eunpack ok\n")));
  EXPECT_FALSE(is_side_band("000eunpack ok\n"));
  EXPECT_FALSE(is_side_band(""));
}

}  // namespace
}  // namespace tau::patrick
