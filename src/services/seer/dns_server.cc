#include "services/seer/dns_server.h"

#include <chrono>

namespace tau::seer {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kTtlSeconds = 1;  // a dead node is gone from caches as fast as from here
constexpr Duration kKnownFor = 1s;        // how long a claimed name is not asked for again
constexpr std::size_t kKnownMax =
    10'000;  // about 1 MB; a flood of made-up names empties it, no more
constexpr std::size_t kInFlightMax =
    512;  // datagrams whose name is being asked of tns; more are dropped, as UDP may
constexpr std::size_t kConnectionsMax = 128;
constexpr Duration kTcpIdleMax = 10s;  // RFC 7766 leaves it to the server

bool within(std::string_view name, std::string_view zone) {
  return name == zone || (name.size() > zone.size() && name.ends_with(zone) &&
                          name[name.size() - zone.size() - 1] == '.');
}

Task<Status> read_all(net::Connection& connection, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    CO_TRY(const std::size_t n, connection.read(out));
    if (n == 0) co_return fail(ErrorCode::unavailable, "closed");
    out = out.subspan(n);
  }
  co_return Status{};
}

Task<Result<Bytes>> read_message(net::Connection& connection) {
  std::uint8_t head[2];
  CO_TRY_STATUS(read_all(connection, head));
  Bytes message(static_cast<std::size_t>(head[0] << 8 | head[1]));
  CO_TRY_STATUS(read_all(connection, message));
  co_return message;
}

}  // namespace

DnsServer::DnsServer(runtime::Loop& loop, net::Network& network, net::Endpoint at,
                     std::string suffix, Nodes& nodes, IsClaimed is_claimed, Logger log)
    : loop_(loop),
      network_(network),
      at_(std::move(at)),
      zone_{std::move(suffix)},
      nodes_(nodes),
      is_claimed_(std::move(is_claimed)),
      log_(std::move(log)),
      tasks_(loop) {}

Task<Status> DnsServer::start() {
  CO_TRY_SYNC(udp_, network_.bind(at_));
  local_ = udp_->local();  // TCP goes to the same port, also when it was a free one
  CO_TRY_SYNC(tcp_, network_.listen(local_));
  tasks_.spawn(serve_udp());
  tasks_.spawn(serve_tcp());
  co_return Status{};
}

Task<void> DnsServer::stop() {
  co_await tasks_.stop();
  udp_.reset();
  tcp_.reset();
}

Task<void> DnsServer::serve_udp() {
  for (;;) {
    auto datagram = co_await udp_->receive();
    if (!datagram) {
      if (datagram.error().code() == ErrorCode::cancelled) co_return;
      if (!co_await runtime::sleep_for(10ms)) co_return;  // a broken socket must not spin
      continue;
    }
    if (in_flight_ >= kInFlightMax) continue;
    ++in_flight_;
    tasks_.spawn(answer_datagram(*std::move(datagram)));
  }
}

Task<void> DnsServer::answer_datagram(net::Datagram datagram) {
  const Bytes response = co_await answer(std::move(datagram.data), false);
  if (!response.empty()) (void)udp_->send(datagram.peer, response);
  --in_flight_;
}

Task<void> DnsServer::serve_tcp() {
  for (;;) {
    auto connection = co_await tcp_->accept();
    if (!connection) {
      if (connection.error().code() == ErrorCode::cancelled) co_return;
      if (!co_await runtime::sleep_for(10ms)) co_return;
      continue;
    }
    if (connections_ >= kConnectionsMax) continue;
    ++connections_;
    tasks_.spawn(serve_connection(*std::move(connection)));
  }
}

Task<void> DnsServer::serve_connection(std::unique_ptr<net::Connection> connection) {
  for (;;) {
    auto message =
        co_await runtime::with_deadline(kTcpIdleMax, "reading a query", read_message(*connection));
    if (!message) break;
    const Bytes response = co_await answer(*std::move(message), true);
    if (response.empty()) break;
    Bytes framed = {static_cast<std::uint8_t>(response.size() >> 8),
                    static_cast<std::uint8_t>(response.size())};
    framed.insert(framed.end(), response.begin(), response.end());
    if (!co_await runtime::with_deadline(kTcpIdleMax, "sending an answer",
                                         connection->write(framed)))
      break;
  }
  --connections_;
}

Task<Bytes> DnsServer::answer(Bytes message, bool over_tcp) {
  auto query = dns::parse_query(message);
  if (!query) {
    const auto& bad = query.error();
    if (!bad.id || bad.is_response) co_return Bytes{};
    co_return dns::encode_format_error(*bad.id);
  }
  const dns::Answer decided = co_await decide(*query);
  // An answer larger than we would send unfragmented is cut even if the asker says it could take
  // it.
  const std::size_t size_max = over_tcp ? 65'535 : std::min<std::size_t>(query->udp_size, 1232);
  co_return dns::encode_answer(*query, decided, size_max);
}

Task<dns::Answer> DnsServer::decide(dns::Query query) {
  using dns::Rcode;
  using dns::Type;
  if (query.opcode != 0) co_return dns::Answer{Rcode::not_implemented, false, {}, {}};
  if (query.edns && query.edns_version != 0)
    co_return dns::Answer{Rcode::bad_version, false, {}, {}};
  if (query.qclass != 1) co_return dns::Answer{Rcode::refused, false, {}, {}};
  const bool ours = within(query.name, zone_.name);
  const auto type = static_cast<Type>(query.type);
  if (query.name == zone_.name) {
    if (type == Type::soa)
      co_return dns::Answer{Rcode::no_error, true, {dns::soa_record(zone_)}, {}};
    if (type == Type::ns) co_return dns::Answer{Rcode::no_error, true, {dns::ns_record(zone_)}, {}};
    co_return dns::Answer{Rcode::no_error, true, {}, zone_};
  }
  const auto known = co_await claimed(query.name);
  if (!known) co_return dns::Answer{Rcode::server_failure, false, {}, {}};
  if (!*known) {
    if (!ours) co_return dns::Answer{Rcode::refused, false, {}, {}};
    co_return dns::Answer{Rcode::name_error, true, {}, zone_};
  }
  dns::Answer answer;
  for (const auto family : {Nodes::Family::ipv4, Nodes::Family::ipv6}) {
    const Type wanted = family == Nodes::Family::ipv4 ? Type::a : Type::aaaa;
    if (type != wanted && type != Type::any) continue;
    for (const auto& address : nodes_.addresses("substrate", family, loop_.now()))
      answer.records.push_back(dns::address_record(address, kTtlSeconds));
  }
  if (answer.records.empty()) answer.negative_of = zone_;
  co_return answer;
}

Task<Result<bool>> DnsServer::claimed(std::string name) {
  auto it = known_.find(name);
  if (it != known_.end() && loop_.now() - it->second.asked < kKnownFor)
    co_return it->second.claimed;
  auto asked = co_await is_claimed_(name);
  it = known_.find(name);
  if (!asked) {
    if (it != known_.end()) co_return it->second.claimed;
    log_.debug("cannot ask tns about " + name + ": " + asked.error().message());
    co_return fail(std::move(asked).error());
  }
  if (known_.size() >= kKnownMax && it == known_.end()) known_.clear();
  known_[name] = Known{*asked, loop_.now()};
  co_return *asked;
}

}  // namespace tau::seer
