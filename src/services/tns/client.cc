#include "services/tns/client.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tau::tns {
namespace {

// A silent node must leave time for the next one; a round trip around the world takes a third.
constexpr Duration kAnswerTime = std::chrono::seconds(1);
constexpr Duration kDistrust = std::chrono::seconds(30);
constexpr std::size_t kDistrustedMax = 256;  // many more than a network has tns nodes

}  // namespace

using Kept = std::shared_ptr<const Pointer>;

Client::Client(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
               const p2p::Admission& admission, Logger log)
    : Client(loop, host, caller, admission, std::move(log), Options()) {}

Client::Client(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
               const p2p::Admission& admission, Logger log, Options options)
    : loop_(loop),
      host_(host),
      caller_(caller),
      admission_(admission),
      log_(std::move(log)),
      options_(options) {}
Client::~Client() { CHECK(!running_); }

void Client::start() {
  if (std::exchange(running_, true)) return;
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  self_ = std::make_shared<Client*>(this);
  // The host keeps its handlers as long as it lives, which may be longer than this client.
  host_.subscribe(std::string(kMovedTopic), [self = self_](const PeerId& from, BytesView data) {
    Client* client = *self;
    if (!client) return;
    const auto moved = codec::from_cbor<Moved>(data);
    if (moved) {
      client->note_moved(*moved);
    } else {
      client->log_.debug("senseless gossip about a move from " + from.str());
    }
  });
}

Task<void> Client::stop() {
  if (!std::exchange(running_, false)) co_return;
  *self_ = nullptr;
  co_await tasks_->stop();
  tasks_.reset();
  flights_.clear();
}

void Client::on_moved(std::function<void(const Moved&)> handler) {
  moved_handlers_.push_back(std::move(handler));
}

void Client::note_moved(const Moved& moved) {
  for (const auto& host : moved.hosts) {
    if (const auto flight = flights_.find(host); flight != flights_.end())
      flight->second->doubted = true;
    const auto it = entries_.find(host);
    if (it == entries_.end()) continue;
    const Pointer* known = it->second.pointer.get();
    const bool old_news = known && known->project == moved.project &&
                          known->branch == moved.branch && known->version() >= moved.version();
    if (!old_news) it->second.suspect = true;
    if (known && known->project == moved.project && known->branch == moved.branch)
      it->second.heard = std::max(it->second.heard, moved.version());
  }
  for (auto& handler : moved_handlers_) handler(moved);
}

Client::Age Client::age_of(const Entry& entry) const {
  if (entry.pointer && loop_.now() < entry.quiet_until) return Age::quiet;
  if (entry.suspect) return Age::old;
  const Duration age = loop_.now() - entry.checked;
  if (!entry.pointer) return age <= options_.negative ? Age::fresh : Age::old;
  if (age <= options_.lease) return Age::fresh;
  return age <= 2 * options_.lease ? Age::soft : Age::old;
}

Client::Entry* Client::find(const std::string& host) {
  const auto it = entries_.find(host);
  if (it == entries_.end()) return nullptr;
  auto& order = it->second.pointer ? positive_ : negative_;
  order.splice(order.begin(), order, it->second.place);
  return &it->second;
}

std::shared_ptr<const Pointer> Client::cached(const std::string& host) {
  const Entry* entry = find(host);
  if (!entry || !entry->pointer) return nullptr;
  const Age age = age_of(*entry);
  if (age == Age::old) return nullptr;
  const Kept pointer = entry->pointer;
  ++(age == Age::quiet ? counters_.stale : counters_.hits);
  if (age == Age::soft) (void)fly(host);
  return pointer;
}

Task<Result<Client::Found>> Client::lookup(std::string host) {
  CO_TRY_SYNC_STATUS(check_host(host));
  if (!running_) co_return fail(ErrorCode::unavailable, "the client of tns is stopped");
  Kept stale;
  if (const Entry* entry = find(host)) {
    const Age age = age_of(*entry);
    if (age == Age::fresh && !entry->pointer) {
      ++counters_.hits_negative;
      co_return fail(ErrorCode::not_found, entry->absent);
    }
    stale = entry->pointer;
    if (age == Age::quiet) co_return as_it_was(std::move(stale));
    if (age == Age::soft) (void)fly(host);
    if (age != Age::old) {
      ++counters_.hits;
      co_return Found{std::move(stale), Source::cache};
    }
  }
  const auto flight = fly(host);
  if (!flight) {
    if (stale) co_return as_it_was(std::move(stale));
    co_return fail(ErrorCode::resource_exhausted,
                   "too many names are being looked up at once; try again");
  }
  Duration limit = Lookup::kDeadline;
  if (stale) {  // one wait for a silent tns, not one for each request
    limit = options_.refresh_wait - (loop_.now() - flight->since);
    if (limit <= Duration::zero()) co_return as_it_was(std::move(stale));
  }
  const auto waited =
      co_await runtime::with_deadline(limit, "looking up " + host, wait_for(flight));
  if (!waited) {
    if (stale && waited.error().code() != ErrorCode::cancelled)
      co_return as_it_was(std::move(stale));
    co_return fail(waited.error());
  }
  const auto& result = *flight->result;
  if (result) co_return Found{*result, Source::network};
  // A clear "no" of tns ends what was served; silence does not.
  if (stale && result.error().code() != ErrorCode::not_found) co_return as_it_was(std::move(stale));
  co_return fail(result.error());
}

