#include "content/bitswap_message.h"

#include "codec/protobuf.h"
#include "codec/varint.h"
#include "runtime/loop.h"

namespace tau::content {
namespace {

using codec::Cid;
using codec::ProtobufReader;
using codec::ProtobufWriter;

// Message
constexpr std::uint32_t kWantlist = 1, kPayload = 3, kPresences = 4;
// Wantlist and its entries
constexpr std::uint32_t kEntries = 1, kFull = 2;
constexpr std::uint32_t kCid = 1, kPriority = 2, kCancel = 3, kType = 4, kSendDontHave = 5;
// Block and presence
constexpr std::uint32_t kPrefix = 1, kData = 2, kHaveOrNot = 2;

std::unexpected<Error> wrong(std::string what) {
  return fail(ErrorCode::invalid_argument, "bitswap: " + std::move(what));
}

// version, content type, hash function and hash length: a CID without its digest.
Bytes prefix_of(const Cid& cid) {
  Bytes out;
  codec::put_uvarint(out, static_cast<std::uint64_t>(cid.version()));
  codec::put_uvarint(out, static_cast<std::uint64_t>(cid.type()));
  codec::put_uvarint(out, 0x12);
  codec::put_uvarint(out, 32);
  return out;
}

Status read_entry(BytesView bytes, BitswapMessage& out) {
  WantEntry entry;
  BytesView raw;
  for (ProtobufReader in(bytes); !in.done();) {
    TRY(const auto field, in.next());
    switch (field.number) {
      case kCid: {
        TRY(raw, field.as_data());
        break;
      }
      case kCancel:
        entry.cancel = field.value != 0;
        break;
      case kType:
        entry.type = field.value == 1 ? WantEntry::Type::have : WantEntry::Type::block;
        break;
      case kSendDontHave:
        entry.send_dont_have = field.value != 0;
        break;
      default:  // priority: every want of a peer is answered in its order
        break;
    }
  }
  auto cid = Cid::from_bytes(raw);
  if (cid) {
    entry.cid = *cid;
    out.wants.push_back(entry);
  } else if (entry.send_dont_have && !entry.cancel && raw.size() <= 128) {
    out.unknown_wants.push_back(to_bytes(raw));
  }
  if (out.wants.size() + out.unknown_wants.size() > kWantsPerMessageMax)
    return wrong("more than " + std::to_string(kWantsPerMessageMax) + " wants in one message");
  return {};
}

Status read_wantlist(BytesView bytes, BitswapMessage& out) {
  for (ProtobufReader in(bytes); !in.done();) {
    TRY(const auto field, in.next());
    if (field.number == kEntries) {
      TRY(const auto entry, field.as_data());
      TRY_STATUS(read_entry(entry, out));
    } else if (field.number == kFull) {
      out.full = field.value != 0;
    }
  }
  return {};
}

Status read_block(BytesView bytes, BitswapMessage& out) {
  BytesView prefix, data;
  for (ProtobufReader in(bytes); !in.done();) {
    TRY(const auto field, in.next());
    if (field.number == kPrefix) {
      TRY(prefix, field.as_data());
    } else if (field.number == kData) {
      TRY(data, field.as_data());
    }
  }
  if (data.size() > store::kBlockSizeMax)
    return wrong("a block has " + std::to_string(data.size()) + " bytes; at most " +
                 std::to_string(store::kBlockSizeMax) + " are exchanged");
  TRY(const auto version, codec::take_uvarint(prefix));
  TRY(const auto type, codec::take_uvarint(prefix));
  TRY(const auto hash, codec::take_uvarint(prefix));
  if (version > 1 || hash != 0x12) return wrong("a block's CID would not be of sha2-256");
  const Cid cid = Cid::of(static_cast<codec::ContentType>(type), data);
  out.blocks.push_back({cid, to_bytes(data)});
  return {};
}

Status read_presence(BytesView bytes, BitswapMessage& out) {
  BitswapMessage::Presence presence{{}, true};
  for (ProtobufReader in(bytes); !in.done();) {
    TRY(const auto field, in.next());
    if (field.number == kCid) {
      TRY(const auto raw, field.as_data());
      presence.cid = to_bytes(raw);
    } else if (field.number == kHaveOrNot) {
      presence.have = field.value == 0;
    }
  }
  out.presences.push_back(std::move(presence));
  if (out.presences.size() > kWantsPerMessageMax)
    return wrong("more than " + std::to_string(kWantsPerMessageMax) + " presences in one message");
  return {};
}

}  // namespace

Bytes encode_bitswap(const BitswapMessage& message) {
  ProtobufWriter out;
  if (!message.wants.empty() || message.full) {
    ProtobufWriter list;
    for (const auto& want : message.wants) {
      ProtobufWriter entry;
      entry.bytes(kCid, want.cid.to_bytes());
      if (!want.cancel) entry.varint(kPriority, 1);
      if (want.cancel) entry.varint(kCancel, 1);
      if (want.type == WantEntry::Type::have) entry.varint(kType, 1);
      if (want.send_dont_have) entry.varint(kSendDontHave, 1);
      list.bytes(kEntries, entry.view());
    }
    if (message.full) list.varint(kFull, 1);
    out.bytes(kWantlist, list.view());
  }
  for (const auto& block : message.blocks) {
    ProtobufWriter inner;
    inner.bytes(kPrefix, prefix_of(block.cid)).bytes(kData, block.data);
    out.bytes(kPayload, inner.view());
  }
  for (const auto& presence : message.presences) {
    ProtobufWriter inner;
    inner.bytes(kCid, presence.cid);
    if (!presence.have) inner.varint(kHaveOrNot, 1);
    out.bytes(kPresences, inner.view());
  }
  return out.take();
}

Result<BitswapMessage> decode_bitswap(BytesView bytes) {
  BitswapMessage message;
  for (ProtobufReader in(bytes); !in.done();) {
    TRY(const auto field, in.next());
    if (field.number != kWantlist && field.number != kPayload && field.number != kPresences)
      continue;  // bare blocks of version 1.0, pending bytes
    TRY(const auto data, field.as_data());
    if (field.number == kWantlist) TRY_STATUS(read_wantlist(data, message));
    if (field.number == kPayload) TRY_STATUS(read_block(data, message));
    if (field.number == kPresences) TRY_STATUS(read_presence(data, message));
  }
  return message;
}

Task<Status> write_bitswap(p2p::Stream& stream, BitswapMessage message) {
  const Bytes body = encode_bitswap(message);
  if (body.size() > kBitswapMessageMax)
    co_return wrong("a message of " + std::to_string(body.size()) + " bytes is too long to send");
  Bytes framed;
  framed.reserve(body.size() + 4);
  codec::put_uvarint(framed, body.size());
  framed.insert(framed.end(), body.begin(), body.end());
  co_return co_await stream.write(framed);
}

namespace {

Task<Result<Bytes>> read_body(p2p::Stream& stream, std::uint8_t first) {
  Bytes head = {first};
  while (head.back() & 0x80) {
    if (head.size() == 4) co_return wrong("a message is longer than 4 MiB");
    head.push_back(0);
    CO_TRY_STATUS(p2p::read_exactly(stream, std::span(head).last(1)));
  }
  BytesView in = head;
  CO_TRY_SYNC(const auto length, codec::take_uvarint(in));
  if (length > kBitswapMessageMax) co_return wrong("a message is longer than 4 MiB");
  // Grows with what arrives, so that an announced length alone costs nothing.
  Bytes body;
  while (body.size() < length) {
    const std::size_t had = body.size();
    body.resize(std::min<std::size_t>(length, had + std::max<std::size_t>(had, 64u << 10)));
    CO_TRY_STATUS(p2p::read_exactly(stream, std::span(body).subspan(had)));
  }
  co_return body;
}

}  // namespace

Task<Result<std::optional<Bytes>>> read_bitswap(p2p::Stream& stream, Duration body_limit) {
  std::uint8_t first = 0;
  CO_TRY(const auto n, stream.read({&first, 1}));
  if (n == 0) co_return std::optional<Bytes>();
  CO_TRY(auto body,
         runtime::with_deadline(body_limit, "reading a bitswap message", read_body(stream, first)));
  co_return std::optional<Bytes>(std::move(body));
}

}  // namespace tau::content
