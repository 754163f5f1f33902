#include "consensus/raft_io.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "crypto/ed25519.h"

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;

// libraft frees what it is given with raft_free. Out of memory ends the process, as everywhere.
void* raft_copy(BytesView data) {
  void* out = raft_malloc(data.empty() ? 1 : data.size());
  CHECK(out);
  if (!data.empty()) std::memcpy(out, data.data(), data.size());
  return out;
}
template <class T>
T* raft_array(std::size_t count) {
  auto* out = static_cast<T*>(raft_calloc(count == 0 ? 1 : count, sizeof(T)));
  CHECK(out);
  return out;
}
BytesView view_of(const raft_buffer& b) {
  return {static_cast<const std::uint8_t*>(b.base), b.len};
}

// All entries in one allocation, their `batch`: libraft frees it with the last of them.
raft_entry* raft_entries(const std::vector<LogEntry>& entries) {
  if (entries.empty()) return nullptr;
  std::size_t bytes = 0;
  for (const auto& e : entries) bytes += e.data.size();
  auto* out = raft_array<raft_entry>(entries.size());
  auto* batch = static_cast<std::uint8_t*>(raft_malloc(bytes == 0 ? 1 : bytes));
  CHECK(batch);
  std::size_t at = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& e = entries[i];
    if (!e.data.empty()) std::memcpy(batch + at, e.data.data(), e.data.size());
    out[i].term = e.term;
    out[i].type = e.type;
    out[i].buf = {batch + at, e.data.size()};
    out[i].batch = batch;
    at += e.data.size();
  }
  return out;
}
std::vector<LogEntry> entries_of(const raft_entry* entries, unsigned count) {
  std::vector<LogEntry> out;
  out.reserve(count);
  for (unsigned i = 0; i < count; ++i)
    out.push_back({entries[i].term, entries[i].type, to_bytes(view_of(entries[i].buf))});
  return out;
}

std::vector<Server> servers_of(const raft_configuration& c) {
  std::vector<Server> out;
  for (unsigned i = 0; i < c.n; ++i)
    out.push_back(
        {c.servers[i].id, c.servers[i].address, static_cast<std::uint8_t>(c.servers[i].role)});
  return out;
}
int raft_servers(const std::vector<Server>& servers, raft_configuration& out) {
  raft_configuration_init(&out);
  for (const auto& s : servers) {
    if (const int rv = raft_configuration_add(&out, s.id, s.peer.c_str(), s.role); rv != 0) {
      raft_configuration_close(&out);
      return rv;
    }
  }
  return 0;
}

int raft_snapshot_of(const StoredSnapshot& stored, BytesView data, raft_snapshot** out) {
  auto* snapshot = raft_array<raft_snapshot>(1);
  if (const int rv = raft_servers(stored.servers, snapshot->configuration); rv != 0) {
    raft_free(snapshot);
    return rv;
  }
  snapshot->index = stored.index;
  snapshot->term = stored.term;
  snapshot->configuration_index = stored.servers_index;
  snapshot->bufs = raft_array<raft_buffer>(1);
  snapshot->bufs[0] = {raft_copy(data), data.size()};
  snapshot->n_bufs = 1;
  *out = snapshot;
  return 0;
}

Frame frame_of(const raft_message& m) {
  Frame f;
  switch (m.type) {
    case RAFT_IO_REQUEST_VOTE: {
      const auto& v = m.request_vote;
      f.vote_request =
          VoteRequest{v.term, v.last_log_index, v.last_log_term, v.disrupt_leader, v.pre_vote};
      break;
    }
    case RAFT_IO_REQUEST_VOTE_RESULT: {
      const auto& v = m.request_vote_result;
      f.vote_answer = VoteAnswer{v.term, v.vote_granted, static_cast<std::uint8_t>(v.pre_vote)};
      break;
    }
    case RAFT_IO_APPEND_ENTRIES: {
      const auto& a = m.append_entries;
      f.append = Append{a.term, a.prev_log_index, a.prev_log_term, a.leader_commit,
                        entries_of(a.entries, a.n_entries)};
      break;
    }
    case RAFT_IO_APPEND_ENTRIES_RESULT: {
      const auto& a = m.append_entries_result;
      f.append_answer = AppendAnswer{a.term, a.rejected, a.last_log_index};
      break;
    }
    case RAFT_IO_INSTALL_SNAPSHOT: {
      const auto& s = m.install_snapshot;
      f.install_snapshot =
          InstallSnapshot{s.term,       s.last_index,       s.last_term,
                          s.conf_index, servers_of(s.conf), to_bytes(view_of(s.data))};
      break;
    }
    case RAFT_IO_TIMEOUT_NOW: {
      const auto& t = m.timeout_now;
      f.timeout_now = TimeoutNow{t.term, t.last_log_index, t.last_log_term};
      break;
    }
    default:
      CHECK(false);
  }
  return f;
}