Client::Found Client::as_it_was(Kept pointer) {
  ++counters_.stale;
  return {std::move(pointer), Source::stale};
}

Task<Status> Client::wait_for(std::shared_ptr<Flight> flight) {
  while (!flight->result) CO_TRY_STATUS(flight->landed.wait());
  co_return Status{};
}

std::shared_ptr<Client::Flight> Client::fly(const std::string& host) {
  if (const auto it = flights_.find(host); it != flights_.end()) return it->second;
  if (!running_ || flights_.size() >= options_.lookups_max) return nullptr;
  auto flight = std::make_shared<Flight>(loop_);
  flights_.emplace(host, flight);
  tasks_->spawn(refresh(host, flight));
  return flight;
}

Task<void> Client::refresh(std::string host, std::shared_ptr<Flight> flight) {
  // So that who started it sees it in flight even when the answer is at hand.
  (void)co_await runtime::yield();
  Lookup::Request question{host};
  Kept before;
  Version heard;
  if (const auto it = entries_.find(host); it != entries_.end() && it->second.pointer) {
    before = it->second.pointer;
    heard = std::exchange(it->second.heard, {});
    question.seen = Seen{before->project, before->branch, before->seq, before->fence};
  }
  Result<Pointer> answer = fail(ErrorCode::unavailable, "");
  if (before && heard > before->version()) {
    // Replicas learn of a move a little later than gossip does.
    Lookup::Request newer = question;
    newer.seen->seq = heard.first;
    newer.seen->fence = heard.second;
    answer = co_await ask(std::move(newer), before);
  }
  // None has it: gossip may lie.
  if (!answer && answer.error().code() == ErrorCode::unavailable)
    answer = co_await ask(std::move(question), before);
  Result<Kept> result = fail(ErrorCode::unavailable, "");
  const auto it = entries_.find(host);
  const Kept known = it == entries_.end() ? nullptr : it->second.pointer;
  if (answer) {
    // While it was under way, another answer may have come that is newer.
    const bool older = known && known->project == answer->project &&
                       known->branch == answer->branch && known->version() > answer->version();
    result = older ? known : Kept(std::make_shared<const Pointer>(*std::move(answer)));
    keep(host, *result, "");
    entries_.at(host).suspect = flight->doubted;
  } else {
    if (answer.error().code() == ErrorCode::not_found) {
      keep(host, nullptr, answer.error().message());
      if (flight->doubted) drop(host);
    } else if (known) {
      it->second.suspect = true;
      it->second.quiet_until = loop_.now() + options_.lease;
    }
    result = fail(std::move(answer).error());
  }
  flight->result = std::move(result);
  flight->landed.notify_all();
  if (const auto mine = flights_.find(host); mine != flights_.end() && mine->second == flight)
    flights_.erase(mine);
}

std::vector<PeerId> Client::askable() {
  auto peers = caller_.peers_with_role(kRole);
  if (peers.size() > 1)
    std::ranges::rotate(peers, peers.begin() + static_cast<std::ptrdiff_t>(turn_++ % peers.size()));
  std::ranges::partition(peers, [&](const PeerId& peer) { return peer == host_.id(); });
  std::ranges::partition(peers, [&](const PeerId& peer) {
    const auto it = distrusted_.find(peer);
    return it == distrusted_.end() || loop_.now() >= it->second;
  });
  return peers;
}

Result<Pointer> Client::check(const PeerId& peer, const std::string& host,
                              const p2p::NodeSigned& answer) const {
  auto opened = p2p::open_node_signed<Pointer>(admission_, kRole, answer, loop_.wall_unix_ms());
  if (!opened) return fail(std::move(opened).error());
  if (opened->signer.peer != peer)
    return fail(ErrorCode::permission_denied, "another node signed it");
  if (std::ranges::find(opened->record.hosts, host) == opened->record.hosts.end())
    return fail(ErrorCode::permission_denied, "it does not answer " + host);
  return std::move(opened->record);
}

