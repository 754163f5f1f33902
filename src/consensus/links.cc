#include "consensus/links.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;

constexpr Duration kOpenMax = 2s;    // a stream to a live peer takes a round trip or two
constexpr Duration kWriteMax = 10s;  // a peer that does not read for so long is dead to us
// Several groups' heartbeats, and one append for each batch of proposals under way.
constexpr std::size_t kQueueItemsMax = 4096;
constexpr std::size_t kQueueBytesMax = 8u << 20;
constexpr std::size_t kPacketTarget = 256u << 10;  // what is larger takes a stream of its own
constexpr std::size_t kLargeMax = 8;               // at once: each holds its message in memory
constexpr std::size_t kStreamsPerPeerMax = 16;     // one, large messages, and those just replaced
constexpr std::size_t kPeersMax = 4096;            // that we remember to have heard

}  // namespace

struct Links::Link {
  explicit Link(PeerId p) : peer(std::move(p)) {}
  PeerId peer;
  std::deque<Item> queue;
  std::size_t queued_bytes = 0;
  bool alive_due = false, pumping = false;
  TimePoint last_said;
  std::unique_ptr<p2p::Stream> stream;
};

Links::Links(runtime::Loop& loop, p2p::Host& host, const std::string& name, std::string role,
             Logger log)
    : loop_(loop),
      host_(host),
      protocol_("/tau/raft/2/" + name),
      role_(std::move(role)),
      log_(std::move(log)),
      ended_(loop) {}
Links::~Links() { CHECK(!tasks_ && hearing_ == 0); }

void Links::start(OnItem on_item) {
  on_item_ = std::move(on_item);
  listening_ = true;
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  host_.handle(protocol_, [this](std::unique_ptr<p2p::Stream> s) { return hear(std::move(s)); });
}

Task<void> Links::stop() {
  if (!tasks_) co_return;
  host_.handle(protocol_, nullptr);
  listening_ = false;
  for (runtime::Scope* stream : std::set(inbound_)) stream->cancel();
  co_await tasks_->stop();
  runtime::Scope own(loop_);  // not cut short: what the streams' tasks use is about to go
  while (hearing_ > 0) (void)co_await ended_.wait().in(own);
  for (const auto& [peer, link] : links_) host_.unprotect(peer, protocol_);
  links_.clear();
  heard_.clear();
  tasks_.reset();
  on_item_ = nullptr;
}

bool Links::admitted(const PeerId& peer) const {
  const auto certificate = host_.certificate_of(peer);
  return certificate && certificate->has_role(role_);
}

// Who is not connected shows its certificate when it is.
bool Links::may_hear(const PeerId& peer) const {
  const auto certificate = host_.certificate_of(peer);
  return certificate ? certificate->has_role(role_) : host_.reachable(peer);
}

std::optional<TimePoint> Links::last_heard(const PeerId& peer) const {
  const auto it = heard_.find(peer);
  if (it == heard_.end()) return std::nullopt;
  return it->second.at;
}

std::shared_ptr<Links::Link> Links::link_to(const PeerId& peer) {
  auto& link = links_[peer];
  if (!link) {
    link = std::make_shared<Link>(peer);
    host_.protect(peer, protocol_);
  }
  return link;
}

void Links::begin(const std::shared_ptr<Link>& link) {
  if (std::exchange(link->pumping, true)) return;
  tasks_->spawn(pump(link));
}

bool Links::send(const PeerId& to, const std::string& group, Frame frame, Sent sent) {
  if (!tasks_ || !may_hear(to)) return false;
  const std::size_t size = size_of(frame) + group.size();
  if (size > kPacketTarget) {
    if (large_ >= kLargeMax) return false;
    ++large_;
    Packet packet;
    packet.items.push_back({group, std::move(frame)});
    tasks_->spawn(send_large(to, std::move(packet), std::move(sent)));
    return true;
  }
  const auto link = link_to(to);
  if (link->queue.size() >= kQueueItemsMax || link->queued_bytes + size > kQueueBytesMax)
    return false;
  link->queue.push_back({group, std::move(frame)});
  link->queued_bytes += size;
  begin(link);
  if (sent) sent(true);
  return true;
}

void Links::say_alive(const PeerId& to, Duration since) {
  if (!tasks_ || !may_hear(to)) return;
  const auto link = link_to(to);
  if (loop_.now() - link->last_said < since && link->last_said != TimePoint{}) return;
  link->alive_due = true;
  begin(link);
}

Task<void> Links::pump(std::shared_ptr<Link> link) {
  (void)co_await runtime::yield();  // what this turn of the loop still has to say comes along
  while (!link->queue.empty() || link->alive_due) {
    Packet packet;
    std::size_t bytes = 0;
    while (!link->queue.empty() && bytes < kPacketTarget) {
      const std::size_t size =
          size_of(link->queue.front().frame) + link->queue.front().group.size();
      bytes += size;
      link->queued_bytes -= size;
      packet.items.push_back(std::move(link->queue.front()));
      link->queue.pop_front();
    }
    link->alive_due = false;
    link->last_said = loop_.now();
    auto encoded = packet_bytes(packet);
    CHECK(encoded);  // a small one always fits
    const auto sent = co_await write_packet(link, *std::move(encoded));
    if (sent) continue;
    log_.debug("to " + link->peer.str() + ": " + sent.error().to_string());
    link->stream.reset();
    if (sent.error().code() == ErrorCode::cancelled) break;
    link->queue.clear();  // as old as the failure; Raft says again what still matters
    link->queued_bytes = 0;
  }
  link->pumping = false;
}

