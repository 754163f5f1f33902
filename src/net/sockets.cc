#include "net/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include "base/check.h"

namespace tau::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Executor = asio::io_context::executor_type;
using StreamSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;

// As many waiting connections as the kernel's default somaxconn of older systems allows.
constexpr int kBacklog = 1024;
// After this many connections in a row without waiting, the other tasks get a turn.
constexpr int kAcceptBurst = 64;
// Out of file descriptors: somebody must close one first; trying more often only burns the core.
constexpr auto kNoDescriptorsPause = std::chrono::milliseconds(100);
constexpr std::size_t kDatagramSizeMax = 65'535;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }

  static Result<Address> of(const Endpoint& endpoint) {
    Address a;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&a.storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&a.storage);
    if (inet_pton(AF_INET, endpoint.address.c_str(), &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = htons(endpoint.port);
      a.size = sizeof(sockaddr_in);
      return a;
    }
    if (inet_pton(AF_INET6, endpoint.address.c_str(), &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(endpoint.port);
      a.size = sizeof(sockaddr_in6);
      return a;
    }
    return fail(ErrorCode::invalid_argument,
                "\"" + endpoint.address + "\" is no numeric IPv4 or IPv6 address");
  }
  Endpoint endpoint() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (family() == AF_INET6) {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
      inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
      return {text.data(), ntohs(v6->sin6_port)};
    }
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
    return {text.data(), ntohs(v4->sin_port)};
  }
  static Endpoint local_of(int fd) {
    Address a;
    if (::getsockname(fd, a.raw(), &a.size) != 0) return {};
    return a.endpoint();
  }
};

// Owns a descriptor until something else does.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

void set_option(int fd, int level, int name) {
  const int one = 1;
  // These only tune; a kernel without one still serves.
  (void)::setsockopt(fd, level, name, &one, sizeof one);
}

std::unexpected<Error> system_error(const std::string& doing, int error) {
  ErrorCode code = ErrorCode::unavailable;
  if (error == EADDRINUSE) code = ErrorCode::already_exists;
  if (error == EACCES || error == EPERM) code = ErrorCode::permission_denied;
  if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) code = ErrorCode::invalid_argument;
  if (error == EMFILE || error == ENFILE || error == ENOBUFS) code = ErrorCode::resource_exhausted;
  return fail(code, doing + ": " + std::strerror(error));
}

// One asynchronous operation of asio as an awaiter that lives in the coroutine's frame. asio calls
// the handler exactly once, so the frame stays until then; cancelling a socket ends all of its
// operations, and one whose own scope was not cancelled starts again.
template <class Start>
class Operation final : public runtime::CancelHook {
 public:
  Operation(Start start, void (*cancel)(void*), void* object)
      : start_(std::move(start)), cancel_(cancel), object_(object) {}

  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> me) {
    runtime::Scope& scope = me.promise().scope();
    if (scope.cancelled()) {
      cancelled_ = true;
      return false;
    }
    waiting_ = me;
    scope.add(*this);
    start_(*this);
    return true;
  }
  Operation& await_resume() noexcept { return *this; }

  void done(error_code error, std::size_t count) {
    if (error == asio::error::operation_aborted && !cancelled_) {
      start_(*this);
      return;
    }
    unlink();
    error_ = error;
    count_ = count;
    waiting_.resume();
  }
  bool cancelled() const { return cancelled_; }
  const error_code& error() const { return error_; }
  std::size_t count() const { return count_; }

 private:
  void on_cancel() override {
    cancelled_ = true;
    cancel_(object_);
  }
  Start start_;
  void (*cancel_)(void*);
  void* object_;
  std::coroutine_handle<> waiting_;
  bool cancelled_ = false;
  error_code error_;
  std::size_t count_ = 0;
};

template <class Socket>
void cancel_socket(void* socket) {
  error_code ignored;
  static_cast<Socket*>(socket)->cancel(ignored);
}

std::unexpected<Error> cancelled() { return fail(ErrorCode::cancelled, "cancelled"); }

