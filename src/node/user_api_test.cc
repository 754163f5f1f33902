#include "node/user_api.h"

#include <gtest/gtest.h>

#include "codec/base64.h"
#include "command/members.h"
#include "http/client.h"
#include "net/simulated.h"
#include "p2p/simulated/network.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"

namespace tau::node {
namespace {

using namespace std::chrono_literals;
using http::Json;

// The services behind their wire interfaces, each with an answer that a test can recognize.
struct Auth {
  Task<Result<auth::Register::Response>> handle(command::Peer, auth::Register::Request r) {
    CO_TRY_SYNC(const auto registration, auth::open_registration(r.registration));
    if (registration.label == "taken")
      co_return fail(ErrorCode::already_exists, "label taken is another project's");
    known = r.registration;
    co_return auth::Register::Response{registration.project()};
  }
  Task<Result<auth::GetProject::Response>> handle(command::Peer, auth::GetProject::Request r) {
    if (!known || auth::open_registration(*known)->project() != r.project)
      co_return fail(ErrorCode::not_found, "no project " + r.project.str());
    co_return auth::GetProject::Response{*known};
  }
  Task<Result<auth::ListProjects::Response>> handle(command::Peer, auth::ListProjects::Request) {
    auth::ListProjects::Response all;
    if (known) all.registrations.push_back(*known);
    co_return all;
  }
  std::optional<codec::Signed> known;
};

struct Patrick {
  Task<Result<patrick::ListJobs::Response>> handle(command::Peer, patrick::ListJobs::Request) {
    co_return patrick::ListJobs::Response{{job}};
  }
  Task<Result<patrick::GetJob::Response>> handle(command::Peer, patrick::GetJob::Request r) {
    asked = r;
    if (r.job != job.id) co_return fail(ErrorCode::not_found, "no job " + r.job.str());
    co_return patrick::GetJob::Response{job};
  }
  Task<Result<patrick::ReadLog::Response>> handle(command::Peer, patrick::ReadLog::Request r) {
    const std::string log = "compiling\nlinking\n";
    co_return patrick::ReadLog::Response{log.substr(std::min<std::size_t>(r.offset, log.size())),
                                         r.offset >= log.size()};
  }
  Task<Result<patrick::GitBase::Response>> handle(command::Peer, patrick::GitBase::Request) {
    co_return patrick::GitBase::Response{"http://127.0.0.1:7/git"};
  }
  Task<Result<patrick::CancelJob::Response>> handle(command::Peer, patrick::CancelJob::Request r) {
    ordered = r.order;
    job.state = patrick::JobState::cancelled;
    co_return patrick::CancelJob::Response{job};
  }
  Task<Result<patrick::RetryJob::Response>> handle(command::Peer, patrick::RetryJob::Request r) {
    ordered = r.order;
    co_return fail(ErrorCode::permission_denied, "only the owner");
  }
  patrick::JobStatus job;
  patrick::GetJob::Request asked;
  codec::Signed ordered;
};

struct Seer {
  Task<Result<seer::ListNodes::Response>> handle(command::Peer, seer::ListNodes::Request) {
    seer::LiveNode node;
    node.peer = PeerId("12D3");
    node.announcement = {{"substrate"}, {"127.1.0.1"}, 1480, 5, {}, {}};
    co_return seer::ListNodes::Response{{node}};
  }
};

struct Tns {
  Task<Result<tns::GetPointer::Response>> handle(command::Peer, tns::GetPointer::Request) {
    co_return fail(ErrorCode::not_found, "nothing is deployed");
  }
};

// Lines come when the test says so.
struct Substrate {
  explicit Substrate(runtime::Loop& l) : loop(l), grown(l) {}
  void say(std::int64_t at, std::string text) {
    lines.push_back({lines.size() + 1, at, "ping", "r1", "stdout", std::move(text)});
    grown.notify_all();
  }
  Task<Result<substrate::ReadLogs::Response>> handle(command::Peer,
                                                     substrate::ReadLogs::Request r) {
    const TimePoint until = loop.now() + std::chrono::milliseconds(r.wait_ms);
    for (;;) {
      substrate::ReadLogs::Response out;
      for (const auto& line : lines)
        if (line.number > r.after) out.lines.push_back(line);
      if (!out.lines.empty() || loop.now() >= until) co_return out;
      const auto woken = co_await runtime::with_deadline(until - loop.now(), "", grown.wait());
      if (!woken && woken.error().code() == ErrorCode::cancelled) co_return fail(woken.error());
    }
  }
  runtime::Loop& loop;
  runtime::Signal grown;
  std::vector<substrate::LogLine> lines;
};

class UserApiTest : public ::testing::Test {
 protected:
  UserApiTest() {
    EXPECT_TRUE(runtime::block_on(loop_, members_.start()));
    patrick_.job.id = JobId("j1");
    patrick_.job.state = patrick::JobState::building;
    patrick_.job.branch = "main";
    patrick_.job.seq = 3;
    core_.router.serve(auth::kProtocol, book_, auth::Commands{});
    core_.router.serve(patrick::kProtocol, patrick_,
                       command::List<patrick::ListJobs, patrick::GetJob, patrick::ReadLog,
                                     patrick::GitBase, patrick::CancelJob, patrick::RetryJob>{});
    core_.router.serve(seer::kProtocol, seer_, command::List<seer::ListNodes>{});
    core_.router.serve(tns::kProtocol, tns_, command::List<tns::GetPointer>{});
    first_.router.serve(substrate::kProtocol, one_, command::List<substrate::ReadLogs>{});
    second_.router.serve(substrate::kProtocol, two_, command::List<substrate::ReadLogs>{});
    api_.mount(router_, "/cloud");
    server_.serve(*network_.host("10.0.0.1").listen({"10.0.0.1", 80}));
  }
  ~UserApiTest() override {
    runtime::block_on(loop_, server_.stop());
    for (const auto protocol :
         {auth::kProtocol, patrick::kProtocol, seer::kProtocol, tns::kProtocol})
      runtime::block_on(loop_, core_.router.unserve(protocol));
    runtime::block_on(loop_, first_.router.unserve(substrate::kProtocol));
    runtime::block_on(loop_, second_.router.unserve(substrate::kProtocol));
    runtime::block_on(loop_, members_.stop());
  }

