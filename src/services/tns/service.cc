#include "services/tns/service.h"

#include <algorithm>
#include <utility>

#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/tns/chain.h"

namespace tau::tns {
namespace {

constexpr std::size_t kSignedMax = 4096;    // pointers; about 4 MB
constexpr std::size_t kOwnersMax = 50'000;  // names; about 8 MB
// An election takes 0.6 to 1.2 s, a second one follows when votes are split; and those who publish
// wait for five seconds or more.
constexpr Duration kElectionsTime = std::chrono::seconds(3);
constexpr Duration kProposeAgain = std::chrono::milliseconds(50);

Shards::Options shards_options(Service::Options options) {
  Shards::Options out;
  out.founders = std::move(options.founders);
  out.count = options.shards;
  out.keeper.policy.voters = voters_wanted(out.founders.size());
  out.keeper.pace = options.keeper_pace;
  out.keeper.grace = options.keeper_grace;
  return out;
}

bool is_tns(const command::Peer& from) { return from.certificate.has_role(kRole); }

std::unexpected<Error> not_held(std::size_t shard) {
  return fail(ErrorCode::unavailable,
              "this tns node does not hold shard " + std::to_string(shard) + " of the registry");
}

std::unexpected<Error> nobody_claimed(const std::string& host) {
  return fail(ErrorCode::not_found, "nobody has claimed the name \"" + host + "\"");
}

std::unexpected<Error> no_deployment(const ProjectId& project, const std::string& branch) {
  return fail(ErrorCode::not_found,
              "branch " + branch + " of project " + project.str() + " has no deployment");
}

std::unexpected<Error> chain_broken(const std::string& why) {
  return fail(ErrorCode::permission_denied, "this deployment is not published: " + why);
}

}  // namespace

Service::Service(runtime::Loop& loop, p2p::Host& host, command::Router& router,
                 command::Caller& caller, store::Kv& kv, Random& random,
                 const p2p::Admission& admission, const p2p::NodeIdentity& identity, Logger log,
                 Options options)
    : loop_(loop),
      host_(host),
      router_(router),
      admission_(admission),
      identity_(identity),
      log_(std::move(log)),
      rules_(options.suffix),
      shards_(loop, host, caller, kv, random, log_, shards_options(std::move(options))) {}

Task<Status> Service::start() {
  CO_TRY_SYNC_STATUS(check_host(rules_.suffix()));
  CO_TRY_STATUS(shards_.start());
  router_.serve(kProtocol, *this, Commands{});
  router_.serve(kShardsProtocol, *this, ShardCommands{});
  serving_ = true;
  std::size_t known = 0;
  for (std::size_t i = 0; i < shards_.count(); ++i)
    if (const Shard* shard = shards_.held(i)) known += shard->names().name_count();
  log_.info("names under " + rules_.suffix() + ": " + std::to_string(known));
  co_return Status{};
}

Task<void> Service::stop() {
  if (std::exchange(serving_, false)) {
    co_await router_.unserve(kProtocol);
    co_await router_.unserve(kShardsProtocol);
  }
  co_await shards_.stop();
}

// Commands can be repeated, so the death of a leader, or of its disk, is waited out here: who
// publishes does not see it.
Task<Result<NamesAnswer>> Service::decide(std::size_t shard, NamesCommand command) {
  const Bytes wanted = codec::to_cbor(command);
  const TimePoint give_up = loop_.now() + kElectionsTime;
  const auto passing = [](const Result<Bytes>& result) {
    return !result && (result.error().code() == ErrorCode::unavailable ||
                       result.error().code() == ErrorCode::data_loss);
  };
  Result<Bytes> bytes = co_await shards_.propose(shard, wanted);
  while (passing(bytes) && serving_ && loop_.now() < give_up) {
    CO_TRY_STATUS(runtime::sleep_for(kProposeAgain));
    bytes = co_await shards_.propose(shard, wanted);
  }
  if (passing(bytes))
    co_return fail(ErrorCode::unavailable,
                   "nothing can be published or claimed now, what is deployed stays served: " +
                       bytes.error().message());
  if (!bytes) co_return fail(std::move(bytes).error());
  CO_TRY_SYNC(NamesAnswer answer, codec::from_cbor<NamesAnswer>(*bytes));
  CO_TRY_SYNC_STATUS(answer.status());
  co_return answer;
}

Task<Result<Claim::Response>> Service::handle(command::Peer, Claim::Request request) {
  CO_TRY_SYNC(const auto registration, auth::open_registration(request.registration));
  CO_TRY_SYNC_STATUS(auth::check_label(registration.label));
  if (registration.label.find("--") != std::string::npos)
    co_return fail(ErrorCode::invalid_argument,
                   "the label \"" + registration.label +
                       "\" has \"--\", which is kept for previews of branches; choose another");
  if (registration.label == kNetworkLabel)
    co_return fail(ErrorCode::invalid_argument,
                   "the label \"" + registration.label +
                       "\" is kept for the network's own names; choose another");
  NamesCommand command;
  CO_TRY_SYNC_STATUS(joined());
  command.claim = ClaimName{registration.project(), rules_.name_of_label(registration.label)};
  const std::size_t shard = shards_.of_name(command.claim->name);
  const auto answer = co_await decide(shard, std::move(command));
  if (!answer) co_return fail(answer.error());
  if (answer->moved) {
    const std::string name = rules_.name_of_label(registration.label);
    log_.info("claimed " + name);
    // So that "nobody has claimed it" is forgotten. As a move to nothing: older nodes read it, too.
    tell(Moved{registration.project(), std::string(kMainBranch), 0, {name}});
  }
  co_return Claim::Response{};
}

Status Service::joined() const {
  if (shards_.count() > 0) return {};
  return fail(ErrorCode::unavailable,
              "this tns node has just joined and has met no other that knows the registry");
}

// Names that are the project's already cost nothing; the others one decision in each shard.
Task<Status> Service::claim_all(ProjectId project, std::vector<std::string> names) {
  std::map<std::size_t, std::vector<std::string>> fresh;
  for (auto& name : names) {
    const std::size_t shard = shards_.of_name(name);
    const Shard* held = shards_.held(shard);
    const auto known = owners_.find(name);
    const bool ours = held ? held->names().owner_of(name) == project
                           : known != owners_.end() && known->second == project;
    auto& list = fresh[shard];
    if (!ours && std::ranges::find(list, name) == list.end()) list.push_back(std::move(name));
  }
  for (auto& [shard, list] : fresh) {
    if (list.empty()) continue;
    NamesCommand command;
    command.claims = ClaimNames{project, list};
    const auto answer = co_await decide(shard, std::move(command));
    if (!answer) {
      log_.info("refused a publication: " + answer.error().message());
      co_return fail(answer.error());
    }
    if (shards_.held(shard)) continue;
    if (owners_.size() + list.size() > kOwnersMax) owners_.clear();
    for (const auto& name : list) owners_.insert_or_assign(name, project);
  }
  co_return Status{};
}

// owner -> registration -> job (patrick) -> receipt (monkey): each link signed, all about the same.
Result<MovePointer> Service::check_chain(const Publish::Request& request) const {
  const auto now = loop_.wall_unix_ms();
  auto job = p2p::open_node_signed<patrick::Job>(admission_, patrick::kRole, request.job, now);
  if (!job) return fail(std::move(job).error().context("the job"));
  auto receipt =
      p2p::open_node_signed<monkey::Receipt>(admission_, monkey::kRole, request.receipt, now);
  if (!receipt) return fail(std::move(receipt).error().context("the receipt"));
  const patrick::Job& asked = job->record;
  const monkey::Receipt& built = receipt->record;
  auto registration = auth::open_registration(asked.registration);
  if (!registration)
    return fail(std::move(registration).error().context("the owner's registration in the job"));

  if (asked.project != registration->project())
    return chain_broken("the job is for project " + asked.project.str() +
                        ", its registration for " + registration->project().str());
  if (built.job != asked.id || built.project != asked.project || built.branch != asked.branch ||
      built.seq != asked.seq)
    return chain_broken("the receipt of " + built.job.str() + " (push " +
                        std::to_string(built.seq) + " of " + built.branch +
                        ") does not answer the job " + asked.id.str() + " (push " +
                        std::to_string(asked.seq) + " of " + asked.branch + ")");
  TRY_STATUS(check_branch(built.branch));
  if (!built.deployment.valid() || built.deployment.type() != codec::ContentType::dag_cbor)
    return fail(ErrorCode::invalid_argument, "the receipt names no deployment");
  if (built.compiled &&
      (!built.compiled->valid() || built.compiled->type() != codec::ContentType::dag_cbor))
    return fail(ErrorCode::invalid_argument, "what the receipt calls compiled is no block of it");
  if (built.holders.size() > kHoldersMax)
    return fail(ErrorCode::invalid_argument,
                "a pointer names at most " + std::to_string(kHoldersMax) + " holders");
  if (built.hosts.size() > kHostsMax)
    return fail(ErrorCode::invalid_argument,
                "a deployment answers at most " + std::to_string(kHostsMax) + " hosts");

  TRY(MovePointer move, rules_.hosts_for(built.branch, built.hosts));
  move.pointer.project = built.project;
  move.pointer.branch = built.branch;
  move.pointer.seq = built.seq;
  move.pointer.fence = asked.fence;
  move.pointer.deployment = built.deployment;
  move.pointer.holders = built.holders;
  move.pointer.moved_unix_ms = now;
  move.pointer.compiled = built.compiled;
  if (request.head) {
    auto head =
        p2p::open_node_signed<monkey::ReceiptHead>(admission_, monkey::kRole, *request.head, now);
    if (!head) return fail(std::move(head).error().context("the receipt's head"));
    if (head->record.receipt != crypto::sha256(request.receipt.record.body))
      return chain_broken("the receipt's head is another receipt's");
    // What askers will check, once it is part of the state.
    TRY_STATUS(valid_then(job->signer, head->record.built_unix_ms));
    TRY_STATUS(valid_then(head->signer, head->record.built_unix_ms));
    TRY(const Facts facts, facts_of(asked, registration->project(), head->record));
    if (auto s = agrees(facts, move.pointer); !s)
      return fail(std::move(s).error().context(
          "the receipt's head (has the monkey the network's suffix, " + rules_.suffix() + "?)"));
    move.proof = codec::to_cbor(Proof{request.job, request.head});
    if (move.proof->size() > kPushProofBytesMax)
      return fail(ErrorCode::invalid_argument,
                  "job and receipt are too large to be kept with the pointer: " +
                      std::to_string(move.proof->size()) + " bytes");
  }
  move.shorten();
  return move;
}

Task<Result<Publish::Response>> Service::handle(command::Peer, Publish::Request request) {
  NamesCommand command;
  CO_TRY_SYNC(command.move, check_chain(request));
  CO_TRY_SYNC_STATUS(joined());
  const ProjectId project = command.move->pointer.project;
  if (shards_.count() > 1) {
    // What can only fail is not begun: names are claimed for good.
    if (const Shard* shard = shards_.held(shards_.of_project(project))) {
      if (auto late = shard->names().comes_too_late(command.move->pointer); !late) {
        log_.info("refused a publication: " + late.error().message());
        co_return fail(std::move(late).error());
      }
    }
    CO_TRY_SYNC_STATUS(command.move->expand());
    CO_TRY_STATUS(claim_all(project, std::exchange(command.move->names, {})));
    command.move->claimed = true;
  }
  co_return co_await move_by(project, std::move(command));
}

// The owner's order, with the number that patrick gave it.
Result<MoveBack> Service::check_order(const p2p::NodeSigned& rollback) const {
  const auto now = loop_.wall_unix_ms();
  auto numbered =
      p2p::open_node_signed<patrick::NumberedRollback>(admission_, patrick::kRole, rollback, now);
  if (!numbered) return fail(std::move(numbered).error().context("the rollback"));
  auto registration = auth::open_registration(numbered->record.registration);
  if (!registration)
    return fail(std::move(registration).error().context("the owner's registration"));
  const crypto::PublicKey owner(registration->genesis.owner);
  auto order = codec::open_record<patrick::RollbackOrder>(owner, numbered->record.order);
  if (!order) return fail(std::move(order).error().context("the owner's order"));
  if (order->project != registration->project())
    return chain_broken("the order is for project " + order->project.str().substr(0, 100) +
                        ", its registration for " + registration->project().str());
  TRY_STATUS(check_branch(order->branch));
  TRY_STATUS(valid_then(numbered->signer, order->made_unix_ms));
  return MoveBack{
      order->project,       order->branch, order->from_seq, order->to_seq, order->deployment,
      numbered->record.seq, now,           rollback};
}

Task<Result<Rollback::Response>> Service::handle(command::Peer, Rollback::Request request) {
  NamesCommand command;
  CO_TRY_SYNC(command.back, check_order(request.rollback));
  CO_TRY_SYNC_STATUS(joined());
  const ProjectId project = command.back->project;
  co_return co_await move_by(project, std::move(command));
}

Task<Result<History::Response>> Service::handle(command::Peer from, History::Request request) {
  CO_TRY_SYNC_STATUS(check_branch(request.branch));
  CO_TRY_SYNC_STATUS(joined());
  const std::size_t number = shards_.of_project(request.project);
  const Shard* shard = shards_.held(number);
  if (!shard && is_tns(from)) co_return not_held(number);
  if (!shard) co_return co_await shards_.ask<History>(number, kProtocol, std::move(request));
  History::Response response{shard->names().history(request.project, request.branch)};
  if (!response.versions.empty()) co_return response;
  CO_TRY_SYNC_STATUS(shard->ready());
  co_return no_deployment(request.project, request.branch);
}

Task<Result<Publish::Response>> Service::move_by(ProjectId project, NamesCommand command) {
  auto answer = co_await decide(shards_.of_project(project), std::move(command));
  if (!answer) {
    log_.info("refused a publication: " + answer.error().message());
    co_return fail(std::move(answer).error());
  }
  if (!answer->pointer) co_return fail(ErrorCode::internal, "the group answered without a pointer");
  if (answer->moved) announce(*answer->pointer, answer->gone);
  co_return Publish::Response{sign(*answer->pointer)};
}

void Service::announce(const Pointer& pointer, const std::vector<std::string>& gone) {
  Moved moved{pointer.project, pointer.branch, pointer.seq, pointer.hosts, pointer.fence};
  moved.hosts.insert(moved.hosts.end(), gone.begin(), gone.end());
  log_.info("push " + std::to_string(pointer.seq) + " of " + pointer.branch + " serves " +
            (pointer.hosts.empty() ? "no host" : pointer.hosts[0]) + ": " +
            pointer.deployment.to_string());
  tell(moved);
}

// A hint: without it, clients look again when their lease ends.
void Service::tell(const Moved& moved) {
  const auto sent = host_.publish(std::string(kMovedTopic), codec::to_cbor(moved));
  if (!sent) log_.debug("gossip: " + sent.error().to_string());
  if (on_moved_) on_moved_(moved);
}

p2p::NodeSigned Service::sign(const Pointer& pointer) {
  const std::pair key{pointer.project, pointer.branch};
  const auto it = signed_.find(key);
  if (it != signed_.end() && it->second.first == pointer.version()) {
    auto known = it->second.second;
    known.certificate = identity_.certificate();  // it may have been renewed since
    return known;
  }
  if (signed_.size() >= kSignedMax) signed_.clear();
  auto item = identity_.sign(pointer);
  signed_.insert_or_assign(key, std::pair{pointer.version(), item});
  return item;
}

Lookup::Response Service::answer(const Names& names, const Pointer& pointer,
                                 const std::optional<Seen>& seen) {
  Lookup::Response response{sign(pointer)};
  if (seen && seen->proven.value_or(false) && seen->project == pointer.project &&
      seen->branch == pointer.branch && seen->version() == pointer.version())
    return response;
  if (const Bytes* proof = names.proof_of(pointer.project, pointer.branch)) response.proof = *proof;
  return response;
}

Task<Result<std::optional<ProjectId>>> Service::owner_of(std::string name) {
  const std::size_t number = shards_.of_name(name);
  if (const Shard* shard = shards_.held(number)) {
    if (auto owner = shard->names().owner_of(name)) co_return owner;
    CO_TRY_SYNC_STATUS(shard->ready());
    co_return std::nullopt;
  }
  if (const auto it = owners_.find(name); it != owners_.end()) co_return it->second;
  CO_TRY(auto told, shards_.ask<OwnerOf>(number, kShardsProtocol, OwnerOf::Request{name}));
  if (told.project) {
    if (owners_.size() >= kOwnersMax) owners_.clear();
    owners_.insert_or_assign(std::move(name), *told.project);
  }
  co_return std::move(told.project);
}

Result<FindHost::Response> Service::find_here(const Shard& shard,
                                              const FindHost::Request& request) {
  const Names& names = shard.names();
  if (request.seen && request.seen->project == request.project) {
    const auto* known = names.find(request.project, request.seen->branch);
    if (!known || known->version() < request.seen->version())
      return fail(ErrorCode::unavailable, "this tns node lags behind its group");
  }
  const Pointer* pointer = names.find(request.host);
  if (pointer && pointer->project == request.project) return answer(names, *pointer, request.seen);
  TRY_STATUS(shard.ready());
  return fail(ErrorCode::not_found,
              "\"" + request.host + "\" belongs to a project, but nothing is deployed there");
}

Task<Result<FindHost::Response>> Service::find_host(FindHost::Request request) {
  const std::size_t number = shards_.of_project(request.project);
  if (const Shard* shard = shards_.held(number)) co_return find_here(*shard, request);
  co_return in_our_name(
      co_await shards_.ask<FindHost>(number, kShardsProtocol, std::move(request)));
}

// Another tns node's answer, after the same checks that a client makes: who is asked speaks for the
// registry with its own name.
Result<FindHost::Response> Service::in_our_name(Result<FindHost::Response> told) {
  if (!told) return told;
  TRY(const auto opened,
      p2p::open_node_signed<Pointer>(admission_, kRole, told->pointer, loop_.wall_unix_ms()));
  told->pointer = sign(opened.record);
  return told;
}

Task<Result<Lookup::Response>> Service::handle(command::Peer, Lookup::Request request) {
  CO_TRY_SYNC_STATUS(check_host(request.host));
  CO_TRY_SYNC_STATUS(joined());
  const auto name = rules_.name_of(request.host);
  if (!name) co_return nobody_claimed(request.host);
  CO_TRY(const auto owner, owner_of(*name));
  if (!owner && request.seen)
    co_return fail(ErrorCode::unavailable, "this tns node lags behind its group");
  if (!owner) co_return nobody_claimed(request.host);
  auto found = co_await find_host({*owner, request.host, std::move(request.seen)});
  // Below a claimed name nobody answers until something is deployed there.
  if (!found && found.error().code() == ErrorCode::not_found && *name != request.host)
    co_return nobody_claimed(request.host);
  co_return found;
}

Task<Result<Resolve::Response>> Service::handle(command::Peer, Resolve::Request request) {
  CO_TRY_SYNC_STATUS(check_host(request.host));
  CO_TRY_SYNC_STATUS(joined());
  Resolve::Response response;
  const auto name = rules_.name_of(request.host);
  if (!name) co_return response;
  CO_TRY(response.project, owner_of(*name));
  if (!response.project) co_return response;
  response.branch = kMainBranch;
  if (*name == request.host) co_return response;
  const auto found = co_await find_host({*response.project, request.host, std::nullopt});
  if (found) {
    CO_TRY_SYNC(const auto pointer, codec::from_cbor<Pointer>(found->pointer.record.body));
    response.branch = pointer.branch;
    co_return response;
  }
  if (found.error().code() != ErrorCode::not_found) co_return fail(found.error());
  co_return Resolve::Response{};
}

Task<Result<GetPointer::Response>> Service::handle(command::Peer from,
                                                   GetPointer::Request request) {
  CO_TRY_SYNC_STATUS(check_branch(request.branch));
  CO_TRY_SYNC_STATUS(joined());
  const std::size_t number = shards_.of_project(request.project);
  const Shard* shard = shards_.held(number);
  if (!shard && is_tns(from)) co_return not_held(number);
  if (!shard) {
    CO_TRY(auto told, shards_.ask<GetPointer>(number, kProtocol, std::move(request)));
    CO_TRY_SYNC(auto ours,
                in_our_name(Lookup::Response{std::move(told.pointer), std::move(told.proof)}));
    co_return GetPointer::Response{std::move(ours.pointer), std::move(ours.proof),
                                   told.linearizable};
  }
  const bool now = request.linearizable.value_or(false);
  const auto look = [this, &request](const Names& names) -> std::optional<Lookup::Response> {
    const Pointer* pointer = names.find(request.project, request.branch);
    if (!pointer) return std::nullopt;
    return answer(names, *pointer, std::nullopt);
  };
  std::optional<Lookup::Response> found;
  if (now) {
    CO_TRY(auto read, shards_.read(number, look));
    found = *std::move(read);
  } else {
    found = look(shard->names());
  }
  if (found) {
    GetPointer::Response response{std::move(found->pointer), std::move(found->proof)};
    if (now) response.linearizable = true;
    co_return response;
  }
  if (!now) CO_TRY_SYNC_STATUS(shard->ready());
  co_return no_deployment(request.project, request.branch);
}

Task<Result<GetShards::Response>> Service::handle(command::Peer, GetShards::Request) {
  co_return shards_.held();
}

Task<Result<ProposeTo::Response>> Service::handle(command::Peer, ProposeTo::Request request) {
  if (request.shard >= shards_.count() || !shards_.held(request.shard))
    co_return not_held(request.shard);
  CO_TRY(Bytes told, shards_.propose(request.shard, std::move(request.command)));
  co_return ProposeTo::Response{std::move(told)};
}

Task<Result<OwnerOf::Response>> Service::handle(command::Peer, OwnerOf::Request request) {
  CO_TRY_SYNC_STATUS(joined());
  const std::size_t number = shards_.of_name(request.name);
  if (!shards_.held(number)) co_return not_held(number);
  CO_TRY(auto owner, owner_of(std::move(request.name)));
  co_return OwnerOf::Response{std::move(owner)};
}

Task<Result<FindHost::Response>> Service::handle(command::Peer, FindHost::Request request) {
  CO_TRY_SYNC_STATUS(joined());
  const std::size_t number = shards_.of_project(request.project);
  const Shard* shard = shards_.held(number);
  if (!shard) co_return not_held(number);
  co_return find_here(*shard, request);
}

template <class C>
Result<typename C::Response> Service::list(const typename C::Request& request) const {
  TRY_STATUS(joined());
  const Shard* shard = request.shard < shards_.count() ? shards_.held(request.shard) : nullptr;
  if (!shard) return not_held(request.shard);
  auto read = shard->group().read_stale([&] { return shard->names().list(request); });
  const auto age = read.age();
  typename C::Response page = *std::move(read);
  if (age)
    page.stale_ms =
        static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(*age).count());
  return page;
}

Task<Result<ListNames::Response>> Service::handle(command::Peer, ListNames::Request request) {
  co_return list<ListNames>(request);
}

Task<Result<ListPointers::Response>> Service::handle(command::Peer, ListPointers::Request request) {
  co_return list<ListPointers>(request);
}

}  // namespace tau::tns
