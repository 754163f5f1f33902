#include "net/simulated.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "runtime/channel.h"

namespace tau::net {
namespace simulated {

using runtime::Loop;
using runtime::Signal;

// What one end may have sent and the other not yet read: about a TCP window.
constexpr std::size_t kWindow = 256u << 10;
constexpr std::size_t kBacklog = 1024;
// Datagrams that wait for a receiver; more are dropped, as a full socket buffer does.
constexpr std::size_t kDatagramsWaiting = 256;
constexpr std::uint16_t kFirstFreePort = 49'152;  // the dynamic range of RFC 6335

// One direction of a connection.
struct Pipe : std::enable_shared_from_this<Pipe> {
  explicit Pipe(Loop& l) : loop(l), changed(l) {}

  void deliver(Duration latency, Bytes data) {  // empty: the end
    if (latency <= Duration::zero()) {
      arrive(std::move(data));
      return;
    }
    // Timers of the same instant fire in the order in which they were set: nothing overtakes,
    // unless the latency was lowered meanwhile, which the clock of arrivals prevents.
    const TimePoint at = std::max(loop.now() + latency, last_arrival);
    last_arrival = at;
    loop.call_at(at, [self = shared_from_this(), d = std::move(data)]() mutable {
      self->arrive(std::move(d));
    });
  }
  void arrive(Bytes data) {
    if (data.empty()) {
      ended = true;
    } else {
      ready.push_back(std::move(data));
    }
    changed.notify_all();
  }
  void break_off() {
    broken = true;
    changed.notify_all();
  }

  Loop& loop;
  std::deque<Bytes> ready;
  std::size_t front_used = 0;
  std::size_t unread = 0;  // sent and not read, on the way or here
  bool ended = false;      // no more will come
  bool broken = false;     // one of the machines died
  bool abandoned = false;  // the reading end was destroyed
  TimePoint last_arrival;
  Signal changed;
};

struct ListenerState {
  explicit ListenerState(Loop& loop) : changed(loop) {}
  std::deque<std::unique_ptr<Connection>> waiting;
  bool closed = false;
  Signal changed;
};

struct DatagramState {
  explicit DatagramState(Loop& loop) : changed(loop) {}
  std::deque<Datagram> waiting;
  bool closed = false;
  Signal changed;
};

struct Tables {
  explicit Tables(Loop& l) : loop(l) {}
  struct Shared {
    std::vector<std::shared_ptr<ListenerState>> listeners;
    SharePort share = SharePort::no;
    std::size_t next = 0;  // connections go round
  };
  Loop& loop;
  Duration latency{};
  DatagramWeather weather;
  Random* random = nullptr;  // of the weather
  std::map<Endpoint, Shared> listeners;
  std::map<Endpoint, std::shared_ptr<DatagramState>> datagrams;
  std::uint16_t next_port = kFirstFreePort;

  template <class Map>
  Result<Endpoint> with_port(Endpoint at, const Map& taken) {
    if (at.port != 0) return at;
    for (int i = 0; i < 65'536 - kFirstFreePort; ++i) {
      at.port = next_port;
      next_port = next_port == 65'535 ? kFirstFreePort : static_cast<std::uint16_t>(next_port + 1);
      if (!taken.contains(at)) return at;
    }
    return fail(ErrorCode::resource_exhausted, "no free port on " + at.address);
  }
};

namespace {

std::unexpected<Error> lost(const Endpoint& remote) {
  return fail(ErrorCode::unavailable, "connection to " + remote.to_string() + " is lost");
}

class SimulatedConnection final : public Connection {
 public:
  SimulatedConnection(std::shared_ptr<Tables> tables, std::shared_ptr<Pipe> in,
                      std::shared_ptr<Pipe> out, Endpoint local, Endpoint remote)
      : tables_(std::move(tables)),
        in_(std::move(in)),
        out_(std::move(out)),
        local_(std::move(local)),
        remote_(std::move(remote)) {}
  ~SimulatedConnection() override {
    (void)close_write();
    in_->abandoned = true;
    in_->changed.notify_all();
  }

  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override {
    for (;;) {
      if (in_->broken) co_return lost(remote_);
      if (!in_->ready.empty()) break;
      if (in_->ended) co_return std::size_t{0};
      CO_TRY_STATUS(in_->changed.wait());
    }
    Bytes& front = in_->ready.front();
    const std::size_t n = std::min(out.size(), front.size() - in_->front_used);
    std::copy_n(front.begin() + static_cast<std::ptrdiff_t>(in_->front_used), n, out.begin());
    in_->front_used += n;
    in_->unread -= n;
    if (in_->front_used == front.size()) {
      in_->ready.pop_front();
      in_->front_used = 0;
    }
    in_->changed.notify_all();
    co_return n;
  }

