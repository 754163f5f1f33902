#include "clients.h"

#include <algorithm>

#include "services/monkey/api.h"
#include "services/patrick/api.h"

namespace tau::test {
namespace {

using namespace std::chrono_literals;
using http::Json;

constexpr std::size_t kAtOnce = 2;  // projects, and names, that all clients meet at
constexpr Duration kTurn = 3s;
constexpr Duration kPause = 300ms;  // after an answer that left open what happened

codec::Cid deployment_of(const std::string& what) {
  return codec::Cid::of(codec::ContentType::dag_cbor, as_bytes(what));
}

}  // namespace

Clients::Clients(Visitor& visitor, Member& member, History& history, std::string suffix)
    : visitor_(visitor),
      member_(member),
      history_(history),
      suffix_(std::move(suffix)),
      tasks_(visitor.loop()) {
  turn();
}

void Clients::turn() {
  for (std::size_t i = 0; i < kAtOnce; ++i) {
    auto project = std::make_unique<Project>(random_);
    project->label = "p" + std::to_string(projects_.size());
    project->key = "pointer/" + project->label;
    projects_.push_back(std::move(project));
  }
  names_ += kAtOnce;
  ++turn_;
  next_turn_ = visitor_.loop().now() + kTurn;
}

void Clients::start(int count) {
  for (int i = 0; i < count; ++i) tasks_.spawn(work(i));
}

void Clients::stop() {
  ending_ = true;
  runtime::block_on(visitor_.loop(), tasks_.join());
}

auth::Registration Clients::registration(const Project& project, const std::string& label) const {
  auth::Registration r;
  r.genesis = {project.label, project.owner.public_key().raw(), {}};
  r.label = label;
  r.repositories = {{"code", auth::RepositoryKind::code, "local"}};
  r.made_unix_ms = 1;
  return r;
}

// What is refused in the agreed order has an answer; all else leaves open what happened.
std::string Clients::outcome_of(const Error& error) const {
  switch (error.code()) {
    case ErrorCode::failed_precondition:
    case ErrorCode::already_exists:
      return "refused";
    case ErrorCode::not_found:
      return "missing";
    default:
      return "unknown";
  }
}

Task<void> Clients::work(int client) {
  while (!ending_) {
    if (visitor_.loop().now() >= next_turn_) turn();
    const auto nodes = member_.with_role(tns::kRole);
    const std::size_t before = history_.succeeded();
    if (!nodes.empty()) {
      const PeerId at = nodes[random_.below(nodes.size())];
      Project& project = *projects_[projects_.size() - 1 - random_.below(kAtOnce)];
      const auto what = random_.below(20);
      if (what < 6) {
        co_await publish(client, project, at);
      } else if (what < 9) {
        co_await roll_back(client, project, at);
      } else if (what < 14) {
        co_await read(client, project, at);
      } else if (what < 18) {
        co_await look_up(client, project, at);
      } else {
        co_await claim(client, at);
      }
    }
    const bool quiet = history_.succeeded() == before;
    if (!co_await runtime::sleep_for(quiet ? kPause : Duration(5ms))) co_return;
  }
}

Task<void> Clients::publish(int client, Project& project, PeerId at) {
  // Now and then a build of the same push under another lease, or one that comes too late.
  const bool again = project.next_seq > 1 && random_.below(4) == 0;
  const std::uint64_t seq = again ? project.next_seq - 1 : project.next_seq++;
  const auto r = registration(project, project.label);
  patrick::Job job;
  job.id = JobId("job-" + std::to_string(seq));
  job.project = r.project();
  job.branch = "main";
  job.seq = seq;
  job.fence = 1 + random_.below(3);
  job.registration = codec::sign_record(project.owner, r);
  monkey::Receipt receipt;
  receipt.job = job.id;
  receipt.project = job.project;
  receipt.branch = job.branch;
  receipt.seq = seq;
  receipt.deployment = deployment_of(project.label + "/" + std::to_string(seq) + "/" +
                                     std::to_string(random_.next_u64()));
  receipt.hosts = {project.label + "." + suffix_};
  receipt.built_unix_ms = visitor_.loop().wall_unix_ms();
  tns::Publish::Request request{member_.identity().sign(job), member_.identity().sign(receipt)};
  request.head = member_.identity().sign(
      monkey::head_of(receipt, request.receipt.record.body, tns::digest_of_hosts(receipt.hosts)));
  const Json operation = {{"client", client},    {"key", project.key},
                          {"kind", "publish"},   {"seq", seq},
                          {"fence", *job.fence}, {"deployment", receipt.deployment.to_string()}};
  const auto call = History::now();
  const auto done = co_await member_.node().caller().call<tns::Publish>(
      std::move(at), tns::kProtocol, std::move(request));
  history_.add(operation, call, done ? "ok" : outcome_of(done.error()),
               done ? "" : done.error().message());
  if (done) project.known.insert_or_assign(seq, receipt.deployment);
}

Task<void> Clients::roll_back(int client, Project& project, PeerId at) {
  if (project.known.size() < 2) co_return;
  auto to = project.known.begin();
  const std::size_t last = std::min<std::size_t>(project.known.size(), 6);
  std::advance(to, project.known.size() - 1 - random_.below(last));
  const auto r = registration(project, project.label);
  const patrick::RollbackOrder order{r.project(), "main",     project.stands,
                                     to->first,   to->second, visitor_.loop().wall_unix_ms()};
  const std::uint64_t seq = project.next_seq++;
  const patrick::NumberedRollback numbered{codec::sign_record(project.owner, order),
                                           codec::sign_record(project.owner, r), seq};
  const Json operation = {{"client", client},
                          {"key", project.key},
                          {"kind", "rollback"},
                          {"seq", seq},
                          {"from", order.from_seq},
                          {"to", order.to_seq},
                          {"deployment", order.deployment.to_string()}};
  const auto call = History::now();
  const auto done = co_await member_.node().caller().call<tns::Rollback>(
      std::move(at), tns::kProtocol, {member_.identity().sign(numbered)});
  history_.add(operation, call, done ? "ok" : outcome_of(done.error()),
               done ? "" : done.error().message());
  if (!done) co_return;
  project.known.insert_or_assign(seq, order.deployment);
  project.stands = seq;
}

Task<void> Clients::read(int client, Project& project, PeerId at) {
  Json operation = {{"client", client}, {"key", project.key}, {"kind", "read"}};
  const auto id = registration(project, project.label).project();
  const auto call = History::now();
  const auto found = co_await member_.node().caller().call<tns::GetPointer>(
      std::move(at), tns::kProtocol, {id, "main", true});
  if (!found) {  // a read that has no answer says nothing
    if (found.error().code() == ErrorCode::not_found) history_.add(operation, call, "missing");
    co_return;
  }
  const auto pointer = codec::from_cbor<tns::Pointer>(found->pointer.record.body);
  if (!pointer || !found->linearizable.value_or(false)) {
    history_.add(operation, call, "not linearizable");  // no such outcome: the checker refuses it
    co_return;
  }
  operation["seq"] = pointer->seq;
  operation["fence"] = pointer->fence.value_or(0);
  operation["deployment"] = pointer->deployment.to_string();
  history_.add(operation, call, "ok");
  project.stands = std::max(project.stands, pointer->seq);
}

// As clients of tns ask: with what they have seen. The proof comes along and is checked elsewhere.
Task<void> Clients::look_up(int client, Project& project, PeerId at) {
  tns::Lookup::Request request{project.label + "." + suffix_};
  if (const auto seen = project.seen.find(client); seen != project.seen.end())
    request.seen = seen->second;
  const auto call = History::now();
  const auto found = co_await member_.node().caller().call<tns::Lookup>(
      std::move(at), tns::kProtocol, std::move(request));
  if (!found) co_return;
  const auto pointer = codec::from_cbor<tns::Pointer>(found->pointer.record.body);
  if (!pointer) co_return;
  history_.add({{"client", client},
                {"key", project.key},
                {"kind", "lookup"},
                {"seq", pointer->seq},
                {"fence", pointer->fence.value_or(0)},
                {"deployment", pointer->deployment.to_string()}},
               call, "ok");
  project.seen[client] = {pointer->project, pointer->branch, pointer->seq, pointer->fence};
}

Task<void> Clients::claim(int client, PeerId at) {
  const std::string label = "n" + std::to_string(names_ - 1 - random_.below(kAtOnce));
  const Project& project = *projects_[projects_.size() - 1 - random_.below(kAtOnce)];
  const Json operation = {
      {"client", client}, {"key", "name/" + label}, {"kind", "claim"}, {"owner", project.label}};
  const auto registered = codec::sign_record(project.owner, registration(project, label));
  const auto call = History::now();
  const auto done = co_await member_.node().caller().call<tns::Claim>(std::move(at), tns::kProtocol,
                                                                      {registered});
  history_.add(operation, call, done ? "ok" : outcome_of(done.error()),
               done ? "" : done.error().message());
}

}  // namespace tau::test
