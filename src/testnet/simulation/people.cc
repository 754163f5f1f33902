#include "testnet/simulation/people.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "codec/cid.h"
#include "codec/signed.h"
#include "http/client.h"
#include "project/writer.h"
#include "services/hoarder/api.h"
#include "services/patrick/api.h"
#include "services/seer/dns_client.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

// Where browsers and resolvers sit.
constexpr const char* kBrowsers = "10.255.0.1";
// Beyond what a client waits for: then it hangs.
constexpr Duration kSlack = 10s;
constexpr Duration kVisitMax = 30s;
constexpr Duration kRegisterEvery = 2s;
constexpr std::size_t kRegisteredMax = 60;
constexpr std::size_t kHoldersMin = 2;  // of an acknowledged deployment
constexpr std::uint64_t kAloneOf = 5;   // pushes, one to a patrick that nobody hears
constexpr Duration kAlone = 2s;
constexpr std::uint64_t kCutOffWithinUs = 12'000;  // about what a push takes
constexpr Duration kAskPromisesEvery = 300ms;
constexpr std::size_t kLatelyMax = 4;  // promises of a hoarder that are looked at so often

std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

Tree config_of(const ProjectId& project, const std::string& label) {
  Tree tree;
  tree["config.yaml"] = project::project_yaml({project.str(), label, ""});
  tree["domains/main.yaml"] = project::domain_yaml({id_of(label), "", label});
  project::NewFunction ping;
  ping.id = id_of(label + "/ping");
  ping.paths = {"/ping"};
  ping.domains = {"main"};
  ping.call = "ping";
  tree["functions/ping.yaml"] = project::function_yaml(ping);
  return tree;
}

Tree code_of(const std::string& label, std::uint64_t version) {
  return {{"functions/ping/.taubyte/config.yaml",
           project::workflow_yaml("taubyte/cpp-wasi", {"build"})},
          {"functions/ping/.taubyte/build.sh", ". /utils/wasm.sh\nbuild\n"},
          {"functions/ping/main.cc",
           fmt::format("TAU_HTTP_FUNCTION(ping) {{ event.write(\"{} {}\"); }}\n", label, version)}};
}

}  // namespace

People::People(World& world, Ledger& ledger, Trace& trace, Options options)
    : world_(world),
      ledger_(ledger),
      trace_(trace),
      options_(options),
      random_(options.seed ^ 0x70656f706c65),
      owner_(crypto::KeyPair::generate(random_)),
      claimant_(world, ledger, options.seed ^ 0x636c61696d),
      tasks_(world.loop()) {
  for (std::size_t i = 0; i < options_.projects; ++i) {
    auto project = std::make_unique<Project>();
    project->label = fmt::format("p{}", i);
    project->registration = registration_of(project->label);
    project->id = project->registration.project();
    projects_.push_back(std::move(project));
  }
}

auth::Registration People::registration_of(const std::string& label) const {
  auth::Registration r;
  r.genesis = {label, owner_.public_key().raw(), {}};
  r.label = label;
  r.repositories = {{"config", auth::RepositoryKind::config, "local"},
                    {"code", auth::RepositoryKind::code, "local"}};
  r.made_unix_ms = 1;
  return r;
}

void People::start() {
  for (const auto& project : projects_) tasks_.spawn(own(*project));
  if (options_.only_push) return;
  tasks_.spawn(register_more());
  tasks_.spawn(visit());
  tasks_.spawn(ask_dns());
  tasks_.spawn(look());
  tasks_.spawn(look_at_promises());
  tasks_.spawn(watch());
}

Task<void> People::stop() {
  co_await tasks_.stop();
  co_await claimant_.stop();
}

Task<void> People::watch() {
  do {
    ledger_.check_open();
    for (std::size_t i = 0; i < world_.size(); ++i)
      if (world_[i].running())
        ledger_.saw_revocations(world_[i].spec.name, world_[i].node->credentials().number());
  } while (co_await runtime::sleep_for(200ms));
}