  struct Answer {
    int status = 0;
    Json body;
  };
  Answer ask(const std::string& method, const std::string& path, const std::string& body = "") {
    http::ClientRequest request;
    request.method = method;
    request.target = "/cloud" + path;
    request.body = body;
    http::Client client(network_.host("10.0.0.2"));
    auto answer = runtime::block_on(loop_, client.send({"10.0.0.1", 80}, std::move(request)));
    EXPECT_TRUE(answer) << answer.error().to_string();
    if (!answer) return {};
    return {answer->status, http::parse_json(answer->body).value_or(Json())};
  }
  std::string registration(const std::string& label) {
    const auto owner = crypto::KeyPair::generate(random_);
    auth::Registration r;
    r.genesis = {"hello", owner.public_key().raw(), {}};
    r.label = label;
    r.repositories = {{"config", auth::RepositoryKind::config, "local"},
                      {"code", auth::RepositoryKind::code, "local"}};
    const Bytes bytes = codec::to_cbor(codec::sign_record(owner, r));
    return Json{{"registration", codec::base64_encode(bytes)}}.dump();
  }

  runtime::VirtualLoop loop_;
  SeededRandom random_{1};
  p2p::simulated::SimulatedNetwork peers_{loop_, random_};
  command::Members members_{
      loop_, random_, [this](const crypto::KeyPair& key, p2p::Admission admission) {
        return std::make_unique<p2p::simulated::SimulatedHost>(
            peers_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
      }};
  command::Member& core_ = members_.add({"auth", "patrick", "seer", "tns"});
  command::Member& first_ = members_.add({"substrate"});
  command::Member& second_ = members_.add({"substrate"});
  command::Member& mine_ = members_.add({"client"});
  Auth book_;
  Patrick patrick_;
  Seer seer_;
  Tns tns_;
  Substrate one_{loop_}, two_{loop_};
  UserApi api_{loop_, mine_.caller, {"blackhole", "blackhole.localhost", "1.2.3"}};
  http::Router router_;
  net::SimulatedNetwork network_{loop_};
  http::Server server_{loop_, router_.as_handler(), http::Server::Options{}};
};

TEST_F(UserApiTest, SaysWhereTheNetworkIsReached) {
  const auto network = ask("GET", "/network");
  EXPECT_EQ(network.status, 200);
  EXPECT_EQ(network.body, Json({{"name", "blackhole"},
                                {"suffix", "blackhole.localhost"},
                                {"http_port", 1480},
                                {"dns", ""},
                                {"git_base", "http://127.0.0.1:7/git"},
                                {"version", "1.2.3"}}));
  const auto nodes = ask("GET", "/nodes");
  EXPECT_EQ(nodes.body["nodes"][0]["addresses"][0], "127.1.0.1");
}

TEST_F(UserApiTest, RegistersProjectsAndPassesRefusalsOn) {
  const auto made = ask("POST", "/projects", registration("hello"));
  ASSERT_EQ(made.status, 200) << made.body.dump();
  EXPECT_EQ(made.body["url"], "http://hello.blackhole.localhost:1480");
  const std::string id = made.body["id"];
  EXPECT_EQ(made.body["repositories"][1]["url"], "http://127.0.0.1:7/git/" + id + "/code.git");
  EXPECT_EQ(ask("GET", "/projects/" + id).body["label"], "hello");
  EXPECT_EQ(ask("GET", "/projects").body["projects"].size(), 1u);

  const auto taken = ask("POST", "/projects", registration("taken"));
  EXPECT_EQ(taken.status, 409);
  EXPECT_EQ(taken.body["error"]["code"], "already_exists");
  EXPECT_EQ(ask("GET", "/projects/none").status, 404);
  for (const auto* broken : {"", "{}", "[1]", R"({"registration":7})", R"({"registration":"=="})",
                             R"({"registration":"AAAA"})", R"({"registration":"!!!!"})"})
    EXPECT_EQ(ask("POST", "/projects", broken).status, 400) << broken;
}

TEST_F(UserApiTest, ShowsBuildsAndTheirLogs) {
  EXPECT_EQ(ask("GET", "/projects/p/builds").body["builds"][0]["state"], "building");
  const auto build = ask("GET", "/builds/j1?unless_state=waiting&wait_ms=1000");
  EXPECT_EQ(build.body["seq"], 3);
  EXPECT_EQ(patrick_.asked.unless_state, patrick::JobState::waiting);
  EXPECT_EQ(patrick_.asked.wait_ms, 1000u);
  EXPECT_EQ(ask("GET", "/builds/none").status, 404);
  EXPECT_EQ(ask("GET", "/builds/j1?unless_state=sleeping").status, 400);
  EXPECT_EQ(ask("GET", "/builds/j1?wait_ms=soon").status, 400);
  const auto log = ask("GET", "/builds/j1/log?offset=10");
  EXPECT_EQ(log.body, Json({{"text", "linking\n"}, {"offset", 18}, {"ended", false}}));
  EXPECT_EQ(ask("GET", "/builds/j1/log?offset=18").body["ended"], true);
}

TEST_F(UserApiTest, PassesTheOwnersOrdersOnAsTheyAreSigned) {
  const auto owner = crypto::KeyPair::generate(random_);
  const auto body = [](const codec::Signed& order) {
    return Json{{"order", codec::base64_encode(codec::to_cbor(order))}}.dump();
  };
  const auto cancel = codec::sign_record(owner, patrick::CancelOrder{JobId("j1"), 5});
  const auto ended = ask("POST", "/builds/j1/cancel", body(cancel));
  EXPECT_EQ(ended.status, 200) << ended.body.dump();
  EXPECT_EQ(ended.body["state"], "cancelled");
  EXPECT_EQ(patrick_.ordered, cancel);
  const auto retry = codec::sign_record(owner, patrick::RetryOrder{JobId("j1"), true, 5});
  EXPECT_EQ(ask("POST", "/builds/j1/retry", body(retry)).status, 403);
  EXPECT_EQ(patrick_.ordered, retry);
  patrick_.ordered = {};
  EXPECT_EQ(ask("POST", "/builds/j2/cancel", body(cancel)).status, 400) << "another build's";
  EXPECT_EQ(ask("POST", "/builds/j1/cancel", "{}").status, 400);
  EXPECT_EQ(patrick_.ordered, codec::Signed());
}

TEST_F(UserApiTest, MergesTheLinesOfAllSubstratesAndGoesOnFromItsCursor) {
  one_.say(10, "a");
  two_.say(5, "b");
  const auto both = ask("GET", "/projects/p/logs");
  ASSERT_EQ(both.body["lines"].size(), 2u) << both.body.dump();
  EXPECT_EQ(both.body["lines"][0]["text"], "b") << "in order of time";
  EXPECT_EQ(both.body["lines"][0]["node"], second_.host->id().str());
  const std::string cursor = both.body["cursor"];
  EXPECT_TRUE(ask("GET", "/projects/p/logs?cursor=" + cursor).body["lines"].empty());

  // Waits for a line of either, and does not wait for the other one then.
  loop_.call_after(3s, [this] { one_.say(20, "c"); });
  const auto before = loop_.now();
  const auto next = ask("GET", "/projects/p/logs?wait_ms=20000&cursor=" + cursor);
  ASSERT_EQ(next.body["lines"].size(), 1u);
  EXPECT_EQ(next.body["lines"][0]["text"], "c");
  EXPECT_LT(loop_.now() - before, 4s);
  EXPECT_EQ(ask("GET", "/projects/p/logs?cursor=nonsense").status, 400);

  // A dead substrate takes its own lines with it, nothing else.
  peers_.kill(second_.host->id());
  one_.say(30, "d");
  const auto rest = ask("GET", "/projects/p/logs?cursor=" + next.body["cursor"].get<std::string>());
  EXPECT_EQ(rest.body["lines"].size(), 1u);
}

TEST_F(UserApiTest, ItsDocumentNamesEveryRouteAndEverySchema) {
  const auto document = ask("GET", "/openapi.json");
  ASSERT_EQ(document.status, 200);
  EXPECT_EQ(document.body["openapi"], "3.1.0");
  std::size_t described = 0;
  for (const auto& [path, methods] : document.body["paths"].items()) described += methods.size();
  EXPECT_EQ(described, UserApi::operations().size());
  for (const auto& operation : UserApi::operations()) {
    const auto& methods = document.body["paths"][std::string(operation.path)];
    const auto& about = methods[operation.method == "POST" ? "post" : "get"];
    EXPECT_EQ(about["operationId"], operation.id);
    EXPECT_TRUE(document.body["components"]["schemas"].contains(operation.answer))
        << operation.answer;
    // Whatever it answers, the route is there.
    std::string path(operation.path);
    for (const auto* name : {"{project}", "{build}"})
      if (const auto at = path.find(name); at != path.npos)
        path.replace(at, std::string_view(name).size(), "x");
    const auto answer = ask(std::string(operation.method), path);
    EXPECT_NE(answer.status, 405) << path;
    if (answer.status == 404) {
      EXPECT_EQ(answer.body["error"]["message"].get<std::string>().find("nothing answers"),
                std::string::npos)
          << path;
    }
  }
}

TEST(LogCursor, SurvivesItsTextAndRefusesOthers) {
  LogCursor cursor;
  cursor.set(PeerId("12D3KooWAnn"), 7);
  cursor.set(PeerId("12D3KooWBob"), 0);
  const auto again = LogCursor::parse(cursor.to_string());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->after(PeerId("12D3KooWAnn")), 7u);
  EXPECT_EQ(again->after(PeerId("nobody")), 0u);
  EXPECT_EQ(again->to_string(), cursor.to_string());
  EXPECT_TRUE(LogCursor::parse(""));
  for (const auto* broken : {"a", "a.", ".7", "a.x", "a.7~~", "a.-1", "a.99999999999999999999"})
    EXPECT_FALSE(LogCursor::parse(broken)) << broken;
}

}  // namespace
}  // namespace tau::node
