#include "consensus/group.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "consensus/group_core.h"
#include "consensus/stamp.h"

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;

// Each holds at most 48 KiB of command: 48 MiB.
constexpr std::size_t kUnderWayMax = 1024;
// One append of the log, one message to each member.
constexpr std::size_t kBatchMax = 256;
constexpr std::size_t kBatchBytesMax = 1u << 20;
constexpr unsigned kSnapshotTimeoutMs =
    600'000;  // failures are told; this is for a peer that hangs

void* raft_bytes(BytesView data) {
  void* out = raft_malloc(data.empty() ? 1 : data.size());
  CHECK(out);
  if (!data.empty()) std::memcpy(out, data.data(), data.size());
  return out;
}

}  // namespace

Error raft_error(int rv, const char* detail) {
  switch (rv) {
    case RAFT_NOTLEADER:
    case RAFT_LEADERSHIPLOST:
    case RAFT_SHUTDOWN:
    case RAFT_CANCELED:
    case RAFT_NOCONNECTION:
      return Error(ErrorCode::unavailable,
                   std::string("the group changed its leader, or this member stops (") +
                       raft_strerror(rv) + "): ask again");
    case RAFT_IOERR:
    case RAFT_CORRUPT:
      return Error(ErrorCode::data_loss, std::string("the group's log: ") + detail);
    default:
      return Error(ErrorCode::internal, std::string("raft: ") + raft_strerror(rv) + ": " + detail);
  }
}

Group::Core::Core(Group& g)
    : group(g),
      disk(g.loop_, g.kv_),
      io(g.groups_, g.options_.name, disk, g.log_,
         {[&g] { g.changed(); },
          [&g](std::uint64_t index) {
            if (g.core_->reload_from == 0) g.core_->tasks.spawn(g.reload(index));
          }}),
      tasks(g.loop_) {
  fsm.version = 1;
  fsm.data = this;
  fsm.apply = [](raft_fsm* f, const raft_buffer* command, void** result) {
    auto& core = *static_cast<Core*>(f->data);
    *result = nullptr;
    const std::uint64_t index = core.raft.last_applied + 1;
    if (index <= core.skip_until) return 0;
    Bytes answer =
        core.group.machine_.apply({static_cast<const std::uint8_t*>(command->base), command->len});
    const auto it = core.applying.find(index);
    if (it == core.applying.end()) return 0;
    it->second.set(std::move(answer));
    core.applying.erase(it);
    return 0;
  };
  fsm.snapshot = [](raft_fsm* f, raft_buffer* buffers[], unsigned* count) {
    auto& core = *static_cast<Core*>(f->data);
    // A snapshot names the members as of its last entry: those named since are not committed.
    if (core.raft.last_applied < core.skip_until ||
        core.disk.last_change() > core.raft.last_applied)
      return static_cast<int>(RAFT_BUSY);
    const Bytes state = core.group.machine_.snapshot();
    if (state.size() > kSnapshotSizeMax) {
      core.group.log_.error("group " + core.group.options_.name + ": a snapshot of " +
                            std::to_string(state.size()) + " bytes is larger than " +
                            std::to_string(kSnapshotSizeMax) + "; the log is not cut");
      return static_cast<int>(RAFT_BUSY);
    }
    auto* buffer = static_cast<raft_buffer*>(raft_malloc(sizeof(raft_buffer)));
    CHECK(buffer);
    *buffer = {raft_bytes(state), state.size()};
    *buffers = buffer;
    *count = 1;
    return 0;
  };
  fsm.restore = [](raft_fsm* f, raft_buffer* buffer) {
    auto& core = *static_cast<Core*>(f->data);
    if (!std::exchange(core.skip_restore, false)) {
      const auto restored = core.group.machine_.restore(
          {static_cast<const std::uint8_t*>(buffer->base), buffer->len});
      if (!restored) {
        core.group.log_.error("snapshot: " + restored.error().to_string());
        return static_cast<int>(RAFT_CORRUPT);
      }
    }
    raft_free(buffer->base);
    return 0;
  };
}

const raft_server* Group::Core::find(const PeerId& peer) const {
  const unsigned i = index_of(peer);
  return i < raft.configuration.n ? &raft.configuration.servers[i] : nullptr;
}

unsigned Group::Core::index_of(const PeerId& peer) const {
  unsigned i = 0;
  while (i < raft.configuration.n && peer.str() != raft.configuration.servers[i].address) ++i;
  return i;
}

Group::Group(Groups& groups, store::Kv& kv, Options options, StateMachine& machine)
    : groups_(groups),
      loop_(groups.loop()),
      kv_(kv),
      log_(groups.log()),
      options_(std::move(options)),
      machine_(machine),
      changed_signal_(loop_) {}
