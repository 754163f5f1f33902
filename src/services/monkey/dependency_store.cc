#include "services/monkey/dependency_store.h"

#include "codec/record.h"
#include "crypto/ed25519.h"

namespace tau::monkey {
namespace {

// A name or a set is some hundred bytes to some hundred KiB.
constexpr std::uint64_t kIndexBytesMax = 64u << 20;
constexpr std::uint64_t kSetRecordBytesMax = 4u << 20;

struct Entry {
  std::string path, digest;
  static constexpr auto fields() {
    return std::tuple{codec::field("path", &Entry::path), codec::field("digest", &Entry::digest)};
  }
};
struct Set {
  std::vector<Entry> files;
  static constexpr auto fields() { return std::tuple{codec::field("files", &Set::files)}; }
};

std::string digest_of(BytesView data) { return to_hex(crypto::sha256(data)); }
std::string index_name(std::string_view kind, const std::string& ecosystem,
                       const std::string& name) {
  return digest_of(as_bytes(std::string(kind) + "\n" + ecosystem + "\n" + name));
}

}  // namespace

DependencyStore::DependencyStore(const std::filesystem::path& folder, std::uint64_t bytes_max)
    : blobs_(folder.empty() ? folder : folder / "blobs", bytes_max),
      names_(folder.empty() ? folder : folder / "names", kIndexBytesMax),
      sets_(folder.empty() ? folder : folder / "sets", kIndexBytesMax) {}

std::optional<Bytes> DependencyStore::blob(const std::string& digest) {
  if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != digest.npos)
    return std::nullopt;
  auto data = blobs_.read(digest, kSetBytesMax);
  if (data && digest_of(*data) != digest) {  // the disk's fault: fetched again
    blobs_.remove(digest);
    data.reset();
  }
  return data;
}

std::optional<process::ArchivedFiles> DependencyStore::find_set(const std::string& ecosystem,
                                                                const std::string& key) {
  const auto stored = sets_.read(index_name("set", ecosystem, key), kSetRecordBytesMax);
  if (!stored) return std::nullopt;
  const auto set = codec::from_cbor<Set>(*stored);
  if (!set || set->files.size() > kSetFilesMax) return std::nullopt;
  process::ArchivedFiles out;
  std::uint64_t bytes = 0;
  for (const auto& entry : set->files) {
    auto data = blob(entry.digest);
    if (!data) return std::nullopt;
    bytes += data->size();
    if (bytes > kSetBytesMax) return std::nullopt;
    out[entry.path] = {*std::move(data), false};
  }
  return out;
}

process::ArchivedFiles DependencyStore::find_names(const std::string& ecosystem,
                                                   const std::vector<std::string>& names) {
  process::ArchivedFiles out;
  std::uint64_t bytes = 0;
  for (const auto& name : names) {
    if (out.size() >= kSetFilesMax) break;
    const auto digest = names_.read(index_name("name", ecosystem, name), 64);
    auto data = digest ? blob(to_text(*digest)) : std::nullopt;
    if (!data) continue;
    bytes += data->size();
    if (bytes > kSetBytesMax) break;
    out[name] = {*std::move(data), false};
  }
  return out;
}

Status DependencyStore::put_set(const std::string& ecosystem, const std::string& key,
                                const process::ArchivedFiles& files) {
  Set set;
  if (files.size() > kSetFilesMax)
    return fail(ErrorCode::resource_exhausted, "one function needs too many modules");
  for (const auto& [path, file] : files) {
    constexpr std::string_view kShared = "store/";
    const bool shared = path.starts_with(kShared);
    if (!shared && !path.starts_with("project/"))
      return fail(ErrorCode::invalid_argument, path + " is neither the store's nor the project's");
    const std::string digest = digest_of(file.data);
    if (!blobs_.find(digest)) {
      TRY(const auto at, blobs_.put(digest, file.data));
      (void)at;
    }
    if (shared) {
      const std::string name = index_name("name", ecosystem, path.substr(kShared.size()));
      TRY(const auto at, names_.put(name, as_bytes(digest)));
      (void)at;
    }
    set.files.push_back({path, digest});
  }
  TRY(const auto at, sets_.put(index_name("set", ecosystem, key), codec::to_cbor(set)));
  (void)at;
  return {};
}

}  // namespace tau::monkey
