#include "process/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace tau::process {
namespace {

struct FreeReader {
  void operator()(archive* a) const { archive_read_free(a); }
};
struct FreeWriter {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

std::string error_of(archive* a) {
  const char* text = a ? archive_error_string(a) : "no memory";
  return text ? text : "broken";
}

// "a/b" of "./a//b"; nothing for the root itself.
Result<std::string> plain_path(std::string_view path, std::size_t bytes_max) {
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("archive: \"{}\" {}", path.substr(0, 200), why));
  };
  if (path.size() > bytes_max) return refuse("is too long a path");
  if (path.starts_with('/')) return refuse("is an absolute path");
  std::string out;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    const auto part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return refuse("leaves its folder");
    for (const char c : part) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\')
        return refuse("has characters that no path of ours has");
    }
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

Result<Bytes> read_data(archive* a, std::string_view path, std::uint64_t& left) {
  Bytes data;
  for (;;) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(a, &block, &size, &offset);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK)
      return fail(ErrorCode::invalid_argument,
                  fmt::format("archive: \"{}\": {}", path, error_of(a)));
    // A sparse file says where its blocks lie: holes count, too.
    const auto end = static_cast<std::uint64_t>(offset) + size;
    if (offset < 0 || end < data.size() || end - data.size() > left)
      return fail(ErrorCode::resource_exhausted,
                  fmt::format("archive: more bytes than allowed, at \"{}\"", path));
    left -= end - data.size();
    data.resize(static_cast<std::size_t>(offset));
    const auto* bytes = static_cast<const std::uint8_t*>(block);
    data.insert(data.end(), bytes, bytes + size);
  }
  return data;
}

}  // namespace

Result<ArchivedFiles> read_tar(BytesView tar, const ArchiveLimits& limits, Links links) {
  ArchivedFiles files;
  if (tar.empty()) return files;
  const std::unique_ptr<archive, FreeReader> a(archive_read_new());
  if (!a || archive_read_support_format_tar(a.get()) != ARCHIVE_OK ||
      archive_read_open_memory(a.get(), tar.data(), tar.size()) != ARCHIVE_OK)
    return fail(ErrorCode::invalid_argument,
                fmt::format("archive: not a tar file: {}", error_of(a.get())));
  std::uint64_t left = limits.bytes_max;
  std::size_t entries = 0;
  for (;;) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(a.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
      return fail(ErrorCode::invalid_argument, fmt::format("archive: {}", error_of(a.get())));
    if (++entries > limits.files_max)
      return fail(ErrorCode::resource_exhausted,
                  fmt::format("archive: more than {} entries", limits.files_max));
    const char* raw = archive_entry_pathname(entry);
    if (!raw) return fail(ErrorCode::invalid_argument, "archive: an entry's path is no text");
    TRY(const std::string path, plain_path(raw, limits.path_bytes_max));
    const auto type = archive_entry_filetype(entry);
    const bool link = type == AE_IFLNK || archive_entry_hardlink(entry) != nullptr;
    if (type == AE_IFDIR && !link) continue;
    if (type == AE_IFLNK && links == Links::skip) continue;
    if (link || type != AE_IFREG || path.empty())
      return fail(ErrorCode::invalid_argument,
                  fmt::format("archive: \"{}\" is {}: only plain files are taken", path,
                              link ? "a link" : "no plain file"));
    TRY(Bytes data, read_data(a.get(), path, left));
    // A hole at the end has no block that tells of it.
    const auto size =
        static_cast<std::uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0));
    if (size > data.size()) {
      if (size - data.size() > left)
        return fail(ErrorCode::resource_exhausted,
                    fmt::format("archive: more bytes than allowed, at \"{}\"", path));
      left -= size - data.size();
      data.resize(static_cast<std::size_t>(size));
    }
    const bool executable = (archive_entry_perm(entry) & 0100) != 0;
    if (!files.emplace(path, ArchivedFile{std::move(data), executable}).second)
      return fail(ErrorCode::invalid_argument, fmt::format("archive: \"{}\" is there twice", path));
  }
  return files;
}

Result<Bytes> write_tar(const ArchivedFiles& files) {
  Bytes out;
  const auto write = [](archive*, void* to, const void* data, std::size_t size) -> la_ssize_t {
    auto& bytes = *static_cast<Bytes*>(to);
    const auto* from = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), from, from + size);
    return static_cast<la_ssize_t>(size);
  };
  const std::unique_ptr<archive, FreeWriter> a(archive_write_new());
  const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
  if (!a || !entry) return fail(ErrorCode::resource_exhausted, "archive: no memory");
  const auto failed = [&] {
    return fail(ErrorCode::internal, fmt::format("archive: {}", error_of(a.get())));
  };
  if (archive_write_set_format_pax_restricted(a.get()) != ARCHIVE_OK ||
      archive_write_open(a.get(), &out, nullptr, write, nullptr) != ARCHIVE_OK)
    return failed();
  for (const auto& [path, file] : files) {
    archive_entry_clear(entry.get());
    archive_entry_set_pathname(entry.get(), path.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), file.executable ? 0755 : 0644);
    archive_entry_set_mtime(entry.get(), 0, 0);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(file.data.size()));
    if (archive_write_header(a.get(), entry.get()) != ARCHIVE_OK ||
        archive_write_data(a.get(), file.data.data(), file.data.size()) !=
            static_cast<la_ssize_t>(file.data.size()))
      return failed();
  }
  if (archive_write_close(a.get()) != ARCHIVE_OK) return failed();
  return out;
}

}  // namespace tau::process
