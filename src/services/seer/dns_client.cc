#include "services/seer/dns_client.h"

#include <arpa/inet.h>

#include <algorithm>

#include "runtime/loop.h"

namespace tau::seer::dns {
namespace {

constexpr std::size_t kHeaderSize = 12;

std::uint16_t get16(BytesView in, std::size_t at) {
  return static_cast<std::uint16_t>(in[at] << 8 | in[at + 1]);
}

// Steps over a name; a compression pointer ends it (RFC 1035, 4.1.4). False: malformed.
bool skip_name(BytesView in, std::size_t& at) {
  while (at < in.size()) {
    const std::uint8_t length = in[at];
    if (length >= 0xc0) return (at += 2) <= in.size();
    if (length > 63) return false;
    at += 1 + length;
    if (length == 0) return at <= in.size();
  }
  return false;
}

Task<Result<net::Datagram>> exchange(net::DatagramSocket& socket, net::Endpoint server,
                                     Bytes query) {
  CO_TRY_SYNC_STATUS(socket.send(server, query));
  co_return co_await socket.receive();
}

}  // namespace

Bytes encode_query(std::uint16_t id, std::string_view name, Type type) {
  Bytes out = {static_cast<std::uint8_t>(id >> 8),
               static_cast<std::uint8_t>(id),
               0,
               0,
               0,
               1,
               0,
               0,
               0,
               0,
               0,
               0};
  while (!name.empty()) {
    const auto dot = std::min(name.find('.'), name.size());
    out.push_back(static_cast<std::uint8_t>(dot));
    out.insert(out.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(dot));
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  const auto number = static_cast<std::uint16_t>(type);
  out.insert(out.end(),
             {0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number), 0, 1});
  return out;
}

Result<Addresses> parse_addresses(BytesView in, std::uint16_t id, Type type) {
  const auto bad = [](std::string what) {
    return fail(ErrorCode::invalid_argument, "DNS answer: " + what);
  };
  if (in.size() < kHeaderSize || get16(in, 0) != id || !(in[2] & 0x80))
    return bad("not the answer to this question");
  Addresses found;
  found.rcode = static_cast<Rcode>(in[3] & 15);
  std::size_t at = kHeaderSize;
  for (std::uint16_t i = get16(in, 4); i > 0; --i) {
    if (!skip_name(in, at) || at + 4 > in.size()) return bad("malformed question");
    at += 4;
  }
  for (std::uint16_t i = get16(in, 6); i > 0; --i) {
    if (!skip_name(in, at) || at + 10 > in.size()) return bad("malformed record");
    const std::uint16_t rtype = get16(in, at), length = get16(in, at + 8);
    at += 10;
    if (at + length > in.size()) return bad("cut short");
    const std::size_t wanted = type == Type::a ? 4 : 16;
    if (rtype == static_cast<std::uint16_t>(type) && length == wanted) {
      char text[INET6_ADDRSTRLEN];
      inet_ntop(type == Type::a ? AF_INET : AF_INET6, in.data() + at, text, sizeof text);
      found.addresses.emplace_back(text);
    }
    at += length;
  }
  return found;
}

Task<Result<Addresses>> resolve(net::Network& network, net::Endpoint server, std::string name,
                                Type type, Duration limit) {
  CO_TRY_SYNC(auto socket, network.bind({server.address.contains(':') ? "::" : "0.0.0.0", 0}));
  const std::uint16_t id =
      socket->local().port;  // as good as any: the port is chosen by the system
  CO_TRY(const net::Datagram answer,
         runtime::with_deadline(limit, "asking DNS for " + name,
                                exchange(*socket, server, encode_query(id, name, type))));
  co_return parse_addresses(answer.data, id, type);
}

}  // namespace tau::seer::dns
