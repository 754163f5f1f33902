#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "bin/tau/follow.h"
#include "bin/tau/new_function.h"
#include "bin/tau/new_project.h"
#include "bin/tau/rollback.h"
#include "bin/tau/terminal.h"
#include "project/plan.h"
#include "project/workflow.h"
#include "project/writer.h"

namespace tau::cli {
namespace {

namespace fs = std::filesystem;

class TauTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tau-cli-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string read(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  fs::path templates() {
    const fs::path ping = folder_ / "templates/cpp/ping";
    fs::create_directories(ping / ".taubyte");
    std::ofstream(ping / ".taubyte/config.yaml")
        << project::workflow_yaml("taubyte/cpp-wasi", {"build"});
    std::ofstream(ping / ".taubyte/build.sh") << ". /utils/wasm.sh\nbuild\n";
    std::ofstream(ping / "main.cc") << "FUNCTION(ping) { pinged(); write(\"pong\"); }\n";
    return folder_ / "templates";
  }
  ProjectFolder project() {
    const std::string id =
        new_registration({"hello", "hello", "", ""}, {}, random_, 1).project().str();
    auto made = scaffold_project(machine_, {"hello", "hello", "", folder_}, id,
                                 "http://127.0.0.1:1/git", random_);
    EXPECT_TRUE(made) << made.error().to_string();
    return *made;
  }

  Machine machine_;
  SeededRandom random_{1};
  fs::path folder_;
};

TEST_F(TauTest, ANewProjectIsTwoRepositoriesThatCompile) {
  const ProjectFolder made = project();
  for (const auto& path : {made.config(), made.code()}) {
    WorkTree tree(machine_, path);
    EXPECT_EQ(*tree.branch(), "main");
    EXPECT_EQ(tree.head()->size(), 40u);
    EXPECT_EQ(*tree.git({"remote", "get-url", "origin"}),
              "http://127.0.0.1:1/git/" + made.id + "/" + tree.name() + ".git");
    EXPECT_FALSE(*tree.commit_all("nothing changed"));
  }
  const auto again =
      scaffold_project(machine_, {"hello", "hello", "", folder_}, made.id, "", random_);
  EXPECT_EQ(again.error().code(), ErrorCode::already_exists);

  fs::create_directories(made.code() / "functions/deep");
  const auto found = find_project(made.code() / "functions/deep");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->root, made.root);
  EXPECT_EQ(found->id, made.id);
  EXPECT_EQ(found->name, "hello");
  EXPECT_EQ(find_project(folder_).error().code(), ErrorCode::not_found);
}

TEST_F(TauTest, ANewFunctionIsWhatTheCloudCompilesAndBuilds) {
  const ProjectFolder made = project();
  NewFunction what;
  what.name = "greet";
  what.path = "/hi";
  what.method = "post";
  const auto files = create_function(made, what, templates(), random_);
  ASSERT_TRUE(files) << files.error().to_string();
  EXPECT_EQ(files->size(), 4u);
  EXPECT_EQ(read(made.code() / "functions/greet/main.cc"),
            "FUNCTION(greet) { pinged(); write(\"pong\"); }\n")
      << "the template's name, as a word, is the function's";

  project::ConfigFiles config;
  for (const auto* name : {"config.yaml", "domains/hello.yaml", "functions/greet.yaml"})
    config[name] = to_bytes(read(made.config() / name));
  const auto plan =
      project::read_project(config, {ProjectId(made.id), "main", "blackhole.localhost"});
  EXPECT_TRUE(plan.ok()) << plan.problems.to_string();
  ASSERT_EQ(plan.functions.size(), 1u);
  EXPECT_EQ(plan.functions[0].function.method, "POST");
  EXPECT_EQ(plan.functions[0].function.paths, std::vector<std::string>{"/hi"});
  EXPECT_EQ(plan.functions[0].function.domains,
            std::vector<std::string>{"hello.blackhole.localhost"});
  EXPECT_EQ(plan.functions[0].function.call, "greet");

  std::map<std::string, Bytes> sources;
  for (const auto* name : {".taubyte/config.yaml", ".taubyte/build.sh", "main.cc"})
    sources[name] = to_bytes(read(made.code() / "functions/greet" / name));
  project::Problems problems;
  const auto workflow = project::read_workflow(sources, "functions/greet/", problems);
  ASSERT_TRUE(workflow) << problems.to_string();
  EXPECT_EQ(workflow->image, "taubyte/cpp-wasi");
  EXPECT_EQ(workflow->steps, std::vector<std::string>{"build"});

  EXPECT_EQ(create_function(made, what, templates(), random_).error().code(),
            ErrorCode::already_exists);
}

TEST_F(TauTest, WrongFunctionsAreRefusedWithAdviceAndLeaveNothing) {
  const ProjectFolder made = project();
  const auto refuse = [&](auto change) {
    NewFunction what;
    what.name = "greet";
    change(what);
    const auto result = create_function(made, what, templates(), random_);
    EXPECT_FALSE(result);
    EXPECT_FALSE(fs::exists(made.code() / "functions"));
    EXPECT_FALSE(fs::exists(made.config() / "functions"));
    return result ? std::string() : result.error().message();
  };
  refuse([](auto& f) { f.name = "no-good"; });
  refuse([](auto& f) { f.name = "../x"; });
  refuse([](auto& f) { f.path = "hi"; });
  refuse([](auto& f) { f.path = "/a?b"; });
  refuse([](auto& f) { f.method = "FETCH"; });
  refuse([](auto& f) { f.domains = {"other"}; });
  refuse([](auto& f) { f.templ = "../cpp/ping"; });
  EXPECT_NE(refuse([](auto& f) { f.language = "cobol"; }).find("there are: cpp"),
            std::string::npos);
  EXPECT_NE(refuse([](auto& f) { f.templ = "pang"; }).find("there are: ping"), std::string::npos);
}

TEST_F(TauTest, AModuleThatIsCompiledAlreadyIsAFunction) {
  const ProjectFolder made = project();
  const fs::path templ = templates() / "wasm/ping/.taubyte";
  fs::create_directories(templ);
  std::ofstream(templ / "config.yaml") << project::workflow_yaml("taubyte/prebuilt", {"build"});
  std::ofstream(templ / "build.sh") << ". /utils/wasm.sh\nbuild\n";
  const fs::path module = made.code() / ".." / "some.wasm";
  const std::string wasm("\0asm\1\0\0\0", 8);
  std::ofstream(module, std::ios::binary) << wasm;
  NewFunction what;
  what.name = "greet";
  what.language = "wasm";
  what.call = "hello";
  EXPECT_NE(create_function(made, what, templates(), random_).error().message().find("--file"),
            std::string::npos);
  what.file = made.config() / "config.yaml";
  EXPECT_EQ(create_function(made, what, templates(), random_).error().code(),
            ErrorCode::invalid_argument);
  what.file = module;
  const auto files = create_function(made, what, templates(), random_);
  ASSERT_TRUE(files) << files.error().to_string();
  EXPECT_EQ(read(made.code() / "functions/greet/main.wasm"), wasm);
  EXPECT_NE(read(made.config() / "functions/greet.yaml").find("call: hello"), std::string::npos);
  std::map<std::string, Bytes> sources;
  for (const auto* name : {".taubyte/config.yaml", ".taubyte/build.sh", "main.wasm"})
    sources[name] = to_bytes(read(made.code() / "functions/greet" / name));
  project::Problems problems;
  const auto workflow = project::read_workflow(sources, "functions/greet/", problems);
  ASSERT_TRUE(workflow) << problems.to_string();
  EXPECT_EQ(workflow->image, "taubyte/prebuilt");
}

TEST(ProjectName, IsAVariableNameAndGivesALabel) {
  EXPECT_TRUE(check_project_name("hello_2"));
  EXPECT_NE(check_project_name("my-app").error().message().find("my_app"), std::string::npos);
  EXPECT_FALSE(check_project_name("../x"));
  EXPECT_FALSE(check_project_name(""));
  EXPECT_EQ(label_for("My_App_"), "my-app");
  EXPECT_EQ(label_for(std::string(80, 'a')).size(), 63u);
}

TEST_F(TauTest, TheOwnersKeyIsMadeOnceAndKeptFromOthers) {
  const auto made = owner_key(folder_ / "config", random_);
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_TRUE(made->is_new);
  struct stat about{};
  ASSERT_EQ(::stat(made->file.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  const auto again = owner_key(folder_ / "config", random_);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->key.seed(), made->key.seed());
  ::chmod(made->file.c_str(), 0644);
  EXPECT_EQ(owner_key(folder_ / "config", random_).error().code(), ErrorCode::permission_denied);
  ::chmod(made->file.c_str(), 0600);
  std::ofstream(made->file) << "something else\n";
  EXPECT_EQ(owner_key(folder_ / "config", random_).error().code(), ErrorCode::failed_precondition);
}

TEST(Answers, OfTheCloudBecomeErrorsWithTheirCode) {
  const auto answer = [](int status, std::string body) {
    http::Response response;
    response.status = status;
    response.body = std::move(body);
    return open_answer(response);
  };
  EXPECT_EQ((*answer(200, R"({"a":1})"))["a"], 1);
  const auto refused =
      answer(409, R"({"error":{"code":"already_exists","message":"the label is taken"}})");
  EXPECT_EQ(refused.error().code(), ErrorCode::already_exists);
  EXPECT_EQ(refused.error().message(), "the label is taken");
  EXPECT_EQ(answer(502, "<html>").error().code(), ErrorCode::unavailable);
  EXPECT_EQ(answer(404, "").error().code(), ErrorCode::not_found);
  EXPECT_FALSE(answer(200, "no json"));
}

TEST(Builds, TheOneOfTheseCommitsIsFound) {
  const http::Json builds = {
      {"builds",
       {{{"id", "c"}, {"branch", "idea"}, {"commits", {{"code", "3"}}}},
        {{"id", "b"}, {"branch", "main"}, {"commits", {{"code", "2"}, {"config", "1"}}}},
        {{"id", "a"}, {"branch", "main"}, {"commits", {{"code", "1"}, {"config", "1"}}}}}}};
  EXPECT_EQ((*find_build(builds, "main", {{"code", "1"}, {"config", "1"}}))["id"], "a");
  EXPECT_EQ((*find_build(builds, "main", {}))["id"], "b");
  EXPECT_EQ((*find_build(builds, "idea", {{"code", "3"}, {"config", "9"}}))["id"], "c")
      << "it waits for config";
  EXPECT_FALSE(find_build(builds, "main", {{"code", "9"}}));
}

TEST(Terminal, TextsFromOthersCannotSteerIt) {
  EXPECT_EQ(clean("a\033[2Jb\r\nc\td\x7f"), "a[2Jb\nc\td");
  EXPECT_EQ(table({{"a", "b"}, {"long", "c"}}), "a     b\nlong  c");
  EXPECT_EQ(duration_text(850), "850 ms");
  EXPECT_EQ(duration_text(2149), "2.1 s");
  EXPECT_EQ(exit_code_of(Error(ErrorCode::unavailable, "")), kExitUnreachable);
}

// ---- the program itself ----------------------------------------------------------------------

class ProgramTest : public TauTest {
 protected:
  Said tau(std::vector<std::string> arguments) {
    process::Command command;
    const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
    command.argv = {(here / "../bin/tau").string()};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    command.environment = {{"PATH", "/usr/bin:/bin"},
                           {"HOME", folder_.string()},
                           {"TAU_CLOUD", "http://127.0.0.1:9/none"}};
    command.directory = folder_;
    Said said;
    const auto exit = runtime::block_on(
        machine_.loop,
        machine_.runner.run(std::move(command), [&](process::Output which, BytesView data) {
          (which == process::Output::standard_output ? said.out : said.err) += as_text(data);
        }));
    EXPECT_TRUE(exit) << exit.error().to_string();
    said.code = exit ? exit->code : -1;
    return said;
  }
};

TEST_F(ProgramTest, ExitCodesAndAdviceAreAsDocumented) {
  EXPECT_EQ(tau({"--help"}).code, kExitOk);
  EXPECT_EQ(tau({"version"}).code, kExitOk);
  EXPECT_EQ(tau({}).code, kExitUsage);
  EXPECT_EQ(tau({"frobnicate"}).code, kExitUsage);
  EXPECT_EQ(tau({"query", "builds", "--limit", "0"}).code, kExitUsage);

  const auto unreachable = tau({"query", "projects"});
  EXPECT_EQ(unreachable.code, kExitUnreachable);
  EXPECT_NE(unreachable.err.find("dream new multiverse"), std::string::npos) << unreachable.err;
  EXPECT_EQ(unreachable.err.find("\033["), std::string::npos) << "no colours into a pipe";

  const auto nowhere = tau({"push"});
  EXPECT_EQ(nowhere.code, kExitNotFound);
  EXPECT_NE(nowhere.err.find("tau new project"), std::string::npos) << nowhere.err;

  const auto no_name = tau({"new", "project"});
  EXPECT_EQ(no_name.code, kExitUsage) << "no terminal: no question";
  EXPECT_NE(no_name.err.find("tau new project NAME"), std::string::npos) << no_name.err;

  const auto as_json = tau({"--json", "query", "projects"});
  EXPECT_EQ(as_json.code, kExitUnreachable);
  const auto parsed = http::parse_json(as_json.out);
  ASSERT_TRUE(parsed) << as_json.out;
  EXPECT_EQ((*parsed)["error"]["code"], "unavailable");
}

TEST_F(ProgramTest, AFailedNewProjectLeavesNoFolder) {
  EXPECT_EQ(tau({"new", "project", "hello"}).code, kExitUnreachable);
  EXPECT_FALSE(fs::exists(folder_ / "hello"));
  EXPECT_EQ(tau({"new", "project", "no-good"}).code, kExitUsage);
}

TEST(GoingBack, IsToTheDeploymentBeforeUnlessOneIsNamed) {
  const auto version = [](int seq, int push, const char* cid) {
    return http::Json{{"seq", seq}, {"push", push}, {"deployment", cid}};
  };
  // Newest first: 5 serves what build 2 made, once more.
  const http::Json versions = {version(5, 2, "bafyrei-two"), version(4, 4, "bafyrei-four"),
                               version(3, 3, "bafyrei-two"), version(2, 2, "bafyrei-two"),
                               version(1, 1, "bafyrei-one")};
  const auto seq_of = [&](const std::string& to) {
    const auto found = version_to_serve(versions, to);
    return found ? (*found)["seq"].get<int>() : -static_cast<int>(found.error().code());
  };
  EXPECT_EQ(seq_of(""), 1);
  EXPECT_EQ(seq_of("4"), 4);
  EXPECT_EQ(seq_of("bafyrei-fo"), 4);
  EXPECT_EQ(seq_of("bafyrei-one"), 1);
  EXPECT_EQ(seq_of("9"), -static_cast<int>(ErrorCode::not_found));
  EXPECT_EQ(seq_of("bafy"), -static_cast<int>(ErrorCode::not_found)) << "too short";
  EXPECT_EQ(seq_of("bafyrei-"), -static_cast<int>(ErrorCode::invalid_argument)) << "several";
  EXPECT_EQ(seq_of("3"), -static_cast<int>(ErrorCode::invalid_argument)) << "serves already";
  const http::Json first = http::Json::array({version(1, 1, "bafyrei-one")});
  EXPECT_FALSE(version_to_serve(first, ""));
}

}  // namespace
}  // namespace tau::cli
