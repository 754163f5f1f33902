// A colleague who pushes rubbish, a client who speaks rubbish, a stranger: on a network of real
// processes, while somebody else's function is asked all the time. None of its requests may fail.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "child.h"
#include "command/frame.h"
#include "guest/built_guest.h"
#include "http/json.h"
#include "services/auth/api.h"
#include "services/hoarder/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"
#include "visitor.h"

namespace tau::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using namespace std::string_literals;
using http::Json;
using ::testing::HasSubstr;
using Time = std::chrono::steady_clock;

constexpr auto kBuildMax = 120s;  // the builds of a loaded machine
// An ordinary answer takes a millisecond; a loaded machine of two cores gets a thousand times that.
constexpr auto kLatencyMax = 5s;

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

// ---- connections that speak as they like

class Raw {
 public:
  explicit Raw(const net::Endpoint& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(to.port);
    ::inet_pton(AF_INET, to.address.c_str(), &at.sin_addr);
    open_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  }
  Raw(Raw&& other) noexcept : fd_(std::exchange(other.fd_, -1)), open_(other.open_) {}
  Raw& operator=(Raw&&) = delete;
  ~Raw() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool open() const { return open_; }
  void say(const std::string& text) const {
    (void)::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  // What comes until the other end closes, or is silent for `patience`.
  std::string hear(std::chrono::milliseconds patience) const {
    std::string all;
    char piece[4096];
    pollfd wait{fd_, POLLIN, 0};
    while (all.size() < 1u << 20 && ::poll(&wait, 1, static_cast<int>(patience.count())) == 1) {
      const ssize_t n = ::recv(fd_, piece, sizeof piece, 0);
      if (n <= 0) break;
      all.append(piece, static_cast<std::size_t>(n));
    }
    return all;
  }

 private:
  int fd_;
  bool open_ = false;
};

// ---- somebody who minds their own business

class Innocent {
 public:
  Innocent(net::Endpoint at, std::string host)
      : at_(std::move(at)), host_(std::move(host)), thread_([this] { run(); }) {}
  ~Innocent() { stop(); }
  void stop() {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void now_comes(const std::string& what) {
    const std::lock_guard lock(mutex_);
    meanwhile_ = what;
  }
  // Of what came until now.
  std::size_t answered() const { return answered_; }
  std::string complaints() {
    const std::lock_guard lock(mutex_);
    return complaints_;
  }
  Time::duration slowest() const { return Time::duration(slowest_.load()); }

 private:
  void run() {
    Visitor visitor;
    while (!ended_) {
      const auto begun = Time::now();
      const Answer answer = visitor.ask(at_, host_, "/ping");
      const auto took = Time::now() - begun;
      slowest_ = std::max(slowest_.load(), took.count());
      if (answer.status == 200 && answer.body == "pong" && took <= kLatencyMax) {
        ++answered_;
      } else {
        const std::lock_guard lock(mutex_);
        complaints_ += "during " + meanwhile_ + ": " + std::to_string(answer.status) + " " +
                       answer.body + " after " + std::to_string(took / 1ms) + " ms\n";
      }
      std::this_thread::sleep_for(10ms);
    }
  }
  net::Endpoint at_;
  std::string host_;
  std::atomic<bool> ended_ = false;
  std::atomic<std::size_t> answered_ = 0;
  std::atomic<Time::duration::rep> slowest_ = 0;
  std::mutex mutex_;
  std::string meanwhile_, complaints_;
  std::thread thread_;
};

class Hostile : public ::testing::Test {
 protected:
  Hostile() {
    const char* path = std::getenv("PATH");
    home.directory = folder.path();
    home.environment = {{"PATH", std::string(TAU_BIN) + ":" + (path ? path : "/usr/bin:/bin")},
                        {"HOME", folder.path().string()},
                        {"XDG_CONFIG_HOME", (folder / "settings").string()},
                        {"XDG_CACHE_HOME", (folder / "cache").string()},
                        {"GIT_CONFIG_NOSYSTEM", "1"},
                        {"GIT_TERMINAL_PROMPT", "0"},
                        {"GIT_AUTHOR_NAME", "colleague"},
                        {"GIT_AUTHOR_EMAIL", "colleague@localhost"},
                        {"GIT_COMMITTER_NAME", "colleague"},
                        {"GIT_COMMITTER_EMAIL", "colleague@localhost"}};
  }

