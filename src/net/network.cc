#include "net/network.h"

#include <arpa/inet.h>

#include <charconv>

namespace tau::net {

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(ErrorCode::invalid_argument, "\"" + std::string(text.substr(0, 80)) + "\" is no " +
                                                 "address and port such as 127.0.0.1:80 or " +
                                                 "[::1]:80: " + std::string(why));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("the port is missing");
  std::string_view address = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc{} || end != port_text.data() + port_text.size() || port_text.empty())
    return bad("the port is no number below 65536");
  bool v6 = false;
  if (address.size() >= 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
    v6 = true;
  }
  const std::string name(address);
  in6_addr scratch{};
  if (name.find('\0') != std::string::npos ||
      inet_pton(v6 ? AF_INET6 : AF_INET, name.c_str(), &scratch) != 1)
    return bad("the address is not numeric");
  return Endpoint{name, port};
}

std::string Endpoint::to_string() const {
  const std::string text = std::to_string(port);
  if (address.find(':') != std::string::npos) return "[" + address + "]:" + text;
  return address + ":" + text;
}

}  // namespace tau::net
