#include "crdt/state.h"

#include <algorithm>
#include <charconv>

#include "codec/record.h"
#include "codec/varint.h"

namespace tau::crdt {
namespace {

constexpr std::uint64_t kFormat = 1;
constexpr std::size_t kPage = 256;
// Removals that came before what they remove: only nodes that lie make them.
constexpr std::size_t kGravesMax = 4096;

struct Meta {
  std::uint64_t format = 0, incarnation = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("format", &Meta::format),
                      codec::field("incarnation", &Meta::incarnation)};
  }
};
struct HeadRow {
  codec::Cid cid;
  WriterId writer;
  std::uint64_t number = 0, height = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("cid", &HeadRow::cid), codec::field("writer", &HeadRow::writer),
                      codec::field("number", &HeadRow::number),
                      codec::field("height", &HeadRow::height)};
  }
};
struct HeadRows {
  std::vector<HeadRow> heads;
  static constexpr auto fields() { return std::tuple{codec::field("heads", &HeadRows::heads)}; }
};

std::string order_key(std::uint64_t order) {
  std::string key = "l/";
  for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(order >> shift);
  return key;
}

Bytes past_row(const Link& link, std::size_t size) {
  Bytes out = link.cid.to_bytes();
  codec::put_uvarint(out, link.dot.number);
  codec::put_uvarint(out, size);
  const auto writer = as_bytes(link.dot.writer.str());
  out.insert(out.end(), writer.begin(), writer.end());
  return out;
}

Bytes context_row(std::uint64_t number, std::uint64_t folded) {
  Bytes out;
  codec::put_uvarint(out, number);
  codec::put_uvarint(out, folded);
  return out;
}

std::string grave_key(const std::pair<std::string, Dot>& grave) {
  return "g/" + grave.second.writer.str() + "/" + std::to_string(grave.second.number) + "/" +
         grave.first;
}

std::unexpected<Error> damaged(const std::string& row) {
  return fail(ErrorCode::data_loss,
              "the replicated map's row \"" + row.substr(0, 80) + "\" cannot be read");
}

std::uint64_t tag_of(const codec::Cid& cid) {
  std::uint64_t tag = 0;
  for (std::size_t i = 0; i < 8; ++i) tag = tag << 8 | cid.digest()[i];
  return tag;
}

bool same(const std::optional<Version>& before, const Version* now) {
  if (!before || !now) return !before && !now;
  return before->dot == now->dot && before->tag == now->tag;
}

}  // namespace

Status State::add_row(const store::Entry& row) {
  BytesView data = row.value;
  const std::string_view key = row.key;
  if (key.starts_with("c/")) {
    const auto number = codec::take_uvarint(data);
    const auto folded = number ? codec::take_uvarint(data) : number;
    if (!folded) return damaged(row.key);
    const WriterId writer(row.key.substr(2));
    context_.add({writer, *number});
    if (*folded > 0) folded_.add({writer, *folded});
    return {};
  }
  if (key.starts_with("l/")) {
    if (key.size() != 10) return damaged(row.key);
    Past past;
    for (std::size_t i = 2; i < 10; ++i)
      past.order = past.order << 8 | static_cast<std::uint8_t>(key[i]);
    const auto cid = codec::Cid::take_from(data);
    const auto number = cid ? codec::take_uvarint(data) : Result<std::uint64_t>(0);
    const auto size = number ? codec::take_uvarint(data) : number;
    if (!cid || !size) return damaged(row.key);
    past.link = {*cid, {WriterId(to_text(data)), *number}};
    past.size = *size;
    remember(std::move(past));
    return {};
  }
  // "g/<writer>/<number>/<key>"
  const auto slash = key.find('/', 2);
  const auto end = slash == std::string::npos ? slash : key.find('/', slash + 1);
  if (end == std::string::npos) return damaged(row.key);
  Dot dot{WriterId(row.key.substr(2, slash - 2)), 0};
  std::from_chars(key.data() + slash + 1, key.data() + end, dot.number);
  graves_.emplace(row.key.substr(end + 1), std::move(dot));
  return {};
}

void State::remember(Past past) {
  next_order_ = std::max(next_order_, past.order + 1);
  by_cid_.emplace(past.link.cid, past.order);
  history_bytes_ += past.size;
  history_.push_back(std::move(past));
}

