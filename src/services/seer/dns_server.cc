#include "services/seer/dns_server.h"

#include <algorithm>
#include <chrono>

namespace tau::seer {
namespace {

using namespace std::chrono_literals;

constexpr int kFreePortTries = 16;
constexpr std::size_t kInFlightMax = 1024;  // datagrams under way; more are dropped, as UDP may
constexpr std::size_t kConnectionsMax = 256;
// Of one client's network: resolvers use one or two at a time (RFC 7766, 6.2.2).
constexpr std::size_t kConnectionsOfNetworkMax = 16;
// Queries of one connection under way at the same time; further ones are read when one is answered.
constexpr std::size_t kPipelinedMax = 16;
// Between queries: RFC 7766, 6.2.3 asks for seconds, and for less when connections run out.
constexpr Duration kIdle = 10s, kIdleBusy = 1s;
constexpr Duration kMessageMax = 3s;         // for one message to come or to go, once it has begun
constexpr std::size_t kQuerySizeMax = 4096;  // a question with options has a few hundred bytes
constexpr std::size_t kTcpSizeMax = 65'535;
constexpr std::uint16_t kClassIn = 1;

Task<Status> read_all(net::Connection& connection, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    CO_TRY(const std::size_t n, connection.read(out));
    if (n == 0) co_return fail(ErrorCode::unavailable, "closed");
    out = out.subspan(n);
  }
  co_return Status{};
}

// The message whose length starts with `first`.
Task<Result<Bytes>> read_rest(net::Connection& connection, std::uint8_t first) {
  std::uint8_t second = 0;
  CO_TRY_STATUS(read_all(connection, {&second, 1}));
  Bytes message(static_cast<std::size_t>(first << 8 | second));
  if (message.size() > kQuerySizeMax)
    co_return fail(ErrorCode::resource_exhausted, "too long for a question");
  CO_TRY_STATUS(read_all(connection, message));
  co_return message;
}

Task<Result<Bytes>> read_message(net::Connection& connection, Duration idle) {
  std::uint8_t first = 0;
  CO_TRY_STATUS(
      runtime::with_deadline(idle, "waiting for a query", read_all(connection, {&first, 1})));
  co_return co_await runtime::with_deadline(kMessageMax, "reading a query",
                                            read_rest(connection, first));
}

dns::Answer refusal(dns::Rcode rcode) {
  dns::Answer answer;
  answer.rcode = rcode;
  answer.authoritative = false;
  return answer;
}

RateLimiter::Kind kind_of(const dns::Answer& answer) {
  if (answer.rcode == dns::Rcode::name_error) return RateLimiter::Kind::name_error;
  if (answer.rcode != dns::Rcode::no_error) return RateLimiter::Kind::error;
  return answer.answers.empty() ? RateLimiter::Kind::no_data : RateLimiter::Kind::answer;
}

}  // namespace

// One TCP connection. Whoever reads or writes holds it; it counts as long as somebody does.
struct DnsServer::Client {
  Client(DnsServer& s, std::unique_ptr<net::Connection> c)
      : server(s),
        connection(std::move(c)),
        address(connection->remote().address),
        network(s.limiter_.network_of(address)),
        slots(s.loop_, kPipelinedMax),
        writing(s.loop_, 1) {
    ++server.connections_;
    ++server.connections_of_[network];
  }
  ~Client() {
    --server.connections_;
    if (--server.connections_of_[network] == 0) server.connections_of_.erase(network);
  }
  DnsServer& server;
  std::unique_ptr<net::Connection> connection;
  const std::string address;
  const std::uint64_t network;
  runtime::Semaphore slots, writing;
  bool broken = false;
};

DnsServer::DnsServer(runtime::Loop& loop, net::Network& network, Options options, Nodes& nodes,
                     Claims::Ask is_claimed, Random& random, Logger log)
    : loop_(loop),
      network_(network),
      at_(std::move(options.listen)),
      zone_(std::move(options.zone), nodes),
      claims_(loop, std::move(is_claimed), log),
      limiter_(options.limits, random),
      log_(std::move(log)),
      tasks_(loop) {}

Task<Status> DnsServer::start() {
  // TCP goes to the same port; a free one of UDP may be taken there, and then there are others.
  for (int tries = at_.port == 0 ? kFreePortTries : 1;; --tries) {
    CO_TRY_SYNC(udp_, network_.bind(at_));
    local_ = udp_->local();
    auto tcp = network_.listen(local_);
    if (tcp) {
      tcp_ = *std::move(tcp);
      break;
    }
    if (tries == 1) co_return fail(std::move(tcp).error());
  }
  tasks_.spawn(serve_udp());
  tasks_.spawn(serve_tcp());
  co_return Status{};
}

Task<void> DnsServer::stop() {
  co_await tasks_.stop();
  udp_.reset();
  tcp_.reset();
}

Statistics::Response DnsServer::statistics() const {
  Statistics::Response out = counted_;
  out.lookups = claims_.lookups();
  out.lookups_failed = claims_.lookups_failed();
  return out;
}

Task<void> DnsServer::serve_udp() {
  for (;;) {
    auto datagram = co_await udp_->receive();
    if (!datagram) {
      if (datagram.error().code() == ErrorCode::cancelled) co_return;
      if (!co_await runtime::sleep_for(10ms)) co_return;  // a broken socket must not spin
      continue;
    }
    ++counted_.udp;
    if (in_flight_ >= kInFlightMax) {
      ++counted_.dropped;
      continue;
    }
    ++in_flight_;
    tasks_.spawn(answer_datagram(*std::move(datagram)));
  }
}

