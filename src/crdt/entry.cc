#include "crdt/entry.h"

#include <algorithm>
#include <tuple>

#include "codec/varint.h"

namespace tau::crdt {
namespace {

constexpr std::uint8_t kFormat = 1;

void put_bytes(Bytes& out, BytesView data) {
  codec::put_uvarint(out, data.size());
  out.insert(out.end(), data.begin(), data.end());
}

Result<BytesView> take_bytes(BytesView& in) {
  TRY(const auto size, codec::take_uvarint(in));
  if (size > in.size()) return fail(ErrorCode::invalid_argument, "cut short");
  const BytesView out = in.first(size);
  in = in.subspan(size);
  return out;
}

Result<Version> take_version(BytesView& in) {
  Version version;
  TRY(const auto writer, take_bytes(in));
  version.dot.writer = WriterId(to_text(writer));
  TRY(version.dot.number, codec::take_uvarint(in));
  TRY(version.height, codec::take_uvarint(in));
  if (in.size() < 8) return fail(ErrorCode::invalid_argument, "cut short");
  for (int i = 0; i < 8; ++i) version.tag = version.tag << 8 | in[static_cast<std::size_t>(i)];
  in = in.subspan(8);
  TRY(const auto value, take_bytes(in));
  version.value = to_bytes(value);
  return version;
}

auto place_of(std::vector<Version>& versions, const WriterId& writer) {
  return std::ranges::lower_bound(versions, writer, {},
                                  [](const Version& v) -> const WriterId& { return v.dot.writer; });
}

}  // namespace

bool wins_over(const Version& a, const Version& b) {
  return std::tie(a.height, a.dot.writer, a.dot.number, a.tag) >
         std::tie(b.height, b.dot.writer, b.dot.number, b.tag);
}

const Version* Entry::winner() const {
  const Version* best = nullptr;
  for (const auto& version : versions_)
    if (!best || wins_over(version, *best)) best = &version;
  return best;
}

bool Entry::has(const Dot& dot) const {
  return std::ranges::any_of(versions_, [&](const auto& v) { return v.dot == dot; });
}

bool Entry::add(Version version) {
  const auto it = place_of(versions_, version.dot.writer);
  if (it != versions_.end() && it->dot.writer == version.dot.writer) {
    if (std::tie(version.dot.number, version.tag) <= std::tie(it->dot.number, it->tag))
      return false;
    *it = std::move(version);
    return true;
  }
  versions_.insert(it, std::move(version));
  if (versions_.size() > kVersionsMax)
    versions_.erase(std::ranges::min_element(
        versions_, [](const auto& a, const auto& b) { return wins_over(b, a); }));
  return true;
}

bool Entry::remove(const Dot& dot) {
  return std::erase_if(versions_, [&](const auto& v) { return v.dot == dot; }) > 0;
}

Bytes encode(const Entry& entry) {
  Bytes out = {kFormat};
  for (const auto& version : entry.versions()) {
    put_bytes(out, as_bytes(version.dot.writer.str()));
    codec::put_uvarint(out, version.dot.number);
    codec::put_uvarint(out, version.height);
    for (int shift = 56; shift >= 0; shift -= 8)
      out.push_back(static_cast<std::uint8_t>(version.tag >> shift));
    put_bytes(out, version.value);
  }
  return out;
}

Result<Entry> decode_entry(BytesView data) {
  if (data.empty() || data[0] != kFormat)
    return fail(ErrorCode::data_loss, "a stored entry has an unknown format");
  Entry entry;
  for (data = data.subspan(1); !data.empty();) {
    auto version = take_version(data);
    if (!version)
      return fail(ErrorCode::data_loss, "a stored entry is " + version.error().message());
    if (!entry.add(std::move(*version)))
      return fail(ErrorCode::data_loss, "a stored entry has a writer twice");
  }
  return entry;
}

}  // namespace tau::crdt