Task<Status> State::load() {
  context_ = folded_ = {};
  heads_.clear();
  history_.clear();
  history_bytes_ = 0;
  by_cid_.clear();
  graves_.clear();
  CO_TRY(const auto meta, kv_.get("n"));
  if (!meta) {
    incarnation_ = random_.next_u64();
    store::Batch batch;
    batch.put("n", codec::to_cbor(Meta{kFormat, incarnation_}));
    CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::synced));
  } else {
    CO_TRY_SYNC(const auto kept, codec::from_cbor<Meta>(*meta));
    if (kept.format != kFormat)
      co_return fail(ErrorCode::failed_precondition,
                     "the replicated map has format " + std::to_string(kept.format) +
                         ", written by a newer program; this one knows " + std::to_string(kFormat) +
                         ": start the newer program");
    incarnation_ = kept.incarnation;
  }
  for (const char* prefix : {"c/", "l/", "g/"}) {
    std::string after;
    for (;;) {
      CO_TRY(const auto rows, kv_.scan(prefix, after, kPage));
      for (const auto& row : rows) CO_TRY_SYNC_STATUS(add_row(row));
      if (rows.size() < kPage) break;
      after = rows.back().key;
    }
  }
  CO_TRY(const auto heads, kv_.get("h"));
  if (heads) {
    CO_TRY_SYNC(const auto rows, codec::from_cbor<HeadRows>(*heads));
    for (const auto& row : rows.heads)
      heads_.push_back({{row.cid, {row.writer, row.number}}, row.height});
  }
  last_own_.reset();
  CO_TRY(const auto last, kv_.get("w"));
  if (last) {
    CO_TRY_SYNC(last_own_, codec::Cid::from_bytes(*last));
  }
  stale_ = false;
  co_return Status{};
}

Task<Status> State::fresh() {
  if (stale_) CO_TRY_STATUS(load());
  co_return Status{};
}

std::vector<Link> State::history_beyond(const Context& theirs, std::size_t at_most) const {
  std::vector<Link> out;
  for (const auto& past : history_) {
    if (out.size() == at_most) break;
    if (!theirs.covers(past.link.dot)) out.push_back(past.link);
  }
  return out;
}

Task<Result<Entry>> State::entry(std::string key) const {
  CO_TRY(const auto row, kv_.get("e/" + key));
  if (!row) co_return Entry();
  co_return decode_entry(*row);
}

Task<Result<std::vector<std::pair<std::string, Entry>>>> State::entries(std::string after,
                                                                        std::size_t limit) const {
  std::vector<std::pair<std::string, Entry>> out;
  CO_TRY(const auto rows, kv_.scan("e/", after.empty() ? after : "e/" + after, limit));
  for (const auto& row : rows) {
    CO_TRY_SYNC(Entry entry, decode_entry(row.value));
    out.emplace_back(row.key.substr(2), std::move(entry));
  }
  co_return out;
}

Task<Result<std::vector<KeyValue>>> State::list(std::string prefix, std::string after,
                                                std::size_t limit) const {
  std::vector<KeyValue> out;
  CO_TRY(const auto rows, kv_.scan("e/" + prefix, after.empty() ? after : "e/" + after, limit));
  for (const auto& row : rows) {
    CO_TRY_SYNC(const Entry entry, decode_entry(row.value));
    if (const Version* winner = entry.winner()) out.push_back({row.key.substr(2), winner->value});
  }
  co_return out;
}

Task<Result<State::Transaction::Loaded*>> State::Transaction::load(std::string key) {
  const auto it = entries_.find(key);
  if (it != entries_.end()) co_return &it->second;
  CO_TRY(Entry entry, state_->entry(key));
  Loaded loaded{std::move(entry), std::nullopt};
  if (const Version* winner = loaded.entry.winner())
    loaded.before = Version{winner->dot, winner->height, winner->tag, {}};
  co_return &entries_.emplace(std::move(key), std::move(loaded)).first->second;
}

Task<Result<const Entry*>> State::Transaction::entry(std::string key) {
  CO_TRY(Loaded * loaded, load(std::move(key)));
  const Entry* entry = &loaded->entry;
  co_return entry;
}

std::uint64_t State::Transaction::height() const {
  std::uint64_t height = 0;
  for (const auto& head : heads_) height = std::max(height, head.height);
  return height;
}

Task<Status> State::Transaction::apply(const SealedDelta& sealed, bool stored) {
  const Link link = sealed.link();
  const auto again = [&](const Step& step) { return step.link.cid == link.cid; };
  if (state_->known(link) || std::ranges::any_of(history_, again)) co_return Status{};
  if (state_->context_.of(link.dot.writer) == 0 && state_->context_.size() >= kWritersMax)
    co_return fail(ErrorCode::resource_exhausted,
                   "the map has " + std::to_string(kWritersMax) + " writers already");
  for (const auto& operation : sealed.delta.operations) {
    CO_TRY(Loaded * loaded, load(operation.key));
    for (const auto& dot : operation.removes) {
      if (loaded->entry.remove(dot) || covers(dot)) continue;
      if (state_->graves_.size() + graves_made_.size() < kGravesMax)
        graves_made_.emplace(operation.key, dot);
    }
    if (!operation.value) continue;
    const std::pair grave(operation.key, link.dot);
    if (graves_made_.contains(grave) || state_->graves_.contains(grave)) {
      graves_used_.insert(grave);
      continue;
    }
    loaded->entry.add({link.dot, sealed.delta.height, tag_of(link.cid), *operation.value});
  }
  std::erase_if(heads_, [&](const Head& head) {
    return head.link.cid == sealed.delta.previous ||
           std::ranges::any_of(sealed.delta.parents,
                               [&](const Link& parent) { return parent.cid == head.link.cid; });
  });
  heads_.push_back({link, sealed.delta.height});
  if (heads_.size() > kHeadsMax) heads_.erase(std::ranges::min_element(heads_, {}, &Head::height));
  if (link.dot.writer == state_->own() && !covers(link.dot)) last_own_ = link.cid;
  context_.add(link.dot);
  history_.push_back({link, sealed.block.size()});
  if (!stored) blocks_.push_back({sealed.cid, sealed.block});
  co_return Status{};
}