  std::string must(std::vector<std::string> argv, const fs::path& directory = {}) {
    Place place = home;
    if (!directory.empty()) place.directory = directory;
    std::string line;
    for (const auto& word : argv) line += word + " ";
    const Said said = run(place, std::move(argv), 120s);
    EXPECT_EQ(said.code, 0) << line << "\n" << said.out << said.err;
    return said.out;
  }

  // Everything that builds and decides in one process, what serves in another.
  void start_network() {
    must({tool("odo"), "network", "create", (folder / "net").string(), "--name", "home"});
    ASSERT_NO_FATAL_FAILURE(start(core, coreready, "core", "tns,auth,seer,patrick,hoarder,monkey",
                                  {"--api", "127.0.0.1:0", "--dns", "127.0.0.1:0"}));
    ASSERT_NO_FATAL_FAILURE(
        start(edge, edgeready, "edge", "substrate",
              {"--http-port", "0", "--bootstrap", coreready["addresses"][0].get<std::string>()}));
    http = *net::Endpoint::parse(edgeready["http"].get<std::string>());
    api = *net::Endpoint::parse(coreready["api"].get<std::string>());
    home.environment["TAU_CLOUD"] = "http://" + api.to_string() + "/v1/cloud";
  }
  void start(std::optional<Child>& child, Json& ready, const std::string& name,
             const std::string& services, std::vector<std::string> more) {
    std::vector<std::string> create = {
        tool("odo"), "node", "create", (folder / "net").string(), name, "--services", services};
    create.insert(create.end(), more.begin(), more.end());
    std::string config = must(std::move(create));
    while (config.ends_with('\n')) config.pop_back();
    std::string text = read_text(config);
    // Nobody waits ten minutes here for a build that sleeps.
    const std::string longest = "# build_time: 10m";
    const auto at = text.find(longest);
    ASSERT_NE(at, std::string::npos) << text;
    write_text(config, text.replace(at, longest.size(), "build_time: 8s"));
    child.emplace(home, std::vector{tool("odo"), "start"s, "--config"s, config}, folder / name);
    const auto line = child->first_line(60s);
    ASSERT_TRUE(line) << name << ": " << child->output();
    ready = Json::parse(*line);
  }

  fs::path project(const std::string& name) const { return folder / name; }
  void add_function(const std::string& project_name, const std::string& name,
                    std::vector<std::string> more = {}) {
    std::vector<std::string> argv = {tool("tau"),  "new", "function", name,
                                     "--language", "cpp", "--path",   "/" + name};
    argv.insert(argv.end(), more.begin(), more.end());
    must(std::move(argv), project(project_name));
  }
  // What the function's build runs in place of the SDK's.
  void build_by(const std::string& project_name, const std::string& function,
                const std::string& script) {
    write_text(project(project_name) / "code" / "functions" / function / ".taubyte" / "build.sh",
               "#!/bin/sh\n" + script + "\n");
  }
  // Its module is this guest, compiled already: a busy machine takes its time to compile.
  void build_of(const std::string& project_name, const std::string& function,
                const std::string& guest) {
    write_text(project(project_name) / "code" / "functions" / function / "ready.wasm",
               to_text(guest::built_guest(guest)));
    build_by(project_name, function, "cp $SRC/ready.wasm $OUT/main.wasm");
  }
  // Pushes all that is there and gives the newest build when it has ended.
  Json push(const std::string& name) {
    Place place = home;
    place.directory = project(name);
    const std::size_t before = builds(name).size();
    (void)run(place, {tool("tau"), "push", "--no-follow"}, 120s);
    Json newest;
    EXPECT_TRUE(visitor.wait_until(kBuildMax,
                                   [&] {
                                     const Json all = builds(name);
                                     if (all.size() <= before) return false;
                                     newest = all[0];
                                     for (const Json& one : all)
                                       if (one["state"] == "waiting" || one["state"] == "building")
                                         return false;
                                     return true;
                                   }))
        << name << "\n"
        << builds(name).dump(1);
    return newest;
  }
  Json builds(const std::string& name) {
    Place place = home;
    place.directory = project(name);
    const Said said = run(place, {tool("tau"), "query", "builds", "--json"});
    const auto parsed = http::parse_json(said.out);
    if (!parsed) return Json::array();
    return parsed->value("builds", Json::array());
  }
  Answer ask(const std::string& label, const std::string& path) {
    return visitor.ask(http, label + ".home.localhost", path);
  }
  bool serves(const std::string& label, const std::string& path) {
    return visitor.wait_until(kBuildMax, [&] { return ask(label, path).status != 404; });
  }
  // All of them at once, `times` each.
  std::map<std::string, std::map<int, int>> ask_many(const std::vector<std::string>& paths,
                                                     int times) {
    std::map<std::string, std::map<int, int>> statuses;
    std::mutex mutex;
    std::vector<std::jthread> threads;
    for (const auto& path : paths) {
      for (int i = 0; i < times; ++i)
        threads.emplace_back([&, path] {
          Visitor own;
          const Answer answer = own.ask(http, "bad.home.localhost", path);
          const std::lock_guard lock(mutex);
          ++statuses[path][answer.status];
        });
    }
    threads.clear();
    return statuses;
  }