// One person does one thing after the other, whether it succeeds or not.
Task<void> People::own(Project& project) {
  const auto pause_us = static_cast<std::uint64_t>(options_.push_every / 1us);
  while (!project.last_done) {
    const bool last = finishing_;
    if (!project.registered) {
      project.registered = co_await register_project(project.registration);
    } else if (!project.configured) {
      project.configured =
          (co_await push(project, "config", config_of(project.id, project.label))).has_value();
    } else {
      const std::uint64_t version = ++project.version;
      const auto seq = co_await push(project, "code", code_of(project.label, version));
      if (seq && last) {
        project.last_version = version;
        project.last_seq = *seq;
        project.last_done = true;
        trace_.say(fmt::format("{}: the last push is seq {}", project.label, *seq));
      }
    }
    const auto pause = last || !project.configured ? 300'000 : 2 * pause_us;
    if (!co_await runtime::sleep_for(std::chrono::microseconds(random_.below(pause)))) co_return;
  }
}

Task<bool> People::register_project(auth::Registration registration) {
  const Ledger::Operation open(ledger_, "a registration", auth::Register::kDeadline + kSlack);
  const auto done = co_await desk().call_any<auth::Register>(
      auth::kRole, auth::kProtocol, {codec::sign_record(owner_, registration)});
  if (done) trace_.say(registration.label + " is registered");
  co_return done.has_value();
}

// So that at any moment something was acknowledged a moment ago.
Task<void> People::register_more() {
  const auto pause_us = static_cast<std::uint64_t>(kRegisterEvery / 1us);
  while (!finishing_ && registered_.size() < kRegisteredMax) {
    if (!co_await runtime::sleep_for(std::chrono::microseconds(random_.below(2 * pause_us))))
      co_return;
    const auto registration = registration_of(fmt::format("other{}", registered_.size()));
    if (co_await register_project(registration)) registered_.push_back(registration.project());
  }
}

Task<std::optional<std::uint64_t>> People::push(Project& project, std::string repository,
                                                Tree tree) {
  const auto patricks = world_.with(patrick::kRole);
  World::Member& at = project.host ? *project.host : *patricks[random_.below(patricks.size())];
  if (!at.running()) co_return std::nullopt;
  // One that nobody hears any more cannot agree with the others; and what it has acknowledged
  // nevertheless is gone with its power.
  const bool alone = options_.harm && !finishing_ && random_.below(kAloneOf) == 0;
  if (alone)
    tasks_.spawn(cut_off(index_of(at), std::chrono::microseconds(random_.below(kCutOffWithinUs))));
  const TimePoint pushed = world_.loop().now();
  // What stands behind git push has no deadline of its own but those of its parts.
  const Ledger::Operation open(ledger_, "a push of " + project.label, 60s);
  const auto done =
      co_await at.machine->git().push(project.id, repository, "main", std::move(tree));
  if (!done) {
    trace_.say(fmt::format("{}: push refused: {}", project.label, done.error().to_string()));
    co_return std::nullopt;
  }
  ++pushes_;
  project.host = &at;
  ledger_.accepted(project.id, done->seq, done->job);
  trace_.say(fmt::format("{}: push of {} is seq {}", project.label, repository, done->seq));
  if (alone && world_.loop().now() - pushed < kAlone) {
    (void)co_await runtime::yield();  // what answered us has returned
    runtime::Scope own(world_.loop());
    co_await world_.crash(index_of(at)).in(own);
    options_.harm(FaultKind::crash, index_of(at), kAlone);
  }
  co_return done->seq;
}

Task<void> People::cut_off(std::size_t index, Duration after) {
  if (co_await runtime::sleep_for(after)) options_.harm(FaultKind::mute, index, kAlone);
}

std::size_t People::index_of(const World::Member& at) {
  std::size_t i = 0;
  while (&world_[i] != &at) ++i;
  return i;
}

