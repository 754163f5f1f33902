#include "content/bitswap.h"

#include <algorithm>

#include "runtime/one_shot.h"

namespace tau::content {
namespace {

using namespace std::chrono_literals;
using codec::Cid;

// Wants of a peer that wait here, and ours that wait at a peer: what stock nodes keep of one
// another.
constexpr std::size_t kWantsPerPeerMax = 1024;
// A message is sent once it has this much: a small first answer, and memory of one message a peer.
constexpr std::size_t kMessageTarget = 512u << 10;
constexpr std::size_t kEntriesPerMessage = 1024;
// A peer needs one; a stock node opens another when it reconnects.
constexpr std::size_t kInboundStreamsMax = 4;
// Answers to wants that were cancelled arrive late; they are not lies. As many as can be under way.
constexpr std::size_t kCancelledKept = kWantsPerPeerMax;
// One message of 4 MiB at 1 Mbit/s.
constexpr Duration kMessageLimit = 40s;

Task<Result<Bytes>> arrival(runtime::OneShot<Bytes> answer) { co_return co_await answer; }
Task<void> nothing() { co_return; }

}  // namespace

struct Bitswap::Ledger {
  explicit Ledger(PeerId peer) : id(std::move(peer)) {}

  PeerId id;
  bool gone = false;

  // What this node wants of the peer.
  std::map<Digest, std::vector<runtime::OneShot<Bytes>>> wants;
  std::deque<Digest> cancelled;
  std::deque<WantEntry> to_send;  // wants and cancels

  // What the peer wants of this node.
  std::deque<WantEntry> asked;
  std::vector<Bytes> unknown;

  bool sending = false;
  std::unique_ptr<p2p::Stream> stream;
  std::size_t inbound_streams = 0;