Group::~Group() { CHECK(!core_); }

Task<Status> Group::start() {
  if (core_) co_return Status{};
  core_ = std::make_unique<Core>(*this);
  removed_ = asleep_ = caught_up_ = broken_ = false;
  auto started = co_await start_core();
  if (!started) co_await stop();
  co_return started;
}

Task<Status> Group::start_core() {
  Core& core = *core_;
  core.awake_since = core.last_work = core.last_hello = loop_.now();
  core.next_ask = groups_.random().next_u64();  // an answer meant for an earlier life is nobody's
  auto voters = options_.voters;
  std::ranges::sort(voters);
  const bool founder = std::ranges::binary_search(voters, groups_.host().id());
  std::vector<Server> servers;
  for (const auto& peer : voters) servers.push_back({number_of(peer), peer.str(), RAFT_VOTER});
  CO_TRY_SYNC(Bytes encoded, encode_servers(servers));
  CO_TRY(auto loaded, core.disk.load());
  if (loaded.pristine() && founder) {
    CO_TRY_STATUS(core.disk.bootstrap({1, RAFT_CHANGE, encoded}));
    CO_TRY(loaded, core.disk.load());
  }
  core.tasks.spawn(core.disk.run());
  core.io.preload(std::move(loaded));
  CO_TRY_SYNC_STATUS(open_raft());
  CO_TRY_SYNC_STATUS(groups_.add(options_.name, *this));
  changed();
  const Members known = members();
  if (known.voters.size() == 1 && known.is_voter(groups_.host().id())) {
    if (!is_leader()) co_return fail(ErrorCode::internal, "a single voter did not elect itself");
    while (!caught_up_) CO_TRY_STATUS(changed_signal_.wait());
  }
  co_return Status{};
}

Status Group::open_raft() {
  Core& core = *core_;
  const PeerId& self = groups_.host().id();
  core.raft = {};
  if (const int rv =
          raft_init(&core.raft, core.io.io(), &core.fsm, number_of(self), self.str().c_str());
      rv != 0)
    return fail(raft_error(rv, core.raft.errmsg));
  core.initialized = true;
  core.io.watch(&core.raft);
  raft_set_election_timeout(&core.raft, static_cast<unsigned>(groups_.options().election / 1ms));
  raft_set_heartbeat_timeout(&core.raft, static_cast<unsigned>(groups_.options().heartbeat / 1ms));
  raft_set_install_snapshot_timeout(&core.raft, kSnapshotTimeoutMs);
  raft_set_snapshot_threshold(&core.raft, options_.snapshot_after);
  raft_set_snapshot_trailing(&core.raft, options_.keep);
  raft_set_pre_vote(&core.raft, true);
  if (const int rv = raft_start(&core.raft); rv != 0) return fail(raft_error(rv, core.raft.errmsg));
  core.running = true;
  return {};
}

Task<void> Group::close_raft() {
  Core& core = *core_;
  core.running = false;
  if (!std::exchange(core.initialized, false)) co_return;
  core.closed.emplace(loop_);
  core.raft.data = &core;
  raft_close(&core.raft, [](struct raft* r) { static_cast<Core*>(r->data)->closed->set({}); });
  runtime::Scope own(loop_);  // not cut short: libraft still holds our memory
  co_await [](runtime::OneShot<void> closed)
               -> Task<void> { (void)co_await closed; }(*core.closed).in(own);
}

// The entry that named the members was never committed: libraft starts again from what the disk
// holds before it. The machine stays as it is: all that it applied was committed.
Task<void> Group::reload(std::uint64_t from_index) {
  Core& core = *core_;
  core.reload_from = from_index;
  (void)co_await runtime::yield();  // libraft's caller is still on the stack
  log_.info("group " + options_.name + ": a change of members was not committed; starting again");
  core.skip_until = std::max<std::uint64_t>(core.skip_until, core.raft.last_applied);
  core.running = false;
  fail_waiting();
  co_await close_raft();
  core.disk.truncate(from_index);
  auto done = co_await core.disk.flush();
  if (done) {
    auto loaded = co_await core.disk.load();
    if (loaded) {
      core.skip_restore = loaded->snapshot && loaded->snapshot->index <= core.skip_until;
      core.io.preload(*std::move(loaded));
      done = open_raft();
      core.skip_restore = false;
    } else {
      done = fail(std::move(loaded).error());
    }
  }
  if (!done) log_.error("group " + options_.name + ": " + done.error().to_string());
  core.reload_from = 0;
  changed();
  changed_signal_.notify_all();
}

