#include "project/deployment.h"

#include <gtest/gtest.h>

#include <functional>

namespace tau::project {
namespace {

std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

Deployment sample() {
  Deployment d;
  d.project = ProjectId(id_of("project"));
  d.branch = "main";
  d.name = "hello";
  d.domains = {{id_of("domain"), "main", "hello.blackhole.localhost"}};
  DeployedFunction f;
  f.id = id_of("ping");
  f.name = "ping";
  f.module = codec::Cid::of(codec::ContentType::raw, as_bytes("wasm"));
  f.call = "ping";
  f.method = "GET";
  f.paths = {"/ping", "/"};
  f.domains = {"hello.blackhole.localhost"};
  f.timeout_ns = 20'000'000'000;
  f.memory_bytes = 32'000'000;
  d.functions.push_back(f);
  f.id = id_of("post");
  f.name = "post";
  f.application = "app";
  f.method = "POST";
  d.functions.push_back(f);
  return d;
}

TEST(Deployment, SurvivesItsEncoding) {
  const Deployment d = sample();
  const auto encoded = encode_deployment(d);
  ASSERT_TRUE(encoded) << encoded.error().to_string();
  EXPECT_TRUE(encoded->cid.matches(encoded->block));
  const auto back = decode_deployment(encoded->block);
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(*back, d);
  EXPECT_EQ(links_of(d).size(), 1u);  // both functions use one module
  EXPECT_EQ(hosts_of(d), std::vector<std::string>{"hello.blackhole.localhost"});
}

TEST(Deployment, RefusesWhatWouldHurtASubstrate) {
  const std::pair<const char*, std::function<void(Deployment&)>> cases[] = {
      {"version", [](auto& d) { d.version = 2; }},
      {"CID", [](auto& d) { d.project = ProjectId("x"); }},
      {"branch", [](auto& d) { d.branch = std::string(300, 'b'); }},
      {"name", [](auto& d) { d.name = "../x"; }},
      {"CID", [](auto& d) { d.functions[0].id = "nothing"; }},
      {"twice", [](auto& d) { d.functions[0].id = d.functions[1].id; }},
      {"name", [](auto& d) { d.functions[0].name = "a/b"; }},
      {"export", [](auto& d) { d.functions[0].call = "a b"; }},
      {"method", [](auto& d) { d.functions[0].method = "get"; }},
      {"paths", [](auto& d) { d.functions[0].paths.clear(); }},
      {"'/'", [](auto& d) { d.functions[0].paths = {"ping"}; }},
      {"twice", [](auto& d) { d.functions[1].method = "GET"; }},
      {"no domain", [](auto& d) { d.functions[0].domains = {"other.localhost"}; }},
      {"canonical", [](auto& d) { d.domains[0].fqdn = "Hello.blackhole.localhost"; }},
      {"domain name", [](auto& d) { d.domains[0].fqdn = "a b"; }},
      {"timeout", [](auto& d) { d.functions[0].timeout_ns = 0; }},
      {"memory", [](auto& d) { d.functions[0].memory_bytes = 1ull << 40; }},
      {"UnixFS",
       [](auto& d) {
         d.functions[0].module = codec::Cid::of(codec::ContentType::libp2p_key, as_bytes("x"));
       }},
      {"over", [](auto& d) {
         for (int i = 0; i < 1000; ++i) {
           auto f = d.functions[0];
           f.id = id_of("f" + std::to_string(i));
           f.paths.clear();
           for (int j = 0; j < 64; ++j)
             f.paths.push_back("/" + std::to_string(i) + "/" + std::to_string(j));
           d.functions.push_back(f);
         }
       }}};
  for (const auto& [says, change] : cases) {
    Deployment d = sample();
    change(d);
    const auto decoded = decode_deployment(codec::to_cbor(d));
    ASSERT_FALSE(decoded) << says;
    EXPECT_NE(decoded.error().message().find(says), std::string::npos) << decoded.error().message();
    EXPECT_FALSE(encode_deployment(d));
  }
  EXPECT_FALSE(decode_deployment(Bytes(2u << 20, 0)));
  const Bytes good = codec::to_cbor(sample());
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= 0x41;
    (void)decode_deployment(bad);
    (void)decode_deployment(BytesView(good).first(i));
  }
}

TEST(Routes, FindTheFunctionOrSayWhatIsMissing) {
  const Deployment d = sample();
  const Routes routes(d);
  EXPECT_EQ(routes.size(), 4u);
  auto answer = routes.find("hello.blackhole.localhost", "POST", "/ping");
  EXPECT_EQ(answer.found, Routes::Found::function);
  EXPECT_EQ(answer.function, 1u);
  answer = routes.find("hello.blackhole.localhost", "PUT", "/ping");
  EXPECT_EQ(answer.found, Routes::Found::other_method);
  EXPECT_EQ(answer.allowed, (std::vector<std::string>{"GET", "HEAD", "POST"}));
  EXPECT_EQ(routes.find("hello.blackhole.localhost", "GET", "/ping/").found,
            Routes::Found::no_path);
  EXPECT_EQ(routes.find("other.localhost", "GET", "/ping").found, Routes::Found::no_host);
}

TEST(Names, AreBroughtToOneForm) {
  EXPECT_EQ(*canonical_fqdn("Hello.Example.COM."), "hello.example.com");
  for (const char* bad : {"", ".", "a..b", "-a.b", "a-.b", "a b", "127.0.0.1", "a/b"})
    EXPECT_FALSE(canonical_fqdn(bad)) << bad;
  EXPECT_FALSE(canonical_fqdn(std::string(64, 'a')));
  EXPECT_EQ(*canonical_method("get"), "GET");
  EXPECT_FALSE(canonical_method("GOT"));
}

}  // namespace
}  // namespace tau::project
