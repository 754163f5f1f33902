#include "http/router.h"

#include <gtest/gtest.h>

#include "http/client.h"
#include "net/simulated.h"

namespace tau::http {
namespace {

using runtime::block_on;

Task<Result<Json>> show(Request& request) {
  Json parameters = Json::object();
  for (const auto& [name, value] : request.parameters) parameters[name] = value;
  co_return parameters;
}
Task<Result<Json>> create(Request& request) {
  CO_TRY(const Json body, read_json(request));
  CO_TRY_SYNC(const std::string name, string_field(body, "name"));
  co_return Json{{"made", name}};
}
Task<Result<Json>> missing(Request&) { co_return fail(ErrorCode::not_found, "no such project"); }
Task<Result<Json>> named(Request&) { co_return Json("named"); }

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    router_.add_json("GET", "/v1/projects/{id}", show);
    router_.add_json("GET", "/v1/projects/new", named);
    router_.add_json("POST", "/v1/projects", create);
    router_.add_json("DELETE", "/v1/projects/{id}", missing);
    router_.add_json("GET", "/git/{rest...}", show);
    server_.serve(*net_.listen({"127.0.0.1", 80}));
  }
  ~RouterTest() override { block_on(loop_, server_.stop()); }
  Response call(ClientRequest request) {
    if (request.host.empty()) request.host = "localhost:80";
    auto r = block_on(loop_, Client(net_).send({"127.0.0.1", 80}, std::move(request)));
    EXPECT_TRUE(r) << (r ? "" : r.error().message());
    return r ? *r : Response{};
  }
  runtime::VirtualLoop loop_;
  net::SimulatedNetwork world_{loop_};
  net::Network& net_ = world_.host("127.0.0.1");
  Router router_;
  Server server_{
      loop_, fenced({.hosts = {"api.example"}, .origins = {}}, router_.as_handler()), {}};
};

TEST_F(RouterTest, FindsTheRouteAndDecodesItsParameters) {
  EXPECT_EQ(call({.target = "/v1/projects/a%2Fb"}).body, "{\"id\":\"a/b\"}\n");
  EXPECT_EQ(call({.target = "/v1/projects/new"}).body, "\"named\"\n");
  EXPECT_EQ(call({.target = "/git/a/b/c?x"}).body, "{\"rest\":\"a/b/c\"}\n");
}

TEST_F(RouterTest, SaysWhatIsNotThereAndWhatIsAllowed) {
  EXPECT_EQ(call({.target = "/v1/nothing"}).status, 404);
  EXPECT_EQ(call({.target = "/v1/projects/"}).status, 404);
  EXPECT_EQ(call({.target = "/v1/projects/%zz"}).status, 400);
  const Response r = call({.method = "PATCH", .target = "/v1/projects/x"});
  EXPECT_EQ(r.status, 405);
  EXPECT_EQ(r.headers.get("allow"), "DELETE, GET");
}

TEST_F(RouterTest, TurnsErrorsIntoStatusAndJson) {
  const Response r = call({.method = "DELETE", .target = "/v1/projects/x"});
  EXPECT_EQ(r.status, 404);
  EXPECT_EQ(r.body, "{\"error\":{\"code\":\"not_found\",\"message\":\"no such project\"}}\n");
  const auto post = [&](std::string body) {
    return call({.method = "POST", .target = "/v1/projects", .body = std::move(body)});
  };
  EXPECT_EQ(post("{\"name\":\"x\"}").body, "{\"made\":\"x\"}\n");
  EXPECT_EQ(post("{\"nam").status, 400);
  EXPECT_EQ(post("{}").status, 400);
  EXPECT_NE(post("{}").body.find("name"), std::string::npos);
  EXPECT_EQ(post(std::string(1000, '[') + std::string(1000, ']')).status, 400);
}

TEST_F(RouterTest, KeepsWebPagesOut) {
  const std::string path = "/v1/projects/new";
  EXPECT_EQ(call({.target = path, .host = "127.0.0.1:80"}).status, 200);
  EXPECT_EQ(call({.target = path, .host = "api.example"}).status, 200);
  EXPECT_EQ(call({.target = path, .host = "evil.example"}).status, 403);
  EXPECT_EQ(call({.target = path, .host = "localhost.evil.example"}).status, 403);
  const auto with = [&](std::string name, std::string value) {
    ClientRequest request{.target = path, .host = "localhost:80"};
    request.headers.add(std::move(name), std::move(value));
    return call(std::move(request)).status;
  };
  EXPECT_EQ(with("origin", "http://localhost:80"), 200);
  EXPECT_EQ(with("origin", "http://localhost:81"), 403);
  EXPECT_EQ(with("origin", "http://evil.example"), 403);
  EXPECT_EQ(with("origin", "null"), 403);
  EXPECT_EQ(with("sec-fetch-site", "cross-site"), 403);
  EXPECT_EQ(with("sec-fetch-site", "same-origin"), 200);
}

}  // namespace
}  // namespace tau::http
