#include "consensus/group.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "consensus/raft_io.h"
#include "crypto/ed25519.h"

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;

// Each holds at most 48 KiB of command: 48 MiB.
constexpr std::size_t kUnderWayMax = 1024;

// libraft wants a number for each member: from the peer id, so that all give it the same.
std::uint64_t number_of(const PeerId& peer) {
  const auto digest = crypto::sha256(as_bytes(peer.str()));
  std::uint64_t n = 0;
  for (int i = 0; i < 8; ++i) n = n << 8 | digest[static_cast<std::size_t>(i)];
  return (n >> 1) | 1;  // never zero, and it fits a signed integer, too
}

Error error_of(int rv, const char* detail) {
  switch (rv) {
    case RAFT_NOTLEADER:
    case RAFT_LEADERSHIPLOST:
    case RAFT_SHUTDOWN:
    case RAFT_CANCELED:
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

}  // namespace

struct Group::Core {
  Core(Group& g)
      : group(g),
        disk(g.loop_, g.kv_),
        transport(g.loop_, g.host_, g.options_.name, g.options_.role, g.log_),
        io(g.loop_, disk, transport, g.random_, g.log_, [&g] { g.changed(); }),
        tasks(g.loop_),
        closed(g.loop_) {
    fsm.version = 1;
    fsm.data = this;
    fsm.apply = [](raft_fsm* f, const raft_buffer* command, void** result) {
      auto& core = *static_cast<Core*>(f->data);
      core.answer = core.group.machine_.apply(
          {static_cast<const std::uint8_t*>(command->base), command->len});
      *result = &core.answer;  // read by the callback that follows at once, if there is one
      return 0;
    };
    fsm.snapshot = [](raft_fsm* f, raft_buffer* buffers[], unsigned* count) {
      const Bytes state = static_cast<Core*>(f->data)->group.machine_.snapshot();
      auto* buffer = static_cast<raft_buffer*>(raft_malloc(sizeof(raft_buffer)));
      void* base = raft_malloc(state.empty() ? 1 : state.size());
      CHECK(buffer && base);
      if (!state.empty()) std::memcpy(base, state.data(), state.size());
      *buffer = {base, state.size()};
      *buffers = buffer;
      *count = 1;
      return 0;
    };
    fsm.restore = [](raft_fsm* f, raft_buffer* buffer) {
      auto& core = *static_cast<Core*>(f->data);
      const auto restored = core.group.machine_.restore(
          {static_cast<const std::uint8_t*>(buffer->base), buffer->len});
      if (!restored) {
        core.group.log_.error("snapshot: " + restored.error().to_string());
        return static_cast<int>(RAFT_CORRUPT);
      }
      raft_free(buffer->base);
      return 0;
    };
  }

  Group& group;
  Disk disk;
  Transport transport;
  RaftIo io;
  raft_fsm fsm{};
  struct raft raft{};
  std::map<std::uint64_t, PeerId> members;
  Bytes answer;
  std::uint64_t barrier_term = 0;  // the term for which our barrier was asked
  bool initialized = false, running = false;
  runtime::TaskGroup tasks;
  runtime::OneShot<void> closed;
};

struct Group::Proposal {
  explicit Proposal(runtime::Loop& loop) : answer(loop) {}
  struct raft_apply apply{};
  struct raft_barrier barrier{};
  runtime::OneShot<Bytes> answer;
  Group* group = nullptr;
};

Group::Group(runtime::Loop& loop, p2p::Host& host, store::Kv& kv, Random& random, Logger log,
             Options options, StateMachine& machine)
    : loop_(loop),
      host_(host),
      kv_(kv),
      random_(random),
      log_(std::move(log)),
      options_(std::move(options)),
      machine_(machine),
      changed_signal_(loop) {}
Group::~Group() { CHECK(!core_); }

Task<Status> Group::start() {
  if (core_) co_return Status{};
  core_ = std::make_unique<Core>(*this);
  auto started = co_await start_core();
  if (!started) co_await stop();
  co_return started;
}

Task<Status> Group::start_core() {
  Core& core = *core_;
  auto voters = options_.voters;
  std::ranges::sort(voters);
  std::vector<Server> servers;
  for (const auto& peer : voters) {
    servers.push_back({number_of(peer), peer.str(), RAFT_VOTER});
    core.members.emplace(number_of(peer), peer);
  }
  if (!std::ranges::binary_search(voters, host_.id()))
    co_return fail(ErrorCode::invalid_argument,
                   "group " + options_.name + ": this node is not among the voters");
  CO_TRY_SYNC(Bytes encoded, encode_servers(servers));
  CO_TRY(auto loaded, core.disk.load());
  if (loaded.pristine()) {
    CO_TRY_STATUS(core.disk.bootstrap({1, RAFT_CHANGE, encoded}));
    CO_TRY(loaded, core.disk.load());
  } else if (!loaded.snapshot && !loaded.entries.empty() && loaded.entries[0].data != encoded) {
    log_.warning("the voters of group " + options_.name +
                 " are those it was first started with; the other list is not used");
  }

  const std::uint64_t self = number_of(host_.id());
  if (const int rv = raft_init(&core.raft, core.io.io(), &core.fsm, self, host_.id().str().c_str());
      rv != 0)
    co_return fail(error_of(rv, core.raft.errmsg));
  core.initialized = true;
  raft_set_election_timeout(&core.raft, static_cast<unsigned>(options_.election / 1ms));
  raft_set_heartbeat_timeout(&core.raft, static_cast<unsigned>(options_.heartbeat / 1ms));
  raft_set_snapshot_threshold(&core.raft, options_.snapshot_after);
  raft_set_snapshot_trailing(&core.raft, options_.keep);
  raft_set_pre_vote(&core.raft, true);
  core.tasks.spawn(core.disk.run());
  core.io.preload(std::move(loaded));
  if (const int rv = raft_start(&core.raft); rv != 0)
    co_return fail(error_of(rv, core.raft.errmsg));
  core.running = true;

  auto others = core.members;
  others.erase(self);
  core.transport.start(
      std::move(others),
      [&core](std::uint64_t from, const PeerId& peer, Frame frame) {
        core.io.receive(from, peer, std::move(frame));
      },
      [this](Bytes command) { return propose_forwarded(std::move(command)); });
  changed();
  if (voters.size() == 1) {
    if (!is_leader()) co_return fail(ErrorCode::internal, "a single voter did not elect itself");
    while (!caught_up_) CO_TRY_STATUS(changed_signal_.wait());
  }
  co_return Status{};
}

Task<void> Group::stop() {
  if (!core_) co_return;
  Core& core = *core_;
  core.running = false;
  if (core.initialized) {
    core.raft.data = &core;
    raft_close(&core.raft, [](struct raft* r) { static_cast<Core*>(r->data)->closed.set({}); });
    runtime::Scope own(loop_);  // not cut short: libraft still holds our memory
    co_await [](runtime::OneShot<void> closed)
                 -> Task<void> { (void)co_await closed; }(core.closed).in(own);
  }
  core.disk.close();
  co_await core.tasks.join();
  co_await core.transport.stop();
  changed_signal_.notify_all();
  {
    runtime::Scope own(loop_);
    while (under_way_ > 0) (void)co_await changed_signal_.wait().in(own);
  }
  caught_up_ = false;
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
  return core_ && core_->initialized ? raft_last_applied(&core_->raft) : 0;
}
std::uint64_t Group::log_first_index() const { return core_ ? core_->disk.first_index() : 0; }

// What a new leader cannot know is whether the last entries of its predecessors are committed; an
// entry of its own term settles that, so it proposes an empty one.
void Group::changed() {
  if (!core_ || !core_->running) return;
  Core& core = *core_;
  if (core.raft.state == RAFT_LEADER) {
    const auto term = core.raft.current_term;
    if (raft_last_applied(&core.raft) >= raft_last_index(&core.raft)) {
      caught_up_ = true;
    } else if (core.barrier_term != term && !caught_up_) {
      core.barrier_term = term;
      auto* proposal = new Proposal(loop_);
      proposal->group = this;
      proposal->barrier.data = proposal;
      const int rv = raft_barrier(
          &core.raft, &proposal->barrier, [](struct raft_barrier* request, int status) {
            std::unique_ptr<Proposal> p(static_cast<Proposal*>(request->data));
            if (status == 0) p->group->caught_up_ = true;
            p->group->changed_signal_.notify_all();
          });
      if (rv != 0) {
        core.barrier_term = 0;
        delete proposal;
      }
    }
  } else if (core.io.heard_leader() && raft_last_applied(&core.raft) >= core.io.heard_commit()) {
    caught_up_ = true;
  }
  changed_signal_.notify_all();
}

Task<Status> Group::wait_caught_up() {
  while (!caught_up_) {
    if (!core_) co_return fail(ErrorCode::unavailable, "the group is stopped");
    CO_TRY_STATUS(changed_signal_.wait());
  }
  co_return Status{};
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
  if (!core_ || !core_->running)
    co_return fail(ErrorCode::unavailable, "group " + options_.name + " is stopped");
  if (under_way_ >= kUnderWayMax)
    co_return fail(ErrorCode::resource_exhausted,
                   "group " + options_.name + " has too many proposals under way; try again");
  ++under_way_;
  Result<Bytes> result = fail(ErrorCode::unavailable, "");
  Status waited;
  if (!leader()) {  // an election takes one or two timeouts
    waited = co_await runtime::with_deadline(3 * options_.election, "waiting for a leader",
                                             wait_leader());
  }
  const auto now_leader = leader();
  if (is_leader()) {
    result = co_await propose_here(std::move(command));
  } else if (now_leader) {
    result = co_await core_->transport.propose_at(*now_leader, std::move(command));
  } else if (!waited && waited.error().code() == ErrorCode::cancelled) {
    result = fail(std::move(waited).error());
  } else {
    result = fail(ErrorCode::unavailable,
                  "group " + options_.name + " has no leader: a majority of its " +
                      std::to_string(options_.voters.size()) + " voters must be connected");
  }
  --under_way_;
  changed_signal_.notify_all();
  co_return result;
}

Task<Result<Bytes>> Group::propose_forwarded(Bytes command) {
  if (command.size() > kCommandSizeMax)
    co_return fail(ErrorCode::invalid_argument, "the command is too large");
  if (!is_leader())  // once only: two members with old beliefs must not pass it round and round
    co_return fail(ErrorCode::unavailable, host_.id().str() + " does not lead any more");
  if (under_way_ >= kUnderWayMax)
    co_return fail(ErrorCode::resource_exhausted, "too many proposals under way; try again");
  ++under_way_;
  auto result = co_await propose_here(std::move(command));
  --under_way_;
  changed_signal_.notify_all();
  co_return result;
}

Task<Result<Bytes>> Group::propose_here(Bytes command) {
  Core& core = *core_;
  if (!core.disk.status())
    co_return fail(ErrorCode::data_loss, "the group's log could not be written (" +
                                             core.disk.status().error().message() +
                                             "): start the node again once its disk works");
  auto* proposal = new Proposal(loop_);
  proposal->apply.data = proposal;
  const auto answer = proposal->answer;
  raft_buffer buffer{raft_malloc(command.empty() ? 1 : command.size()), command.size()};
  CHECK(buffer.base);
  if (!command.empty()) std::memcpy(buffer.base, command.data(), command.size());
  const int rv = raft_apply(&core.raft, &proposal->apply, &buffer, 1,
                            [](struct raft_apply* request, int status, void* result) {
                              std::unique_ptr<Proposal> p(static_cast<Proposal*>(request->data));
                              if (status == 0) {
                                p->answer.set(*static_cast<Bytes*>(result));
                              } else {
                                p->answer.set(fail(error_of(status, "the write failed")));
                              }
                            });
  if (rv != 0) {
    raft_free(buffer.base);
    delete proposal;
    co_return fail(error_of(rv, core.raft.errmsg));
  }
  co_return co_await answer;
}

Task<Status> Group::read_barrier() {
  if (!is_leader()) {
    const auto other = leader();
    co_return fail(ErrorCode::unavailable,
                   other ? "ask the leader of group " + options_.name + ", " + other->str()
                         : "group " + options_.name + " has no leader");
  }
  // One voter alone decides: what it acknowledged, it has applied.
  if (options_.voters.size() == 1) co_return co_await wait_caught_up();
  ++under_way_;
  auto done = co_await barrier_here();
  --under_way_;
  changed_signal_.notify_all();
  co_return done;
}

Task<Status> Group::barrier_here() {
  Core& core = *core_;
  auto* proposal = new Proposal(loop_);
  proposal->barrier.data = proposal;
  const auto answer = proposal->answer;
  const int rv =
      raft_barrier(&core.raft, &proposal->barrier, [](struct raft_barrier* request, int status) {
        std::unique_ptr<Proposal> p(static_cast<Proposal*>(request->data));
        if (status == 0) {
          p->answer.set(Bytes{});
        } else {
          p->answer.set(fail(error_of(status, "the write failed")));
        }
      });
  if (rv != 0) {
    delete proposal;
    co_return fail(error_of(rv, core.raft.errmsg));
  }
  auto result = co_await answer;
  if (!result) co_return fail(std::move(result).error());
  co_return Status{};
}

}  // namespace tau::consensus
