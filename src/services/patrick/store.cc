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
std::string logs_of(const JobId& job) { return "build/" + job.str() + "/"; }
std::string older_log_of(const JobId& job) { return "log/" + job.str() + "/"; }
std::string prefix_of(const Store::Section& section) {
  return section.fence == 0 ? older_log_of(section.job)
                            : logs_of(section.job) + std::to_string(section.fence) + "/";
}
std::string key_of(const Store::Section& section, std::uint64_t index) {
  return prefix_of(section) + fmt::format("{:04}", index);
}
constexpr std::size_t kChunksMax = kLogBytesMax / kLogChunkBytes + 2;

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

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

Task<Result<Store::Loaded>> Store::load_older() {
  Loaded loaded;
  CO_TRY_STATUS(load_all(kv_, std::string(kBranches), loaded.branches));
  CO_TRY_STATUS(load_all(kv_, std::string(kJobs), loaded.jobs));
  co_return loaded;
}

Task<Status> Store::erase_older(const Loaded& loaded) {
  store::Batch batch;
  for (const auto& branch : loaded.branches) batch.erase(branch_key(branch));
  for (const auto& job : loaded.jobs) batch.erase(job_key(job.job.id));
  co_return co_await kv_.write(std::move(batch), store::Durability::synced);
}

Task<Status> Store::erase_logs(JobId job) {
  forget_tails(job);
  for (const auto& prefix : {logs_of(job), older_log_of(job)}) {
    for (bool more = true; more;) {
      CO_TRY(const auto chunks, kv_.scan(prefix, "", kChunksMax));
      if (chunks.empty()) break;
      more = chunks.size() == kChunksMax;
      store::Batch batch;
      for (const auto& chunk : chunks) batch.erase(chunk.key);
      CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::buffered));
    }
  }
  co_return Status{};
}

void Store::forget_tails(const JobId& job) {
  std::erase_if(tails_, [&](const auto& one) { return one.first.job == job; });
}

Task<Result<Store::Tail>> Store::tail(Section section) {
  if (const auto it = tails_.find(section); it != tails_.end()) co_return it->second;
  CO_TRY(const auto chunks, kv_.scan(prefix_of(section), "", kChunksMax));
  Tail tail;
  if (chunks.empty()) co_return tail;
  tail.size = (chunks.size() - 1) * kLogChunkBytes + chunks.back().value.size();
  if (chunks.back().value.size() < kLogChunkBytes) tail.chunk = to_text(chunks.back().value);
  co_return tail;
}

Task<Result<std::uint64_t>> Store::size(Section section) {
  CO_TRY(const Tail known, tail(std::move(section)));
  co_return known.size;
}

Task<Result<std::uint64_t>> Store::append(Section section, std::optional<std::uint64_t> offset,
                                          std::string text) {
  CO_TRY(Tail known, tail(section));
  const std::uint64_t end = offset.value_or(known.size + known.dropped) + text.size();
  if (known.size >= kLogBytesMax) {
    known.dropped = std::max(known.dropped, end - std::min(end, known.size));
    tails_.insert_or_assign(section, known);
    co_return std::max(end, known.size);
  }
  if (offset && *offset > known.size) co_return known.size;
  std::string_view rest = text;
  if (offset) rest.remove_prefix(std::min<std::uint64_t>(known.size - *offset, rest.size()));
  std::string cut;
  if (known.size + rest.size() > kLogBytesMax) {
    cut = whole_characters(rest.substr(0, kLogBytesMax - known.size)).append(kCut);
    rest = cut;
  }
  CO_TRY(const std::uint64_t size, put(std::move(section), std::move(known), std::string(rest)));
  co_return std::max(size, end);
}

Task<Result<std::uint64_t>> Store::copy(Section section, std::uint64_t offset, std::string text) {
  CO_TRY(Tail known, tail(section));
  if (offset > known.size) co_return known.size;
  text.erase(0, std::min<std::uint64_t>(known.size - offset, text.size()));
  if (known.size + text.size() > kLogBytesMax + kCut.size())
    co_return fail(ErrorCode::invalid_argument, "more log than a monkey may write");
  co_return co_await put(std::move(section), std::move(known), std::move(text));
}

Task<Result<std::uint64_t>> Store::put(Section section, Tail known, std::string text) {
  store::Batch batch;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::uint64_t index = known.size / kLogChunkBytes;
    const std::size_t n = std::min(kLogChunkBytes - known.chunk.size(), rest.size());
    known.chunk.append(rest.substr(0, n));
    known.size += n;
    rest.remove_prefix(n);
    batch.put(key_of(section, index), to_bytes(std::string_view(known.chunk)));
    if (known.chunk.size() == kLogChunkBytes) known.chunk.clear();
  }
  if (!batch.operations.empty())
    CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::buffered));
  const std::uint64_t size = known.size;
  tails_.insert_or_assign(std::move(section), std::move(known));
  co_return size;
}

Task<Result<std::string>> Store::read(Section section, std::uint64_t offset, std::size_t limit) {
  if (offset > kLogBytesMax + kCut.size()) co_return std::string();
  const std::uint64_t first = offset / kLogChunkBytes;
  const std::string after = first == 0 ? "" : key_of(section, first - 1);
  CO_TRY(const auto chunks, kv_.scan(prefix_of(section), after, limit / kLogChunkBytes + 2));
  std::string text;
  for (const auto& chunk : chunks) text += as_text(chunk.value);
  const std::size_t skip = offset - first * kLogChunkBytes;
  if (skip >= text.size()) co_return std::string();
  co_return text.substr(skip, limit);
}

}  // namespace tau::patrick
