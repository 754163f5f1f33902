// Reads tar streams that somebody else made: the outputs of a build, the sources of a commit.
// Plain, bounded, and refusing whatever could reach outside: links, devices, absolute paths, "..".
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::process {

struct ArchiveLimits {
  std::uint64_t bytes_max = 64u << 20;  // of all files together
  std::size_t files_max = 10'000;
  std::size_t path_bytes_max = 512;
};

struct ArchivedFile {
  Bytes data;
  bool executable = false;
  friend bool operator==(const ArchivedFile&, const ArchivedFile&) = default;
};
using ArchivedFiles = std::map<std::string, ArchivedFile>;  // by relative path: "a/b.txt"

enum class Links : std::uint8_t { refuse, skip };

// Uncompressed tar (ustar, pax, GNU). Folders are implied by the files in them. Symbolic links are
// refused, or skipped where a repository may well hold some. Errors: invalid_argument (a broken
// archive or an entry that is not allowed: named), resource_exhausted (a limit).
Result<ArchivedFiles> read_tar(BytesView tar, const ArchiveLimits& limits, Links links);

// The same files always make the same bytes: no times, no owners, sorted.
Result<Bytes> write_tar(const ArchivedFiles& files);

}  // namespace tau::process