Task<Status> State::Transaction::replace(std::string key, Entry entry) {
  CO_TRY(Loaded * loaded, load(std::move(key)));
  loaded->entry = std::move(entry);
  co_return Status{};
}

// Of two sets of heads those remain that the other side does not know, or has as a head as well.
void State::Transaction::adopt(const Context& theirs, std::vector<Head> heads) {
  std::vector<Head> joined;
  for (const auto& head : heads_)
    if (!theirs.covers(head.link.dot) || std::ranges::find(heads, head) != heads.end())
      joined.push_back(head);
  for (auto& head : heads)
    if (!covers(head.link.dot)) joined.push_back(std::move(head));
  heads_ = std::move(joined);
  become_another_ = theirs.of(state_->own()) > state_->context_.of(state_->own());
  context_.add(theirs);
  folded_.add(theirs);
}

Task<Result<std::vector<Change>>> State::commit(Transaction t, store::Durability durability) {
  store::Batch batch = std::move(t.rows_);
  std::vector<Change> changes;
  for (auto& [key, loaded] : t.entries_) {
    const Version* winner = loaded.entry.winner();
    if (winner) {
      batch.put("e/" + key, encode(loaded.entry));
    } else {
      batch.erase("e/" + key);
    }
    if (same(loaded.before, winner)) continue;
    changes.push_back({key, std::nullopt});
    if (winner) changes.back().value = winner->value;
  }
  std::uint64_t order = next_order_;
  for (const auto& step : t.history_) batch.put(order_key(order++), past_row(step.link, step.size));
  for (const auto& grave : t.graves_made_) batch.put(grave_key(grave), {});
  for (const auto& grave : t.graves_used_) batch.erase(grave_key(grave));
  t.context_.add(t.folded_);
  for (const auto& [writer, added] : t.context_.all())
    batch.put("c/" + writer.str(), context_row(std::max(added, context_.of(writer)),
                                               std::max(t.folded_.of(writer), folded_.of(writer))));
  if (t.last_own_) batch.put("w", t.last_own_->to_bytes());
  std::optional<std::uint64_t> another;
  if (t.become_another_) {
    another = random_.next_u64();
    batch.put("n", codec::to_cbor(Meta{kFormat, *another})).erase("w");
  }
  if (t.heads_ != heads_) {
    HeadRows rows;
    for (const auto& head : t.heads_)
      rows.heads.push_back(
          {head.link.cid, head.link.dot.writer, head.link.dot.number, head.height});
    batch.put("h", codec::to_cbor(rows));
  }
  if (!t.blocks_.empty())
    CO_TRY_STATUS(blocks_.put(std::move(t.blocks_), store::Durability::buffered));
  stale_ = true;
  // Blocks stand on the same store: what syncs this syncs them.
  CO_TRY_STATUS(kv_.write(std::move(batch), durability));
  stale_ = false;
  for (auto& step : t.history_) remember({next_order_, std::move(step.link), step.size});
  context_.add(t.context_);
  folded_.add(t.folded_);
  if (t.last_own_) last_own_ = t.last_own_;
  if (another) {
    incarnation_ = *another;
    last_own_.reset();
  }
  heads_ = std::move(t.heads_);
  graves_.merge(t.graves_made_);
  for (const auto& grave : t.graves_used_) graves_.erase(grave);
  if (history_.size() > limits_.deltas_max + limits_.deltas_max / 8 ||
      history_bytes_ > limits_.bytes_max + limits_.bytes_max / 8) {
    const auto folded = co_await fold();
    // What could not be folded now is folded after the next write; the write itself is done.
    if (!folded) stale_ = true;
  }
  co_return changes;
}

// The oldest go, in the order in which they came: what is left is closed upwards, and what is gone
// is told by its dot. Blocks first: a power cut in between leaves rows without blocks, which are
// folded next time.
Task<Status> State::fold() {
  store::Batch batch;
  std::size_t gone = 0, bytes = 0;
  Context added;
  while (gone < history_.size() && (history_.size() - gone > limits_.deltas_max ||
                                    history_bytes_ - bytes > limits_.bytes_max)) {
    const Past& past = history_[gone++];
    bytes += past.size;
    added.add(past.link.dot);
    batch.erase(order_key(past.order));
    CO_TRY_STATUS(blocks_.erase(past.link.cid));
  }
  for (const auto& [writer, number] : added.all())
    batch.put("c/" + writer.str(),
              context_row(context_.of(writer), std::max(number, folded_.of(writer))));
  CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::buffered));
  for (std::size_t i = 0; i < gone; ++i) by_cid_.erase(history_[i].link.cid);
  history_.erase(history_.begin(), history_.begin() + static_cast<std::ptrdiff_t>(gone));
  history_bytes_ -= bytes;
  folded_.add(added);
  co_return Status{};
}

}  // namespace tau::crdt
