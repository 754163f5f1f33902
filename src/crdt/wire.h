// What replicas of one map say to each other.
//
// By gossip, topic "/tau/crdt/1/<map>": an Announcement, the heads of its author. On a stream of
// protocol "/tau/crdt/1/<map>": one SyncRequest, one SyncAnswer, each as four bytes of length (big
// endian) and DAG-CBOR. Blocks (deltas, chunks of snapshots) go by bitswap.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "codec/record.h"
#include "crdt/delta.h"
#include "crdt/state.h"
#include "p2p/host.h"

namespace tau::crdt {

inline constexpr std::size_t kFrameSizeMax = 1u << 20;  // a context of kWritersMax writers
inline constexpr std::size_t kAnnouncedHeadsMax = 128;
inline constexpr std::size_t kAnnouncedBlocksMax = 32;
// Of a gossip message's 64 KiB; larger deltas are fetched.
inline constexpr std::size_t kAnnouncedBytesMax = 40u << 10;
inline constexpr std::size_t kListedMax = 4096;  // deltas that one answer names

struct WireLink {
  codec::Cid cid;
  WriterId writer;
  std::uint64_t number = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("cid", &WireLink::cid),
                      codec::field("writer", &WireLink::writer),
                      codec::field("number", &WireLink::number)};
  }
};

struct Announcement {
  std::string map;
  Bytes certificate;  // of the author, who is known from the message
  std::vector<WireLink> heads;
  std::vector<Bytes> blocks;  // the author's newest deltas, while there is room
  static constexpr auto fields() {
    return std::tuple{codec::field("map", &Announcement::map),
                      codec::field("certificate", &Announcement::certificate),
                      codec::field("heads", &Announcement::heads),
                      codec::field("blocks", &Announcement::blocks)};
  }
};

struct SyncRequest {
  std::map<std::string, std::uint64_t> context;  // writer -> number
  std::optional<bool> snapshot;  // a delta that was named could not be had: a snapshot, please
  static constexpr auto fields() {
    return std::tuple{codec::field("context", &SyncRequest::context),
                      codec::field("snapshot", &SyncRequest::snapshot)};
  }
};

// What the asker lacks, in an order in which it can be applied; or, when a part of it is folded
// here, a snapshot. Nothing of both: the asker lacks nothing.
struct SyncAnswer {
  std::vector<WireLink> deltas;
  std::optional<codec::Cid> snapshot;
  static constexpr auto fields() {
    return std::tuple{codec::field("deltas", &SyncAnswer::deltas),
                      codec::field("snapshot", &SyncAnswer::snapshot)};
  }
};

// A head in a snapshot. Its CID is given as bytes: a link would make the deltas, which may be gone,
// a part of the snapshot.
struct WireHead {
  Bytes cid;
  WriterId writer;
  std::uint64_t number = 0, height = 0;
  static constexpr auto fields() {
    return std::tuple{
        codec::field("cid", &WireHead::cid), codec::field("writer", &WireHead::writer),
        codec::field("number", &WireHead::number), codec::field("height", &WireHead::height)};
  }
};

// The root of a snapshot: all that was known at one moment. Chunks have the versions in the order
// of their keys.
struct SnapshotRoot {
  std::string map;
  std::map<std::string, std::uint64_t> context;
  std::vector<WireHead> heads;
  std::vector<codec::Cid> chunks;
  static constexpr auto fields() {
    return std::tuple{
        codec::field("map", &SnapshotRoot::map), codec::field("context", &SnapshotRoot::context),
        codec::field("heads", &SnapshotRoot::heads), codec::field("chunks", &SnapshotRoot::chunks)};
  }
};

struct SnapshotRow {
  std::string key;
  Version version;
  friend bool operator==(const SnapshotRow&, const SnapshotRow&) = default;
};

WireLink wire_link(const Link& link);
WireHead wire_head(const Head& head);
std::map<std::string, std::uint64_t> wire_context(const Context& context);

// Each checks its bounds. Errors: invalid_argument.
Result<std::vector<Link>> links_from(const std::vector<WireLink>& links, std::size_t at_most);
Result<std::vector<Head>> heads_from(const std::vector<WireHead>& heads);
Result<Context> context_from(const std::map<std::string, std::uint64_t>& context);
Result<Announcement> decode_announcement(BytesView data);

Bytes encode_chunk(const std::vector<SnapshotRow>& rows);
Result<std::vector<SnapshotRow>> decode_chunk(BytesView data);
Result<SnapshotRoot> decode_snapshot_root(BytesView data);

Task<Status> write_frame(p2p::Stream& stream, Bytes body);
Task<Result<Bytes>> read_frame(p2p::Stream& stream);

}  // namespace tau::crdt
