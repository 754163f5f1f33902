#include "services/patrick/store.h"

#include <fmt/format.h>

#include <algorithm>

namespace tau::patrick {
namespace {

constexpr std::string_view kBranches = "branch/";
constexpr std::string_view kJobs = "job/";
constexpr std::size_t kPage = 256;
constexpr std::string_view kCut = "\n[the log ends here: it has reached 4 MiB]\n";

std::string branch_key(const BranchRecord& b) {
  return std::string(kBranches) + b.project.str() + "/" + b.branch;
}
std::string job_key(const JobId& job) { return std::string(kJobs) + job.str(); }
std::string log_prefix(const JobId& job) { return "log/" + job.str() + "/"; }
std::string log_key(const JobId& job, std::uint64_t index) {
  return fmt::format("log/{}/{:04}", job.str(), index);
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Without a character that begins before the text or ends after it.
std::string whole_characters(std::string_view text) {
  while (!text.empty() && continues_character(text.front())) text.remove_prefix(1);
  std::size_t last = text.size();
  while (last > 0 && continues_character(text[last - 1])) --last;
  if (last == 0) return {};
  const auto lead = static_cast<unsigned char>(text[last - 1]);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (last - 1 + length > text.size()) text = text.substr(0, last - 1);
  return std::string(text);
}

template <class T>
Task<Status> load_all(store::Kv& kv, std::string prefix, std::vector<T>& out) {
  std::string after;
  for (;;) {
    CO_TRY(const auto entries, kv.scan(prefix, after, kPage));
    for (const auto& entry : entries) {
      auto record = codec::from_cbor<T>(entry.value);
      if (!record) co_return fail(std::move(record).error().context("key " + entry.key));
      out.push_back(*std::move(record));
    }
    if (entries.size() < kPage) co_return Status{};
    after = entries.back().key;
  }
}

}  // namespace

Task<Result<Store::Loaded>> Store::load() {
  Loaded loaded;
  CO_TRY_STATUS(load_all(kv_, std::string(kBranches), loaded.branches));
  CO_TRY_STATUS(load_all(kv_, std::string(kJobs), loaded.jobs));
  co_return loaded;
}

Task<Status> Store::write(Change change) {
  store::Batch batch;
  if (change.branch) batch.put(branch_key(*change.branch), codec::to_cbor(*change.branch));
  for (const auto& job : change.jobs) batch.put(job_key(job.job.id), codec::to_cbor(job));
  for (const auto& job : change.dropped) {
    batch.erase(job_key(job));
    CO_TRY(const auto chunks, kv_.scan(log_prefix(job), "", kLogBytesMax / kLogChunkBytes + 2));
    for (const auto& chunk : chunks) batch.erase(chunk.key);
  }
  co_return co_await kv_.write(std::move(batch), store::Durability::synced);
}

Task<Result<Store::Tail>> Store::load_tail(JobId job) {
  CO_TRY(const auto chunks, kv_.scan(log_prefix(job), "", kLogBytesMax / kLogChunkBytes + 2));
  Tail tail;
  if (chunks.empty()) co_return tail;
  tail.size = (chunks.size() - 1) * kLogChunkBytes + chunks.back().value.size();
  if (chunks.back().value.size() < kLogChunkBytes) tail.chunk = to_text(chunks.back().value);
  tail.full = tail.size >= kLogBytesMax;
  co_return tail;
}

Task<Status> Store::append_log(JobId job, std::string text) {
  auto it = tails_.find(job);
  if (it == tails_.end()) {
    CO_TRY(Tail loaded, load_tail(job));
    it = tails_.emplace(job, std::move(loaded)).first;
  }
  Tail tail = it->second;
  if (tail.full || text.empty()) co_return Status{};
  if (tail.size + text.size() > kLogBytesMax) {
    text = whole_characters(text.substr(0, kLogBytesMax - tail.size)).append(kCut);
    tail.full = true;
  }
  store::Batch batch;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::uint64_t index = tail.size / kLogChunkBytes;
    const std::size_t n = std::min(kLogChunkBytes - tail.chunk.size(), rest.size());
    tail.chunk.append(rest.substr(0, n));
    tail.size += n;
    rest.remove_prefix(n);
    batch.put(log_key(job, index), to_bytes(std::string_view(tail.chunk)));
    if (tail.chunk.size() == kLogChunkBytes) tail.chunk.clear();
  }
  CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::buffered));
  tails_.insert_or_assign(job, std::move(tail));
  co_return Status{};
}

Task<Result<std::string>> Store::read_log(JobId job, std::uint64_t offset) {
  if (offset > kLogBytesMax + kCut.size()) co_return std::string();
  const std::uint64_t first = offset / kLogChunkBytes;
  const std::string after = first == 0 ? "" : log_key(job, first - 1);
  CO_TRY(const auto chunks,
         kv_.scan(log_prefix(job), after, kLogReadBytesMax / kLogChunkBytes + 1));
  std::string text;
  for (const auto& chunk : chunks) text += as_text(chunk.value);
  const std::size_t skip = offset - first * kLogChunkBytes;
  if (skip >= text.size()) co_return std::string();
  co_return whole_characters(std::string_view(text).substr(skip, kLogReadBytesMax));
}

}  // namespace tau::patrick
