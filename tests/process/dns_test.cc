// DNS as others see it: `dig` against the seer of a network of processes.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <regex>
#include <thread>

#include "child.h"
#include "crypto/ed25519.h"
#include "http/json.h"
#include "services/auth/api.h"
#include "services/seer/api.h"
#include "services/seer/dns_client.h"
#include "visitor.h"

namespace tau::test {
namespace {

using namespace std::chrono_literals;
using http::Json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

// A datagram socket of this machine's address `from`, connected to `to`.
class RawUdp {
 public:
  RawUdp(const std::string& from, const net::Endpoint& to) : fd_(socket(AF_INET, SOCK_DGRAM, 0)) {
    const timeval wait{2, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    sockaddr_in address = at(from, 0);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    address = at(to.address, to.port);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~RawUdp() { close(fd_); }
  RawUdp(const RawUdp&) = delete;
  RawUdp& operator=(const RawUdp&) = delete;
  void send(BytesView data) { (void)::send(fd_, data.data(), data.size(), MSG_DONTWAIT); }
  Bytes receive() {
    Bytes buffer(65'535);
    const auto n = recv(fd_, buffer.data(), buffer.size(), 0);
    buffer.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return buffer;
  }

 private:
  static sockaddr_in at(const std::string& ip, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
    return address;
  }
  int fd_;
};

class Dig : public ::testing::Test {
 protected:
  Dig() {
    place.directory = folder.path();
    const char* path = std::getenv("PATH");
    place.environment = {{"PATH", path ? path : "/usr/bin:/bin"}, {"HOME", folder.path().string()}};
  }
  void SetUp() override {
    if (run(place, {"dig", "-v"}).code != 0) GTEST_SKIP() << "dig is not installed";
    must({tool("odo"), "network", "create", (folder / "net").string(), "--name", "home"});
    start("tns", "tns", {});
    start("auth", "auth", {});
    start("seer", "seer", {"--dns", "127.0.0.1:0"}, {{"# issuers: []", "issuers: [ca.example]"}});
    start("substrate", "substrate", {"--http-address", "127.0.0.1", "--http-port", "0"},
          {{"# announce: []", "announce: [192.0.2.1, 192.0.2.2, \"2001:db8::1\"]"}});
    if (HasFatalFailure()) return;
    dns = *net::Endpoint::parse(nodes[2].ready["dns"].get<std::string>());
    claim("hello");
    EXPECT_TRUE(visitor.wait_until(20s, [&] {
      return dig({"hello.home.localhost", "A", "+short"}).find("192.0.2.1") != std::string::npos;
    })) << dig({"hello.home.localhost", "A"});
  }

  std::string must(std::vector<std::string> argv) {
    const Said said = run(place, std::move(argv));
    EXPECT_EQ(said.code, 0) << said.out << said.err;
    return said.out;
  }
  using Changes = std::vector<std::pair<std::string, std::string>>;
  void start(const std::string& name, const std::string& services, std::vector<std::string> more,
             const Changes& changes = {}) {
    std::vector<std::string> create = {
        tool("odo"), "node", "create", (folder / "net").string(), name, "--services", services};
    if (!nodes.empty())
      create.insert(create.end(), {"--bootstrap", nodes[0].ready["addresses"][0]});
    create.insert(create.end(), more.begin(), more.end());
    std::string config = must(std::move(create));
    while (config.ends_with('\n')) config.pop_back();
    std::string text = read_text(config);
    for (const auto& [from, to] : changes) {
      const auto at = text.find(from);
      ASSERT_NE(at, std::string::npos) << from << " is not in\n" << text;
      text.replace(at, from.size(), to);
    }
    write_text(config, text);
    Child child(place, {tool("odo"), "start", "--config", config}, folder / name);
    const auto line = child.first_line(60s);
    ASSERT_TRUE(line) << name << ": " << child.output();
    nodes.push_back({std::move(child), Json::parse(*line)});
  }
  void claim(const std::string& label) {
    member.emplace(visitor, folder / "net" / "root.key", "home", folder / "member",
                   nodes[0].ready["addresses"][0]);
    const Status met = member->start();
    ASSERT_TRUE(met) << met.error().to_string();
    const auto key = *crypto::KeyPair::from_seed(Bytes(32, 7));
    auth::Registration registration;
    registration.genesis.name = label;
    registration.genesis.owner = key.public_key().raw();
    registration.label = label;
    registration.repositories = {{"config", auth::RepositoryKind::config, "local"}};
    registration.made_unix_ms = 1;
    ASSERT_TRUE(visitor.wait_until(20s, [&] {
      return !member->with_role("auth").empty() && !member->with_role("seer").empty();
    }));
    const auto done = member->call<auth::Register>(member->with_role("auth").at(0), auth::kProtocol,
                                                   {codec::sign_record(key, registration)});
    ASSERT_TRUE(done) << done.error().to_string();
  }
  std::string dig(std::vector<std::string> question) {
    std::vector<std::string> argv = {
        "dig",     "@" + dns.address, "-p",        std::to_string(dns.port),
        "+time=2", "+tries=3",        "+norecurse"};
    argv.insert(argv.end(), question.begin(), question.end());
    return run(place, std::move(argv)).out;
  }
  static std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    std::ranges::sort(out);
    return out;
  }

  struct Node {
    Child process;
    Json ready;
  };
  Folder folder;
  Place place;
  Visitor visitor;
  std::vector<Node> nodes;
  std::optional<Member> member;
  net::Endpoint dns;
};

TEST_F(Dig, GetsEveryKindOfRecordOverUdpAndTcp) {
  using Lines = std::vector<std::string>;
  const std::string host = "hello.home.localhost";
  EXPECT_EQ(lines(dig({host, "A", "+short"})), (Lines{"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(lines(dig({host, "AAAA", "+short"})), (Lines{"2001:db8::1"}));
  EXPECT_EQ(lines(dig({host, "A", "+short", "+tcp"})), (Lines{"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(lines(dig({host, "CAA", "+short"})), (Lines{"0 issue \"ca.example\""}));
  EXPECT_EQ(lines(dig({"home.localhost", "NS", "+short"})), (Lines{"seer.tau.home.localhost."}));
  EXPECT_THAT(dig({"home.localhost", "NS"}),
              ContainsRegex("seer\\.tau\\.home\\.localhost\\.[ \t]+1[ \t]+IN[ \t]+A[ \t]+127\\."))
      << "glue";
  EXPECT_EQ(lines(dig({"home.localhost", "SOA", "+short"})),
            (Lines{"seer.tau.home.localhost. hostmaster.home.localhost. 1 3600 600 86400 1"}));
  EXPECT_EQ(lines(dig({"seer.tau.home.localhost", "A", "+short"})), (Lines{"127.0.0.1"}));
  const std::string address = nodes[1].ready["addresses"][0];
  EXPECT_THAT(lines(dig({"auth.tau.home.localhost", "TXT", "+short"})),
              ::testing::Contains("\"" + address + "\""));
  EXPECT_THAT(lines(dig({"_dnsaddr.auth.tau.home.localhost", "TXT", "+short"})),
              ::testing::Contains("\"dnsaddr=" + address + "\""));
  EXPECT_THAT(dig({host, "ANY"}), HasSubstr("HINFO\t\"RFC8482\""));
}

TEST_F(Dig, SeesHeadersAndSizesAsTheRfcsSay) {
  const std::string host = "hello.home.localhost";
  const std::string plain = dig({"HeLLo.home.LOCALHOST", "A", "+noedns"});
  EXPECT_THAT(plain, HasSubstr("status: NOERROR"));
  EXPECT_THAT(plain, HasSubstr("flags: qr aa;"));
  EXPECT_THAT(plain, HasSubstr(";HeLLo.home.LOCALHOST."));
  EXPECT_THAT(plain, ContainsRegex("\nHeLLo\\.home\\.LOCALHOST\\.[ \t]+1[ \t]+IN[ \t]+A"))
      << "case as it was asked";
  EXPECT_THAT(plain, Not(HasSubstr("EDNS")));
  EXPECT_THAT(dig({host, "A", "+bufsize=4096"}), HasSubstr("EDNS: version: 0, flags:; udp: 1232"));
  EXPECT_THAT(dig({host, "A", "+edns=1", "+noednsnegotiation"}), HasSubstr("status: BADVERS"));
  EXPECT_THAT(dig({host, "A", "+opcode=5"}), HasSubstr("status: NOTIMP"));

  const std::string no_data = dig({host, "MX"});
  EXPECT_THAT(no_data, HasSubstr("status: NOERROR"));
  EXPECT_THAT(no_data, HasSubstr("ANSWER: 0, AUTHORITY: 1"));
  EXPECT_THAT(no_data, ContainsRegex("\nhome\\.localhost\\.[ \t]+1[ \t]+IN[ \t]+SOA"));
  const std::string no_name = dig({"nobody.home.localhost", "A"});
  EXPECT_THAT(no_name, HasSubstr("status: NXDOMAIN"));
  EXPECT_THAT(no_name, HasSubstr("ANSWER: 0, AUTHORITY: 1"));
  EXPECT_THAT(dig({"example.org", "A"}), HasSubstr("status: REFUSED"));
  EXPECT_THAT(dig({"home.localhost", "AXFR"}), HasSubstr("Transfer failed"));
  EXPECT_THAT(dig({"version.bind", "TXT", "CH"}), HasSubstr("status: REFUSED"));

  // Two questions on one connection.
  const std::string both =
      dig({"+tcp", "+keepopen", "+short", host, "AAAA", "home.localhost", "NS"});
  EXPECT_THAT(both, HasSubstr("2001:db8::1\n"));
  EXPECT_THAT(both, HasSubstr("seer.tau.home.localhost.\n"));
}

TEST_F(Dig, MalformedPacketsAndAFloodLeaveOthersTheirAnswers) {
  const Bytes good = seer::dns::encode_query(0x1234, "hello.home.localhost", seer::dns::Type::a);
  {
    RawUdp client("127.44.0.1", dns);
    for (std::size_t n = 0; n < good.size(); ++n) client.send(BytesView(good).first(n));
    Bytes loop = good;  // its first label points at itself
    loop[12] = 0xc0;
    loop[13] = 12;
    client.send(loop);
    const Bytes refused = client.receive();
    ASSERT_GE(refused.size(), 12u);
    EXPECT_EQ(refused[3] & 15, 1) << "FORMERR";
  }
  // Ten thousand made-up names a second. (A flood that fills the kernel's own buffers is not for
  // seer to sort out.)
  std::atomic<bool> stop = false;
  std::atomic<int> sent = 0;
  std::thread flood([&] {
    RawUdp client("127.66.0.1", dns);
    while (!stop) {
      for (int i = 0; i < 100; ++i)
        client.send(seer::dns::encode_query(1, "x" + std::to_string(sent++) + ".home.localhost",
                                            seer::dns::Type::a));
      std::this_thread::sleep_for(10ms);
    }
  });
  int answered = 0;
  for (int i = 0; i < 10; ++i)
    answered +=
        dig({"-b", "127.77.0.1", "hello.home.localhost", "A", "+short"}).find("192.0.2.1") !=
        std::string::npos;
  EXPECT_TRUE(visitor.wait_until(20s, [&] { return sent > 5000; }));
  stop = true;
  flood.join();
  EXPECT_EQ(answered, 10);
  const auto counted =
      member->call<seer::Statistics>(member->with_role("seer").at(0), seer::kProtocol, {});
  ASSERT_TRUE(counted) << counted.error().to_string();
  EXPECT_GT(counted->malformed, 10u);
  EXPECT_GT(counted->dropped, 1000u);
  EXPECT_GT(counted->slipped, 1000u);
  EXPECT_LT(counted->lookups, 5000u);
}

}  // namespace
}  // namespace tau::test
