// Raft between members: what goes over the streams of protocol "/tau/raft/1/<group>".
//
// A stream carries frames: four bytes of length (big endian), then the DAG-CBOR of one Frame. Two
// kinds of stream: one-way (Raft's own messages, in order, for as long as both live) and ask-once
// (a proposal, answered on the same stream).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "codec/record.h"
#include "p2p/host.h"
#include "runtime/task.h"

namespace tau::consensus {

// A whole snapshot, or all entries that a log may hold, travels in one frame.
inline constexpr std::size_t kFrameSizeMax = 64u << 20;
// A log holds at most about 1,200 entries (Options::snapshot_after and ::keep): they fit a frame.
inline constexpr std::size_t kCommandSizeMax = 48u << 10;

struct Server {
  std::uint64_t id = 0;
  std::string peer;
  std::uint8_t role = 0;  // as libraft numbers them
  static constexpr auto fields() {
    return std::tuple{codec::field("id", &Server::id), codec::field("peer", &Server::peer),
                      codec::field("role", &Server::role)};
  }
};

struct LogEntry {
  std::uint64_t term = 0;
  std::uint16_t type = 0;  // as libraft numbers them
  Bytes data;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &LogEntry::term), codec::field("type", &LogEntry::type),
                      codec::field("data", &LogEntry::data)};
  }
};

struct VoteRequest {
  std::uint64_t term = 0, last_index = 0, last_term = 0;
  bool disrupt = false, before = false;  // before: a pre-vote
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &VoteRequest::term),
                      codec::field("last_index", &VoteRequest::last_index),
                      codec::field("last_term", &VoteRequest::last_term),
                      codec::field("disrupt", &VoteRequest::disrupt),
                      codec::field("before", &VoteRequest::before)};
  }
};
struct VoteAnswer {
  std::uint64_t term = 0;
  bool granted = false;
  std::uint8_t before = 0;  // 0 unknown, 1 a pre-vote, 2 a vote
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &VoteAnswer::term),
                      codec::field("granted", &VoteAnswer::granted),
                      codec::field("before", &VoteAnswer::before)};
  }
};
struct Append {
  std::uint64_t term = 0, previous_index = 0, previous_term = 0, commit = 0;
  std::vector<LogEntry> entries;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &Append::term),
                      codec::field("previous_index", &Append::previous_index),
                      codec::field("previous_term", &Append::previous_term),
                      codec::field("commit", &Append::commit),
                      codec::field("entries", &Append::entries)};
  }
};
struct AppendAnswer {
  std::uint64_t term = 0, rejected = 0, last_index = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &AppendAnswer::term),
                      codec::field("rejected", &AppendAnswer::rejected),
                      codec::field("last_index", &AppendAnswer::last_index)};
  }
};
struct InstallSnapshot {
  std::uint64_t term = 0, index = 0, index_term = 0, servers_index = 0;
  std::vector<Server> servers;
  Bytes data;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &InstallSnapshot::term),
                      codec::field("index", &InstallSnapshot::index),
                      codec::field("index_term", &InstallSnapshot::index_term),
                      codec::field("servers_index", &InstallSnapshot::servers_index),
                      codec::field("servers", &InstallSnapshot::servers),
                      codec::field("data", &InstallSnapshot::data)};
  }
};
struct TimeoutNow {
  std::uint64_t term = 0, last_index = 0, last_term = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &TimeoutNow::term),
                      codec::field("last_index", &TimeoutNow::last_index),
                      codec::field("last_term", &TimeoutNow::last_term)};
  }
};
struct Propose {
  Bytes command;
  static constexpr auto fields() { return std::tuple{codec::field("command", &Propose::command)}; }
};
struct ProposeAnswer {
  std::optional<Bytes> answer;
  std::uint64_t code = 0;  // of the error, if there is no answer
  std::string message;
  static constexpr auto fields() {
    return std::tuple{codec::field("answer", &ProposeAnswer::answer),
                      codec::field("code", &ProposeAnswer::code),
                      codec::field("message", &ProposeAnswer::message)};
  }
};

// Exactly one is there.
struct Frame {
  std::optional<VoteRequest> vote_request;
  std::optional<VoteAnswer> vote_answer;
  std::optional<Append> append;
  std::optional<AppendAnswer> append_answer;
  std::optional<InstallSnapshot> install_snapshot;
  std::optional<TimeoutNow> timeout_now;
  std::optional<Propose> propose;
  std::optional<ProposeAnswer> propose_answer;
  static constexpr auto fields() {
    return std::tuple{codec::field("vote_request", &Frame::vote_request),
                      codec::field("vote_answer", &Frame::vote_answer),
                      codec::field("append", &Frame::append),
                      codec::field("append_answer", &Frame::append_answer),
                      codec::field("install_snapshot", &Frame::install_snapshot),
                      codec::field("timeout_now", &Frame::timeout_now),
                      codec::field("propose", &Frame::propose),
                      codec::field("propose_answer", &Frame::propose_answer)};
  }
};

// With the length in front. Errors: resource_exhausted (larger than kFrameSizeMax).
Result<Bytes> frame_bytes(const Frame& frame);
// Errors: unavailable (the stream ended or broke), invalid_argument.
Task<Result<Frame>> read_frame(p2p::Stream& stream);

}  // namespace tau::consensus
