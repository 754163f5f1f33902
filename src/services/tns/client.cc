#include "services/tns/client.h"

#include <utility>

namespace tau::tns {

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
  if (age == Age::soft) (void)fly(host);
  return pointer;
}

Task<Result<Client::Found>> Client::lookup(std::string host) {
  CO_TRY_SYNC_STATUS(check_host(host));
  if (!running_) co_return fail(ErrorCode::unavailable, "the client of tns is stopped");
  Kept stale;
  if (const Entry* entry = find(host)) {
    const Age age = age_of(*entry);
    if (age == Age::fresh && !entry->pointer) co_return fail(ErrorCode::not_found, entry->absent);
    stale = entry->pointer;
    if (age == Age::quiet) co_return Found{stale, Source::stale};
    if (age == Age::soft) (void)fly(host);
    if (age != Age::old) co_return Found{stale, Source::cache};
  }
  const auto flight = fly(host);
  if (!flight) {
    if (stale) co_return Found{stale, Source::stale};
    co_return fail(ErrorCode::resource_exhausted,
                   "too many names are being looked up at once; try again");
  }
  Duration limit = Lookup::kDeadline;
  if (stale) {  // one wait for a silent tns, not one for each request
    limit = options_.refresh_wait - (loop_.now() - flight->since);
    if (limit <= Duration::zero()) co_return Found{stale, Source::stale};
  }
  const auto waited =
      co_await runtime::with_deadline(limit, "looking up " + host, wait_for(flight));
  if (!waited) {
    if (stale && waited.error().code() != ErrorCode::cancelled)
      co_return Found{stale, Source::stale};
    co_return fail(waited.error());
  }
  const auto& result = *flight->result;
  if (result) co_return Found{*result, Source::network};
  // A clear "no" of tns ends what was served; silence does not.
  if (stale && result.error().code() != ErrorCode::not_found) co_return Found{stale, Source::stale};
  co_return fail(result.error());
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
  if (const auto it = entries_.find(host); it != entries_.end() && it->second.pointer) {
    const Pointer& seen = *it->second.pointer;
    question.seen = Seen{seen.project, seen.branch, seen.seq, seen.fence};
  }
  auto answer = co_await ask(std::move(question));
  Result<Kept> result = fail(ErrorCode::unavailable, "");
  const auto it = entries_.find(host);
  const Kept known = it == entries_.end() ? nullptr : it->second.pointer;
  if (answer) {
    // A tns node that lags behind its group does not take us back.
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

Task<Result<Pointer>> Client::ask(Lookup::Request question) {
  CO_TRY(const auto response, caller_.call_any<Lookup>(kRole, kProtocol, std::move(question)));
  co_return open(response.pointer);
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
      Entry{std::move(pointer), std::move(absent), loop_.now(), false, {}, order.begin()};
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