  bool has_work() const { return !to_send.empty() || !asked.empty() || !unknown.empty(); }
};

Bitswap::Bitswap(runtime::Loop& loop, p2p::Host& host, store::BlockStore& blocks, Logger log)
    : loop_(loop),
      host_(host),
      blocks_(blocks),
      log_(std::move(log)),
      self_(std::make_shared<Bitswap*>(nullptr)),
      tasks_(loop) {}

Bitswap::~Bitswap() { CHECK(!running_); }

void Bitswap::start() {
  CHECK(!running_);
  running_ = true;
  *self_ = this;
  host_.on_peer([self = self_](const PeerId& peer, bool connected) {
    if (*self && !connected) (*self)->forget(peer);
  });
  host_.handle(std::string(kBitswapProtocol), [self = self_](std::unique_ptr<p2p::Stream> stream) {
    if (Bitswap* bitswap = *self) {
      if (auto ledger = bitswap->ledger_of(stream->remote()))
        bitswap->tasks_.spawn(bitswap->receive_all(std::move(ledger), std::move(stream)));
    }
    return nothing();
  });
}

Task<void> Bitswap::stop() {
  if (!running_) co_return;
  running_ = false;
  *self_ = nullptr;
  host_.handle(std::string(kBitswapProtocol), nullptr);
  while (!ledgers_.empty()) forget(PeerId(ledgers_.begin()->first));
  co_await tasks_.stop();
}

std::shared_ptr<Bitswap::Ledger> Bitswap::ledger_of(const PeerId& peer) {
  const auto it = ledgers_.find(peer);
  if (it != ledgers_.end()) return it->second;
  if (!running_ || peer == host_.id() || !host_.certificate_of(peer)) return nullptr;
  return ledgers_.emplace(peer, std::make_shared<Ledger>(peer)).first->second;
}

void Bitswap::fail_wants(Ledger& ledger, const Error& error) {
  for (auto& [digest, answers] : std::exchange(ledger.wants, {})) {
    ledger.cancelled.push_back(digest);
    for (auto& answer : answers) answer.set(fail(error));
  }
  while (ledger.cancelled.size() > kCancelledKept) ledger.cancelled.pop_front();
  ledger.to_send.clear();
}

void Bitswap::forget(const PeerId& peer) {
  const auto it = ledgers_.find(peer);
  if (it == ledgers_.end()) return;
  const auto ledger = it->second;
  ledgers_.erase(it);
  ledger->gone = true;
  ledger->asked.clear();
  ledger->unknown.clear();
  if (!ledger->sending) ledger->stream.reset();
  fail_wants(*ledger, Error(ErrorCode::unavailable, "connection to " + peer.str() + " is gone"));
}

Task<Result<Bytes>> Bitswap::want(PeerId peer, Cid cid, Duration limit) {
  const auto ledger = ledger_of(peer);
  if (!ledger) co_return fail(ErrorCode::unavailable, "peer " + peer.str() + " is not connected");
  const bool first = !ledger->wants.contains(cid.digest());
  if (first && ledger->wants.size() >= kWantsPerPeerMax)
    co_return fail(ErrorCode::resource_exhausted,
                   "too many blocks are wanted of " + peer.str() + " already");
  const runtime::OneShot<Bytes> answer(loop_);
  ledger->wants[cid.digest()].push_back(answer);
  if (first) {
    ledger->to_send.push_back({cid, WantEntry::Type::block, false, true});
    kick(ledger);
  }
  auto result = co_await runtime::with_deadline(
      limit, "block " + cid.to_string() + " from " + peer.str(), arrival(answer));
  if (!result) leave(*ledger, cid);
  co_return result;
}

// Takes back a want that nobody waits for any more.
void Bitswap::leave(Ledger& ledger, const Cid& cid) {
  const auto it = ledger.wants.find(cid.digest());
  if (it == ledger.wants.end()) return;
  std::erase_if(it->second, [](const auto& answer) { return answer.is_set(); });
  if (!it->second.empty()) return;
  ledger.wants.erase(it);
  const auto unsent = std::ranges::find_if(
      ledger.to_send, [&](const WantEntry& w) { return w.cid.digest() == cid.digest(); });
  if (unsent != ledger.to_send.end()) {
    ledger.to_send.erase(unsent);
    return;
  }
  ledger.cancelled.push_back(cid.digest());
  if (ledger.cancelled.size() > kCancelledKept) ledger.cancelled.pop_front();
  const auto mine = ledgers_.find(ledger.id);
  if (mine == ledgers_.end() || mine->second.get() != &ledger) return;
  ledger.to_send.push_back({cid, WantEntry::Type::block, true, false});
  kick(mine->second);
}

void Bitswap::kick(std::shared_ptr<Ledger> ledger) {
  if (ledger->sending || !running_) return;
  ledger->sending = true;
  tasks_.spawn(send_all(std::move(ledger)));
}

Task<void> Bitswap::send_all(std::shared_ptr<Ledger> ledger) {
  (void)co_await runtime::yield();  // so that what is asked in one turn of the loop goes together
  while (ledger->has_work()) {
    BitswapMessage message = co_await compose(ledger);
    if (message.empty()) continue;
    const auto status = co_await send(ledger, std::move(message));
    if (status) continue;
    log_.debug("bitswap to " + ledger->id.str() + ": " + status.error().to_string());
    ledger->asked.clear();
    ledger->unknown.clear();
    fail_wants(*ledger, Error(ErrorCode::unavailable, status.error().message()));
  }
  ledger->sending = false;
  if (ledger->gone) ledger->stream.reset();
}

Task<BitswapMessage> Bitswap::compose(std::shared_ptr<Ledger> ledger) {
  BitswapMessage message;
  while (!ledger->to_send.empty() && message.wants.size() < kEntriesPerMessage) {
    message.wants.push_back(ledger->to_send.front());
    ledger->to_send.pop_front();
  }
  for (auto& cid : std::exchange(ledger->unknown, {}))
    message.presences.push_back({std::move(cid), false});
  std::size_t bytes = 0;
  while (!ledger->asked.empty() && bytes < kMessageTarget &&
         message.presences.size() < kEntriesPerMessage) {
    const WantEntry want = ledger->asked.front();
    ledger->asked.pop_front();
    auto data = co_await blocks_.get(want.cid);
    if (!data) log_.warning("bitswap: " + data.error().to_string());
    const bool have = data && *data;
    if (have && want.type == WantEntry::Type::block) {
      bytes += (*data)->size();
      ++counters_.blocks_sent;
      counters_.bytes_sent += (*data)->size();
      message.blocks.push_back({want.cid, **std::move(data)});
    } else if (have || want.send_dont_have) {
      message.presences.push_back({want.cid.to_bytes(), have});
    }
  }
  co_return message;
}

Task<Status> Bitswap::send(std::shared_ptr<Ledger> ledger, BitswapMessage message) {
  // A stream that has been kept may have been closed by the other side meanwhile: a second try.
  if (ledger->stream) {
    const auto status = co_await runtime::with_deadline(kMessageLimit, "sending blocks",
                                                        write_bitswap(*ledger->stream, message));
    if (status) co_return status;
    ledger->stream.reset();
    if (status.error().code() == ErrorCode::deadline_exceeded) co_return status;
  }
  if (ledger->gone) co_return fail(ErrorCode::unavailable, "the connection is gone");
  CO_TRY(ledger->stream,
         runtime::with_deadline(kMessageLimit, "opening a bitswap stream",
                                host_.open(ledger->id, std::string(kBitswapProtocol))));
  const auto status = co_await runtime::with_deadline(
      kMessageLimit, "sending blocks", write_bitswap(*ledger->stream, std::move(message)));
  if (!status) ledger->stream.reset();
  co_return status;
}

Task<void> Bitswap::receive_all(std::shared_ptr<Ledger> ledger,
                                std::unique_ptr<p2p::Stream> stream) {
  if (ledger->inbound_streams >= kInboundStreamsMax) co_return;
  ++ledger->inbound_streams;
  while (!ledger->gone) {
    const auto bytes = co_await read_bitswap(*stream, kMessageLimit);
    if (!bytes && bytes.error().code() == ErrorCode::invalid_argument)
      lied(*ledger, p2p::Misdeed::malformed, bytes.error().message());
    if (!bytes || !*bytes || ledger->gone) break;
    auto message = decode_bitswap(**bytes);
    if (!message) {
      lied(*ledger, p2p::Misdeed::malformed, message.error().message());
      break;
    }
    receive(ledger, *std::move(message));
  }
  --ledger->inbound_streams;
}

void Bitswap::receive(const std::shared_ptr<Ledger>& ledger, BitswapMessage message) {
  if (message.full) ledger->asked.clear();
  for (const auto& want : message.wants) receive_want(*ledger, want);
  for (auto& block : message.blocks) receive_block(*ledger, std::move(block));
  for (const auto& presence : message.presences) receive_presence(*ledger, presence);
  for (auto& cid : message.unknown_wants)
    if (ledger->unknown.size() < kWantsPerPeerMax) ledger->unknown.push_back(std::move(cid));
  if (ledger->has_work()) kick(ledger);
}

void Bitswap::receive_want(Ledger& ledger, const WantEntry& want) {
  std::erase_if(ledger.asked, [&](const WantEntry& w) { return w.cid == want.cid; });
  // Above the bound a want is dropped, as stock nodes do: the peer asks somebody else, or again.
  if (!want.cancel && ledger.asked.size() < kWantsPerPeerMax) ledger.asked.push_back(want);
}

void Bitswap::receive_block(Ledger& ledger, store::Block block) {
  const auto it = ledger.wants.find(block.cid.digest());
  if (it == ledger.wants.end()) {
    const auto late = std::ranges::find(ledger.cancelled, block.cid.digest());
    if (late != ledger.cancelled.end()) {
      ledger.cancelled.erase(late);
    } else {
      lied(ledger, p2p::Misdeed::wrong_content,
           "sent block " + block.cid.to_string() + ", which was not asked of it");
    }
    return;
  }
  ++counters_.blocks_received;
  counters_.bytes_received += block.data.size();
  auto answers = std::move(it->second);
  ledger.wants.erase(it);
  for (auto& answer : answers) answer.set(block.data);
}

void Bitswap::receive_presence(Ledger& ledger, const BitswapMessage::Presence& presence) {
  const auto cid = Cid::from_bytes(presence.cid);
  if (!cid || presence.have) return;
  const auto it = ledger.wants.find(cid->digest());
  if (it == ledger.wants.end()) return;
  auto answers = std::move(it->second);
  ledger.wants.erase(it);
  for (auto& answer : answers)
    answer.set(
        fail(ErrorCode::not_found, ledger.id.str() + " does not have block " + cid->to_string()));
}

void Bitswap::lied(Ledger& ledger, p2p::Misdeed misdeed, std::string_view how) {
  ++counters_.lies;
  host_.conduct().blame(ledger.id, misdeed, how);
  const std::string line = "peer " + ledger.id.str() + " broke bitswap: " + std::string(how);
  log_.debug(line);
  fail_wants(ledger, Error(ErrorCode::data_loss, line));
}

}  // namespace tau::content
