#include "services/patrick/logs.h"

#include <algorithm>

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

// A monkey asks again; it has what it wrote.
constexpr Duration kCopyTime = 3s;
constexpr std::size_t kCompletedMax = 10'000;  // of a few dozen bytes

}  // namespace

Task<void> Logs::stop() {
  if (!tasks_) co_return;
  co_await tasks_->stop();
  tasks_.reset();
  copies_.clear();
}

Task<Result<std::uint64_t>> Logs::append(Store::Section section,
                                         std::optional<std::uint64_t> offset, std::string text) {
  std::uint64_t before = 0, size = 0, claimed = 0;
  {
    CO_TRY(const auto permit, appending_.acquire());
    CO_TRY(before, store_.size(section));
    CO_TRY(claimed, store_.append(section, offset, std::move(text)));
    CO_TRY(size, store_.size(section));
  }
  const Copies copies = where_();
  for (const PeerId& peer : copies.peers) {
    const auto [copy, fresh] = copies_.try_emplace({section, peer}, Copy{before});
    if (copy->second.has >= size || copy->second.running || !tasks_) continue;
    copy->second.running = true;
    tasks_->spawn(copy_to(section, peer));
  }
  const TimePoint give_up = loop_.now() + kCopyTime;
  for (;;) {
    std::size_t have = 0, trying = 0;
    for (const PeerId& peer : copies.peers) {
      const auto copy = copies_.find({section, peer});
      if (copy == copies_.end()) continue;
      have += copy->second.has >= size ? 1 : 0;
      trying += copy->second.running ? 1 : 0;
    }
    if (have >= copies.wanted) co_return claimed;
    if (trying == 0 || loop_.now() >= give_up) break;
    const auto woken =
        co_await runtime::with_deadline(give_up - loop_.now(), "copies", copied_.wait());
    if (!woken && woken.error().code() == ErrorCode::cancelled) co_return fail(woken.error());
  }
  co_return fail(ErrorCode::unavailable,
                 "too few patricks are there to keep the log; it is taken when they are");
}

// One at a time for a section and a peer; what is written meanwhile goes along.
Task<void> Logs::copy_to(Store::Section section, PeerId peer) {
  const CopyKey key{section, peer};
  for (;;) {
    const auto size = co_await store_.size(section);
    auto known = copies_.find(key);
    if (!size || known == copies_.end() || known->second.has >= *size) break;
    const std::uint64_t offset = known->second.has;
    auto text = co_await store_.read(section, offset, kLogAppendBytesMax);
    if (!text) break;
    const auto done = co_await caller_.call<CopyLog>(
        peer, kProtocol, {section.job, section.fence, offset, std::move(*text)});
    known = copies_.find(key);
    if (!done || known == copies_.end()) break;
    // One that lost what it had not synced yet has less than we believed.
    if (done->size == offset) break;
    known->second.has = done->size;
    copied_.notify_all();
  }
  if (const auto known = copies_.find(key); known != copies_.end()) known->second.running = false;
  copied_.notify_all();
}

Task<Result<std::uint64_t>> Logs::copy(Store::Section section, std::uint64_t offset,
                                       std::string text) {
  CO_TRY(const auto permit, appending_.acquire());
  co_return co_await store_.copy(std::move(section), offset, std::move(text));
}

Task<Result<std::string>> Logs::piece(Store::Section section, std::uint64_t offset) {
  co_return co_await store_.read(std::move(section), offset, kLogReadBytesMax);
}

Task<Status> Logs::fetch(Store::Section section, PeerId peer) {
  for (;;) {
    CO_TRY(const std::uint64_t size, store_.size(section));
    CO_TRY(auto found, caller_.call<LogPiece>(peer, kProtocol, {section.job, section.fence, size}));
    if (found.text.empty()) co_return Status{};
    CO_TRY_STATUS(copy(section, size, std::move(found.text)));
  }
}

Task<Result<std::uint64_t>> Logs::complete(Store::Section section) {
  bool all = true;
  for (const PeerId& peer : where_().peers) {
    const Status fetched = co_await fetch(section, peer);
    if (!fetched && fetched.error().code() == ErrorCode::cancelled) co_return fail(fetched.error());
    all = all && fetched.has_value();
  }
  if (all) {
    if (completed_.size() >= kCompletedMax) completed_.clear();
    completed_.insert(section);
  }
  co_return co_await store_.size(std::move(section));
}

// Of a section to which nothing is added any more.
Task<Result<std::uint64_t>> Logs::size_of(Store::Section section, const LogPart& part) {
  CO_TRY(std::uint64_t size, store_.size(section));
  const bool whole =
      size >= kLogBytesMax || (part.bytes ? size >= *part.bytes : completed_.contains(section));
  if (!whole && !completed_.contains(section)) {
    CO_TRY(size, complete(section));
  }
  if (part.bytes && size < kLogBytesMax) size = std::min(size, *part.bytes);
  co_return size;
}

Task<Result<std::string>> Logs::read(JobRecord record, std::uint64_t offset) {
  auto parts = record.log.value_or(std::vector<LogPart>{});
  if (record.state == JobState::building) parts.push_back({record.fence, std::nullopt, ""});
  std::string out;
  std::uint64_t at = 0;  // where in the whole the next piece begins
  for (std::size_t i = 0; i < parts.size() && out.size() < kLogReadBytesMax; ++i) {
    const LogPart& part = parts[i];
    if (part.fence) {
      const Store::Section section{record.job.id, *part.fence};
      const bool open = record.state == JobState::building && i + 1 == parts.size();
      std::uint64_t size = 0;
      if (open) {
        CO_TRY(size, store_.size(section));
      } else {
        CO_TRY(size, size_of(section, part));
      }
      const std::uint64_t end =
          !open && part.bytes && *part.bytes <= kLogBytesMax ? std::max(size, *part.bytes) : size;
      if (offset < at + end) {
        const std::uint64_t from = std::max(offset, at) - at;
        const std::size_t room = kLogReadBytesMax - out.size();
        std::string text;
        if (from < size) {
          CO_TRY(text, store_.read(section, from, std::min<std::uint64_t>(room, size - from)));
        }
        if (text.empty() && out.empty())
          co_return fail(ErrorCode::unavailable,
                         "a part of this log is at patricks that can't be reached now");
        out += text;
        if (from + text.size() < end) break;
      }
      at += end;
    }
    if (offset < at + part.note.size() && out.size() < kLogReadBytesMax)
      out += part.note.substr(std::max(offset, at) - at);
    at += part.note.size();
  }
  co_return whole_characters(out);
}

void Logs::ended(const JobId& job) {
  store_.forget_tails(job);
  std::erase_if(copies_,
                [&](const auto& one) { return one.first.first.job == job && !one.second.running; });
}

void Logs::dropped(const JobId& job) {
  ended(job);
  std::erase_if(completed_, [&](const auto& section) { return section.job == job; });
  if (tasks_) tasks_->spawn(erase(job));
}

// What stays when it fails is erased with the next.
Task<void> Logs::erase(JobId job) {
  const auto permit = co_await appending_.acquire();
  if (permit) (void)co_await store_.erase_logs(std::move(job));
}

}  // namespace tau::patrick
