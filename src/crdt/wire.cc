#include "crdt/wire.h"

#include <array>

namespace tau::crdt {
namespace {

using codec::Value;

std::unexpected<Error> bad(std::string why) {
  return fail(ErrorCode::invalid_argument, "replicated map: " + std::move(why));
}

struct Chunk {
  std::vector<WriterId> writers;
  std::vector<Value> rows;  // [key, writer, number, height, tag, value]
  static constexpr auto fields() {
    return std::tuple{codec::field("writers", &Chunk::writers), codec::field("rows", &Chunk::rows)};
  }
};

Result<Dot> dot_from(WriterId writer, std::uint64_t number) {
  if (!is_writer_id(writer)) return bad("a writer's name has another form");
  if (number < 1 || number > kNumberMax) return bad("a number is out of range");
  return Dot{std::move(writer), number};
}

Result<std::uint64_t> number_in(const Value& value) {
  if (const auto* n = value.as<std::int64_t>(); n && *n >= 0) return static_cast<std::uint64_t>(*n);
  if (const auto* n = value.as<std::uint64_t>()) return *n;
  return bad("a chunk's row has no number where one belongs");
}

Result<SnapshotRow> row_of(const Value& value, const std::vector<WriterId>& writers) {
  const auto* list = value.as<Value::List>();
  if (!list || list->size() != 6) return bad("a chunk's row has six parts");
  const auto* key = (*list)[0].as<Bytes>();
  const auto* data = (*list)[5].as<Bytes>();
  TRY(const auto place, number_in((*list)[1]));
  if (!key || key->empty() || key->size() > kKeySizeMax || !data || data->size() > kValueSizeMax ||
      place >= writers.size())
    return bad("a chunk's row breaks its bounds");
  SnapshotRow row{to_text(*key), {}};
  TRY(const auto number, number_in((*list)[2]));
  TRY(row.version.dot, dot_from(writers[place], number));
  TRY(row.version.height, number_in((*list)[3]));
  if (row.version.height < 1 || row.version.height > kNumberMax)
    return bad("a height is out of range");
  TRY(row.version.tag, number_in((*list)[4]));
  row.version.value = *data;
  return row;
}

}  // namespace

WireLink wire_link(const Link& link) { return {link.cid, link.dot.writer, link.dot.number}; }

WireHead wire_head(const Head& head) {
  return {head.link.cid.to_bytes(), head.link.dot.writer, head.link.dot.number, head.height};
}

std::map<std::string, std::uint64_t> wire_context(const Context& context) {
  std::map<std::string, std::uint64_t> out;
  for (const auto& [writer, number] : context.all()) out.emplace(writer.str(), number);
  return out;
}

Result<std::vector<Link>> links_from(const std::vector<WireLink>& links, std::size_t at_most) {
  if (links.size() > at_most) return bad("more than " + std::to_string(at_most) + " links");
  std::vector<Link> out;
  for (const auto& link : links) {
    TRY(Dot dot, dot_from(link.writer, link.number));
    out.push_back({link.cid, std::move(dot)});
  }
  return out;
}

Result<std::vector<Head>> heads_from(const std::vector<WireHead>& heads) {
  if (heads.size() > kHeadsMax) return bad("too many heads");
  std::vector<Head> out;
  for (const auto& head : heads) {
    TRY(const auto cid, codec::Cid::from_bytes(head.cid));
    TRY(Dot dot, dot_from(head.writer, head.number));
    if (head.height < 1 || head.height > kNumberMax) return bad("a height is out of range");
    out.push_back({{cid, std::move(dot)}, head.height});
  }
  return out;
}

Result<Context> context_from(const std::map<std::string, std::uint64_t>& context) {
  if (context.size() > kWritersMax) return bad("a context has too many writers");
  Context out;
  for (const auto& [writer, number] : context) {
    TRY(const Dot dot, dot_from(WriterId(writer), number));
    out.add(dot);
  }
  return out;
}

Result<Announcement> decode_announcement(BytesView data) {
  TRY(Announcement announcement, codec::from_cbor<Announcement>(data));
  TRY_STATUS(links_from(announcement.heads, kAnnouncedHeadsMax));
  if (announcement.blocks.size() > kAnnouncedBlocksMax) return bad("too many blocks");
  return announcement;
}

Bytes encode_chunk(const std::vector<SnapshotRow>& rows) {
  Chunk chunk;
  std::map<WriterId, std::uint64_t> places;
  for (const auto& row : rows) {
    const auto [it, added] = places.try_emplace(row.version.dot.writer, places.size());
    if (added) chunk.writers.push_back(row.version.dot.writer);
    Value::List list;
    list.push_back(Value(to_bytes(row.key)));
    list.push_back(Value::of_unsigned(it->second));
    list.push_back(Value::of_unsigned(row.version.dot.number));
    list.push_back(Value::of_unsigned(row.version.height));
    list.push_back(Value::of_unsigned(row.version.tag));
    list.push_back(Value(row.version.value));
    chunk.rows.push_back(Value(std::move(list)));
  }
  return codec::to_cbor(chunk);
}

Result<std::vector<SnapshotRow>> decode_chunk(BytesView data) {
  TRY(const Chunk chunk, codec::from_cbor<Chunk>(data));
  std::vector<SnapshotRow> rows;
  for (const auto& value : chunk.rows) {
    TRY(SnapshotRow row, row_of(value, chunk.writers));
    const auto same_place = [&](const SnapshotRow& last) {
      return row.key == last.key && row.version.dot.writer <= last.version.dot.writer;
    };
    if (!rows.empty() && (row.key < rows.back().key || same_place(rows.back())))
      return bad("a chunk's rows are not in order");
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<SnapshotRoot> decode_snapshot_root(BytesView data) {
  TRY(SnapshotRoot root, codec::from_cbor<SnapshotRoot>(data));
  TRY_STATUS(context_from(root.context));
  TRY_STATUS(heads_from(root.heads));
  return root;
}

Task<Status> write_frame(p2p::Stream& stream, Bytes body) {
  CHECK(body.size() <= kFrameSizeMax);
  const auto size = static_cast<std::uint32_t>(body.size());
  Bytes frame = {static_cast<std::uint8_t>(size >> 24), static_cast<std::uint8_t>(size >> 16),
                 static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
  frame.insert(frame.end(), body.begin(), body.end());
  co_return co_await stream.write(frame);
}

Task<Result<Bytes>> read_frame(p2p::Stream& stream) {
  std::array<std::uint8_t, 4> head{};
  CO_TRY_STATUS(p2p::read_exactly(stream, head));
  const std::size_t size = std::size_t{head[0]} << 24 | std::size_t{head[1]} << 16 |
                           std::size_t{head[2]} << 8 | std::size_t{head[3]};
  if (size > kFrameSizeMax) co_return bad("a frame is larger than 1 MiB");
  Bytes body(size);
  CO_TRY_STATUS(p2p::read_exactly(stream, body));
  co_return body;
}

}  // namespace tau::crdt
