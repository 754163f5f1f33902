// Sockets as arguments: listeners, connections and datagrams. net/sockets.h is the operating
// system's; net/simulated.h is a world in memory. Loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "runtime/task.h"

namespace tau::net {

// "127.0.0.1:80", "[::1]:80". A port of 0 asks for a free one.
struct Endpoint {
  std::string address;  // numeric IPv4 or IPv6, never a name
  std::uint16_t port = 0;

  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

class Connection {
 public:
  virtual ~Connection() = default;  // closes
  // Up to out.size() bytes; 0 when the other side has closed. Errors: unavailable.
  virtual Task<Result<std::size_t>> read(std::span<std::uint8_t> out) = 0;
  virtual Task<Status> write(
      BytesView data) = 0;  // all of it; `data` stays valid until the task ends
  virtual Status close_write() = 0;
  virtual Endpoint remote() const = 0;
  virtual Endpoint local() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual Task<Result<std::unique_ptr<Connection>>> accept() = 0;
  virtual Endpoint local() const = 0;
};

struct Datagram {
  Endpoint peer;
  Bytes data;
};

class DatagramSocket {
 public:
  virtual ~DatagramSocket() = default;
  virtual Task<Result<Datagram>> receive() = 0;                 // at most 65,535 bytes
  virtual Status send(const Endpoint& to, BytesView data) = 0;  // full buffers drop it, as UDP may
  virtual Endpoint local() const = 0;
};

enum class SharePort : std::uint8_t {
  no,
  yes
};  // SO_REUSEPORT: several listeners share the connections of one port

class Network {
 public:
  virtual ~Network() = default;
  virtual Result<std::unique_ptr<Listener>> listen(const Endpoint& at,
                                                   SharePort share = SharePort::no) = 0;
  virtual Result<std::unique_ptr<DatagramSocket>> bind(const Endpoint& at) = 0;
  virtual Task<Result<std::unique_ptr<Connection>>> connect(Endpoint to) = 0;
};

}  // namespace tau::net
