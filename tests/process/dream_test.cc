// dream as a person uses it: universes that outlive it, several at once, nodes that come and go,
// fixtures, logs. The programs themselves, over real connections.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>

#include "child.h"
#include "http/json.h"
#include "visitor.h"

namespace tau::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using http::Json;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kBuildMax = 120s;  // the first build of a loaded machine
constexpr auto kStartMax = 60s;

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

net::Endpoint endpoint(const Json& value) {
  auto parsed = net::Endpoint::parse(value.get<std::string>());
  CHECK(parsed);
  return *parsed;
}

class DreamTest : public ::testing::Test {
 protected:
  DreamTest() {
    const char* path = std::getenv("PATH");
    fs::create_directories(folder / "tmp");
    home.directory = folder.path();
    home.environment = {{"PATH", std::string(TAU_BIN) + ":" + (path ? path : "/usr/bin:/bin")},
                        {"HOME", folder.path().string()},
                        {"TMPDIR", (folder / "tmp").string()},
                        {"XDG_CONFIG_HOME", (folder / "settings").string()},
                        {"XDG_CACHE_HOME", (folder / "cache").string()},
                        {"XDG_DATA_HOME", (folder / "share").string()},
                        {"GIT_CONFIG_NOSYSTEM", "1"},
                        {"GIT_TERMINAL_PROMPT", "0"}};
  }

