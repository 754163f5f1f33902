#include "p2p/simulated/stream.h"

#include <algorithm>

namespace tau::p2p::simulated {

namespace {
// A reader gives its window back when half of it is used.
constexpr std::size_t kCreditBytes = kWindowSize / 2;
}  // namespace

std::shared_ptr<Pipe> Connection::make_pipe(Number writer, const std::string& protocol) {
  std::erase_if(pipes, [](const auto& pipe) { return pipe.expired(); });
  auto pipe = std::make_shared<Pipe>(network.loop_, writer, network.streams_[protocol]);
  pipes.push_back(pipe);
  return pipe;
}

void Connection::lose_end(Number end) {
  for (const auto& weak : pipes) {
    const auto pipe = weak.lock();
    if (!pipe) continue;
    if (pipe->writer == end) {
      pipe->lose_writer();
    } else {
      pipe->lose_reader();
    }
  }
  for (auto it = openings.begin(); it != openings.end();) {
    if (it->second.by != end) {
      ++it;
      continue;
    }
    it->second.done.set(fail(ErrorCode::unavailable, "the connection was lost"));
    it = openings.erase(it);
  }
}

SimulatedStream::SimulatedStream(std::shared_ptr<Connection> connection, Number local,
                                 std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out)
    : connection_(std::move(connection)),
      local_(local),
      remote_(connection_->network.name_of(connection_->other(local_))),
      in_(std::move(in)),
      out_(std::move(out)) {}

SimulatedStream::~SimulatedStream() {
  // What was written before close_write() still arrives; what the other side sends from now on has
  // no reader.
  drop_in();
  if (!closed_) drop_out();
}

std::unexpected<Error> SimulatedStream::lost() const {
  return fail(ErrorCode::unavailable, "stream with " + remote_.str() + " was reset");
}

void SimulatedStream::tell(runtime::Callback arrival) {
  if (connection_->open)
    connection_->deliver(local_, connection_->other(local_), std::move(arrival));
}

void SimulatedStream::count(std::size_t bytes) {
  connection_->network.count(Kind::streams, local_, bytes);
  out_->cost.add(bytes);
}

void SimulatedStream::drop_in() {
  if (in_->ended && in_->consumed == in_->arrived.size()) return;
  in_->lose_reader();
  tell([in = in_] { in->lose_writer(); });
}

void SimulatedStream::drop_out() {
  count(kStreamEndBytes);
  out_->lose_writer();
  tell([out = out_] { out->lose_reader(); });
}

Task<Result<std::size_t>> SimulatedStream::read(std::span<std::uint8_t> out) {
  const auto in = in_;
  while (true) {
    if (in->reader_lost) co_return lost();
    if (in->consumed < in->arrived.size()) break;
    if (in->ended) co_return 0;
    CO_TRY_STATUS(in->readable.wait());
  }
  const std::size_t n = std::min(out.size(), in->arrived.size() - in->consumed);
  std::copy_n(in->arrived.begin() + static_cast<std::ptrdiff_t>(in->consumed), n, out.begin());
  in->consumed += n;
  if (in->consumed == in->arrived.size()) {
    in->arrived.clear();
    in->consumed = 0;
  }
  if ((in->credit += n) >= kCreditBytes) {
    in->credit = 0;
    count(kFrameBytes);
  }
  tell([in, n] {
    in->used -= n;
    in->writable.notify_all();
  });
  co_return n;
}

Task<Status> SimulatedStream::write(BytesView data) {
  const auto out = out_;
  if (const auto& tap = connection_->network.tap_; tap && !out->writer_lost)
    tap(connection_->network.name_of(local_), remote_, data);
  while (true) {
    if (out->writer_lost || closed_) co_return lost();
    if (data.empty()) co_return Status{};
    const std::size_t n = std::min(data.size(), kWindowSize - out->used);
    if (n == 0) {
      CO_TRY_STATUS(out->writable.wait());
      continue;
    }
    out->used += n;
    count(n + kFrameBytes);
    tell([out, bytes = to_bytes(data.first(n))] {
      if (out->reader_lost) return;
      out->arrived.insert(out->arrived.end(), bytes.begin(), bytes.end());
      out->readable.notify_all();
    });
    data = data.subspan(n);
  }
}

Task<Status> SimulatedStream::close_write() {
  if (out_->writer_lost) co_return lost();
  if (std::exchange(closed_, true)) co_return Status{};
  count(kStreamEndBytes);
  tell([out = out_] {
    out->ended = true;
    out->readable.notify_all();
  });
  co_return Status{};
}

void SimulatedStream::reset() {
  in_->lose_reader();
  tell([in = in_] { in->lose_writer(); });
  drop_out();
}

}  // namespace tau::p2p::simulated