  Task<Status> write(BytesView data) override {
    while (!data.empty()) {
      if (out_->broken || out_->abandoned) co_return lost(remote_);
      if (ended_) co_return fail(ErrorCode::unavailable, "write after close_write");
      if (out_->unread >= kWindow) {
        CO_TRY_STATUS(out_->changed.wait());
        continue;
      }
      const std::size_t n = std::min(data.size(), kWindow - out_->unread);
      out_->unread += n;
      out_->deliver(tables_->latency, to_bytes(data.first(n)));
      data = data.subspan(n);
    }
    co_return Status{};
  }

  Status close_write() override {
    if (!std::exchange(ended_, true)) out_->deliver(tables_->latency, {});
    return {};
  }
  Endpoint remote() const override { return remote_; }
  Endpoint local() const override { return local_; }

 private:
  std::shared_ptr<Tables> tables_;
  std::shared_ptr<Pipe> in_, out_;
  Endpoint local_, remote_;
  bool ended_ = false;
};

class SimulatedListener final : public Listener {
 public:
  SimulatedListener(std::shared_ptr<Tables> tables, Endpoint at,
                    std::shared_ptr<ListenerState> state)
      : tables_(std::move(tables)), local_(std::move(at)), state_(std::move(state)) {}
  ~SimulatedListener() override {
    const auto found = tables_->listeners.find(local_);
    if (found == tables_->listeners.end()) return;
    std::erase(found->second.listeners, state_);
    if (found->second.listeners.empty()) tables_->listeners.erase(found);
  }

  Task<Result<std::unique_ptr<Connection>>> accept() override {
    while (state_->waiting.empty()) {
      if (state_->closed)
        co_return fail(ErrorCode::unavailable, "no longer listening on " + local_.to_string());
      CO_TRY_STATUS(state_->changed.wait());
    }
    auto connection = std::move(state_->waiting.front());
    state_->waiting.pop_front();
    co_return connection;
  }
  Endpoint local() const override { return local_; }

 private:
  std::shared_ptr<Tables> tables_;
  Endpoint local_;
  std::shared_ptr<ListenerState> state_;
};

class SimulatedDatagrams final : public DatagramSocket {
 public:
  SimulatedDatagrams(std::shared_ptr<Tables> tables, Endpoint at,
                     std::shared_ptr<DatagramState> state)
      : tables_(std::move(tables)), local_(std::move(at)), state_(std::move(state)) {}
  ~SimulatedDatagrams() override {
    const auto found = tables_->datagrams.find(local_);
    if (found != tables_->datagrams.end() && found->second == state_)
      tables_->datagrams.erase(found);
  }

