// Internal to p2p/simulated: connections and their streams.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "p2p/simulated/network.h"
#include "runtime/channel.h"
#include "runtime/one_shot.h"

namespace tau::p2p::simulated {

// As yamux: what may be sent and not yet read.
inline constexpr std::size_t kWindowSize = 256 * 1024;

// One direction of a stream. The writer's end changes `used`, the reader's the rest; news travels
// by deliver().
struct Pipe {
  Pipe(runtime::Loop& loop, Number from, Traffic& costs)
      : writer(from), cost(costs), readable(loop), writable(loop) {}
  const Number writer;
  Traffic& cost;  // of its protocol
  Bytes arrived;
  std::size_t consumed = 0;  // of `arrived`
  bool ended = false;        // no more will arrive
  bool reader_lost = false;  // reads fail
  std::size_t used = 0;      // of the window
  std::size_t credit = 0;    // read, and not yet told to the writer on the wire
  bool writer_lost = false;  // writes fail
  runtime::Signal readable, writable;

  void lose_writer() {
    writer_lost = true;
    writable.notify_all();
  }
  void lose_reader() {
    reader_lost = true;
    readable.notify_all();
  }
};

struct Opening {
  Number by = 0;
  runtime::OneShot<std::unique_ptr<Stream>> done;
};

struct Connection {
  Connection(SimulatedNetwork& owner, Number first, Number second)
      : network(owner), ends{first, second}, pinged(owner.loop_.now()) {}

  SimulatedNetwork& network;
  const std::array<Number, 2> ends;  // the first one dialed
  bool open = true;
  TimePoint pinged;  // until then its pings are counted
  std::uint64_t pings = 0;
  std::uint64_t next_opening = 1;
  std::map<std::uint64_t, Opening> openings;
  std::vector<std::weak_ptr<Pipe>> pipes;

  Number other(Number end) const { return end == ends[0] ? ends[1] : ends[0]; }
  std::shared_ptr<Pipe> make_pipe(Number writer, const std::string& protocol);
  void lose_end(Number end);  // of every stream
  void deliver(Number from, Number to, runtime::Callback arrival) {
    network.deliver(from, to, std::move(arrival));
  }
};

class SimulatedStream final : public Stream {
 public:
  SimulatedStream(std::shared_ptr<Connection> connection, Number local, std::shared_ptr<Pipe> in,
                  std::shared_ptr<Pipe> out);
  ~SimulatedStream() override;

  const PeerId& remote() const override { return remote_; }
  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override;
  Task<Status> write(BytesView data) override;
  Task<Status> close_write() override;
  void reset() override;

 private:
  std::unexpected<Error> lost() const;
  void drop_in();
  void drop_out();
  void tell(runtime::Callback arrival);
  void count(std::size_t bytes);

  std::shared_ptr<Connection> connection_;
  const Number local_;
  const PeerId remote_;
  std::shared_ptr<Pipe> in_, out_;
  bool closed_ = false;
};

}  // namespace tau::p2p::simulated
