// A small HTTP/1.1 client for command-line tools and tests: numeric addresses, no TLS, one request
// a connection.
#pragma once

#include <memory>
#include <string>

#include "http/message.h"
#include "http/parser.h"
#include "net/network.h"
#include "runtime/loop.h"

namespace tau::http {

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";
  std::string host = {};  // the Host header; empty: the address that is called
  Headers headers = {};
  std::string body = {};
};

// "http://127.0.0.1:1421/v1/status?x=1", "http://localhost:…" (the loopback address).
struct Url {
  net::Endpoint endpoint;
  std::string host;    // with its port, as for the Host header
  std::string target;  // "/v1/status?x=1"
  // Errors: invalid_argument.
  static Result<Url> parse(std::string_view text);
};

// An answer whose body is still to be read. Closes its connection when destroyed.
class ResponseStream {
 public:
  int status() const { return head_.status; }
  const HeadersView& headers() const { return head_.headers; }
  // Up to out.size() bytes; 0 at the end. Errors: unavailable (cut short), invalid_argument.
  Task<Result<std::size_t>> read(std::span<std::uint8_t> out);

 private:
  friend class Client;
  std::string_view unread() const { return std::string_view(rest_).substr(used_); }

  std::unique_ptr<net::Connection> connection_;
  std::string head_text_;
  ResponseHead head_;
  std::string rest_;  // what came with the head, and what the chunked coding has not used
  std::size_t used_ = 0;
  ChunkDecoder chunks_;
  std::uint64_t left_ = 0;
  bool done_ = false;
  Duration stall_time_max_{};
};

class Client {
 public:
  struct Options {
    Duration connect_time_max = std::chrono::seconds(5);
    Duration answer_time_max = std::chrono::seconds(60);  // until the head of the answer
    Duration stall_time_max = std::chrono::seconds(60);   // between two pieces of its body
    std::size_t body_bytes_max = 64u << 20;               // for send()
  };
  explicit Client(net::Network& network) : Client(network, Options()) {}
  Client(net::Network& network, Options options) : network_(network), options_(options) {}

  // Until the head of the answer is here. Errors: unavailable, deadline_exceeded.
  Task<Result<std::unique_ptr<ResponseStream>>> open(net::Endpoint to, ClientRequest request);
  // The whole answer, whatever its status. Errors: also resource_exhausted.
  Task<Result<Response>> send(net::Endpoint to, ClientRequest request);

 private:
  Task<Result<std::unique_ptr<ResponseStream>>> exchange(
      std::unique_ptr<net::Connection> connection, ClientRequest request);

  net::Network& network_;
  Options options_;
};

}  // namespace tau::http