  Said tell(std::vector<std::string> argv) { return run(home, std::move(argv), 120s); }
  // A command of dream that must succeed. Gives its standard output.
  std::string must(std::vector<std::string> words) {
    std::string line;
    for (const auto& word : words) line += word + " ";
    const Said said = tell(with_control(std::move(words)));
    EXPECT_EQ(said.code, 0) << line << "\n" << said.out << said.err;
    return said.out;
  }
  Json must_json(std::vector<std::string> words) {
    words.emplace_back("--json");
    const std::string said = must(std::move(words));
    Json parsed = Json::parse(said, nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << said;
    return parsed;
  }
  std::string refused(std::vector<std::string> words) {
    const Said said = tell(with_control(std::move(words)));
    EXPECT_NE(said.code, 0) << said.out;
    return said.err;
  }
  std::vector<std::string> with_control(std::vector<std::string> words) const {
    words.insert(words.begin(), tool("dream"));
    words.insert(words.end(), {"--control", control.to_string()});
    return words;
  }

  void start(std::vector<std::string> more) {
    std::vector<std::string> argv = {tool("dream"), "new", "multiverse", "--json",
                                     "--http-port", "0",   "--dns-port", "0",
                                     "--api-port",  "0",   "--control",  "127.0.0.1:0"};
    argv.insert(argv.end(), more.begin(), more.end());
    dream.reset();
    dream.emplace(home, std::move(argv), folder / "dream");
    const auto line = dream->first_line(kStartMax);
    ASSERT_TRUE(line) << dream->output();
    view = Json::parse(*line);
    control = endpoint(view["control"]);
  }
  void stop() {
    must({"stop"});
    const auto code = dream->wait(20s);
    ASSERT_TRUE(code) << "dream goes on after `dream stop`";
    EXPECT_EQ(*code, 0) << dream->output();
  }
  Json universe(const std::string& name) {
    for (const Json& one : must_json({"status"})["universes"])
      if (one["name"] == name) return one;
    ADD_FAILURE() << "no universe " << name;
    return {};
  }

  // A project as people get it from elsewhere: a folder without a repository of its own, with an
  // id that this network has not heard of.
  void write_project(const std::string& name, const std::string& answer) {
    const fs::path root = folder / name;
    const auto write = [&](const fs::path& file, const std::string& text) {
      fs::create_directories((root / file).parent_path());
      write_text(root / file, text);
    };
    const std::string id = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    const std::string other = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    const std::string third = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    write("config/config.yaml", "id: " + id + "\nname: " + name + "\n");
    write("config/domains/main.yaml", "id: " + other + "\nfqdn: " + name + "\n");
    write("config/functions/ping.yaml",
          "id: " + third +
              "\ntrigger:\n  type: http\n  method: GET\n  paths: [/ping]\n  domains: [main]\n"
              "source: .\nexecution:\n  timeout: 10s\n  memory: 32MB\n  call: ping\n");
    write("code/functions/ping/.taubyte/config.yaml",
          "version: 1.00\nenvironment:\n  image: taubyte/cpp-wasi\nworkflow: [build]\n");
    write("code/functions/ping/.taubyte/build.sh", "#!/bin/sh\n. /utils/wasm.sh\n\nbuild\n");
    write("code/functions/ping/main.cc",
          "#include <tau/http.h>\nTAU_HTTP_FUNCTION(ping) { event.write(\"" + answer + "\"); }\n");
  }
  ::testing::AssertionResult answers(const net::Endpoint& at, const std::string& host,
                                     const std::string& wanted) {
    Answer last;
    const bool met = visitor.wait_until(kBuildMax, [&] {
      last = visitor.ask(at, host, "/ping");
      return last.status == 200 && last.body == wanted;
    });
    if (met) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << at.to_string() << " answered " << last.status << " " << last.body;
  }

  Folder folder;
  Place home;
  Visitor visitor;
  std::optional<Child> dream;
  net::Endpoint control;
  Json view;
};

TEST_F(DreamTest, KeepsEverythingOverACleanStopAndOverAKill) {
  ASSERT_NO_FATAL_FAILURE(start({"--keep"}));
  write_project("hello", "kept");
  must({"inject", "push-all", "--path", (folder / "hello").string()});
  const Json first = universe("blackhole");
  EXPECT_EQ(first["kept"], true);
  ASSERT_TRUE(answers(endpoint(first["entry"]), "hello.blackhole.localhost", "kept"));
  must({"inject", "substrate"});
  ASSERT_NO_FATAL_FAILURE(stop());
  EXPECT_TRUE(fs::exists(folder / "share" / "tau" / "dream" / "universe-blackhole" / "root.key"));

  ASSERT_NO_FATAL_FAILURE(start({"--keep"}));
  const Json second = universe("blackhole");
  EXPECT_EQ(second["entry"], first["entry"]);
  EXPECT_EQ(second["api"], first["api"]);
  ASSERT_EQ(second["nodes"].size(), 12u);  // the substrate that was added is still one of them
  for (std::size_t i = 0; i < first["nodes"].size(); ++i)
    EXPECT_EQ(second["nodes"][i]["id"], first["nodes"][i]["id"]);
  for (const Json& node : second["nodes"]) {
    if (node["http"].is_string()) {
      EXPECT_TRUE(answers(endpoint(node["http"]), "hello.blackhole.localhost", "kept"));
    }
  }
  dream->signal(SIGKILL);
  ASSERT_TRUE(dream->wait(5s));

  ASSERT_NO_FATAL_FAILURE(start({"--keep"}));
  const Json third = universe("blackhole");
  EXPECT_TRUE(answers(endpoint(third["entry"]), "hello.blackhole.localhost", "kept"));
  // Still its project: another push is built on top, and nothing changed means nothing is pushed.
  EXPECT_THAT(must({"inject", "push-all", "--path", (folder / "hello").string()}),
              HasSubstr("unchanged"));
  EXPECT_THAT(
      read_text(folder / "share" / "tau" / "dream" / "universe-blackhole" / "patrick" / "node.log"),
      HasSubstr("repositories at"));

  // A second dream on the same folder is told who has it.
  const Said other = tell({tool("dream"), "new", "multiverse", "--keep", "--control", "127.0.0.1:0",
                           "--http-port", "0", "--dns-port", "0", "--api-port", "0"});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("another dream uses"));
  EXPECT_THAT(other.err, HasSubstr(std::to_string(dream->pid())));
}

TEST_F(DreamTest, LeavesNothingBehindEvenWhenItWasKilled) {
  const auto left = [&] {
    return std::distance(fs::directory_iterator(folder / "tmp"), fs::directory_iterator());
  };
  ASSERT_NO_FATAL_FAILURE(start({"--empty"}));
  EXPECT_EQ(left(), 1);
  dream->signal(SIGKILL);
  ASSERT_TRUE(dream->wait(5s));
  EXPECT_EQ(left(), 1);
  ASSERT_NO_FATAL_FAILURE(start({"--empty"}));
  EXPECT_EQ(left(), 1);
  ASSERT_NO_FATAL_FAILURE(stop());
  EXPECT_EQ(left(), 0);
}