// False: a message that no sound member sends.
bool message_of(std::uint64_t from, const Frame& f, raft_message& m) {
  if (f.vote_request) {
    const auto& v = *f.vote_request;
    m.type = RAFT_IO_REQUEST_VOTE;
    m.request_vote = {v.term, from, v.last_index, v.last_term, v.disrupt, v.before};
    return true;
  }
  if (f.vote_answer) {
    const auto& v = *f.vote_answer;
    if (v.before > 2) return false;
    m.type = RAFT_IO_REQUEST_VOTE_RESULT;
    m.request_vote_result = {v.term, v.granted, static_cast<raft_tribool>(v.before)};
    return true;
  }
  if (f.append) {
    const auto& a = *f.append;
    for (const auto& e : a.entries)
      if (e.type < RAFT_COMMAND || e.type > RAFT_CHANGE || e.term == 0 || e.term > a.term)
        return false;
    if (a.term == 0) return false;
    m.type = RAFT_IO_APPEND_ENTRIES;
    m.append_entries = {a.term,   a.previous_index,        a.previous_term,
                        a.commit, raft_entries(a.entries), static_cast<unsigned>(a.entries.size())};
    return true;
  }
  if (f.append_answer) {
    const auto& a = *f.append_answer;
    m.type = RAFT_IO_APPEND_ENTRIES_RESULT;
    m.append_entries_result = {a.term, a.rejected, a.last_index};
    return true;
  }
  if (f.install_snapshot) {
    const auto& s = *f.install_snapshot;
    if (s.term == 0 || s.index == 0 || s.index_term == 0) return false;
    m.type = RAFT_IO_INSTALL_SNAPSHOT;
    m.install_snapshot = {};
    if (raft_servers(s.servers, m.install_snapshot.conf) != 0) return false;
    m.install_snapshot.term = s.term;
    m.install_snapshot.last_index = s.index;
    m.install_snapshot.last_term = s.index_term;
    m.install_snapshot.conf_index = s.servers_index;
    m.install_snapshot.data = {raft_copy(s.data), s.data.size()};
    return true;
  }
  if (f.timeout_now) {
    const auto& t = *f.timeout_now;
    m.type = RAFT_IO_TIMEOUT_NOW;
    m.timeout_now = {t.term, t.last_index, t.last_term};
    return true;
  }
  return false;
}

}  // namespace

Result<Bytes> encode_servers(const std::vector<Server>& servers) {
  raft_configuration configuration;
  if (const int rv = raft_servers(servers, configuration); rv != 0)
    return fail(ErrorCode::invalid_argument,
                std::string("the voters of the group: ") + raft_strerror(rv));
  raft_buffer buffer{};
  const int rv = raft_configuration_encode(&configuration, &buffer);
  raft_configuration_close(&configuration);
  if (rv != 0) return fail(ErrorCode::internal, raft_strerror(rv));
  Bytes out = to_bytes(view_of(buffer));
  raft_free(buffer.base);
  // Version and count; number, address and role of each. What pads it to a word is whatever the
  // memory held, and would make two encodings of the same servers differ.
  std::size_t used = 1 + 8;
  for (const auto& s : servers) used += 8 + s.peer.size() + 1 + 1;
  if (used < out.size()) std::fill(out.begin() + static_cast<std::ptrdiff_t>(used), out.end(), 0);
  return out;
}

