#include "visitor.h"

#include "base/check.h"

namespace tau::test {
namespace {

using namespace std::chrono_literals;

Bytes dns_question(const std::string& name) {
  // RFC 1035: id, recursion desired, one question, type A, class IN.
  Bytes out = {0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0};
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t dot = std::min(name.find('.', at), name.size());
    out.push_back(static_cast<std::uint8_t>(dot - at));
    out.insert(out.end(), name.begin() + static_cast<std::ptrdiff_t>(at),
               name.begin() + static_cast<std::ptrdiff_t>(dot));
    at = dot + 1;
  }
  for (const std::uint8_t byte : {0, 0, 1, 0, 1}) out.push_back(byte);
  return out;
}

std::size_t skip_name(BytesView packet, std::size_t at) {
  while (at < packet.size() && packet[at] != 0) {
    if ((packet[at] & 0xc0) == 0xc0) return at + 2;
    at += 1u + packet[at];
  }
  return at + 1;
}

Visitor::DnsAnswer read_answer(BytesView packet) {
  Visitor::DnsAnswer answer;
  if (packet.size() < 12) return answer;
  answer.code = packet[3] & 0x0f;
  const std::size_t answers = packet[6] * 256u + packet[7];
  std::size_t at = skip_name(packet, 12) + 4;
  for (std::size_t i = 0; i < answers; ++i) {
    at = skip_name(packet, at);
    if (at + 10 > packet.size()) break;
    const std::size_t type = packet[at] * 256u + packet[at + 1];
    const std::size_t size = packet[at + 8] * 256u + packet[at + 9];
    at += 10;
    if (type == 1 && size == 4 && at + 4 <= packet.size()) {
      std::string address;
      for (std::size_t b = 0; b < 4; ++b)
        address += (b ? "." : "") + std::to_string(packet[at + b]);
      answer.addresses.push_back(address);
    }
    at += size;
  }
  return answer;
}

Task<Result<Bytes>> exchange(net::Network& network, net::Endpoint to, Bytes question) {
  CO_TRY_SYNC(const auto socket, network.bind({"127.0.0.1", 0}));
  CO_TRY_SYNC_STATUS(socket->send(to, question));
  CO_TRY(net::Datagram answer, runtime::with_deadline(2s, "a DNS answer", socket->receive()));
  co_return std::move(answer.data);
}

}  // namespace

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
  const auto packet = runtime::block_on(loop_, exchange(sockets_, seer, dns_question(name)));
  if (!packet) return std::nullopt;
  return read_answer(*packet);
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
               const std::filesystem::path& data, std::string bootstrap)
    : visitor_(visitor), process_(visitor.loop(), Logger()) {
  const auto root = node::read_key(root_key);
  CHECK(root);
  auto identity = node::make_identity(*root, {"client"}, "test", process_.random(),
                                      visitor.loop().wall_unix_ms());
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

Status Member::start() {
  TRY_STATUS(runtime::block_on(visitor_.loop(), node_->start()));
  const auto connected = [this] { return !with_role("substrate").empty(); };
  if (!visitor_.wait_until(20s, connected))
    return fail(ErrorCode::deadline_exceeded, "the test's node met no substrate");
  return {};
}

}  // namespace tau::test