Task<void> DnsServer::answer_datagram(net::Datagram datagram) {
  const Bytes response =
      co_await answer(std::move(datagram.data), datagram.peer.address, Transport::udp);
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
    const auto network = limiter_.network_of((*connection)->remote().address);
    const auto own = connections_of_.find(network);
    if (connections_ >= kConnectionsMax ||
        (own != connections_of_.end() && own->second >= kConnectionsOfNetworkMax)) {
      ++counted_.connections_refused;
      continue;
    }
    tasks_.spawn(serve_connection(std::make_shared<Client>(*this, *std::move(connection))));
  }
}

Task<void> DnsServer::serve_connection(std::shared_ptr<Client> client) {
  while (!client->broken) {
    auto permit = co_await client->slots.acquire();
    if (!permit) co_return;
    const Duration idle = connections_ > kConnectionsMax / 2 ? kIdleBusy : kIdle;
    auto message = co_await read_message(*client->connection, idle);
    if (!message) co_return;
    tasks_.spawn(answer_message(client, *std::move(message), *std::move(permit)));
  }
}

Task<void> DnsServer::answer_message(std::shared_ptr<Client> client, Bytes message,
                                     runtime::Semaphore::Permit) {
  ++counted_.tcp;
  const Bytes response = co_await answer(std::move(message), client->address, Transport::tcp);
  const auto turn = co_await client->writing.acquire();
  if (!turn || client->broken) co_return;
  Bytes framed;
  dns::put16(framed, static_cast<std::uint16_t>(response.size()));
  framed.insert(framed.end(), response.begin(), response.end());
  // What says nothing sensible over TCP gets no second chance.
  if (response.empty() || !co_await runtime::with_deadline(kMessageMax, "sending an answer",
                                                           client->connection->write(framed))) {
    client->broken = true;
    (void)client->connection->close_write();
  }
}

Task<Bytes> DnsServer::answer(Bytes message, std::string address, Transport transport) {
  const auto query = dns::parse_query(message);
  if (!query) {
    ++counted_.malformed;
    const auto& bad = query.error();
    if (!bad.id || bad.is_response) co_return Bytes{};
    const auto verdict = transport == Transport::tcp
                             ? RateLimiter::Verdict::pass
                             : limiter_.admit(address, RateLimiter::Kind::error, loop_.now());
    if (verdict == RateLimiter::Verdict::pass) co_return dns::encode_format_error(bad);
    ++counted_.dropped;
    co_return Bytes{};
  }
  const Decided decided = co_await decide(*query, std::move(address), transport);
  if (decided.verdict == RateLimiter::Verdict::drop) {
    ++counted_.dropped;
    co_return Bytes{};
  }
  if (decided.verdict == RateLimiter::Verdict::slip) {
    ++counted_.slipped;
    dns::Answer cut;
    cut.truncated = true;
    co_return dns::encode_answer(*query, cut, dns::kUdpSizePlain);
  }
  // An answer larger than we would send unfragmented is cut even if the asker says it could take
  // it.
  const std::size_t size_max =
      transport == Transport::tcp ? kTcpSizeMax : std::min(query->udp_size, dns::kUdpSizeMax);
  Bytes out = dns::encode_answer(*query, decided.answer, size_max);
  if (out[2] & 2) ++counted_.truncated;
  co_return out;
}

Task<DnsServer::Decided> DnsServer::decide(dns::Query query, std::string address,
                                           Transport transport) {
  using dns::Rcode;
  using dns::Type;
  using Verdict = RateLimiter::Verdict;
  Decided out;
  const auto is = [&](Type type) { return query.type == static_cast<std::uint16_t>(type); };
  if (query.opcode != 0) {
    out.answer = refusal(Rcode::not_implemented);
  } else if (query.edns && query.edns_version != 0) {
    out.answer = refusal(Rcode::bad_version);
  } else if (query.qclass != kClassIn || is(Type::axfr) || is(Type::ixfr)) {
    out.answer = refusal(Rcode::refused);
  } else if (!zone_.is_for_users(query.name)) {
    out.answer = zone_.own(query, loop_.now());
  } else if (const auto known = claims_.known(query.name)) {
    out.answer = zone_.of_user(query, *known, loop_.now());
  } else {
    // A stranger's names cost a question to tns each: rationed before it is asked.
    if (transport == Transport::udp && !claims_.being_asked(query.name))
      out.verdict = limiter_.admit(address, RateLimiter::Kind::lookup, loop_.now());
    if (out.verdict != Verdict::pass) co_return out;
    const auto claimed = co_await claims_.find_out(query.name);
    out.answer =
        claimed ? zone_.of_user(query, *claimed, loop_.now()) : refusal(Rcode::server_failure);
  }
  out.verdict = admit(out.answer, address, transport);
  co_return out;
}

RateLimiter::Verdict DnsServer::admit(const dns::Answer& answer, std::string_view address,
                                      Transport transport) {
  const auto kind = kind_of(answer);
  // Over TCP the asker is who it says: its answers cannot hit anybody else.
  const auto verdict = transport == Transport::tcp ? RateLimiter::Verdict::pass
                                                   : limiter_.admit(address, kind, loop_.now());
  if (verdict != RateLimiter::Verdict::pass) return verdict;
  switch (kind) {
    case RateLimiter::Kind::answer:
      ++counted_.answers;
      break;
    case RateLimiter::Kind::no_data:
      ++counted_.no_data;
      break;
    case RateLimiter::Kind::name_error:
      ++counted_.name_errors;
      break;
    default:
      ++counted_.errors;
  }
  return verdict;
}

}  // namespace tau::seer