void Client::refuse(const PeerId& peer, const Error& why) {
  ++counters_.refused;
  if (distrusted_.size() >= kDistrustedMax) distrusted_.clear();
  TimePoint& until = distrusted_[peer];
  // Said once a while: what others send must not fill the disk.
  if (loop_.now() >= until)
    log_.warning("tns node " + peer.str() +
                 " answered what is not to be believed: " + why.message());
  until = loop_.now() + kDistrust;
}

Task<Result<Pointer>> Client::ask(Lookup::Request question, Kept known) {
  const TimePoint until = loop_.now() + Lookup::kDeadline;
  const auto peers = askable();
  Error last(ErrorCode::unavailable, "no live node with the role \"tns\" is connected");
  std::optional<Error> no;         // said by one
  std::optional<ProjectId> other;  // said by one: the host is that project's
  for (const PeerId& peer : peers) {
    const Duration left = until - loop_.now();
    if (left <= Duration::zero()) break;
    ++counters_.asked;
    const auto response = co_await caller_.call<Lookup>(peer, kProtocol, question,
                                                        std::min<Duration>(left, kAnswerTime));
    if (!response) {
      const ErrorCode code = response.error().code();
      const bool passing = code == ErrorCode::unavailable || code == ErrorCode::unimplemented ||
                           code == ErrorCode::deadline_exceeded;
      const bool alone = !known || no || peers.size() == 1;
      if (!passing && (code != ErrorCode::not_found || alone))
        co_return fail(Error(response.error()).context("lookup"));
      if (code == ErrorCode::not_found) no = response.error();
      last = passing ? response.error()
                     : Error(ErrorCode::unavailable, "one tns node alone says that it is gone");
      continue;
    }
    auto pointer = check(peer, question.host, response->pointer);
    if (!pointer) {
      refuse(peer, pointer.error());
      // Not not_found and not permission_denied: for who asked, tns gave no usable answer.
      last =
          Error(ErrorCode::unavailable, "tns answered with a pointer that is not to be believed: " +
                                            pointer.error().message());
      continue;
    }
    // Names are for good.
    if (known && known->project != pointer->project && other != pointer->project &&
        peers.size() > 1) {
      other = pointer->project;
      last = Error(ErrorCode::unavailable, "one tns node alone says that it is another project's");
      refuse(peer, last);
      continue;
    }
    if (known && known->project == pointer->project && known->branch == pointer->branch &&
        pointer->version() < known->version()) {
      last = Error(ErrorCode::unavailable, "the tns node lags behind");
      continue;
    }
    co_return pointer;
  }
  co_return fail(std::move(last).context("lookup"));
}

Result<Pointer> Client::open(const p2p::NodeSigned& signed_pointer) const {
  auto opened =
      p2p::open_node_signed<Pointer>(admission_, kRole, signed_pointer, loop_.wall_unix_ms());
  // Not not_found and not permission_denied: for who asked, tns gave no usable answer.
  if (!opened)
    return fail(ErrorCode::unavailable, "tns answered with a pointer that is not to be believed: " +
                                            opened.error().message());
  return std::move(opened->record);
}

void Client::keep(const std::string& host, Kept pointer, std::string absent) {
  drop(host);
  auto& order = pointer ? positive_ : negative_;
  const std::size_t most = pointer ? options_.hosts_max : options_.negative_hosts_max;
  order.push_front(host);
  entries_[host] =
      Entry{std::move(pointer), std::move(absent), loop_.now(), false, {}, {}, order.begin()};
  while (order.size() > most) {
    const std::string last = order.back();
    drop(last);
  }
}

void Client::drop(const std::string& host) {
  const auto it = entries_.find(host);
  if (it == entries_.end()) return;
  (it->second.pointer ? positive_ : negative_).erase(it->second.place);
  entries_.erase(it);
}

Task<Result<Resolve::Response>> Client::resolve(std::string host) {
  CO_TRY_SYNC_STATUS(check_host(host));
  co_return co_await caller_.call_any<Resolve>(kRole, kProtocol, Resolve::Request{host});
}

Task<Result<Pointer>> Client::pointer_of(ProjectId project, std::string branch) {
  CO_TRY(const auto response,
         caller_.call_any<GetPointer>(kRole, kProtocol,
                                      GetPointer::Request{std::move(project), std::move(branch)}));
  co_return open(response.pointer);
}

Task<Status> Client::claim(codec::Signed registration) {
  CO_TRY(const auto done,
         caller_.call_any<Claim>(kRole, kProtocol, Claim::Request{std::move(registration)}));
  (void)done;
  co_return Status{};
}

Task<Result<Pointer>> Client::publish(p2p::NodeSigned job, p2p::NodeSigned receipt) {
  CO_TRY(const auto response,
         caller_.call_any<Publish>(kRole, kProtocol,
                                   Publish::Request{std::move(job), std::move(receipt)}));
  co_return open(response.pointer);
}

}  // namespace tau::tns