Task<void> People::visit() {
  runtime::TaskGroup visits(world_.loop());
  for (std::size_t round = 0;; ++round) {
    for (World::Member* at : world_.with(substrate::kRole))
      if (at->running() && visits.running() < 200)
        visits.spawn(visit_one(*at, *projects_[round % projects_.size()]));
    if (!co_await runtime::sleep_for(options_.visit_every)) break;
  }
  runtime::Scope own(world_.loop());
  co_await visits.stop().in(own);
}

std::optional<std::uint64_t> People::version_of(const std::string& body) {
  const auto space = body.find(' ');
  if (space == body.npos) return std::nullopt;
  std::uint64_t version = 0;
  const auto read = std::from_chars(body.data() + space + 1, body.data() + body.size(), version);
  if (read.ec != std::errc()) return std::nullopt;
  return version;
}

Task<void> People::visit_one(World::Member& at, const Project& project) {
  const Ledger::Operation open(ledger_, "a visit to " + at.spec.name, kVisitMax + 5s + kSlack);
  const std::size_t life = at.lives;
  std::uint64_t& newest = served_[{life_of(at), project.label}];
  const std::uint64_t before = newest;
  http::Client::Options options;
  options.answer_time_max = options.stall_time_max = kVisitMax;
  http::Client client(world_.sockets().host(kBrowsers), options);
  http::ClientRequest request;
  request.target = "/ping";
  request.host = fmt::format("{}.{}", project.label, World::kSuffix);
  const auto response = co_await client.send({at.machine->address(), 80}, std::move(request));
  if (!response || response->status != 200) co_return;
  const auto version = version_of(response->body);
  if (!version || !response->body.starts_with(project.label) || *version > project.version) {
    ledger_.violated(fmt::format("{} answered \"{}\" for {}, whose newest version is {}",
                                 at.spec.name, response->body, project.label, project.version));
    co_return;
  }
  ++answers_;
  if (life != at.lives) co_return;
  if (*version > newest)
    trace_.say(fmt::format("{} serves {} version {}", at.spec.name, project.label, *version));
  newest = std::max(newest, *version);
  ledger_.saw_version(at.spec.name, project.label, before, *version);
}

std::string People::life_of(const World::Member& at) {
  return fmt::format("{}/{}", at.spec.name, at.lives);
}

Task<void> People::ask_dns() {
  for (std::size_t round = 0;; ++round) {
    const Project& project = *projects_[round % projects_.size()];
    for (World::Member* at : world_.with(seer::kRole)) {
      if (!at->running()) continue;
      const Ledger::Operation open(ledger_, "a question to " + at->spec.name, 2s + kSlack);
      const auto answer = co_await seer::dns::resolve(
          world_.sockets().host(kBrowsers), {at->machine->address(), 53},
          fmt::format("{}.{}", project.label, World::kSuffix), seer::dns::Type::a);
      if (!answer) continue;
      for (const std::string& address : answer->addresses) {
        const auto all = world_.with(substrate::kRole);
        if (std::ranges::none_of(all, [&](auto* s) { return s->machine->address() == address; }))
          ledger_.violated(fmt::format("{} gave {} for {}, which is no substrate", at->spec.name,
                                       address, project.label));
      }
    }
    if (!co_await runtime::sleep_for(700ms)) co_return;
  }
}

Task<void> People::look() {
  for (;;) {
    for (World::Member* at : world_.with(tns::kRole)) co_await look_at_pointers(*at);
    for (const auto& project : projects_) {
      const Ledger::Operation open(ledger_, "a list of jobs",
                                   patrick::ListJobs::kDeadline + kSlack);
      const TimePoint asked = world_.loop().now();
      const auto jobs = co_await desk().call_any<patrick::ListJobs>(
          patrick::kRole, patrick::kProtocol, {project->id, 100});
      // What may be old says so, and is not held against what was promised.
      if (!jobs || jobs->stale) continue;
      ledger_.saw_jobs(project->id, jobs->jobs, asked);
      const auto building =
          std::ranges::find(jobs->jobs, patrick::JobState::building, &patrick::JobStatus::state);
      if (building != jobs->jobs.end()) co_await claimant_.claim(*building);
    }
    if (!co_await runtime::sleep_for(options_.look_every)) co_return;
  }
}

