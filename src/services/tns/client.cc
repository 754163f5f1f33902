#include "services/tns/client.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tau::tns {
namespace {

// A silent node must leave time for the next one; a round trip around the world takes a third.
constexpr Duration kAnswerTime = std::chrono::seconds(1);
// The second one, of two that must agree: a few round trips between continents.
constexpr Duration kSecondTime = std::chrono::milliseconds(500);
constexpr Duration kDistrust = std::chrono::seconds(30);
constexpr std::size_t kDistrustedMax = 256;  // many more than a network has tns nodes

bool same_branch(const Pointer& one, const Pointer& other) {
  return one.project == other.project && one.branch == other.branch;
}

// Not not_found and not permission_denied: for who asked, tns gave no usable answer.
Error not_believed(const Error& why) {
  return Error(ErrorCode::unavailable,
               "tns answered with a pointer that is not to be believed: " + why.message());
}

}  // namespace

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
      options_(options),
      reader_(admission) {}
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
      client->host_.conduct().blame(from, p2p::Misdeed::malformed, "gossip about a move");
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

Client::Found Client::found(const Entry& entry, Source source) {
  return {entry.pointer, source, entry.backing == Backing::proof};
}

Task<Result<Client::Found>> Client::lookup(std::string host) {
  CO_TRY_SYNC_STATUS(check_host(host));
  if (!running_) co_return fail(ErrorCode::unavailable, "the client of tns is stopped");
  std::optional<Found> stale;
  if (const Entry* entry = find(host)) {
    const Age age = age_of(*entry);
    if (age == Age::fresh && !entry->pointer) {
      ++counters_.hits_negative;
      co_return fail(ErrorCode::not_found, entry->absent);
    }
    if (entry->pointer) stale = found(*entry, Source::cache);
    if (age == Age::quiet) co_return as_it_was(*std::move(stale));
    if (age == Age::soft) (void)fly(host);
    if (age != Age::old) {
      ++counters_.hits;
      co_return *std::move(stale);
    }
  }
  const auto flight = fly(host);
  if (!flight) {
    if (stale) co_return as_it_was(*std::move(stale));
    co_return fail(ErrorCode::resource_exhausted,
                   "too many names are being looked up at once; try again");
  }
  Duration limit = Lookup::kDeadline;
  if (stale) {  // one wait for a silent tns, not one for each request
    limit = options_.refresh_wait - (loop_.now() - flight->since);
    if (limit <= Duration::zero()) co_return as_it_was(*std::move(stale));
  }
  const auto waited =
      co_await runtime::with_deadline(limit, "looking up " + host, wait_for(flight));
  if (!waited) {
    if (stale && waited.error().code() != ErrorCode::cancelled)
      co_return as_it_was(*std::move(stale));
    co_return fail(waited.error());
  }
  const auto& result = *flight->result;
  if (result) co_return *result;
  // A clear "no" of tns ends what was served; silence does not.
  if (stale && result.error().code() != ErrorCode::not_found)
    co_return as_it_was(*std::move(stale));
  co_return fail(result.error());
}

