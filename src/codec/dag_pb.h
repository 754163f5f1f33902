// DAG-PB (ipld.io/specs/codecs/dag-pb) and the UnixFS message that its nodes carry
// (specs.ipfs.tech/unixfs): the blocks of files and folders that every IPFS node reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/cid.h"

namespace tau::codec {

struct PbLink {
  Cid cid;
  std::optional<std::string> name;
  std::optional<std::uint64_t> total_size;  // of everything below the link, as its writer claims

  friend bool operator==(const PbLink&, const PbLink&) = default;
};

struct PbNode {
  std::vector<PbLink> links;  // a folder's are sorted by name
  std::optional<Bytes> data;

  friend bool operator==(const PbNode&, const PbNode&) = default;
};

Bytes encode_dag_pb(const PbNode& node);
// Errors: invalid_argument. Links may stand before or after the data, as old writers did; unknown
// and repeated fields are refused, so that a node has one meaning.
Result<PbNode> decode_dag_pb(BytesView block);

struct UnixFsData {
  enum class Kind : std::uint8_t {
    raw = 0,
    directory = 1,
    file = 2,
    metadata = 3,
    symlink = 4,
    hamt_shard = 5,
  };
  Kind kind = Kind::file;
  std::optional<Bytes> data;
  std::optional<std::uint64_t> file_size;
  std::vector<std::uint64_t> block_sizes;  // file bytes below each link of the node

  friend bool operator==(const UnixFsData&, const UnixFsData&) = default;
};

Bytes encode_unixfs(const UnixFsData& data);
// Errors: invalid_argument. Fields that say nothing about content (mode, time, sharding) are
// skipped.
Result<UnixFsData> decode_unixfs(BytesView data);

}  // namespace tau::codec