// What a hoarder promised last, asked of it again and again: it must be there at once after a power
// cut, not only when others have repaired it.
Task<void> People::look_at_promises() {
  do {
    for (World::Member* at : world_.with(hoarder::kRole)) {
      if (!at->running()) continue;
      for (const codec::Cid& deployment : std::deque(lately_promised_[at->node->id()])) {
        if (!at->running()) break;
        const Ledger::Operation open(ledger_, "a question to " + at->spec.name,
                                     hoarder::Holds::kDeadline + kSlack);
        const auto holds =
            co_await desk().call<hoarder::Holds>(at->node->id(), hoarder::kProtocol, {deployment});
        if (holds && !holds->held)
          ledger_.violated(at->spec.name + " lacks what it promised to hold a moment ago");
      }
    }
  } while (co_await runtime::sleep_for(kAskPromisesEvery));
}

Task<void> People::look_at_pointers(World::Member& at) {
  for (const auto& project : projects_) {
    if (!at.running()) co_return;
    const Ledger::Operation open(ledger_, "a question to " + at.spec.name,
                                 tns::GetPointer::kDeadline + kSlack);
    const auto found =
        co_await desk().call<tns::GetPointer>(at.node->id(), tns::kProtocol, {project->id, "main"});
    if (!found) continue;
    const auto pointer = codec::from_cbor<tns::Pointer>(found->pointer.record.body);
    if (!pointer) {
      ledger_.violated(at.spec.name + " gave no pointer: " + pointer.error().to_string());
      continue;
    }
    ledger_.saw_pointer(at.spec.name, *pointer);
    std::vector<codec::Cid> roots = {pointer->deployment};
    if (pointer->compiled) roots.push_back(*pointer->compiled);
    for (const PeerId& holder : pointer->holders) {
      for (const codec::Cid& root : roots) {
        if (!promised_.emplace(holder, root).second) continue;
        auto& lately = lately_promised_[holder];
        lately.push_back(root);
        if (lately.size() > kLatelyMax) lately.pop_front();
      }
    }
  }
}

Task<std::string> People::missing() {
  for (std::size_t i = 0; i < world_.size(); ++i)
    if (world_[i].running() && !world_[i].node->decides())
      co_return world_[i].spec.name + " has no leader to follow";
  for (std::size_t i = 0; i < world_.size(); ++i)
    if (world_[i].running() && world_[i].node->credentials().number() != world_.revocations())
      co_return fmt::format("{} knows revocations number {}, not {}", world_[i].spec.name,
                            world_[i].node->credentials().number(), world_.revocations());
  for (const auto& project : projects_) {
    if (!project->last_done)
      co_return project->label + (!project->registered   ? " can't be registered"
                                  : !project->configured ? " can't be configured"
                                                         : " can't be pushed");
    const std::string what = co_await missing_of(*project);
    if (!what.empty()) co_return project->label + ": " + what;
  }
  for (const ProjectId& project : registered_) {
    const auto known =
        co_await desk().call_any<auth::GetProject>(auth::kRole, auth::kProtocol, {project});
    if (!known) co_return "a registration: " + known.error().to_string();
  }
  for (const auto& [holder, deployment] : promised_) {
    const auto holds =
        co_await desk().call<hoarder::Holds>(holder, hoarder::kProtocol, {deployment});
    if (!holds) co_return "a hoarder: " + holds.error().to_string();
    if (!holds->held) co_return "a hoarder lacks what it promised to hold";
  }
  co_return co_await missing_in_dns(*projects_.front());
}

