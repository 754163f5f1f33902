// Sockets as arguments: listeners, connections and datagrams. net/sockets.h is the operating
// system's; net/simulated.h is a world in memory. Loop thread only.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "runtime/task.h"

namespace tau::net {

// "127.0.0.1:80", "[::1]:80". A port of 0 asks for a free one.
struct Endpoint {
  std::string address;  // numeric IPv4 or IPv6, never a name
  std::uint16_t port = 0;

  // Errors: invalid_argument for a name, a missing port, or anything after it.
  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// A bidirectional byte stream. At most one read and one write at a time; each ends early with
// `cancelled` when its task's scope is cancelled. Destroy it only while neither is running.
class Connection {
 public:
  virtual ~Connection() = default;  // closes
  // Up to out.size() bytes; 0 when the other side has closed. Errors: unavailable.
  virtual Task<Result<std::size_t>> read(std::span<std::uint8_t> out) = 0;
  // All of it; `data` stays valid until the task ends. Errors: unavailable.
  virtual Task<Status> write(BytesView data) = 0;
  virtual Status close_write() = 0;  // the other side then reads 0
  virtual Endpoint remote() const = 0;
  virtual Endpoint local() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // stops listening; nobody may be accepting
  // Errors: unavailable. Running out of file descriptors is waited out, not an error.
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

// SO_REUSEPORT: several listeners share the connections of one port.
enum class SharePort : std::uint8_t { no, yes };

class Network {
 public:
  virtual ~Network() = default;
  // Errors: already_exists (somebody has the port), permission_denied, invalid_argument (the
  // address is not numeric or not this machine's).
  virtual Result<std::unique_ptr<Listener>> listen(const Endpoint& at,
                                                   SharePort share = SharePort::no) = 0;
  virtual Result<std::unique_ptr<DatagramSocket>> bind(const Endpoint& at) = 0;
  // Errors: unavailable (refused, no route).
  virtual Task<Result<std::unique_ptr<Connection>>> connect(Endpoint to) = 0;
};

}  // namespace tau::net