Task<void> Group::stop() {
  if (!core_) co_return;
  Core& core = *core_;
  groups_.remove(options_.name);
  {
    runtime::Scope own(loop_);
    while (core.reload_from != 0) (void)co_await changed_signal_.wait().in(own);
  }
  core.running = false;
  fail_waiting();
  co_await close_raft();
  changed_signal_.notify_all();
  {
    runtime::Scope own(loop_);
    while (under_way_ > 0) (void)co_await changed_signal_.wait().in(own);
  }
  core.disk.close();
  co_await core.tasks.join();
  caught_up_ = asleep_ = false;
  core_.reset();
}

bool Group::is_leader() const {
  return core_ && core_->running && core_->raft.state == RAFT_LEADER;
}

std::optional<PeerId> Group::leader() const {
  if (!core_ || !core_->running) return std::nullopt;
  raft_id id = 0;
  const char* address = nullptr;
  raft_leader(&core_->raft, &id, &address);
  if (id == 0 || !address) return std::nullopt;
  return PeerId(address);
}

std::uint64_t Group::last_applied() const {
  if (!core_) return 0;
  const std::uint64_t now = core_->initialized ? raft_last_applied(&core_->raft) : 0;
  return std::max(now, core_->skip_until);
}
std::uint64_t Group::log_first_index() const { return core_ ? core_->disk.first_index() : 0; }

void Group::changed() {
  if (!core_ || !core_->running) return;
  Core& core = *core_;
  if (!is_leader() || core.raft.current_term != core.term) {
    core.settling = false;
    core.followed.clear();
    core.confirmed.clear();
    core.confirmed_round = core.round;
    fail_waiting();
    core.term = 0;
  }
  if (is_leader()) {
    if (core.term == 0) {
      core.term = core.raft.current_term;
      core.term_began = loop_.now();
    }
    settle_term();
    if (!core.waiting.empty()) submit();
  } else if (core.io.heard_leader() && last_applied() >= core.io.heard_commit()) {
    caught_up_ = true;
  }
  const auto now_leader = leader();
  for (auto it = core.asked.begin(); it != core.asked.end();) {
    if (now_leader == it->second.of) {
      ++it;
      continue;
    }
    it->second.answer.set(fail(no_leader()));
    it = core.asked.erase(it);
  }
  if (!core.disk.status()) {
    fail_waiting();
    if (!std::exchange(broken_, true) && on_broken_)
      loop_.post([handler = on_broken_] { handler(); });
  }
  changed_signal_.notify_all();
  if (std::exchange(core.told_term, core.term) != core.term && on_leading_) on_leading_();
}

// What a new leader cannot know is whether the last entries of its predecessors are committed; an
// entry of its own term settles that, so it proposes an empty one. One voter alone knows.
void Group::settle_term() {
  Core& core = *core_;
  if (core.settled_term == core.term) return;
  if (members().voters.size() == 1 && last_applied() >= raft_last_index(&core.raft)) {
    core.settled_term = core.term;
    caught_up_ = true;
    return;
  }
  if (core.settling) return;
  struct Settling {
    RaftBarrier request{};
    Core* core;
    std::uint64_t term;
  };
  auto* settling = new Settling{{}, &core, core.term};
  settling->request.data = settling;
  core.settling = true;
  const int rv = raft_barrier(&core.raft, &settling->request, [](RaftBarrier* request, int status) {
    const std::unique_ptr<Settling> s(static_cast<Settling*>(request->data));
    if (status != 0) return;
    s->core->settled_term = s->term;
    s->core->group.caught_up_ = true;
    s->core->group.changed_signal_.notify_all();
  });
  if (rv == 0) return;
  core.settling = false;
  delete settling;
}

void Group::fail_waiting() {
  Core& core = *core_;
  const Status healthy = health();
  const Error error = healthy ? raft_error(RAFT_LEADERSHIPLOST, "") : healthy.error();
  for (auto& [index, answer] : std::exchange(core.applying, {})) answer.set(fail(error));
  for (auto& waiting : std::exchange(core.waiting, {})) waiting.answer.set(fail(error));
  if (!core.running)
    for (auto& [id, asked] : std::exchange(core.asked, {})) asked.answer.set(fail(error));
  fail_change();
}

Task<Status> Group::wait_caught_up() {
  while (!caught_up_) {
    if (!core_) co_return fail(ErrorCode::unavailable, "the group is stopped");
    CO_TRY_STATUS(changed_signal_.wait());
  }
  co_return Status{};
}

Status Group::health() const {
  if (!core_ || core_->disk.status()) return {};
  return fail(ErrorCode::data_loss,
              "the log of group " + options_.name +
                  " could not be written: " + core_->disk.status().error().message());
}