Task<std::string> People::missing_of(const Project& project) {
  const auto known =
      co_await desk().call_any<auth::GetProject>(auth::kRole, auth::kProtocol, {project.id});
  if (!known) co_return "auth: " + known.error().to_string();
  const auto jobs = co_await desk().call_any<patrick::ListJobs>(patrick::kRole, patrick::kProtocol,
                                                                {project.id, 100});
  if (!jobs) co_return "patrick: " + jobs.error().to_string();
  if (jobs->stale) co_return "patrick answers with what may be old";
  for (const auto& job : jobs->jobs) {
    if (job.seq == project.last_seq && job.state != patrick::JobState::succeeded)
      co_return fmt::format("the last push, seq {}, is {} {}", job.seq, patrick::name_of(job.state),
                            job.error);
    if (job.state == patrick::JobState::waiting || job.state == patrick::JobState::building)
      co_return fmt::format("seq {} is still {}", job.seq, patrick::name_of(job.state));
  }
  for (World::Member* at : world_.with(tns::kRole)) {
    if (!at->running()) continue;
    const auto found =
        co_await desk().call<tns::GetPointer>(at->node->id(), tns::kProtocol, {project.id, "main"});
    if (!found) co_return at->spec.name + ": " + found.error().to_string();
    const auto pointer = codec::from_cbor<tns::Pointer>(found->pointer.record.body);
    if (!pointer || pointer->seq != project.last_seq)
      co_return fmt::format("{} has seq {}, not {}", at->spec.name, pointer ? pointer->seq : 0,
                            project.last_seq);
    if (pointer->holders.size() < kHoldersMin)
      co_return fmt::format("seq {} is held by {} hoarders, not {}", pointer->seq,
                            pointer->holders.size(), kHoldersMin);
  }
  for (World::Member* at : world_.with(substrate::kRole)) {
    const auto served = served_.find({life_of(*at), project.label});
    if (at->running() && (served == served_.end() || served->second != project.last_version))
      co_return fmt::format("{} serves version {}, not {}", at->spec.name,
                            served == served_.end() ? 0 : served->second, project.last_version);
  }
  co_return "";
}

constexpr std::size_t kAnsweredMax = 16;  // addresses in one answer of a seer (zone.cc)

Task<std::string> People::missing_in_dns(const Project& project) {
  std::size_t running = 0, substrates = 0;
  for (std::size_t i = 0; i < world_.size(); ++i) {
    if (!world_[i].running()) continue;
    ++running;
    substrates += world_[i].runs(substrate::kRole) ? 1 : 0;
  }
  std::optional<Bytes> roll;
  for (World::Member* at : world_.with(seer::kRole)) {
    if (!at->running()) continue;
    const auto copy =
        co_await desk().call<seer::Roll>(at->node->id(), seer::kProtocol, seer::Roll::Request{});
    if (!copy) co_return at->spec.name + ": " + copy.error().to_string();
    if (roll && *roll != copy->digest)
      co_return at->spec.name + " has another copy of the roster than the seers before it";
    roll = copy->digest;
    // Each row says that one seer hears one node.
    const auto seers = world_.with(seer::kRole).size();
    if (copy->records > running * seer::kSeersOfANode + seers * seers)
      co_return fmt::format("{} keeps {} records of {} nodes", at->spec.name, copy->records,
                            running);
    const auto nodes =
        co_await desk().call<seer::ListNodes>(at->node->id(), seer::kProtocol, {std::string()});
    if (!nodes) co_return at->spec.name + ": " + nodes.error().to_string();
    if (nodes->nodes.size() != running)
      co_return fmt::format("{} lists {} nodes of {}", at->spec.name, nodes->nodes.size(), running);
    const auto answer = co_await seer::dns::resolve(
        world_.sockets().host(kBrowsers), {at->machine->address(), 53},
        fmt::format("{}.{}", project.label, World::kSuffix), seer::dns::Type::a);
    if (!answer) co_return at->spec.name + ": " + answer.error().to_string();
    if (answer->addresses.size() != std::min<std::size_t>(substrates, kAnsweredMax))
      co_return fmt::format("{} gives {} addresses of {}", at->spec.name, answer->addresses.size(),
                            substrates);
  }
  co_return "";
}

}  // namespace tau::testnet::simulation