  void check_modules_that_cannot_run();
  void check_functions_that_take_all();
  void check_builds();
  void check_configuration();
  void check_http();
  void check_peers();

  Folder folder;
  Place home;
  Visitor visitor;
  std::optional<Child> core, edge;
  Json coreready, edgeready;
  net::Endpoint http, api;
};

// What can be known of a module is said to who pushes it.
void Hostile::check_modules_that_cannot_run() {
  must({tool("tau"), "new", "project", "modules"});
  const std::pair<const char*, const char*> modules[] = {
      {"text", "echo pong > $OUT/main.wasm"},
      {"none", "true"},
      {"header", R"(printf '\0asm\1\0\0\0' > $OUT/main.wasm)"},
      {"cut", R"(printf '\0asm\1\0\0\0\7\377\377\377\377\17' > $OUT/main.wasm)"},
      // (module (import "env" "launch" (func)) (func (export "imports") (param i32)))
      {"imports",
       R"(printf '\0asm\1\0\0\0\1\10\2\140\0\0\140\1\177\0\2\16\1\3env\6launch\0\0\3\2\1\1\7\13\1\7imports\0\1\12\4\1\2\0\13' > $OUT/main.wasm)"},
      // (module (func (export "types") (param i64)))
      {"types",
       R"(printf '\0asm\1\0\0\0\1\5\1\140\1\176\0\3\2\1\0\7\11\1\5types\0\0\12\4\1\2\0\13' > $OUT/main.wasm)"},
  };
  for (const auto& [name, script] : modules) {
    add_function("modules", name);
    build_by("modules", name, script);
  }
  const Json build = push("modules");
  EXPECT_EQ(build["state"], "failed");
  const std::string error = build.value("error", "");
  for (const char* says :
       {"function \"text\": /out/main.wasm is no WebAssembly module",
        "function \"none\": the build ended well, but wrote no /out/main.wasm",
        "call: header, but the module exports no such function", "function \"cut\"",
        "imports what no node offers: env.launch", "exports types as (i64) -> ()"})
    EXPECT_THAT(error, HasSubstr(says));
  EXPECT_EQ(ask("modules", "/text").status, 404) << "nothing of it is deployed";
}

void Hostile::check_functions_that_take_all() {
  must({tool("tau"), "new", "project", "bad"});
  for (const char* name : {"loop", "devour", "recurse", "trap", "print", "flood", "headers"}) {
    add_function("bad", name, {"--timeout", "700ms", "--memory", "32MB"});
    build_of("bad", name, "hostile");
  }
  const Json build = push("bad");
  ASSERT_EQ(build["state"], "succeeded") << build.dump(1);
  ASSERT_TRUE(serves("bad", "/print"));
  const auto statuses =
      ask_many({"/loop", "/devour", "/recurse", "/trap", "/print", "/flood", "/headers"}, 6);
  using Seen = std::map<int, int>;
  EXPECT_EQ(statuses.at("/loop"), (Seen{{504, 6}}));
  for (const char* path : {"/devour", "/recurse", "/trap"})
    EXPECT_TRUE(statuses.at(path) == (Seen{{500, 6}}) || statuses.at(path).contains(504)) << path;
  for (const char* path : {"/print", "/flood", "/headers"})
    EXPECT_TRUE(statuses.at(path).contains(200) || statuses.at(path).contains(504)) << path;
  EXPECT_EQ(ask("bad", "/trap").status, 500);
  const Answer headers = ask("bad", "/headers");
  EXPECT_EQ(headers.status, 200) << headers.body;
  Place place = home;
  place.directory = project("bad");
  const Said logs = run(place, {tool("tau"), "logs"});
  EXPECT_THAT(logs.out, HasSubstr(" print ["));
  EXPECT_EQ(logs.out.find("\x1b[2J"), std::string::npos) << "terminals are not for functions";
}

void Hostile::check_builds() {
  must({tool("tau"), "new", "project", "builds"});
  const std::pair<const char*, std::string> scripts[] = {
      {"forks", "i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; wait"},
      {"fills", "cat /dev/zero > /tmp/x; cat /dev/zero > /src/x; cat /dev/zero > /out/main.wasm"},
      {"prints", "yes I print"},
      {"sleeps", "sleep 3600"},
      {"links", "ln -s /etc/passwd /out/main.wasm"},
      {"dots",
       "cd /tmp && echo x > y && ln y /out/main.wasm; ln -s ../../etc/shadow /out/main.wasm"},
      {"calls", "getent hosts example.com || bash -c 'echo > /dev/tcp/127.0.0.1/" +
                    std::to_string(api.port) + "' && cp /bin/true /out/main.wasm"},
      {"reads", "cat " + (folder / "net" / "root.key").string() + " /proc/1/root" +
                    (folder / "net" / "root.key").string() + " > /out/main.wasm"},
      {"kills", "kill -9 -1; kill -9 $PPID; exit 1"},
      {"daemon", "(setsid sleep 4242.4242 &) ; echo no module > /out/main.wasm"},
      {"sparse", "truncate -s 1T /out/main.wasm"},
      {"swarms", "cd /out && seq 200000 | xargs touch"},
  };
  for (const auto& [name, script] : scripts) {
    add_function("builds", name);
    build_by("builds", name, script);
  }
  const Json build = push("builds");
  EXPECT_EQ(build["state"], "failed");
  const std::string error = build.value("error", "");
  for (const auto& [name, script] : scripts)
    EXPECT_THAT(error, HasSubstr("function \"" + std::string(name) + "\": "));
  EXPECT_THAT(error, HasSubstr("function \"sleeps\": the build was ended after 8.00 s"));
  EXPECT_EQ(error.find("secret"), std::string::npos);
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::error_code ignored;
    if (!fs::exists(entry.path() / "cmdline", ignored)) continue;
    EXPECT_EQ(read_text(entry.path() / "cmdline").find("4242.4242"), std::string::npos);
  }
}

// Every mistake of every file at once, each with its place; what was deployed stays.
void Hostile::check_configuration() {
  const fs::path functions = project("bad") / "config" / "functions";
  const std::string good = read_text(functions / "print.yaml");
  const auto changed = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from << "\n" << text;
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
  };
  const std::string before = ask("bad", "/headers").body;
  write_text(functions / "loop.yaml", changed("type: ", "type: teleport\n  was: "));
  write_text(functions / "devour.yaml", changed("timeout: ", "timeout: [1]\n  was: "));
  write_text(functions / "recurse.yaml", good + "\nid: again\n");
  write_text(functions / "trap.yaml", changed("call: ", "was: "));
  write_text(functions / "flood.yaml", "a: &a [x]\nb: [*a, *a]\n");
  write_text(functions / "more.yaml", std::string(500, '['));
  write_text(functions / "nul.yaml", "id: \0x\n"s);
  write_text(functions / "latin.yaml", "id: caf\xe9\n");
  write_text(functions / "tab.yaml", "id: x\n\ttrigger: y\n");
  write_text(functions / "empty.yaml", "");
  const Json build = push("bad");
  EXPECT_EQ(build["state"], "failed");
  const std::string error = build.value("error", "");
  for (const char* name :
       {"loop", "devour", "recurse", "trap", "flood", "more", "nul", "latin", "tab", "empty"})
    EXPECT_THAT(error, ::testing::ContainsRegex("functions/"s + name + "\\.yaml:[0-9]+:[0-9]+: "))
        << error;
  EXPECT_EQ(ask("bad", "/headers").body, before) << "the old deployment goes on";
}