Status Group::running() const {
  if (removed_)
    return fail(ErrorCode::failed_precondition,
                "this node was removed from group " + options_.name + "; ask one of its members");
  if (!core_ || !core_->running)
    return fail(ErrorCode::unavailable, "group " + options_.name + " is stopped");
  return {};
}

Status Group::usable() const {
  TRY_STATUS(running());
  if (under_way_ >= kUnderWayMax)
    return fail(ErrorCode::resource_exhausted,
                "group " + options_.name + " has too many requests under way; try again");
  return {};
}

Error Group::no_leader() const {
  const std::size_t voters = members().voters.size();
  return Error(ErrorCode::unavailable,
               "group " + options_.name + " has no leader here: a majority of its " +
                   std::to_string(voters) + " voters (" + std::to_string(voters / 2 + 1) +
                   ") must reach each other; until then nothing is decided");
}

Task<Status> Group::wait_leader() {
  while (core_ && core_->running && core_->disk.status() && !leader())
    CO_TRY_STATUS(changed_signal_.wait());
  co_return Status{};
}

Task<Result<Bytes>> Group::propose(Bytes command) {
  if (command.size() > kCommandSizeMax)
    co_return fail(ErrorCode::invalid_argument, "a command of " + std::to_string(command.size()) +
                                                    " bytes is larger than " +
                                                    std::to_string(kCommandSizeMax));
  CO_TRY_SYNC_STATUS(usable());
  wake();
  ++under_way_;
  Result<Bytes> result = fail(ErrorCode::unavailable, "");
  Status waited;
  if (!leader()) {  // an election takes one or two timeouts
    waited = co_await runtime::with_deadline(3 * groups_.options().election, "waiting for a leader",
                                             wait_leader());
  }
  const auto now_leader = leader();
  if (is_leader()) {
    result = co_await propose_here(std::move(command));
  } else if (now_leader) {
    auto answer = co_await ask(*now_leader, std::move(command));
    if (!answer) {
      result = fail(std::move(answer).error());
    } else if (answer->answer) {
      result = *std::move(answer->answer);
    }
  } else if (!waited && waited.error().code() == ErrorCode::cancelled) {
    result = fail(std::move(waited).error());
  } else {
    result = fail(no_leader());
  }
  --under_way_;
  changed_signal_.notify_all();
  co_return result;
}

Task<Result<Bytes>> Group::propose_here(Bytes command) {
  Core& core = *core_;
  CO_TRY_SYNC_STATUS(health());
  core.last_work = loop_.now();
  const runtime::OneShot<Bytes> answer(loop_);
  core.waiting.push_back({std::move(command), answer});
  if (!std::exchange(core.submit_due, true)) {  // what this turn still brings goes along
    loop_.post([this, alive = std::weak_ptr(core.alive)] {
      if (alive.expired()) return;
      core_->submit_due = false;
      if (core_->running) submit();
    });
  }
  co_return co_await answer;
}

// While an append is under way, proposals gather: they would wait for the disk behind it anyway,
// and one entry of many costs each member one write and one message.
void Group::submit() {
  Core& core = *core_;
  while (is_leader() && !core.waiting.empty() && core.disk.status() &&
         raft_last_index(&core.raft) == core.raft.last_stored) {
    const Stamp stamp{core.raft.current_term,
                      static_cast<std::uint64_t>((loop_.now() - core.term_began) / 1ms)};
    const std::uint64_t first = raft_last_index(&core.raft) + 1;
    std::vector<raft_buffer> buffers;
    std::size_t bytes = 0;
    while (buffers.size() < kBatchMax && buffers.size() < core.waiting.size() &&
           bytes < kBatchBytesMax) {
      const Bytes& command = core.waiting[buffers.size()].command;
      const Bytes stamped = options_.stamped ? put_stamp(stamp, command) : Bytes{};
      const BytesView data = options_.stamped ? BytesView(stamped) : BytesView(command);
      buffers.push_back({raft_bytes(data), data.size()});
      bytes += data.size();
    }
    auto* request = new RaftApply{};
    request->data = request;
    const int rv =
        raft_apply(&core.raft, request, buffers.data(), static_cast<unsigned>(buffers.size()),
                   [](RaftApply* r, int, void*) { delete static_cast<RaftApply*>(r->data); });
    if (rv != 0) {
      for (const auto& buffer : buffers) raft_free(buffer.base);
      delete request;
      const Error error = raft_error(rv, core.raft.errmsg);
      for (auto& waiting : std::exchange(core.waiting, {})) waiting.answer.set(fail(error));
      return;
    }
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      core.applying.emplace(first + i, std::move(core.waiting.front().answer));
      core.waiting.pop_front();
    }
  }
}

}  // namespace tau::consensus
