#include "visitor.h"

#include "base/check.h"
#include "services/seer/dns_client.h"

namespace tau::test {

using namespace std::chrono_literals;

Answer Visitor::ask(const net::Endpoint& at, const std::string& host, const std::string& path) {
  http::Client::Options limits;
  limits.connect_time_max = 2s;
  limits.answer_time_max = 20s;
  http::Client client(sockets_, limits);
  http::ClientRequest request;
  request.target = path;
  request.host = host;
  auto response = runtime::block_on(loop_, client.send(at, std::move(request)));
  if (!response) return {0, response.error().message()};
  return {response->status, response->body};
}

std::optional<Visitor::DnsAnswer> Visitor::resolve(const net::Endpoint& seer,
                                                   const std::string& name) {
  auto found = runtime::block_on(
      loop_, tau::seer::dns::resolve(sockets_, seer, name, tau::seer::dns::Type::a));
  if (!found) return std::nullopt;
  return DnsAnswer{static_cast<int>(found->rcode), std::move(found->addresses)};
}

bool Visitor::wait_until(std::chrono::seconds limit, const std::function<bool()>& met) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!met()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    (void)runtime::block_on(loop_, runtime::sleep_for(20ms));
  }
  return true;
}

Member::Member(Visitor& visitor, const std::filesystem::path& root_key, const std::string& network,
               const std::filesystem::path& data, std::string bootstrap,
               std::vector<std::string> roles)
    : visitor_(visitor), process_(visitor.loop(), Logger()) {
  const auto root = node::read_key(root_key);
  CHECK(root);
  auto identity = node::make_identity(*root, std::move(roles), "test", process_.random(),
                                      visitor.loop().wall_unix_ms());
  identity_ = identity;
  node::Options options;
  options.network_name = network;
  options.network_root_key = node::root_key_text(root->public_key());
  options.network_suffix = network + ".localhost";
  options.data = data;
  options.dns_listen.reset();
  options.p2p_bootstrap = {std::move(bootstrap)};
  const p2p::Admission admission(root->public_key(), identity.certificate());
  node_ = std::make_unique<node::Node>(process_, "test", std::move(options), std::move(identity),
                                       admission, Logger());
}

Member::~Member() { runtime::block_on(visitor_.loop(), node_->stop()); }

Status Member::start(const std::string& role) {
  TRY_STATUS(runtime::block_on(visitor_.loop(), node_->start()));
  const auto connected = [&] { return !with_role(role).empty(); };
  if (!visitor_.wait_until(20s, connected))
    return fail(ErrorCode::deadline_exceeded, "the test's node met no " + role);
  return {};
}

}  // namespace tau::test