  Task<Result<Datagram>> receive() override {
    while (state_->waiting.empty()) {
      if (state_->closed) co_return fail(ErrorCode::unavailable, "the socket is closed");
      CO_TRY_STATUS(state_->changed.wait());
    }
    Datagram datagram = std::move(state_->waiting.front());
    state_->waiting.pop_front();
    co_return datagram;
  }
  Status send(const Endpoint& to, BytesView data) override {
    if (data.size() > 65'507) return fail(ErrorCode::invalid_argument, "datagram is too long");
    if (state_->closed) return fail(ErrorCode::unavailable, "the socket is closed");
    const auto arrive = [tables = tables_, to, datagram = Datagram{local_, to_bytes(data)}] {
      const auto found = tables->datagrams.find(to);
      if (found == tables->datagrams.end()) return;
      if (found->second->waiting.size() >= kDatagramsWaiting) return;
      found->second->waiting.push_back(datagram);
      found->second->changed.notify_all();
    };
    if (chance(tables_->weather.lost)) return {};
    for (int copies = chance(tables_->weather.doubled) ? 2 : 1; copies > 0; --copies) {
      Duration after = tables_->latency;
      if (chance(tables_->weather.late))
        after += Duration(tables_->random->below(
            static_cast<std::uint64_t>(DatagramWeather::kStraggleMax.count())));
      if (after <= Duration::zero()) {
        arrive();
      } else {
        tables_->loop.call_after(after, arrive);
      }
    }
    return {};
  }
  Endpoint local() const override { return local_; }

 private:
  bool chance(std::uint32_t of_1000) const {
    return of_1000 > 0 && tables_->random->below(1000) < of_1000;
  }
  std::shared_ptr<Tables> tables_;
  Endpoint local_;
  std::shared_ptr<DatagramState> state_;
};

bool any_address(const std::string& address) { return address == "0.0.0.0" || address == "::"; }

}  // namespace

class Host final : public Network {
 public:
  Host(std::shared_ptr<Tables> tables, std::string address)
      : tables_(std::move(tables)), address_(std::move(address)) {}

  Result<std::unique_ptr<Listener>> listen(const Endpoint& wanted, SharePort share) override {
    TRY(const Endpoint at, tables_->with_port(own(wanted), tables_->listeners));
    const auto found = tables_->listeners.find(at);
    if (found != tables_->listeners.end() &&
        (share == SharePort::no || found->second.share == SharePort::no))
      return fail(ErrorCode::already_exists, at.to_string() + " is in use");
    auto state = std::make_shared<ListenerState>(tables_->loop);
    Tables::Shared& shared = tables_->listeners[at];
    shared.share = share;
    shared.listeners.push_back(state);
    remember(listeners_, state);
    return std::make_unique<SimulatedListener>(tables_, at, std::move(state));
  }

  Result<std::unique_ptr<DatagramSocket>> bind(const Endpoint& wanted) override {
    TRY(const Endpoint at, tables_->with_port(own(wanted), tables_->datagrams));
    if (tables_->datagrams.contains(at))
      return fail(ErrorCode::already_exists, at.to_string() + " is in use");
    auto state = std::make_shared<DatagramState>(tables_->loop);
    tables_->datagrams[at] = state;
    remember(datagrams_, state);
    return std::make_unique<SimulatedDatagrams>(tables_, at, std::move(state));
  }

  Task<Result<std::unique_ptr<Connection>>> connect(Endpoint to) override {
    if (tables_->latency > Duration::zero())
      CO_TRY_STATUS(runtime::sleep_for(tables_->latency * 2));  // the handshake
    const auto found = tables_->listeners.find(to);
    if (found == tables_->listeners.end())
      co_return fail(ErrorCode::unavailable,
                     "connecting to " + to.to_string() + ": connection refused");
    Tables::Shared& shared = found->second;
    auto& listener = *shared.listeners[shared.next++ % shared.listeners.size()];
    if (listener.waiting.size() >= kBacklog)
      co_return fail(ErrorCode::unavailable,
                     "connecting to " + to.to_string() + ": its backlog is full");
    CO_TRY_SYNC(const Endpoint from, tables_->with_port(Endpoint{address_, 0}, no_ports_));
    auto there = std::make_shared<Pipe>(tables_->loop),
         back = std::make_shared<Pipe>(tables_->loop);
    for (const auto& pipe : {there, back}) {
      remember(pipes_, pipe);
      if (Host* other = owner_of(to)) remember(other->pipes_, pipe);
    }
    listener.waiting.push_back(
        std::make_unique<SimulatedConnection>(tables_, there, back, to, from));
    listener.changed.notify_all();
    co_return std::make_unique<SimulatedConnection>(tables_, back, there, from, to);
  }

