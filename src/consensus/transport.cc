#include "consensus/transport.h"

#include <chrono>
#include <utility>

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;

constexpr Duration kOpenMax = 2s;    // a stream to a live peer takes a round trip or two
constexpr Duration kWriteMax = 10s;  // a peer that does not read for so long is dead to us
constexpr Duration kProposeMax = 8s;
// A heartbeat each 100 ms and one append for each proposal under way.
constexpr std::size_t kQueueFramesMax = 512;
constexpr std::size_t kQueueBytesMax =
    kFrameSizeMax + (8u << 20);            // one snapshot, and what follows
constexpr std::size_t kInboundMax = 1024;  // streams at once: proposals under way

}  // namespace

struct Transport::Link {
  Link(runtime::Loop& loop, PeerId p) : peer(std::move(p)), queue(loop, kQueueFramesMax) {}
  PeerId peer;
  runtime::Channel<Bytes> queue;
  std::size_t queued_bytes = 0;
  std::unique_ptr<p2p::Stream> stream;
};

Transport::Transport(runtime::Loop& loop, p2p::Host& host, std::string group, std::string role,
                     Logger log)
    : loop_(loop),
      host_(host),
      protocol_("/tau/raft/1/" + std::move(group)),
      role_(std::move(role)),
      log_(std::move(log)),
      ended_(loop) {}
Transport::~Transport() { CHECK(!pumps_ && hearing_ == 0); }

void Transport::start(std::map<std::uint64_t, PeerId> others, OnMessage on_message,
                      OnPropose on_propose) {
  on_message_ = std::move(on_message);
  on_propose_ = std::move(on_propose);
  listening_ = true;
  pumps_ = std::make_unique<runtime::TaskGroup>(loop_);
  for (auto& [id, peer] : others) {
    ids_.emplace(peer, id);
    auto link = std::make_shared<Link>(loop_, peer);
    links_.emplace(id, link);
    pumps_->spawn(pump(link));
  }
  host_.handle(protocol_, [this](std::unique_ptr<p2p::Stream> s) { return hear(std::move(s)); });
}

Task<void> Transport::stop() {
  if (!pumps_) co_return;
  host_.handle(protocol_, nullptr);
  listening_ = false;
  for (runtime::Scope* stream : std::set(inbound_)) stream->cancel();
  for (auto& [id, link] : links_) link->queue.close();
  co_await pumps_->stop();
  runtime::Scope own(loop_);  // not cut short: what the streams' tasks use is about to go
  while (hearing_ > 0) (void)co_await ended_.wait().in(own);
  links_.clear();
  ids_.clear();
  pumps_.reset();
  on_message_ = nullptr;
  on_propose_ = nullptr;
}

bool Transport::is_member(const PeerId& peer) const {
  const auto certificate = host_.certificate_of(peer);
  return certificate && certificate->has_role(role_);
}

bool Transport::send(std::uint64_t to, Bytes frame) {
  const auto it = links_.find(to);
  if (it == links_.end()) return false;
  Link& link = *it->second;
  const std::size_t size = frame.size();
  if (!is_member(link.peer) || link.queued_bytes + size > kQueueBytesMax) return false;
  if (!link.queue.try_send(std::move(frame))) return false;
  link.queued_bytes += size;
  return true;
}

Task<Status> Transport::send_frame(std::shared_ptr<Link> link, const Bytes& frame) {
  if (!link->stream) {
    auto stream = co_await runtime::with_deadline(kOpenMax, "opening a raft stream",
                                                  host_.open(link->peer, protocol_));
    if (!stream) co_return fail(std::move(stream).error());
    link->stream = *std::move(stream);
  }
  CO_TRY_STATUS(
      runtime::with_deadline(kWriteMax, "sending a raft message", link->stream->write(frame)));
  co_return Status{};
}

Task<void> Transport::pump(std::shared_ptr<Link> link) {
  for (;;) {
    auto frame = co_await link->queue.receive();
    if (!frame) break;
    link->queued_bytes -= frame->size();
    const auto sent = co_await send_frame(link, *frame);
    if (sent) continue;
    log_.debug("to " + link->peer.str() + ": " + sent.error().to_string());
    link->stream.reset();
    if (sent.error().code() == ErrorCode::cancelled) break;
  }
  link->stream.reset();
}

Task<void> Transport::hear(std::unique_ptr<p2p::Stream> stream) {
  const PeerId peer = stream->remote();
  const auto id = ids_.find(peer);
  if (!listening_ || id == ids_.end() || !is_member(peer)) {
    log_.debug("refused a raft stream of " + peer.str() + ": no member of the group");
    stream->reset();
    co_return;
  }
  if (hearing_ >= kInboundMax) {
    stream->reset();
    co_return;
  }
  ++hearing_;
  // Ends with this transport, and with the host, which may be stopped first.
  runtime::Scope& of_host = co_await runtime::current_scope();
  runtime::Scope own(loop_, of_host);
  inbound_.insert(&own);
  const auto ended = co_await hear_frames(*stream, id->second).in(own);
  inbound_.erase(&own);
  if (!ended) log_.debug("stream of " + peer.str() + " ended: " + ended.error().to_string());
  stream.reset();
  --hearing_;
  ended_.notify_all();
}

Task<Status> Transport::hear_frames(p2p::Stream& stream, std::uint64_t from) {
  for (;;) {
    CO_TRY(Frame frame, read_frame(stream));
    if (frame.propose) co_return co_await answer(stream, *std::move(frame.propose));
    if (!is_member(stream.remote()))
      co_return fail(ErrorCode::permission_denied, "no member any more");
    on_message_(from, stream.remote(), std::move(frame));
  }
}

Task<Status> Transport::answer(p2p::Stream& stream, Propose propose) {
  auto result = co_await runtime::with_deadline(kProposeMax, "a proposal",
                                                on_propose_(std::move(propose.command)));
  ProposeAnswer answer;
  if (result) {
    answer.answer = *std::move(result);
  } else {
    answer.code = static_cast<std::uint64_t>(result.error().code());
    answer.message = result.error().message();
  }
  Frame frame;
  frame.propose_answer = std::move(answer);
  CO_TRY_SYNC(const Bytes bytes, frame_bytes(frame));
  CO_TRY_STATUS(runtime::with_deadline(kWriteMax, "answering a proposal", stream.write(bytes)));
  co_return co_await stream.close_write();
}

namespace {

Task<Result<Frame>> ask(p2p::Host& host, PeerId peer, std::string protocol, Bytes question) {
  CO_TRY(const auto stream, host.open(std::move(peer), std::move(protocol)));
  CO_TRY_STATUS(stream->write(question));
  CO_TRY(Frame frame, read_frame(*stream));
  co_return frame;
}

}  // namespace

Task<Result<Bytes>> Transport::propose_at(PeerId leader, Bytes command) {
  if (!is_member(leader))
    co_return fail(ErrorCode::unavailable, "the leader " + leader.str() + " is not connected");
  Frame question;
  question.propose = Propose{std::move(command)};
  CO_TRY_SYNC(Bytes bytes, frame_bytes(question));
  CO_TRY(Frame frame, runtime::with_deadline(kProposeMax, "a proposal at the leader",
                                             ask(host_, leader, protocol_, std::move(bytes))));
  if (!frame.propose_answer)
    co_return fail(ErrorCode::invalid_argument, "the leader answered something else");
  ProposeAnswer& answer = *frame.propose_answer;
  if (answer.answer) co_return *std::move(answer.answer);
  co_return fail(error_code_from(answer.code).value_or(ErrorCode::unknown), answer.message);
}

}  // namespace tau::consensus
