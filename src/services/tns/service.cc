#include "services/tns/service.h"

#include <utility>

#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/tns/chain.h"

namespace tau::tns {
namespace {

constexpr std::size_t kSignedMax = 4096;  // pointers; about 4 MB
// An election takes 0.6 to 1.2 s, a second one follows when votes are split; and those who publish
// wait for five seconds or more.
constexpr Duration kElectionsTime = std::chrono::seconds(3);
constexpr Duration kProposeAgain = std::chrono::milliseconds(50);

Shard::Options shard_options(const p2p::Host& host, Service::Options options) {
  Shard::Options out;
  out.group = "tns";
  out.founders = std::move(options.founders);
  if (out.founders.empty()) out.founders.push_back(host.id());
  out.keeper.policy.voters = voters_wanted(out.founders.size());
  out.keeper.pace = options.keeper_pace;
  out.keeper.grace = options.keeper_grace;
  return out;
}

std::unexpected<Error> chain_broken(const std::string& why) {
  return fail(ErrorCode::permission_denied, "this deployment is not published: " + why);
}

}  // namespace

Service::Service(runtime::Loop& loop, p2p::Host& host, command::Router& router, store::Kv& kv,
                 Random& random, const p2p::Admission& admission, const p2p::NodeIdentity& identity,
                 Logger log, Options options)
    : loop_(loop),
      host_(host),
      router_(router),
      admission_(admission),
      identity_(identity),
      log_(std::move(log)),
      rules_(options.suffix),
      kv_(store::with_prefix(kv, "raft/")),
      groups_(loop, host, random, log_, {.name = "tns", .role = std::string(kRole)}),
      shard_(groups_, *kv_, log_, shard_options(host, std::move(options))) {}

Task<Status> Service::start() {
  CO_TRY_SYNC_STATUS(check_host(rules_.suffix()));
  CO_TRY_SYNC_STATUS(groups_.start());
  CO_TRY_STATUS(shard_.start());
  router_.serve(kProtocol, *this, Commands{});
  serving_ = true;
  log_.info("names under " + rules_.suffix() + ": " + std::to_string(names().name_count()));
  co_return Status{};
}

Task<void> Service::stop() {
  if (std::exchange(serving_, false)) co_await router_.unserve(kProtocol);
  co_await shard_.stop();
  co_await groups_.stop();
}

// Commands can be repeated, so the death of a leader, or of its disk, is waited out here: who
// publishes does not see it.
Task<Result<NamesAnswer>> Service::decide(NamesCommand command) {
  const Bytes wanted = codec::to_cbor(command);
  const TimePoint give_up = loop_.now() + kElectionsTime;
  const auto passing = [](const Result<Bytes>& result) {
    return !result && (result.error().code() == ErrorCode::unavailable ||
                       result.error().code() == ErrorCode::data_loss);
  };
  Result<Bytes> bytes = co_await shard_.propose(wanted);
  while (passing(bytes) && serving_ && loop_.now() < give_up) {
    CO_TRY_STATUS(runtime::sleep_for(kProposeAgain));
    bytes = co_await shard_.propose(wanted);
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
  command.claim = ClaimName{registration.project(), rules_.name_of_label(registration.label)};
  const auto answer = co_await decide(std::move(command));
  if (!answer) co_return fail(answer.error());
  if (answer->moved) {
    const std::string name = rules_.name_of_label(registration.label);
    log_.info("claimed " + name);
    // So that "nobody has claimed it" is forgotten. As a move to nothing: older nodes read it, too.
    tell(Moved{registration.project(), std::string(kMainBranch), 0, {name}});
  }
  co_return Claim::Response{};
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
  co_return co_await move_by(std::move(command));
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
  co_return co_await move_by(std::move(command));
}

Task<Result<History::Response>> Service::handle(command::Peer, History::Request request) {
  CO_TRY_SYNC_STATUS(check_branch(request.branch));
  History::Response response{names().history(request.project, request.branch)};
  if (!response.versions.empty()) co_return response;
  CO_TRY_SYNC_STATUS(shard_.ready());
  co_return fail(ErrorCode::not_found, "branch " + request.branch + " of project " +
                                           request.project.str() + " has no deployment");
}

Task<Result<Publish::Response>> Service::move_by(NamesCommand command) {
  auto answer = co_await decide(std::move(command));
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
  if (it != signed_.end() && it->second.first == pointer.version()) return it->second.second;
  if (signed_.size() >= kSignedMax) signed_.clear();
  auto item = identity_.sign(pointer);
  signed_.insert_or_assign(key, std::pair{pointer.version(), item});
  return item;
}

Lookup::Response Service::answer(const Pointer& pointer, const std::optional<Seen>& seen) {
  Lookup::Response response{sign(pointer)};
  if (seen && seen->proven.value_or(false) && seen->project == pointer.project &&
      seen->branch == pointer.branch && seen->version() == pointer.version())
    return response;
  if (const Bytes* proof = names().proof_of(pointer.project, pointer.branch))
    response.proof = *proof;
  return response;
}

Task<Result<Lookup::Response>> Service::handle(command::Peer, Lookup::Request request) {
  CO_TRY_SYNC_STATUS(check_host(request.host));
  if (request.seen) {
    const auto* known = names().find(request.seen->project, request.seen->branch);
    if (!known || known->version() < request.seen->version())
      co_return fail(ErrorCode::unavailable, "this tns node lags behind its group");
  }
  if (const auto* pointer = names().find(request.host)) co_return answer(*pointer, request.seen);
  CO_TRY_SYNC_STATUS(shard_.ready());
  if (names().owner_of(rules_, request.host))
    co_return fail(ErrorCode::not_found,
                   "\"" + request.host + "\" belongs to a project, but nothing is deployed there");
  co_return fail(ErrorCode::not_found, "nobody has claimed the name \"" + request.host + "\"");
}

Task<Result<Resolve::Response>> Service::handle(command::Peer, Resolve::Request request) {
  CO_TRY_SYNC_STATUS(check_host(request.host));
  Resolve::Response response;
  if (const auto owner = names().owner_of(rules_, request.host)) {
    response.project = owner->project;
    response.branch = owner->branch;
    co_return response;
  }
  CO_TRY_SYNC_STATUS(shard_.ready());
  co_return response;
}

Task<Result<GetPointer::Response>> Service::handle(command::Peer, GetPointer::Request request) {
  CO_TRY_SYNC_STATUS(check_branch(request.branch));
  const bool now = request.linearizable.value_or(false);
  const auto look = [this, &request]() -> std::optional<Lookup::Response> {
    const Pointer* pointer = names().find(request.project, request.branch);
    if (!pointer) return std::nullopt;
    return answer(*pointer, std::nullopt);
  };
  std::optional<Lookup::Response> found;
  if (now) {
    CO_TRY(auto read, shard_.read(look));
    found = *std::move(read);
  } else {
    found = look();
  }
  if (found) {
    GetPointer::Response response{std::move(found->pointer), std::move(found->proof)};
    if (now) response.linearizable = true;
    co_return response;
  }
  if (!now) CO_TRY_SYNC_STATUS(shard_.ready());
  co_return fail(ErrorCode::not_found, "branch " + request.branch + " of project " +
                                           request.project.str() + " has no deployment");
}

}  // namespace tau::tns