TEST_F(DreamTest, TwoUniversesEachAnswerTheirOwn) {
  ASSERT_NO_FATAL_FAILURE(start({}));
  // A port that is free now, for the second one.
  std::string port;
  {
    runtime::RealLoop loop;
    net::Sockets sockets(loop);
    const auto listener = sockets.listen({"127.0.0.1", 0});
    ASSERT_TRUE(listener);
    port = std::to_string((*listener)->local().port);
  }
  must({"new", "universe", "second", "--bind", "substrate@" + port + "/http", "--copies",
        "substrate=1"});
  const Json first = universe("blackhole"), second = universe("second");
  EXPECT_EQ(second["entry"], "127.0.0.1:" + port);
  EXPECT_NE(first["entry"], second["entry"]);
  EXPECT_EQ(second["nodes"].size(), 10u);

  write_project("hello", "first");
  must({"inject", "push-all", "--universe", "blackhole", "--path", (folder / "hello").string()});
  write_project("hello", "second");
  must({"inject", "push-all", "--universe", "second", "--path", (folder / "hello").string()});
  EXPECT_TRUE(answers(endpoint(first["entry"]), "hello.blackhole.localhost", "first"));
  EXPECT_TRUE(answers(endpoint(second["entry"]), "hello.second.localhost", "second"));
  EXPECT_EQ(visitor.ask(endpoint(first["entry"]), "hello.second.localhost", "/ping").status, 404);
  EXPECT_EQ(visitor.ask(endpoint(second["entry"]), "hello.blackhole.localhost", "/ping").status,
            404);
  EXPECT_THAT(must({"status"}),
              HasSubstr("TAU_CLOUD=http://" + control.to_string() + "/v1/universes/second/cloud"));

  must({"kill", "universe", "second"});
  EXPECT_TRUE(answers(endpoint(first["entry"]), "hello.blackhole.localhost", "first"));
  EXPECT_EQ(visitor.ask(endpoint(second["entry"]), "hello.second.localhost", "/ping").status, 0);
}

TEST_F(DreamTest, NodesComeAndGoAndFixturesPush) {
  ASSERT_NO_FATAL_FAILURE(start({}));
  write_project("hello", "pong");
  const std::string path = (folder / "hello").string();
  // Half a project is not built; the other half makes it whole.
  EXPECT_THAT(must({"inject", "push-specific", "--repository", "code", "--path", path}),
              AnyOf(HasSubstr("nothing is built yet"), HasSubstr("waiting")));
  EXPECT_THAT(must({"inject", "push-specific", "--repository", "config", "--path", path}),
              HasSubstr("live: http://hello.blackhole.localhost"));
  const Json added = must_json({"inject", "service", "substrate"})["nodes"][0];
  EXPECT_EQ(added["name"], "substrate-3");
  EXPECT_TRUE(answers(endpoint(added["http"]), "hello.blackhole.localhost", "pong"));

  must({"inject", "attach-domain", "--fqdn", "shop", "--path", path});
  EXPECT_TRUE(answers(endpoint(added["http"]), "shop.blackhole.localhost", "pong"));

  must({"kill", "patrick"});
  EXPECT_THAT(refused({"inject", "push-all", "--path", path}), HasSubstr("patrick"));
  EXPECT_THAT(must({"inject", "patrick"}), HasSubstr("patrick is running"));
  write_text(folder / "hello" / "code" / "functions" / "ping" / "main.cc",
             "#include <tau/http.h>\nTAU_HTTP_FUNCTION(ping) { event.write(\"again\"); }\n");
  must({"inject", "push-all", "--path", path});
  EXPECT_TRUE(answers(endpoint(added["http"]), "hello.blackhole.localhost", "again"));

  EXPECT_THAT(refused({"inject", "set-branch", "dev"}), HasSubstr("every branch"));
  EXPECT_THAT(refused({"inject", "push-all", "--path", folder.path().string()}),
              HasSubstr("is no project"));
  EXPECT_THAT(must({"list", "fixtures"}), HasSubstr("push-specific"));
  EXPECT_THAT(must({"list", "services"}), HasSubstr("substrate"));
}

