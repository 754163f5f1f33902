// Raft between members: what goes over the streams of protocol "/tau/raft/2/<name>".
//
// A stream carries packets: four bytes of length (big endian), then the DAG-CBOR of one Packet. A
// packet holds messages of any number of groups; all that one node has to say to another in one
// turn of its loop goes in one. An empty packet says that the sender lives. What is large (a
// snapshot, a long stretch of log) has a stream of its own, so that it delays nobody's heartbeats.
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

// What a state machine may put into a snapshot: both ends hold it in memory at once.
inline constexpr std::size_t kSnapshotSizeMax = 256u << 20;
// The largest packet: a snapshot. All entries that a log may hold (about 1,200 of 48 KiB) fit, too.
inline constexpr std::size_t kPacketSizeMax = kSnapshotSizeMax + (1u << 20);
inline constexpr std::size_t kCommandSizeMax = 48u << 10;
inline constexpr std::size_t kItemsMax = 65536;  // of a packet

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
// A reader's question to the voters: does the leader of this term still lead? And the answer, which
// counts if the terms agree: whoever has not seen a later term has not elected another leader.
struct Confirm {
  std::uint64_t term = 0, round = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &Confirm::term), codec::field("round", &Confirm::round)};
  }
};
struct Confirmed {
  std::uint64_t term = 0, round = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &Confirmed::term),
                      codec::field("round", &Confirmed::round)};
  }
};
// The leader: nothing is left to say, stop the clock until somebody speaks.
struct Sleep {
  std::uint64_t term = 0, last_index = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &Sleep::term),
                      codec::field("last_index", &Sleep::last_index)};
  }
};
// "Do I still belong?", of a member that hears no leader, and where its knowledge ends.
struct Hello {
  std::uint64_t servers_index = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("servers_index", &Hello::servers_index)};
  }
};
// "You do not": the entry that says so is committed.
struct Removed {
  std::uint64_t servers_index = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("servers_index", &Removed::servers_index)};
  }
};
// To the leader: a command to be proposed, or (without one) how far a reader must have applied.
struct Ask {
  std::uint64_t id = 0;
  std::optional<Bytes> command;
  static constexpr auto fields() {
    return std::tuple{codec::field("id", &Ask::id), codec::field("command", &Ask::command)};
  }
};
struct Answer {
  std::uint64_t id = 0;
  std::optional<Bytes> answer;         // of a command
  std::optional<std::uint64_t> index;  // of a reader
  std::uint64_t code = 0;              // of the error, if there is neither
  std::string message;
  static constexpr auto fields() {
    return std::tuple{codec::field("id", &Answer::id), codec::field("answer", &Answer::answer),
                      codec::field("index", &Answer::index), codec::field("code", &Answer::code),
                      codec::field("message", &Answer::message)};
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
  std::optional<Confirm> confirm;
  std::optional<Confirmed> confirmed;
  std::optional<Sleep> sleep;
  std::optional<Hello> hello;
  std::optional<Removed> removed;
  std::optional<Ask> ask;
  std::optional<Answer> answer;
  static constexpr auto fields() {
    return std::tuple{codec::field("vote_request", &Frame::vote_request),
                      codec::field("vote_answer", &Frame::vote_answer),
                      codec::field("append", &Frame::append),
                      codec::field("append_answer", &Frame::append_answer),
                      codec::field("install_snapshot", &Frame::install_snapshot),
                      codec::field("timeout_now", &Frame::timeout_now),
                      codec::field("confirm", &Frame::confirm),
                      codec::field("confirmed", &Frame::confirmed),
                      codec::field("sleep", &Frame::sleep),
                      codec::field("hello", &Frame::hello),
                      codec::field("removed", &Frame::removed),
                      codec::field("ask", &Frame::ask),
                      codec::field("answer", &Frame::answer)};
  }
};
struct Item {
  std::string group;
  Frame frame;
  static constexpr auto fields() {
    return std::tuple{codec::field("group", &Item::group), codec::field("frame", &Item::frame)};
  }
};
struct Packet {
  std::vector<Item> items;
  static constexpr auto fields() { return std::tuple{codec::field("items", &Packet::items)}; }
};

// About what a message takes on the wire, without encoding it.
std::size_t size_of(const Frame& frame);
// With the length in front. Errors: resource_exhausted (larger than kPacketSizeMax).
Result<Bytes> packet_bytes(const Packet& packet);
// Errors: unavailable (the stream ended or broke), invalid_argument.
Task<Result<Packet>> read_packet(p2p::Stream& stream);

}  // namespace tau::consensus