std::uint64_t number_of(const PeerId& peer) {
  const auto digest = crypto::sha256(as_bytes(peer.str()));
  std::uint64_t n = 0;
  for (int i = 0; i < 8; ++i) n = n << 8 | digest[static_cast<std::size_t>(i)];
  return (n >> 1) | 1;  // never zero, and it fits a signed integer, too
}

RaftIo::RaftIo(Groups& groups, std::string group, Disk& disk, Logger log, Events events)
    : groups_(groups),
      loop_(groups.loop()),
      group_(std::move(group)),
      disk_(disk),
      log_(std::move(log)),
      events_(std::move(events)),
      reads_(groups.loop()) {
  io_.version = 1;
  io_.impl = this;
  io_.init = [](raft_io*, raft_id, const char*) { return 0; };
  io_.close = [](raft_io* io, raft_io_close_cb cb) { of(io).close(cb); };
  io_.load = [](raft_io* io, raft_term* term, raft_id* vote, raft_snapshot** snapshot,
                raft_index* first, raft_entry** entries, std::size_t* count) {
    return of(io).load(term, vote, snapshot, first, entries, count);
  };
  io_.start = [](raft_io* io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv) {
    return of(io).start(ms, tick, recv);
  };
  // Group writes the first entry itself, before libraft starts.
  io_.bootstrap = [](raft_io*, const raft_configuration*) { return RAFT_CANTBOOTSTRAP; };
  io_.recover = [](raft_io*, const raft_configuration*) { return RAFT_INVALID; };
  io_.set_term = [](raft_io* io, raft_term term) { return of(io).put_state(term, 0); };
  io_.set_vote = [](raft_io* io, raft_id vote) { return of(io).put_state(of(io).term_, vote); };
  io_.send = [](raft_io* io, raft_io_send* request, const raft_message* message,
                raft_io_send_cb cb) { return of(io).send(request, message, cb); };
  io_.append = [](raft_io* io, raft_io_append* request, const raft_entry entries[], unsigned n,
                  raft_io_append_cb cb) { return of(io).append(request, entries, n, cb); };
  io_.truncate = [](raft_io* io, raft_index index) { return of(io).truncate(index); };
  io_.snapshot_put = [](raft_io* io, unsigned trailing, raft_io_snapshot_put* request,
                        const raft_snapshot* snapshot, raft_io_snapshot_put_cb cb) {
    return of(io).put_snapshot(trailing, request, snapshot, cb);
  };
  io_.snapshot_get = [](raft_io* io, raft_io_snapshot_get* request, raft_io_snapshot_get_cb cb) {
    return of(io).get_snapshot(request, cb);
  };
  io_.time = [](raft_io* io) {
    const RaftIo& self = of(io);
    const TimePoint now = self.stopped_at_.value_or(self.loop_.now());
    return static_cast<raft_time>((now.since_start - self.stopped_for_) / 1ms);
  };
  io_.random = [](raft_io* io, int min, int max) {
    if (max <= min) return min;
    return min +
           static_cast<int>(of(io).groups_.random().below(static_cast<std::uint64_t>(max - min)));
  };
}

RaftIo::~RaftIo() { CHECK(pending_ == 0); }

int RaftIo::load(raft_term* term, raft_id* vote, raft_snapshot** snapshot, raft_index* first,
                 raft_entry** entries, std::size_t* count) {
  heard_leader_ = false;
  term_ = loaded_.term;
  vote_ = loaded_.vote;
  *term = term_;
  *vote = vote_;
  *snapshot = nullptr;
  if (loaded_.snapshot) {
    if (const int rv = raft_snapshot_of(*loaded_.snapshot, loaded_.snapshot_data, snapshot);
        rv != 0)
      return rv;
  }
  *first = loaded_.first_index;
  *entries = raft_entries(loaded_.entries);
  *count = loaded_.entries.size();
  loaded_ = {};
  return 0;
}

int RaftIo::start(unsigned, raft_io_tick_cb tick, raft_io_recv_cb receive) {
  tick_cb_ = tick;
  receive_cb_ = receive;
  return 0;
}