void Hostile::check_http() {
  const std::string get = "GET /ping HTTP/1.1\r\nHost: hello.home.localhost\r\n";
  const std::string post = "POST /ping HTTP/1.1\r\nHost: hello.home.localhost\r\n";
  const std::pair<std::string, const char*> forms[] = {
      {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", " 400 "},
      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", " 400 "},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", " 501 "},
      {post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", " 400 "},
      {post + "Content-Length: 3, 3\r\n\r\nabc", " 400 "},
      {post + "Content-Length : 3\r\n\r\nabc", " 400 "},
      {get + "X: a\r\n b\r\n\r\n", " 400 "},
      {get + "X: a\nY: b\r\n\r\n", " 400 "},
      {get + "X: \0\r\n\r\n"s, " 400 "},
      {"GET /ping HTTP/1.1\r\n\r\n", " 400 "},
      {get + "Host: other\r\n\r\n", " 400 "},
      {"GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n", " 400 "},
      {"G@T /ping HTTP/1.1\r\nHost: a\r\n\r\n", " 400 "},
      {"GET /ping HTTP/3.0\r\nHost: a\r\n\r\n", " 505 "},
      {"GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", " 414 "},
      {get + "X: " + std::string(100'000, 'a') + "\r\n\r\n", " 431 "},
      {get +
           [] {
             std::string many;
             for (int i = 0; i < 200; ++i) many += "X: y\r\n";
             return many;
           }() +
           "\r\n",
       " 431 "},
      {"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"s + std::string(600, 'x') + "\n", " 400 "},
      {post + "Expect: a miracle\r\nContent-Length: 3\r\n\r\n", " 417 "},
  };
  for (const net::Endpoint& at : {http, api}) {
    for (const auto& [text, status] : forms) {
      const Raw raw(at);
      raw.say(text);
      const std::string answer = raw.hear(5s);
      EXPECT_THAT(answer.substr(0, answer.find('\r')), HasSubstr(status)) << text.substr(0, 100);
    }
  }
  // In order, and HTTP/1.0 as it was; neither leaves the protocol when asked to.
  const Raw pipelined(http);
  std::string many;
  for (int i = 0; i < 50; ++i) many += get + "\r\n";
  pipelined.say(many + "GET /ping HTTP/1.0\r\nHost: hello.home.localhost\r\nUpgrade: h2c\r\n\r\n");
  const std::string answers = pipelined.hear(5s);
  std::size_t pongs = 0;
  for (auto at = answers.find("pong"); at != std::string::npos; at = answers.find("pong", at + 1))
    ++pongs;
  EXPECT_EQ(pongs, 51u) << answers.substr(answers.size() -
                                          std::min<std::size_t>(500, answers.size()));
  // Half heads, half bodies, idle ones, large answers that nobody reads: all at once.
  std::vector<Raw> slow;
  for (int i = 0; i < 800; ++i) {
    slow.emplace_back(i % 2 == 0 ? http : api);
    if (!slow.back().open()) continue;
    if (i % 4 == 0) slow.back().say(get + "X: ");
    if (i % 4 == 1) slow.back().say(post + "Content-Length: 100000\r\n\r\nx");
    if (i % 16 == 2) slow.back().say("GET /flood HTTP/1.1\r\nHost: bad.home.localhost\r\n\r\n");
  }
  EXPECT_EQ(ask("hello", "/ping").body, "pong");
  EXPECT_EQ(visitor.ask(api, api.to_string(), "/no/such/thing").status, 404) << "it answers";
}

template <class C>
void expect_refused(Visitor& visitor, Member& member, const PeerId& peer,
                    std::string_view protocol) {
  using command::RequestFrame;
  if (C::kCallers.roles[0].empty()) return;
  const auto answer = runtime::block_on(
      visitor.loop(),
      [](p2p::Host& host, PeerId to, std::string over, std::string name) -> Task<Result<Bytes>> {
        CO_TRY(auto stream, host.open(to, over));
        CO_TRY_STATUS(command::write_frame(
            *stream, codec::to_cbor(RequestFrame{name, 1000, codec::Value()})));
        co_return co_await command::read_frame(*stream);
      }(member.node().host(), peer, std::string(protocol), std::string(C::kName)));
  ASSERT_TRUE(answer) << C::kName << ": " << answer.error().to_string();
  auto frame = codec::from_cbor<command::ResponseFrame>(*answer);
  ASSERT_TRUE(frame) << C::kName;
  const auto taken = std::move(*frame).take();
  ASSERT_FALSE(taken) << C::kName;
  EXPECT_EQ(taken.error().code(), ErrorCode::permission_denied) << C::kName;
}
template <class... C>
void expect_all_refused(Visitor& visitor, Member& member, const PeerId& peer,
                        std::string_view protocol, command::List<C...>) {
  (expect_refused<C>(visitor, member, peer, protocol), ...);
}

void Hostile::check_peers() {
  // A member whose certificate says no more than "client".
  const std::string first = coreready["addresses"][0];
  {
    Member member(visitor, folder / "net" / "root.key", "home", folder / "member", first);
    const Status met = member.start();
    ASSERT_TRUE(met) << met.error().to_string();
    const auto cores = member.with_role("tns");
    ASSERT_EQ(cores.size(), 1u);
    expect_all_refused(visitor, member, cores[0], auth::kProtocol, auth::Commands{});
    expect_all_refused(visitor, member, cores[0], tns::kProtocol, tns::Commands{});
    expect_all_refused(visitor, member, cores[0], patrick::kProtocol, patrick::Commands{});
    expect_all_refused(visitor, member, cores[0], hoarder::kProtocol, hoarder::Commands{});
    expect_all_refused(visitor, member, cores[0], seer::kProtocol, seer::Commands{});
    // As many streams as it can get, each with half a frame.
    std::vector<std::unique_ptr<p2p::Stream>> held;
    for (int i = 0; i < 400; ++i) {
      auto stream = runtime::block_on(
          visitor.loop(), member.node().host().open(cores[0], std::string(tns::kProtocol)));
      if (!stream) break;
      (void)runtime::block_on(visitor.loop(),
                              (*stream)->write(Bytes{0x80, 0x80, 0x80, 0x01, 0xa0}));
      held.push_back(std::move(*stream));
    }
    EXPECT_FALSE(held.empty());
  }
  // A member of another network of the same name; and somebody who is no peer at all.
  must({tool("odo"), "network", "create", (folder / "other").string(), "--name", "home"});
  Member stranger(visitor, folder / "other" / "root.key", "home", folder / "stranger", first);
  (void)runtime::block_on(visitor.loop(), stranger.node().start());
  EXPECT_FALSE(runtime::block_on(visitor.loop(), stranger.node().connect(first)));
  EXPECT_TRUE(stranger.node().host().peers().empty());
  const auto port_at = first.find("/tcp/") + 5;
  const net::Endpoint p2p{"127.0.0.1",
                          static_cast<std::uint16_t>(std::stoi(first.substr(port_at)))};
  std::vector<Raw> noise;
  for (int i = 0; i < 300; ++i) {
    noise.emplace_back(p2p);
    if (i % 3 == 0) noise.back().say("GET / HTTP/1.1\r\n\r\n");
    if (i % 3 == 1)
      noise.back().say("\x13/multistream/1.0.0\n\x07/noise\n" + std::string(3000, '\xff'));
  }
  EXPECT_EQ(ask("hello", "/ping").body, "pong");
}

TEST_F(Hostile, NothingThatOthersDoIsFeltByWhoMindsTheirOwnBusiness) {
  ASSERT_NO_FATAL_FAILURE(start_network());
  must({tool("tau"), "new", "project", "hello"});
  add_function("hello", "ping");
  build_of("hello", "ping", "template");
  ASSERT_EQ(push("hello")["state"], "succeeded") << builds("hello").dump(1);
  ASSERT_TRUE(visitor.wait_until(kBuildMax, [&] { return ask("hello", "/ping").status == 200; }));

  Innocent innocent(http, "hello.home.localhost");
  const auto phase = [&](const char* name, const std::function<void()>& check) {
    innocent.now_comes(name);
    const std::size_t before = innocent.answered();
    const auto begun = Time::now();
    check();
    std::printf("%s: %ld ms, %zu answers beside it, the slowest until now %ld ms\n", name,
                static_cast<long>((Time::now() - begun) / 1ms), innocent.answered() - before,
                static_cast<long>(innocent.slowest() / 1ms));
    EXPECT_GT(innocent.answered(), before) << name;
  };
  phase("modules that cannot run", [this] { check_modules_that_cannot_run(); });
  phase("functions that take all", [this] { check_functions_that_take_all(); });
  phase("builds", [this] { check_builds(); });
  phase("configuration", [this] { check_configuration(); });
  phase("HTTP", [this] { check_http(); });
  phase("peers", [this] { check_peers(); });

  // A push of who minds their own business still works.
  write_text(project("hello") / "config" / "README", "still here\n");
  EXPECT_EQ(push("hello")["state"], "succeeded");
  innocent.stop();
  EXPECT_EQ(innocent.complaints(), "");
  for (auto* child : {&edge, &core}) (*child)->signal(SIGTERM);
  for (auto* child : {&edge, &core}) {
    const auto code = (*child)->wait(20s);
    ASSERT_TRUE(code) << (*child)->output();
    EXPECT_EQ(*code, 0) << (*child)->output();
  }
}

}  // namespace
}  // namespace tau::test
