#include "content/unixfs.h"

#include <algorithm>
#include <set>

#include "codec/dag_pb.h"

namespace tau::content {
namespace {

using codec::Cid;
using codec::ContentType;
using codec::UnixFsData;
using store::Block;

// What a parent has to know of a child.
struct Part {
  Cid cid;
  std::uint64_t file_size;
  std::uint64_t total_size;
};

// A file of 64 GiB has three levels.
constexpr int kDepthMax = 8;

Part join(std::span<const Part> children, std::vector<Block>& blocks) {
  codec::PbNode node;
  UnixFsData data{UnixFsData::Kind::file, std::nullopt, 0, {}};
  std::uint64_t below = 0;
  for (const auto& child : children) {
    node.links.push_back({child.cid, "", child.total_size});
    data.block_sizes.push_back(child.file_size);
    *data.file_size += child.file_size;
    below += child.total_size;
  }
  node.data = codec::encode_unixfs(data);
  Bytes bytes = codec::encode_dag_pb(node);
  const Part part{Cid::of(ContentType::dag_pb, bytes), *data.file_size, below + bytes.size()};
  blocks.push_back({part.cid, std::move(bytes)});
  return part;
}

std::unexpected<Error> contradiction(const Cid& cid, std::string_view what) {
  return fail(ErrorCode::invalid_argument,
              "file node " + cid.to_string() + ": " + std::string(what));
}

struct Node {
  Bytes content;  // of this node itself
  std::vector<std::pair<Cid, std::uint64_t>> children;
};

Result<Node> open_node(const Cid& cid, Bytes block) {
  if (cid.type() == ContentType::raw) return Node{std::move(block), {}};
  if (cid.type() != ContentType::dag_pb) return contradiction(cid, "neither raw nor dag-pb");
  TRY(const auto pb, codec::decode_dag_pb(block));
  if (!pb.data) return contradiction(cid, "has no UnixFS data");
  TRY(auto data, codec::decode_unixfs(*pb.data));
  if (data.kind != UnixFsData::Kind::file && data.kind != UnixFsData::Kind::raw)
    return contradiction(cid, "is not a file");
  if (data.block_sizes.size() != pb.links.size())
    return contradiction(cid, "has not one size for each link");
  Node node{std::move(data.data).value_or(Bytes()), {}};
  std::uint64_t size = node.content.size();
  for (std::size_t i = 0; i < pb.links.size(); ++i) {
    if (data.block_sizes[i] > UINT64_MAX - size) return contradiction(cid, "sizes overflow");
    size += data.block_sizes[i];
    node.children.emplace_back(pb.links[i].cid, data.block_sizes[i]);
  }
  if (data.file_size.value_or(size) != size)
    return contradiction(cid, "its size is not the sum of its parts");
  return node;
}

std::uint64_t size_of(const Node& node) {
  std::uint64_t size = node.content.size();
  for (const auto& child : node.children) size += child.second;
  return size;
}

}  // namespace

File file_of(BytesView content, std::size_t chunk_bytes) {
  File file;
  std::vector<Part> level;
  std::set<Cid> seen;  // files of zeros have one chunk many times
  do {
    const auto chunk = content.first(std::min(chunk_bytes, content.size()));
    content = content.subspan(chunk.size());
    const Cid cid = Cid::of(ContentType::raw, chunk);
    level.push_back({cid, chunk.size(), chunk.size()});
    if (seen.insert(cid).second) file.blocks.push_back({cid, to_bytes(chunk)});
  } while (!content.empty());
  while (level.size() > 1) {
    std::vector<Part> above;
    for (std::span<const Part> rest = level; !rest.empty();) {
      const auto children = rest.first(std::min(kLinksPerNode, rest.size()));
      rest = rest.subspan(children.size());
      above.push_back(join(children, file.blocks));
    }
    level = std::move(above);
  }
  file.root = level[0].cid;
  file.total_size = level[0].total_size;
  return file;
}

Result<Block> folder_of(std::vector<FolderEntry> entries) {
  std::ranges::sort(entries, {}, &FolderEntry::name);
  codec::PbNode node;
  for (auto& entry : entries) {
    if (entry.name.empty() || entry.name.find('/') != std::string::npos)
      return fail(ErrorCode::invalid_argument,
                  "\"" + entry.name + "\" cannot be a name in a folder");
    if (!node.links.empty() && node.links.back().name == entry.name)
      return fail(ErrorCode::invalid_argument, "\"" + entry.name + "\" is in the folder twice");
    node.links.push_back({entry.cid, std::move(entry.name), entry.total_size});
  }
  node.data = codec::encode_unixfs({UnixFsData::Kind::directory, {}, {}, {}});
  Bytes bytes = codec::encode_dag_pb(node);
  if (bytes.size() > store::kBlockSizeMax)
    return fail(ErrorCode::resource_exhausted,
                "a folder of " + std::to_string(entries.size()) +
                    " names does not fit into one block: put some of them into folders below it");
  const Cid cid = Cid::of(ContentType::dag_pb, bytes);
  return Block{cid, std::move(bytes)};
}

Task<Result<Cid>> add_file(store::BlockStore& blocks, Bytes content, store::Durability durability) {
  File file = file_of(content);
  // In writes of a few megabytes; only the last, which has the root, needs to wait for the disk.
  std::vector<Block> group;
  std::size_t bytes = 0;
  for (auto& block : file.blocks) {
    bytes += block.data.size();
    group.push_back(std::move(block));
    if (bytes < (8u << 20)) continue;
    CO_TRY_STATUS(blocks.put(std::exchange(group, {}), store::Durability::buffered));
    bytes = 0;
  }
  CO_TRY_STATUS(blocks.put(std::move(group), durability));
  co_return file.root;
}

Task<Result<Bytes>> read_file(BlockSource& source, Cid root, std::size_t size_max) {
  struct Pending {
    Cid cid;
    std::optional<std::uint64_t> size;  // what the parent said
    int depth;
  };
  Bytes out;
  std::vector<Pending> stack = {{root, std::nullopt, 0}};
  while (!stack.empty()) {
    const Pending next = stack.back();
    stack.pop_back();
    if (next.depth > kDepthMax) co_return contradiction(next.cid, "the tree is too deep");
    CO_TRY(auto block, source.block(next.cid));
    CO_TRY_SYNC(Node node, open_node(next.cid, std::move(block)));
    const auto size = size_of(node);
    if (next.size.value_or(size) != size)
      co_return contradiction(next.cid, "does not have the size that its parent says");
    // The root's size is that of the whole file; below it every size has been checked against it.
    if (next.depth == 0 && size > size_max)
      co_return fail(ErrorCode::resource_exhausted,
                     "file " + root.to_string() + " has " + std::to_string(size) +
                         " bytes; at most " + std::to_string(size_max) + " are read here");
    out.insert(out.end(), node.content.begin(), node.content.end());
    for (auto child = node.children.rbegin(); child != node.children.rend(); ++child) {
      // Parts without bytes would let a few small blocks make this loop walk for ever.
      if (child->second == 0) co_return contradiction(next.cid, "has an empty part");
      stack.push_back({child->first, child->second, next.depth + 1});
    }
  }
  co_return out;
}

}  // namespace tau::content