// Suspends until `socket` is readable (or writable). Errors: cancelled.
Task<Status> wait_for(Descriptor& socket, Descriptor::wait_type what) {
  auto start = [&socket, what](auto& operation) {
    socket.async_wait(what, [&operation](error_code error) { operation.done(error, 0); });
  };
  Operation operation(start, cancel_socket<Descriptor>, &socket);
  co_await operation;
  if (operation.cancelled()) co_return cancelled();
  co_return Status{};
}

class SocketConnection final : public Connection {
 public:
  SocketConnection(asio::io_context& io, Fd fd, const Address& remote)
      : remote_(remote), socket_(io.get_executor()) {
    set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY);
    error_code error;
    const auto protocol = remote.family() == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4();
    socket_.assign(protocol, fd.get(), error);
    if (!error) fd.release();
    open_ = !error;
  }

  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override {
    if (!open_) co_return not_open();
    // asio tries recv first while the last read filled its buffer, and otherwise waits for the
    // next edge: in a request-response exchange that is one recv a request and no epoll_ctl.
    auto start = [this, out](auto& operation) {
      socket_.async_read_some(
          asio::buffer(out.data(), out.size()),
          [&operation](error_code error, std::size_t n) { operation.done(error, n); });
    };
    Operation operation(start, cancel_socket<StreamSocket>, &socket_);
    co_await operation;
    if (operation.cancelled()) co_return cancelled();
    if (operation.error() == asio::error::eof) co_return std::size_t{0};
    if (operation.error())
      co_return system_error("reading from " + remote().to_string(), operation.error().value());
    co_return operation.count();
  }

  Task<Status> write(BytesView data) override {
    if (!open_) co_return not_open();
    while (!data.empty()) {
      const ssize_t n =
          ::send(socket_.native_handle(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n >= 0) {
        data = data.subspan(static_cast<std::size_t>(n));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        co_return system_error("writing to " + remote().to_string(), errno);
      auto start = [this, data](auto& operation) {
        socket_.async_write_some(
            asio::buffer(data.data(), data.size()),
            [&operation](error_code error, std::size_t count) { operation.done(error, count); });
      };
      Operation operation(start, cancel_socket<StreamSocket>, &socket_);
      co_await operation;
      if (operation.cancelled()) co_return cancelled();
      if (operation.error())
        co_return system_error("writing to " + remote().to_string(), operation.error().value());
      data = data.subspan(operation.count());
    }
    co_return Status{};
  }

  Status close_write() override {
    if (!open_) return not_open();
    if (::shutdown(socket_.native_handle(), SHUT_WR) != 0)
      return system_error("closing to " + remote().to_string(), errno);
    return {};
  }
  Endpoint remote() const override { return remote_.endpoint(); }
  Endpoint local() const override {
    // native_handle() is not const, though it only looks.
    return Address::local_of(const_cast<StreamSocket&>(socket_).native_handle());
  }
  bool open() const { return open_; }

 private:
  static std::unexpected<Error> not_open() {
    return fail(ErrorCode::unavailable, "the socket could not be watched");
  }

  Address remote_;
  StreamSocket socket_;
  bool open_ = false;
};

class SocketListener final : public Listener {
 public:
  SocketListener(asio::io_context& io, Fd fd)
      : io_(io), local_(Address::local_of(fd.get())), socket_(io.get_executor()) {
    error_code error;
    socket_.assign(fd.get(), error);
    if (!error) fd.release();
  }

  Task<Result<std::unique_ptr<Connection>>> accept() override {
    for (;;) {
      if (++burst_ > kAcceptBurst) {
        burst_ = 0;
        CO_TRY_STATUS(runtime::yield());
      }
      Address remote;
      Fd fd(::accept4(socket_.native_handle(), remote.raw(), &remote.size,
                      SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd.get() >= 0) {
        auto connection = std::make_unique<SocketConnection>(io_, std::move(fd), remote);
        if (connection->open()) co_return std::unique_ptr<Connection>(std::move(connection));
        continue;
      }
      switch (errno) {
        case EAGAIN:
#if EWOULDBLOCK != EAGAIN
        case EWOULDBLOCK:
#endif
          burst_ = 0;
          CO_TRY_STATUS(wait_for(socket_, Descriptor::wait_read));
          break;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
          CO_TRY_STATUS(runtime::sleep_for(kNoDescriptorsPause));
          break;
        case EBADF:
        case EINVAL:
        case ENOTSOCK:
        case EOPNOTSUPP:
          co_return system_error("accepting on " + local_.to_string(), errno);
        default:  // errors of a connection that has already died (accept(2)): the next one counts
          break;
      }
    }
  }
  Endpoint local() const override { return local_; }

 private:
  asio::io_context& io_;
  Endpoint local_;
  Descriptor socket_;
  int burst_ = 0;
};

class UdpSocket final : public DatagramSocket {
 public:
  UdpSocket(asio::io_context& io, Fd fd)
      : local_(Address::local_of(fd.get())), socket_(io.get_executor()) {
    error_code error;
    socket_.assign(fd.get(), error);
    if (!error) fd.release();
  }

  Task<Result<Datagram>> receive() override {
    if (buffer_.empty()) buffer_.resize(kDatagramSizeMax);
    for (;;) {
      Address from;
      const ssize_t n = ::recvfrom(socket_.native_handle(), buffer_.data(), buffer_.size(),
                                   MSG_DONTWAIT, from.raw(), &from.size);
      if (n >= 0) {
        // A flood must not keep the other tasks of the loop waiting.
        if (++burst_ > kAcceptBurst) {
          burst_ = 0;
          CO_TRY_STATUS(runtime::yield());
        }
        co_return Datagram{from.endpoint(), Bytes(buffer_.begin(), buffer_.begin() + n)};
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        burst_ = 0;
        CO_TRY_STATUS(wait_for(socket_, Descriptor::wait_read));
        continue;
      }
      // ECONNREFUSED tells of an earlier send (ICMP), not of this socket.
      if (errno == EINTR || errno == ECONNREFUSED) continue;
      co_return system_error("receiving on " + local_.to_string(), errno);
    }
  }
  Status send(const Endpoint& to, BytesView data) override {
    TRY(const Address address, Address::of(to));
    if (::sendto(socket_.native_handle(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                 address.raw(), address.size) >= 0)
      return {};
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ECONNREFUSED)
      return {};
    return system_error("sending to " + to.to_string(), errno);
  }
  Endpoint local() const override { return local_; }

 private:
  Endpoint local_;
  Descriptor socket_;
  Bytes buffer_;
  int burst_ = 0;
};

Result<Fd> bound_socket(const Endpoint& at, int type, SharePort share) {
  TRY(const Address address, Address::of(at));
  Fd fd(::socket(address.family(), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return system_error("opening a socket", errno);
  if (type == SOCK_STREAM) set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  if (share == SharePort::yes) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  if (address.family() == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (::bind(fd.get(), address.raw(), address.size) != 0)
    return system_error("binding to " + at.to_string(), errno);
  return fd;
}

}  // namespace

Result<std::unique_ptr<Listener>> Sockets::listen(const Endpoint& at, SharePort share) {
  TRY(Fd fd, bound_socket(at, SOCK_STREAM, share));
  if (::listen(fd.get(), kBacklog) != 0)
    return system_error("listening on " + at.to_string(), errno);
  return std::make_unique<SocketListener>(loop_.io(), std::move(fd));
}

Result<std::unique_ptr<DatagramSocket>> Sockets::bind(const Endpoint& at) {
  TRY(Fd fd, bound_socket(at, SOCK_DGRAM, SharePort::no));
  return std::make_unique<UdpSocket>(loop_.io(), std::move(fd));
}

Task<Result<std::unique_ptr<Connection>>> Sockets::connect(Endpoint to) {
  CO_TRY_SYNC(const Address address, Address::of(to));
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) co_return system_error("opening a socket", errno);
  if (::connect(fd.get(), address.raw(), address.size) != 0) {
    if (errno != EINPROGRESS) co_return system_error("connecting to " + to.to_string(), errno);
    {
      Descriptor watched(loop_.io().get_executor());
      error_code error;
      watched.assign(fd.get(), error);
      if (error) co_return system_error("watching a socket", error.value());
      const Status waited = co_await wait_for(watched, Descriptor::wait_write);
      (void)watched.release();  // fd keeps owning it
      if (!waited) co_return std::unexpected(waited.error());
    }
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) co_return system_error("connecting to " + to.to_string(), error);
  }
  co_return std::make_unique<SocketConnection>(loop_.io(), std::move(fd), address);
}

}  // namespace tau::net