Client::Found Client::as_it_was(Found before) {
  ++counters_.stale;
  before.source = Source::stale;
  return before;
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

Client::Before Client::before(const std::string& host) {
  Before known;
  const auto it = entries_.find(host);
  if (it == entries_.end() || !it->second.pointer) return known;
  known.pointer = it->second.pointer;
  known.backing = it->second.backing;
  const auto facts = facts_.find({known.pointer->project, known.pointer->branch});
  if (facts != facts_.end() && facts->second->version() == known.pointer->version())
    known.facts = facts->second;
  return known;
}

Task<void> Client::refresh(std::string host, std::shared_ptr<Flight> flight) {
  // So that who started it sees it in flight even when the answer is at hand.
  (void)co_await runtime::yield();
  Lookup::Request question{host};
  const Before known = before(host);
  Version heard;
  if (const Kept& p = known.pointer) {
    heard = std::exchange(entries_.at(host).heard, {});
    question.seen = Seen{p->project, p->branch, p->seq, p->fence};
    if (known.facts) question.seen->proven = true;
  }
  Result<Answer> answer = fail(ErrorCode::unavailable, "");
  if (known.pointer && heard > known.pointer->version()) {
    // Replicas learn of a move a little later than gossip does.
    Lookup::Request newer = question;
    newer.seen->seq = heard.first;
    newer.seen->fence = heard.second;
    newer.seen->proven.reset();
    answer = co_await ask(std::move(newer), known);
  }
  // None has it: gossip may lie.
  if (!answer && answer.error().code() == ErrorCode::unavailable)
    answer = co_await ask(std::move(question), known);
  Result<Found> result = fail(ErrorCode::unavailable, "");
  const auto it = entries_.find(host);
  const Kept now = it == entries_.end() ? nullptr : it->second.pointer;
  if (answer) {
    // While it was under way, another answer may have come that is newer.
    const bool older =
        now && same_branch(*now, answer->pointer) && now->version() > answer->pointer.version();
    Entry entry;
    entry.checked = loop_.now();
    entry.suspect = flight->doubted;
    if (older) {
      entry.pointer = now;
      entry.backing = it->second.backing;
    } else {
      if (answer->backing == Backing::none) ++counters_.unproven;
      entry.pointer = std::make_shared<const Pointer>(std::move(answer->pointer));
      entry.backing = answer->backing;
    }
    result = found(entry, Source::network);
    keep(host, std::move(entry));
  } else {
    if (answer.error().code() == ErrorCode::not_found) {
      Entry entry;
      entry.absent = answer.error().message();
      entry.checked = loop_.now();
      keep(host, std::move(entry));
      if (flight->doubted) drop(host);
    } else if (now) {
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

Result<Pointer> Client::open(const p2p::NodeSigned& item, const PeerId* peer) const {
  TRY(auto opened, p2p::open_node_signed<Pointer>(admission_, kRole, item, loop_.wall_unix_ms()));
  if (peer && opened.signer.peer != *peer)
    return fail(ErrorCode::permission_denied, "another node signed it");
  return std::move(opened.record);
}

Result<Client::Answer> Client::check(const PeerId& peer, const Lookup::Response& response,
                                     const std::string& host, const Before& known) {
  TRY(Pointer pointer, open(response.pointer, &peer));
  if (std::ranges::find(pointer.hosts, host) == pointer.hosts.end())
    return fail(ErrorCode::permission_denied, "it does not answer " + host);
  if (known.pointer && *known.pointer == pointer) return Answer{std::move(pointer), known.backing};
  TRY(const Backing backing, backing_of(pointer, response.proof, known));
  if (backing == Backing::none && known.backing != Backing::none &&
      same_branch(*known.pointer, pointer))
    return fail(ErrorCode::permission_denied,
                "it comes without a proof, which the version before had");
  return Answer{std::move(pointer), backing};
}

Result<Client::Backing> Client::backing_of(const Pointer& pointer,
                                           const std::optional<Bytes>& proof, const Before& known) {
  const std::pair key{pointer.project, pointer.branch};
  const auto it = facts_.find(key);
  for (const auto& facts : {known.facts, it == facts_.end() ? nullptr : it->second})
    if (facts && agrees(*facts, pointer)) return weigh(*facts, pointer, known);
  if (!proof) {
    if (options_.accept_unproven) return Backing::none;
    return fail(ErrorCode::permission_denied, "it comes without a proof");
  }
  ++counters_.proofs;
  TRY(Facts facts, reader_.read(*proof));
  TRY(const Backing backing, weigh(facts, pointer, known));
  if (it == facts_.end() || it->second->version() <= facts.version()) {
    if (facts_.size() >= options_.proofs_max) facts_.clear();
    facts_.insert_or_assign(key, std::make_shared<const Facts>(std::move(facts)));
  }
  return backing;
}

Result<Client::Backing> Client::weigh(const Facts& facts, const Pointer& pointer,
                                      const Before& known) {
  TRY_STATUS(agrees(facts, pointer));
  const bool hosts_shown = facts.hosts || (known.pointer && same_branch(*known.pointer, pointer));
  return facts.revoked || !hosts_shown ? Backing::doubtful : Backing::proof;
}

// Whether one node's answer may be believed where several are connected.
bool Client::is_enough(const Answer& answer, const Before& known) {
  if (!known.pointer || known.pointer->project != answer.pointer.project) return false;
  return answer.backing == Backing::proof || *known.pointer == answer.pointer;
}

// What two nodes say together; null: they contradict each other. Of two versions that are proven
// the newer one, since the other node may lag.
const Client::Answer* Client::agreed(const Answer& one, const Answer& other) {
  const Pointer &a = one.pointer, &b = other.pointer;
  if (a.project != b.project) return nullptr;
  const bool first = one.backing == Backing::proof, second = other.backing == Backing::proof;
  if (first && second) return a.branch == b.branch && b.version() > a.version() ? &other : &one;
  if (first || second) return first ? &one : &other;
  const bool same = same_branch(a, b) && a.version() == b.version() &&
                    a.deployment == b.deployment && a.hosts == b.hosts;
  return same ? &one : nullptr;
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

Task<Result<Client::Answer>> Client::ask(Lookup::Request question, Before known) {
  const TimePoint until = loop_.now() + Lookup::kDeadline;
  const auto peers = askable();
  Error last(ErrorCode::unavailable, "no live node with the role \"tns\" is connected");
  std::optional<Error> no;   // said by one
  std::vector<Answer> said;  // by one each, not enough yet
  for (const PeerId& peer : peers) {
    const Duration left = until - loop_.now();
    if (left <= Duration::zero()) break;
    ++counters_.asked;
    const auto response = co_await caller_.call<Lookup>(
        peer, kProtocol, question,
        std::min<Duration>(left, said.empty() ? kAnswerTime : kSecondTime));
    if (!response) {
      const ErrorCode code = response.error().code();
      const bool passing = code == ErrorCode::unavailable || code == ErrorCode::unimplemented ||
                           code == ErrorCode::deadline_exceeded;
      const bool alone = (!known.pointer && said.empty()) || no || peers.size() == 1;
      const bool final = code == ErrorCode::not_found ? alone : !passing && said.empty();
      if (final) co_return fail(Error(response.error()).context("lookup"));
      if (code == ErrorCode::not_found) no = response.error();
      last = passing ? response.error()
                     : Error(ErrorCode::unavailable, "one tns node alone says that it is gone");
      continue;
    }
    auto answer = check(peer, *response, question.host, known);
    if (!answer) {
      refuse(peer, answer.error());
      last = not_believed(answer.error());
      continue;
    }
    const Pointer& pointer = answer->pointer;
    if (known.pointer && same_branch(*known.pointer, pointer) &&
        pointer.version() < known.pointer->version()) {
      last = Error(ErrorCode::unavailable, "the tns node lags behind");
      continue;
    }
    if (peers.size() == 1 || peer == host_.id() || is_enough(*answer, known)) co_return answer;
    for (const Answer& before : said)
      if (const Answer* both = agreed(before, *answer)) co_return *both;
    if (known.pointer && known.pointer->project != pointer.project) {  // names are for good
      last = Error(ErrorCode::unavailable, "one tns node alone says that it is another project's");
      refuse(peer, last);
    } else if (known.pointer) {
      last = Error(ErrorCode::unavailable, "one tns node alone says so, without a proof");
    } else {
      last = Error(ErrorCode::unavailable,
                   "the tns nodes contradict each other about \"" + question.host + "\"");
    }
    said.push_back(*std::move(answer));
  }
  if (!known.pointer && said.size() == 1 && (said[0].backing == Backing::proof || !no))
    co_return std::move(said[0]);  // nobody else answers
  co_return fail(std::move(last).context("lookup"));
}

void Client::keep(const std::string& host, Entry entry) {
  drop(host);
  auto& order = entry.pointer ? positive_ : negative_;
  const std::size_t most = entry.pointer ? options_.hosts_max : options_.negative_hosts_max;
  order.push_front(host);
  entry.place = order.begin();
  entries_[host] = std::move(entry);
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
  auto pointer = open(response.pointer, nullptr);
  if (!pointer) co_return fail(not_believed(pointer.error()));
  if (const auto backing = backing_of(*pointer, response.proof, {}); !backing)
    co_return fail(not_believed(backing.error()));
  co_return pointer;
}

Task<Status> Client::claim(codec::Signed registration) {
  CO_TRY(const auto done,
         caller_.call_any<Claim>(kRole, kProtocol, Claim::Request{std::move(registration)}));
  (void)done;
  co_return Status{};
}

Task<Result<Pointer>> Client::publish(p2p::NodeSigned job, p2p::NodeSigned receipt,
                                      std::optional<p2p::NodeSigned> head) {
  CO_TRY(
      const auto response,
      caller_.call_any<Publish>(
          kRole, kProtocol, Publish::Request{std::move(job), std::move(receipt), std::move(head)}));
  auto pointer = open(response.pointer, nullptr);
  if (!pointer) co_return fail(not_believed(pointer.error()));
  co_return pointer;
}

}  // namespace tau::tns