void RaftIo::tick() {
  if (closed_ || !tick_cb_) return;
  tick_cb_(&io_);
  events_.changed();
}

void RaftIo::stop_clock() {
  if (!stopped_at_) stopped_at_ = loop_.now();
}

void RaftIo::start_clock() {
  if (stopped_at_) stopped_for_ += loop_.now() - *stopped_at_;
  stopped_at_.reset();
}

void RaftIo::close(raft_io_close_cb done) {
  tick_cb_ = nullptr;
  receive_cb_ = nullptr;
  closed_ = done;
  held_answers_.clear();
  for (const auto& [id, waiting] : std::exchange(*large_, {}))
    sent(waiting.first, waiting.second, RAFT_CANCELED);
  for (auto& held : std::exchange(held_, {})) sent(held.request, held.done, RAFT_CANCELED);
  if (pending_ == 0) loop_.post([this] { finish_close(); });
}

// libraft lets go of everything only once all its callbacks have come.
void RaftIo::finish_close() {
  if (!closed_ || pending_ > 0) return;
  raft_ = nullptr;
  std::exchange(closed_, nullptr)(&io_);
}

int RaftIo::put_state(raft_term term, raft_id vote) {
  if (!disk_.status()) return RAFT_IOERR;
  term_ = term;
  vote_ = vote;
  ++pending_;
  state_ticket_ = disk_.put_state(term, vote, [this](const Status&) {
    --pending_;
    flush_held();
    finish_close();
  });
  return 0;
}

void RaftIo::flush_held() {
  while (!held_.empty() && (held_.front().ticket <= disk_.written() || !disk_.status())) {
    Held held = std::move(held_.front());
    held_.pop_front();
    leave(std::move(held.to), std::move(held.frame), held.request, held.done);
  }
}

int RaftIo::send(raft_io_send* request, const raft_message* message, raft_io_send_cb done) {
  if (closed_) return RAFT_CANCELED;
  if (!disk_.status()) return RAFT_IOERR;
  PeerId to(message->server_address);
  Frame frame = frame_of(*message);
  if (!held_.empty() || state_ticket_ > disk_.written()) {
    held_.push_back({state_ticket_, std::move(to), std::move(frame), request, done});
    return 0;
  }
  leave(std::move(to), std::move(frame), request, done);
  return 0;
}

// A snapshot is sent once it is over there: libraft sends no other meanwhile, and tries again soon
// after a failure.
void RaftIo::leave(PeerId to, Frame frame, raft_io_send* request, raft_io_send_cb done) {
  if (!disk_.status()) return sent(request, done, RAFT_NOCONNECTION);
  if (!frame.install_snapshot) {
    const bool went = groups_.send(to, group_, std::move(frame));
    return sent(request, done, went ? 0 : RAFT_NOCONNECTION);
  }
  const std::uint64_t id = next_large_++;
  large_->emplace(id, std::pair{request, done});
  const std::weak_ptr<Large> large = large_;
  const bool queued = groups_.send(to, group_, std::move(frame), [this, large, id](bool went) {
    const auto still = large.lock();
    if (!still) return;
    const auto it = still->find(id);
    if (it == still->end()) return;
    const auto [waiting, callback] = it->second;
    still->erase(it);
    sent(waiting, callback, went ? 0 : RAFT_NOCONNECTION);
  });
  if (queued) return;
  large_->erase(id);
  sent(request, done, RAFT_NOCONNECTION);
}

void RaftIo::sent(raft_io_send* request, raft_io_send_cb done, int status) {
  ++pending_;
  loop_.post([this, request, done, status] {
    if (done) done(request, status);
    --pending_;
    finish_close();
  });
}

int RaftIo::append(raft_io_append* request, const raft_entry* entries, unsigned count,
                   raft_io_append_cb done) {
  if (!disk_.status()) return RAFT_IOERR;
  ++pending_;
  disk_.append(entries_of(entries, count), [this, request, done](const Status& status) {
    if (!status) log_.error("cannot write the log: " + status.error().to_string());
    done(request, status ? 0 : RAFT_IOERR);
    --pending_;
    flush_answers();
    events_.changed();
    finish_close();
  });
  return 0;
}