TEST_F(DreamTest, BreaksThingsOnPurposeAndDoesItAgainFromARecord) {
  ASSERT_NO_FATAL_FAILURE(start({}));
  write_project("hello", "pong");
  const std::string path = (folder / "hello").string();
  must({"inject", "push-all", "--path", path});
  const Json nodes = universe("blackhole")["nodes"];
  const auto http_of = [&](const std::string& name) {
    for (const Json& node : nodes)
      if (node["name"] == name) return endpoint(node["http"]);
    return net::Endpoint();
  };
  const net::Endpoint first = http_of("substrate-1"), second = http_of("substrate-2");
  const std::string host = "hello.blackhole.localhost";
  ASSERT_TRUE(answers(first, host, "pong"));
  ASSERT_TRUE(answers(second, host, "pong"));

  // Without a registry what is deployed is served, by those that know it.
  must({"chaos", "partition", "tns", "--for", "4s"});
  EXPECT_EQ(visitor.ask(first, host, "/ping").body, "pong");
  must({"chaos", "pause", "substrate-1"});
  EXPECT_THAT(must({"chaos", "status"}), HasSubstr("pause substrate-1"));
  EXPECT_EQ(visitor.ask(first, host, "/ping").status, 0) << "nothing leaves a paused node";
  EXPECT_EQ(visitor.ask(second, host, "/ping").body, "pong");
  must({"chaos", "heal"});
  EXPECT_TRUE(answers(first, host, "pong"));
  EXPECT_THAT(must({"chaos", "status"}), HasSubstr("nothing is broken"));

  // A push while its hoarders come and go and its registry is far away.
  must({"chaos", "delay", "tns", "--by", "100ms", "--for", "20s"});
  must({"chaos", "kill", "hoarder-1", "--for", "1s"});
  write_text(folder / "hello" / "code" / "functions" / "ping" / "main.cc",
             "#include <tau/http.h>\nTAU_HTTP_FUNCTION(ping) { event.write(\"again\"); }\n");
  must({"inject", "push-all", "--path", path});
  EXPECT_TRUE(answers(second, host, "again"));

  EXPECT_THAT(refused({"chaos", "pause", "nobody"}), HasSubstr("no node \"nobody\""));
  EXPECT_THAT(refused({"chaos", "delay", "tns", "--by", "soon"}), HasSubstr("--by"));
  must({"chaos", "heal"});
  const std::string record = must({"chaos", "record"});
  write_text(folder / "record", record);
  EXPECT_EQ(std::ranges::count(record, '\n'), 6);
  EXPECT_THAT(must({"chaos", "replay", (folder / "record").string()}), HasSubstr("6 faults;"));
  EXPECT_EQ(std::ranges::count(must({"chaos", "record"}), '\n'), 12);
  EXPECT_TRUE(answers(first, host, "again"));
  EXPECT_TRUE(answers(second, host, "again"));
  EXPECT_EQ(must({"chaos", "random", "--seed", "5", "--dry-run", "--json"}),
            must({"chaos", "random", "--seed", "5", "--dry-run", "--json"}));
}

TEST_F(DreamTest, ShowsTheLogOfOneNodeAndFollowsIt) {
  ASSERT_NO_FATAL_FAILURE(start({}));
  EXPECT_THAT(must({"logs", "patrick"}), HasSubstr("repositories at http://"));
  EXPECT_THAT(must({"logs", "patrick"}), Not(HasSubstr("substrate-1")));
  EXPECT_THAT(must({"logs"}), HasSubstr("substrate-1"));
  Child following(home, with_control({"logs", "hoarder-1", "--follow", "--json"}),
                  folder / "following");
  const auto line = following.first_line(20s);
  ASSERT_TRUE(line) << following.output();
  EXPECT_EQ(Json::parse(*line)["node"], "hoarder-1");
  must({"kill", "hoarder-2"});
  must({"kill", "hoarder-1"});
  EXPECT_TRUE(visitor.wait_until(20s, [&] {
    return following.output().find("\"killed\"") != std::string::npos;
  })) << following.output();
  EXPECT_THAT(following.output(), Not(HasSubstr("hoarder-2")));
  EXPECT_THAT(refused({"logs", "nobody"}), HasSubstr("hoarder-1"));
  ASSERT_NO_FATAL_FAILURE(stop());
  EXPECT_EQ(following.wait(10s), 0) << following.output();
}

}  // namespace
}  // namespace tau::test