Task<Result<std::unique_ptr<p2p::Stream>>> Links::open(PeerId peer) {
  CO_TRY_STATUS(host_.reach(peer));
  if (!admitted(peer))
    co_return fail(ErrorCode::permission_denied, peer.str() + " lacks the role " + role_);
  co_return co_await host_.open(std::move(peer), protocol_);
}

Task<Status> Links::write_packet(std::shared_ptr<Link> link, Bytes packet) {
  if (!link->stream) {
    auto stream =
        co_await runtime::with_deadline(kOpenMax, "opening a raft stream", open(link->peer));
    if (!stream) co_return fail(std::move(stream).error());
    link->stream = *std::move(stream);
  }
  CO_TRY_STATUS(
      runtime::with_deadline(kWriteMax, "sending a raft packet", link->stream->write(packet)));
  ++packets_sent_;
  bytes_sent_ += packet.size();
  co_return Status{};
}

Task<void> Links::send_large(PeerId to, Packet packet, Sent sent) {
  auto encoded = packet_bytes(packet);
  packet.items.clear();
  Status went = encoded ? Status{} : Status(fail(std::move(encoded).error()));
  if (went) went = co_await write_large(to, *std::move(encoded));
  if (!went) log_.debug("to " + to.str() + ": " + went.error().to_string());
  --large_;
  if (sent) sent(went.has_value());
}

Task<Status> Links::write_large(PeerId to, Bytes packet) {
  CO_TRY(const auto stream, runtime::with_deadline(kOpenMax, "opening a raft stream", open(to)));
  // Slice by slice: a slow line may take its time as long as it moves.
  for (std::size_t at = 0; at < packet.size(); at += kPacketTarget) {
    const auto slice = BytesView(packet).subspan(at, std::min(kPacketTarget, packet.size() - at));
    CO_TRY_STATUS(runtime::with_deadline(kWriteMax, "sending a snapshot", stream->write(slice)));
    bytes_sent_ += slice.size();
  }
  ++packets_sent_;
  CO_TRY_STATUS(runtime::with_deadline(kWriteMax, "sending a snapshot", stream->close_write()));
  // The other side closes once it has read it all; a stream that goes away before loses the rest.
  std::uint8_t none = 0;
  CO_TRY_STATUS([](p2p::Stream& s, std::uint8_t& byte) -> Task<Status> {
    auto end =
        co_await runtime::with_deadline(kWriteMax, "a snapshot's end", s.read(std::span(&byte, 1)));
    if (!end) co_return fail(std::move(end).error());
    co_return Status{};
  }(*stream, none));
  co_return Status{};
}

Task<void> Links::hear(std::unique_ptr<p2p::Stream> stream) {
  const PeerId peer = stream->remote();
  if (!listening_ || !admitted(peer)) {
    log_.debug("refused a raft stream of " + peer.str() + ": without the role " + role_);
    stream->reset();
    co_return;
  }
  if (heard_.size() >= kPeersMax && !heard_.contains(peer)) {
    std::erase_if(heard_, [](const auto& h) { return h.second.streams == 0; });
  }
  Heard& heard = heard_[peer];
  if (heard.streams >= kStreamsPerPeerMax) {
    stream->reset();
    co_return;
  }
  ++heard.streams;
  ++hearing_;
  // Ends with these links, and with the host, which may be stopped first.
  runtime::Scope& of_host = co_await runtime::current_scope();
  runtime::Scope own(loop_, of_host);
  inbound_.insert(&own);
  const auto ended = co_await hear_packets(*stream).in(own);
  if (!ended) log_.debug("stream of " + peer.str() + " ended: " + ended.error().to_string());
  if (!ended && ended.error().code() == ErrorCode::invalid_argument)
    host_.conduct().blame(peer, p2p::Misdeed::malformed, "a packet of " + protocol_);
  // Who sent something large waits for this: it was read to its end.
  if (!own.cancelled()) (void)co_await stream->close_write().in(own);
  inbound_.erase(&own);
  stream.reset();
  if (const auto it = heard_.find(peer); it != heard_.end()) --it->second.streams;
  --hearing_;
  ended_.notify_all();
}

Task<Status> Links::hear_packets(p2p::Stream& stream) {
  const PeerId peer = stream.remote();
  for (;;) {
    CO_TRY(Packet packet, read_packet(stream));
    if (!admitted(peer)) co_return fail(ErrorCode::permission_denied, "no member any more");
    heard_[peer].at = loop_.now();
    for (Item& item : packet.items) {
      if (!listening_) co_return Status{};
      on_item_(peer, std::move(item));
    }
  }
}

}  // namespace tau::consensus
