#include "project/plan.h"

#include <gtest/gtest.h>

#include "project/writer.h"

namespace tau::project {
namespace {

std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    put("config.yaml", project_yaml({id_of("project"), "hello", "says: hello"}));
    put("domains/main.yaml", domain_yaml({id_of("main"), "", "hello"}));
    NewFunction ping;
    ping.id = id_of("ping");
    ping.paths = {"/ping"};
    ping.domains = {"main"};
    ping.call = "ping";
    put("functions/ping.yaml", function_yaml(ping));
  }
  void put(const std::string& path, std::string_view text) { files[path] = to_bytes(text); }
  void change(const std::string& path, std::string_view from, std::string_view to) {
    std::string text = to_text(files.at(path));
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    put(path, text.replace(at, from.size(), to));
  }
  Plan read() { return read_project(files, target); }
  std::string problems() { return read().problems.to_string(); }
  void expect_error(std::string_view says) {
    const Plan plan = read();
    EXPECT_FALSE(plan.ok()) << says;
    EXPECT_NE(plan.problems.to_string().find(says), std::string::npos)
        << "wanted: " << says << "\ngot: " << plan.problems.to_string();
  }

  ConfigFiles files;
  Target target{ProjectId(id_of("project")), "main", "blackhole.localhost"};
};

