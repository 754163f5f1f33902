#include "node/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tau::node {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(std::string_view text) {
  const auto options = parse_config(text, "node.yaml", "/etc/tau");
  return options ? "" : options.error().message();
}

TEST(Config, AnEmptyFileIsAllDefaults) {
  const auto options = parse_config("", "node.yaml", "/etc/tau");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->http_port, 1480u);
  EXPECT_EQ(options->data, "/etc/tau/data");
  EXPECT_FALSE(options->api_listen);
}

TEST(Config, ReadsWhatTheFileSays) {
  const auto options = parse_config(R"(
network: {name: home, root_key: babc, suffix: home.localhost}
services: [tns, seer]
data: /var/lib/tau
p2p:
  listen: [/ip4/127.0.0.1/tcp/4001]
  mdns: true
http: {address: 127.3.4.5, port: 0, entry: true}
api: {listen: "127.0.0.1:1422"}
dns: {listen: none}
patrick: {lease: 1500ms}
monkey: {memory: 512MiB, memory_total: 3GiB, build_time: 1m30s}
log: {level: debug}
)",
                                    "node.yaml", "/etc/tau");
  ASSERT_TRUE(options) << options.error().to_string();
  EXPECT_EQ(options->network_name, "home");
  EXPECT_THAT(options->services, ElementsAre("tns", "seer"));
  EXPECT_EQ(options->data, "/var/lib/tau");
  EXPECT_TRUE(options->p2p_mdns);
  EXPECT_EQ(options->api_listen->port, 1422);
  EXPECT_FALSE(options->dns_listen);
  EXPECT_EQ(options->monkey_memory.bytes, 512u << 20);
  EXPECT_EQ(options->monkey_build_time, std::chrono::seconds(90));
  EXPECT_EQ(options->monkey_memory_total->bytes, 3ull << 30);
  EXPECT_EQ(options->patrick_lease, std::chrono::milliseconds(1500));
  EXPECT_EQ(options->log_level, LogLevel::debug);
}

TEST(Config, AnUnknownKeyIsRefusedAtItsPlaceWithWhatWasMeant) {
  EXPECT_EQ(refusal("http:\n  prt: 80\n"),
            "node.yaml:2:3: unknown key \"prt\" in http; did you mean \"port\"?");
  EXPECT_THAT(refusal("servces: []\n"), HasSubstr("node.yaml:1:1: unknown key \"servces\"; did "
                                                  "you mean \"services\"?"));
  EXPECT_THAT(refusal("zzzzzzzz: 1\n"), HasSubstr("known here: network, identity, services"));
}

TEST(Config, ATimeHasAUnitAndBounds) {
  EXPECT_EQ(parse_config("patrick: {lease: 2m}", "n", "/")->patrick_lease, std::chrono::minutes(2));
  for (const std::string bad : {"10", "s", "1ms", "25h", "-1s", "99999999999h"})
    EXPECT_THAT(refusal("patrick: {lease: " + bad + "}"), HasSubstr("patrick.lease needs a dur"));
}

TEST(Config, AnUnknownServiceIsRefusedAtItsPlace) {
  EXPECT_EQ(refusal("services: [tns, hoader]\n"),
            "node.yaml:1:17: unknown service \"hoader\"; did you mean \"hoarder\"?");
}

TEST(Config, WrongTypesAreRefusedAtTheirPlace) {
  for (const char* wrong : {"soon", "0s", "-1s", "2h", "[1s]"})
    EXPECT_THAT(refusal(std::string("monkey: {build_time: ") + wrong + "}\n"),
                HasSubstr("node.yaml:1:22: monkey.build_time needs a duration"));
  EXPECT_EQ(refusal("http:\n  port: 70000\n"),
            "node.yaml:2:9: http.port needs a number from 0 to 65535");
  EXPECT_THAT(refusal("services: tns\n"), HasSubstr("node.yaml:1:11: services needs a list"));
  EXPECT_THAT(refusal("p2p: {mdns: maybe}\n"), HasSubstr("true or false"));
  EXPECT_THAT(refusal("api: {listen: here}\n"), HasSubstr("node.yaml:1:15: api.listen"));
  EXPECT_THAT(refusal("a: [1\n"), HasSubstr("node.yaml:"));
  EXPECT_THAT(refusal("http: 3\n"), HasSubstr("http needs keys below it"));
  EXPECT_THAT(refusal("data: a\ndata: b\n"), HasSubstr("given twice"));
}

TEST(Config, WhatIsShownReadsBackTheSame) {
  Options options;
  options.network_root_key = "babc";
  options.network_name = "null";  // a text, not YAML's nothing
  options.services = {"tns", "patrick"};
  options.data = "/a b/\"c\"";
  options.api_listen = net::Endpoint{"127.0.0.1", 0};
  options.monkey_memory.bytes = 64u << 20;
  const std::string shown = show_config(options);
  EXPECT_THAT(shown, HasSubstr("  # port: 1480\n"));
  const auto again = parse_config(shown, "shown", "");
  ASSERT_TRUE(again) << again.error().to_string() << shown;
  EXPECT_EQ(show_config(*again), shown);
  EXPECT_EQ(again->data, options.data);
}

}  // namespace
}  // namespace tau::node