int RaftIo::truncate(raft_index index) {
  if (!disk_.status()) return RAFT_IOERR;
  disk_.truncate(index);
  return 0;
}

int RaftIo::put_snapshot(unsigned keep, raft_io_snapshot_put* request,
                         const raft_snapshot* snapshot, raft_io_snapshot_put_cb done) {
  if (!disk_.status()) return RAFT_IOERR;
  StoredSnapshot stored;
  stored.index = snapshot->index;
  stored.term = snapshot->term;
  stored.servers = servers_of(snapshot->configuration);
  stored.servers_index = snapshot->configuration_index;
  Bytes data;
  for (unsigned i = 0; i < snapshot->n_bufs; ++i) {
    const auto part = view_of(snapshot->bufs[i]);
    data.insert(data.end(), part.begin(), part.end());
  }
  ++pending_;
  disk_.put_snapshot(std::move(stored), data, keep, [this, request, done](const Status& status) {
    done(request, status ? 0 : RAFT_IOERR);
    --pending_;
    flush_answers();
    events_.changed();
    finish_close();
  });
  return 0;
}

int RaftIo::get_snapshot(raft_io_snapshot_get* request, raft_io_snapshot_get_cb done) {
  if (!disk_.status() || !disk_.snapshot()) return RAFT_IOERR;
  ++pending_;
  reads_.spawn(read_snapshot(request, done));
  return 0;
}

Task<void> RaftIo::read_snapshot(raft_io_snapshot_get* request, raft_io_snapshot_get_cb done) {
  (void)co_await runtime::yield();  // the callback must not come from inside the call
  const StoredSnapshot stored = *disk_.snapshot();
  const auto data = co_await disk_.read_snapshot(stored);
  raft_snapshot* snapshot = nullptr;
  int status = RAFT_IOERR;
  if (data) status = raft_snapshot_of(stored, *data, &snapshot);
  done(request, snapshot, status);
  --pending_;
  finish_close();
}

void RaftIo::receive(std::uint64_t from, const PeerId& peer, Frame frame) {
  if (closed_ || !receive_cb_ || !disk_.status()) return;
  if (frame.append && refuses(*frame.append)) return;
  if (frame.append_answer && !may_count()) {
    // As many as voters times what a leader may have sent before its first entry is on disk.
    constexpr std::size_t kHeldMax = 256;
    if (held_answers_.size() < kHeldMax) held_answers_.push_back({from, peer, std::move(frame)});
    return;
  }
  deliver(from, peer, frame);
}

void RaftIo::deliver(std::uint64_t from, const PeerId& peer, const Frame& frame) {
  raft_message message{};
  message.server_id = from;
  message.server_address = peer.str().c_str();
  if (!message_of(from, frame, message)) {
    log_.debug("a senseless raft message of " + peer.str());
    return;
  }
  if (frame.append && !heard_leader_) {
    heard_leader_ = true;
    heard_commit_ = frame.append->commit;
  }
  receive_cb_(&io_, &message);
  events_.changed();
}

bool RaftIo::may_count() const {
  return !raft_ || raft_->state != RAFT_LEADER ||
         disk_.term_of(raft_->last_stored) == raft_->current_term;
}

void RaftIo::flush_answers() {
  while (!held_answers_.empty() && may_count() && receive_cb_ && disk_.status()) {
    const HeldAnswer held = std::move(held_answers_.front());
    held_answers_.pop_front();
    deliver(held.from, held.peer, held.frame);
  }
}

bool RaftIo::refuses(const Append& append) {
  if (!raft_ || append.term < raft_->current_term) return false;
  for (std::size_t i = 0; i < append.entries.size(); ++i) {
    const std::uint64_t index = append.previous_index + 1 + i;
    const std::uint64_t mine = disk_.term_of(index);
    if (mine == 0) return false;
    if (mine == append.entries[i].term) continue;
    // What is committed never differs: if it does, libraft stops.
    if (index <= raft_->commit_index || index > disk_.last_change()) return false;
    events_.conflict(index);
    return true;
  }
  return false;
}

}  // namespace tau::consensus
