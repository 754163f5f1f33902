// Files and folders as blocks (specs.ipfs.tech/unixfs), cut as `ipfs add --cid-version=1` cuts
// them, so that equal content has equal CIDs everywhere.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "content/block_source.h"
#include "store/block_store.h"

namespace tau::content {

inline constexpr std::size_t kChunkSize = 256u << 10;  // kubo's default chunker, size-262144
inline constexpr std::size_t kLinksPerNode = 174;      // kubo's default for balanced trees

struct File {
  codec::Cid root;                   // raw when the file is one chunk
  std::uint64_t total_size;          // of its blocks: what a folder's link says
  std::vector<store::Block> blocks;  // root last; equal chunks once
};

// Memory: the content once more. Another size of chunks gives another root.
File file_of(BytesView content, std::size_t chunk_bytes = kChunkSize);

struct FolderEntry {
  std::string name;
  codec::Cid cid;
  std::uint64_t total_size = 0;
};
// One node; bounded by the size of a block, about 40,000 short names.
Result<store::Block> folder_of(std::vector<FolderEntry> entries);

// Cuts, stores, and gives the root.
Task<Result<codec::Cid>> add_file(store::BlockStore& blocks, Bytes content,
                                  store::Durability durability);

// A whole file, at most `size_max` bytes. Errors: invalid_argument (no file, or its nodes
// contradict each other), resource_exhausted (longer than size_max), and those of `source`.
Task<Result<Bytes>> read_file(BlockSource& source, codec::Cid root, std::size_t size_max);

}  // namespace tau::content