TEST_F(PlanTest, TakesWhatTheWriterWritesWithoutAWord) {
  const Plan plan = read();
  EXPECT_EQ(plan.problems.to_string(), "");
  ASSERT_EQ(plan.functions.size(), 1u);
  EXPECT_EQ(plan.functions[0].key, "ping");
  const auto module = codec::Cid::of(codec::ContentType::raw, as_bytes("wasm"));
  const auto deployment = with_modules(plan, {{"ping", module}});
  ASSERT_TRUE(deployment) << deployment.error().to_string();
  EXPECT_EQ(deployment->name, "hello");
  EXPECT_EQ(deployment->functions[0].domains,
            std::vector<std::string>{"hello.blackhole.localhost"});
  EXPECT_EQ(deployment->functions[0].timeout_ns, 10'000'000'000u);
  EXPECT_EQ(deployment->functions[0].memory_bytes, 32'000'000u);
  EXPECT_TRUE(encode_deployment(*deployment));
  EXPECT_FALSE(with_modules(plan, {}));
}

TEST_F(PlanTest, ReadsApplicationsAndTheirOwnDomainsFirst) {
  put("applications/shop/config.yaml", application_yaml({id_of("shop"), ""}));
  put("applications/shop/domains/main.yaml", domain_yaml({id_of("shop-main"), "", "shop"}));
  put("applications/shop/functions/buy.yaml",
      "id: " + id_of("buy") +
          "\ndomains: [main]\nsource: .\ntrigger: {type: https, method: post, paths: [/buy]}\n"
          "execution: {timeout: 5s, memory: 16MiB, call: buy}\n");
  const Plan plan = read();
  EXPECT_EQ(plan.problems.to_string(), "");
  ASSERT_EQ(plan.functions.size(), 2u);
  EXPECT_EQ(plan.functions[1].key, "shop/buy");
  EXPECT_EQ(plan.functions[1].function.domains,
            std::vector<std::string>{"shop.blackhole.localhost"});
  EXPECT_EQ(plan.functions[1].function.method, "POST");
}

TEST_F(PlanTest, ReadsResourcesWithinTheProjectsDocument) {
  files.erase("domains/main.yaml");
  put("config.yaml", project_yaml({id_of("project"), "hello", ""}) + "domains:\n  main:\n    id: " +
                         id_of("main") + "\n    fqdn: hello.blackhole.localhost\n");
  EXPECT_EQ(problems(), "");
}

TEST_F(PlanTest, ReportsEveryMistakeWithItsPlace) {
  change("functions/ping.yaml", "method: GET", "method: GOT");
  change("functions/ping.yaml", "[/ping]", "[ping]");
  change("functions/ping.yaml", "timeout: 10s", "timeout: soon");
  change("functions/ping.yaml", "memory: 32MB", "memory: 1KB");
  change("functions/ping.yaml", "domains: [main]", "domains: [mian]");
  change("domains/main.yaml", "fqdn: hello", "fqdn: hel lo");
  const std::string all = problems();
  EXPECT_NE(all.find("functions/ping.yaml:4:11: error: function \"ping\": \"GOT\" is no method"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("functions/ping.yaml:5:11: error: function \"ping\": path \"ping\" must"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("functions/ping.yaml:6:13: error: function \"ping\": there is no domain "
                     "\"mian\""),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("\"soon\" is no duration"), std::string::npos) << all;
  EXPECT_NE(all.find("memory must be between"), std::string::npos) << all;
  EXPECT_NE(all.find("domains/main.yaml:3:7: error"), std::string::npos) << all;
  EXPECT_NE(read().problems.as_error().message().find("functions/ping.yaml:4:11: function"),
            std::string::npos);
}

TEST_F(PlanTest, RefusesWhatContradictsItself) {
  const ConfigFiles good = files;
  put("functions/pong.yaml", to_text(files.at("functions/ping.yaml")));
  expect_error("this id is taken already, at functions/ping.yaml:1:5");
  change("functions/pong.yaml", id_of("ping"), id_of("pong"));
  expect_error("answers GET hello.blackhole.localhost/ping, which function \"ping\"");
  files = good;
  target.project = ProjectId(id_of("another"));
  expect_error("config.yaml:2:5: error: this repository belongs to project");
  target.project = ProjectId(id_of("project"));
  change("config.yaml", id_of("project"), "42");
  expect_error("is no CID");
  files.erase("config.yaml");
  expect_error("config.yaml: error: is missing");
  files = good;
  put("domains/other.yaml", domain_yaml({id_of("other"), "", "hello"}));
  expect_error("is another domain's already");
  files = good;
  put("functions/a b.yaml", "id: x\n");
  expect_error("can't be the name of a file");
  files = good;
  put("applications/shop/functions/x.yaml", to_text(good.at("functions/ping.yaml")));
  expect_error("applications/shop/config.yaml: error: is missing");
  files = good;
  put("functions/ping.yaml", "- a list\n");
  expect_error("must be a map");
  files = good;
  put("functions/ping.yaml", "");
  expect_error("\"trigger\": \"type\" is missing");
  files = good;
  change("domains/main.yaml", "fqdn: hello", "fqdn: a.b.blackhole.localhost");
  expect_error("must be one label");
}

TEST_F(PlanTest, WarnsOfWhatIsNotDeployedYet) {
  put("databases/users.yaml", "id: " + id_of("users") + "\nmatch: /users\nstorage: {size: 1GB}\n");
  put("functions/tick.yaml", "id: " + id_of("tick") +
                                 "\nsource: .\ntrigger: {type: pubsub, channel: c}\n"
                                 "execution: {timeout: 5s, memory: 16MiB, call: tick}\n");
  put("domains/real.yaml", domain_yaml({id_of("real"), "", "www.example.com"}));
  put("functions/extra.yml", "");
  put("README.md", "hello");
  change("functions/ping.yaml", "trigger:", "tigger: 1\ntrigger:");
  const Plan plan = read();
  EXPECT_TRUE(plan.ok()) << plan.problems.to_string();
  EXPECT_EQ(plan.functions.size(), 1u);
  const std::string all = plan.problems.to_string();
  for (const char* says :
       {"databases are not deployed yet", "pubsub functions are not deployed yet",
        "www.example.com is not below blackhole.localhost", "only files that end in .yaml",
        "\"tigger\" is not known here"})
    EXPECT_NE(all.find(says), std::string::npos) << says << "\n" << all;
  EXPECT_EQ(all.find("README"), std::string::npos) << all;
}

TEST_F(PlanTest, CountsErrorsThatItNoLongerLists) {
  for (int i = 0; i < 100; ++i) put("functions/f" + std::to_string(i) + ".yaml", "a: [");
  const Plan plan = read();
  EXPECT_EQ(plan.problems.errors(), 100u);
  EXPECT_NE(plan.problems.to_string().find("and 50 more"), std::string::npos);
  for (int i = 0; i < 1000; ++i) put("functions/g" + std::to_string(i) + ".yaml", "");
  expect_error("at most 1000");
}

}  // namespace
}  // namespace tau::project