  void kill() {
    for (auto& weak : std::exchange(pipes_, {}))
      if (auto pipe = weak.lock()) pipe->break_off();
    for (auto& weak : std::exchange(datagrams_, {}))
      if (auto state = weak.lock()) close(tables_->datagrams, state);
    for (auto& weak : std::exchange(listeners_, {})) {
      const auto state = weak.lock();
      if (!state) continue;
      for (auto at = tables_->listeners.begin(); at != tables_->listeners.end();) {
        std::erase(at->second.listeners, state);
        at = at->second.listeners.empty() ? tables_->listeners.erase(at) : std::next(at);
      }
      state->waiting.clear();
      state->closed = true;
      state->changed.notify_all();
    }
  }
  bool owns(const Endpoint& at) const {
    const auto found = tables_->listeners.find(at);
    if (found == tables_->listeners.end()) return false;
    return std::ranges::any_of(listeners_, [&](const auto& weak) {
      const auto mine = weak.lock();
      return mine &&
             std::ranges::find(found->second.listeners, mine) != found->second.listeners.end();
    });
  }
  void know(const std::map<std::string, std::unique_ptr<Host>>* all) { all_ = all; }

 private:
  Endpoint own(Endpoint at) const {
    if (any_address(at.address)) at.address = address_;
    return at;
  }
  Host* owner_of(const Endpoint& at) const {
    for (const auto& [address, host] : *all_)
      if (host->owns(at)) return host.get();
    return nullptr;
  }
  template <class T>
  static void remember(std::vector<std::weak_ptr<T>>& list, const std::shared_ptr<T>& item) {
    // Forget the dead once they may be half of the list, so that the list stays in proportion.
    if (list.size() == list.capacity())
      std::erase_if(list, [](const auto& weak) { return weak.expired(); });
    list.push_back(item);
  }
  template <class Map, class T>
  static void close(Map& map, const std::shared_ptr<T>& state) {
    std::erase_if(map, [&](const auto& entry) { return entry.second == state; });
    state->closed = true;
    state->waiting.clear();
    state->changed.notify_all();
  }

  std::shared_ptr<Tables> tables_;
  std::string address_;
  std::map<Endpoint, int> no_ports_;  // source ports may be shared: nobody looks them up
  std::vector<std::weak_ptr<Pipe>> pipes_;
  std::vector<std::weak_ptr<ListenerState>> listeners_;
  std::vector<std::weak_ptr<DatagramState>> datagrams_;
  const std::map<std::string, std::unique_ptr<Host>>* all_ = nullptr;
};

}  // namespace simulated

SimulatedNetwork::SimulatedNetwork(runtime::Loop& loop, Duration latency)
    : tables_(std::make_shared<simulated::Tables>(loop)) {
  tables_->latency = latency;
}
SimulatedNetwork::~SimulatedNetwork() = default;

Network& SimulatedNetwork::host(const std::string& address) {
  auto& host = hosts_[address];
  if (!host) {
    host = std::make_unique<simulated::Host>(tables_, address);
    host->know(&hosts_);
  }
  return *host;
}

void SimulatedNetwork::kill(const std::string& address) {
  if (const auto found = hosts_.find(address); found != hosts_.end()) found->second->kill();
}

void SimulatedNetwork::set_latency(Duration latency) { tables_->latency = latency; }

void SimulatedNetwork::set_weather(DatagramWeather weather, Random& random) {
  tables_->weather = weather;
  tables_->random = &random;
}

}  // namespace tau::net
