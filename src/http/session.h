// One connection of a Server. Private to http/.
#pragma once

#include <memory>
#include <string>

#include "http/server.h"

namespace tau::http {

class Session {
 public:
  Session(Server& server, std::unique_ptr<net::Connection> connection);

  Task<void> run();

  // What of the client the connection waits for; a lower one is given up before a higher one.
  enum class Waits : std::uint8_t { request, head, body, write, nothing };

  // Waiting for the next request with nothing of it read.
  bool idle() const { return idle_; }
  Waits waits_for() const { return waits_; }
  TimePoint waiting_since() const { return since_; }  // meaningless where it waits for nothing
  std::size_t answer_bytes() const { return out_.size(); }
  bool cut() const { return cut_; }
  TimePoint deadline() const { return deadline_; }
  void set_scope(runtime::Scope* scope) { scope_ = scope; }
  void cancel() {
    cut_ = true;
    if (scope_) scope_->cancel();
  }
  net::Connection& connection() { return *connection_; }

  // For Body.
  Task<Result<std::size_t>> read_body(std::span<std::uint8_t> out);
  void set_body_limit(std::uint64_t bytes_max) { body_limit_ = bytes_max; }
  std::uint64_t body_limit() const { return body_limit_; }
  std::uint64_t content_length() const { return request_.content_length; }

  // For ResponseWriter.
  bool begun() const { return answer_ != Answer::none; }
  template <class Fields>
  void send(int status, const Fields& headers, std::string_view body);
  Task<Status> begin(Response head);
  Task<Status> write(BytesView data);
  Task<Status> finish();

 private:
  enum class Answer : std::uint8_t { none, streaming, complete };

  std::string_view unread() const { return {buffer_.get() + begin_, end_ - begin_}; }
  std::string_view unread_body() const { return {buffer_.get() + body_begin_, end_ - body_begin_}; }
  void grow(std::size_t capacity);
  void wait_for(Waits what, Duration limit);
  void wait_for_nothing();
  // How long this many bytes may take.
  Duration allowance(std::uint64_t bytes) const;

  Task<Result<std::size_t>> read_head();  // its size; 0 when the client has closed
  Task<bool> serve_one(std::size_t head_size);
  Task<Result<std::size_t>> receive(std::span<std::uint8_t> out);
  Task<Status> receive_scratch();
  Task<Result<std::size_t>> read_chunked(std::span<std::uint8_t> out);
  Task<Status> take_body_bytes(std::size_t n);
  Task<Status> drain_body();
  Task<Status> flush();
  Task<void> linger();
  void refuse(const Refusal& refusal);
  void decide_keep_alive();
  void append_head(int status);
  template <class Fields>
  void append_fields(const Fields& headers);
  void append_end_of_head();
  void append_number(std::uint64_t n);
  void append_chunk(std::string_view data);

  Server& server_;
  std::unique_ptr<net::Connection> connection_;
  runtime::Scope* scope_ = nullptr;
  bool idle_ = true;
  bool cut_ = false;
  Waits waits_ = Waits::request;
  TimePoint since_, deadline_;

  // [begin_, end_) is what was read and not used; while a request is handled, its head is
  // [begin_, head_end_) and what is here of its body [body_begin_, end_).
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0, head_end_ = 0, body_begin_ = 0;
  HeadScanner scanner_;

  Body body_;
  ResponseWriter writer_;
  Request request_;
  ChunkDecoder chunks_;
  std::uint64_t body_left_ = 0;  // of a body of known length
  std::uint64_t body_read_ = 0, body_limit_ = 0;
  std::optional<TimePoint> body_since_;  // it was first waited for
  bool body_done_ = true;
  bool continue_due_ = false;

  Answer answer_ = Answer::none;
  bool keep_alive_ = true;
  bool chunked_answer_ = false;
  std::string out_;
};

}  // namespace tau::http
