#include "crdt/delta.h"

#include <set>

#include "codec/record.h"
#include "codec/signed.h"

namespace tau::crdt {
namespace {

using codec::Value;

constexpr std::string_view kPurpose = "tau crdt delta v1";
// Nodes of one network that write; each a few hundred bytes.
constexpr std::size_t kCertificatesMax = 1024;

struct Envelope {
  Value delta;
  Bytes signature, certificate;
  static constexpr auto fields() {
    return std::tuple{codec::field("delta", &Envelope::delta),
                      codec::field("signature", &Envelope::signature),
                      codec::field("certificate", &Envelope::certificate)};
  }
};

// Dots name their writers by place in a table: 0 is the delta's own writer.
struct Body {
  std::string map;
  std::uint64_t incarnation = 0, number = 0, height = 0;
  std::int64_t time_unix_ms = 0;
  std::vector<WriterId> writers;
  std::optional<codec::Cid> previous;
  std::vector<Value> parents;     // [link, writer, number]
  std::vector<Value> operations;  // [key, value or null, [writer, number, …]]
  static constexpr auto fields() {
    return std::tuple{codec::field("map", &Body::map),
                      codec::field("incarnation", &Body::incarnation),
                      codec::field("number", &Body::number),
                      codec::field("height", &Body::height),
                      codec::field("time", &Body::time_unix_ms),
                      codec::field("writers", &Body::writers),
                      codec::field("previous", &Body::previous),
                      codec::field("parents", &Body::parents),
                      codec::field("operations", &Body::operations)};
  }
};

std::unexpected<Error> bad(std::string why) {
  return fail(ErrorCode::invalid_argument, "delta: " + std::move(why));
}

Status in_range(std::uint64_t n, const char* what) {
  if (n >= 1 && n <= kNumberMax) return {};
  return bad(std::string(what) + " is not between 1 and 2^53");
}

Status check_bounds(const Delta& delta) {
  TRY_STATUS(in_range(delta.number, "number"));
  TRY_STATUS(in_range(delta.height, "height"));
  if (delta.previous.has_value() != (delta.number > 1))
    return bad("only the first one of a writer has no previous one");
  if (delta.parents.size() > kParentsMax) return bad("too many parents");
  std::set<codec::Cid> parents;
  for (const auto& parent : delta.parents) {
    TRY_STATUS(in_range(parent.dot.number, "a parent's number"));
    if (!parents.insert(parent.cid).second) return bad("a parent twice");
  }
  if (delta.operations.empty() || delta.operations.size() > kOperationsMax)
    return bad("no operation, or more than " + std::to_string(kOperationsMax));
  std::set<std::string_view> keys;
  for (const auto& operation : delta.operations) {
    if (operation.key.empty() || operation.key.size() > kKeySizeMax)
      return bad("a key has 1 to " + std::to_string(kKeySizeMax) + " bytes");
    if (operation.value && operation.value->size() > kValueSizeMax)
      return bad("a value has at most " + std::to_string(kValueSizeMax) + " bytes");
    if (operation.removes.size() > kRemovesMax) return bad("too many versions are removed");
    if (!operation.value && operation.removes.empty()) return bad("an operation does nothing");
    if (!keys.insert(operation.key).second) return bad("a key twice");
    for (const auto& dot : operation.removes)
      TRY_STATUS(in_range(dot.number, "a version's number"));
  }
  return {};
}

class WriterTable {
 public:
  explicit WriterTable(WriterId own) { place_.emplace(std::move(own), 0); }
  std::uint64_t place(const WriterId& writer) {
    const auto [it, added] = place_.try_emplace(writer, place_.size());
    if (added) others.push_back(writer);
    return it->second;
  }
  std::vector<WriterId> others;

 private:
  std::map<WriterId, std::uint64_t> place_;
};

const Value* at(const Value::List& list, std::size_t i) {
  return i < list.size() ? &list[i] : nullptr;
}

Result<Dot> dot_at(const Value::List& list, std::size_t i, const std::vector<WriterId>& writers) {
  const Value* place = at(list, i);
  const Value* number = at(list, i + 1);
  const auto* p = place ? place->as<std::int64_t>() : nullptr;
  const auto* n = number ? number->as<std::int64_t>() : nullptr;
  if (!p || !n || *p < 0 || static_cast<std::uint64_t>(*p) >= writers.size() || *n < 1)
    return bad("a version is the place of a writer and a number");
  return Dot{writers[static_cast<std::size_t>(*p)], static_cast<std::uint64_t>(*n)};
}

Result<Operation> operation_of(const Value& value, const std::vector<WriterId>& writers) {
  const auto* list = value.as<Value::List>();
  if (!list || list->size() != 3) return bad("an operation is a key, a value and versions");
  const auto* key = (*list)[0].as<Bytes>();
  const auto* put = (*list)[1].as<Bytes>();
  const auto* removes = (*list)[2].as<Value::List>();
  if (!key || !removes || (!put && !(*list)[1].as<Value::Null>()))
    return bad("an operation is a key, a value and versions");
  Operation out;
  out.key = to_text(*key);
  if (put) out.value = *put;
  if (removes->size() % 2 != 0 || removes->size() > 2 * kRemovesMax)
    return bad("versions come in pairs, a bounded number");
  for (std::size_t i = 0; i < removes->size(); i += 2) {
    TRY(Dot dot, dot_at(*removes, i, writers));
    out.removes.push_back(std::move(dot));
  }
  return out;
}

}  // namespace

WriterId writer_id_of(const PeerId& peer, std::uint64_t incarnation) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = peer.str() + '.';
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(incarnation >> shift) & 15];
  return WriterId(std::move(text));
}

bool is_writer_id(const WriterId& writer) {
  const std::string& text = writer.str();
  const auto point = text.find('.');
  return text.size() <= 80 && point != std::string::npos && point > 0 &&
         text.size() == point + 17 &&
         text.find_first_not_of("0123456789abcdef", point + 1) == std::string::npos;
}

Value value_of(const Delta& delta) {
  WriterTable table(delta.dot().writer);
  const auto number = [](std::uint64_t n) { return Value::of_unsigned(n); };
  Body body{.map = delta.map,
            .incarnation = delta.incarnation,
            .number = delta.number,
            .height = delta.height,
            .time_unix_ms = delta.time_unix_ms,
            .writers = {},
            .previous = delta.previous,
            .parents = {},
            .operations = {}};
  for (const auto& parent : delta.parents) {
    Value::List item;
    item.push_back(Value(parent.cid));
    item.push_back(number(table.place(parent.dot.writer)));
    item.push_back(number(parent.dot.number));
    body.parents.push_back(Value(std::move(item)));
  }
  for (const auto& operation : delta.operations) {
    Value::List removes, item;
    for (const auto& dot : operation.removes) {
      removes.push_back(number(table.place(dot.writer)));
      removes.push_back(number(dot.number));
    }
    item.push_back(Value(to_bytes(operation.key)));
    item.push_back(operation.value ? Value(*operation.value) : Value());
    item.push_back(Value(std::move(removes)));
    body.operations.push_back(Value(std::move(item)));
  }
  body.writers = std::move(table.others);
  return codec::to_value(body);
}

Result<Delta> delta_of(const Value& value, const PeerId& peer) {
  TRY(Body body, codec::from_value<Body>(value));
  Delta delta{.map = std::move(body.map),
              .peer = peer,
              .incarnation = body.incarnation,
              .number = body.number,
              .height = body.height,
              .time_unix_ms = body.time_unix_ms,
              .previous = body.previous,
              .parents = {},
              .operations = {}};
  for (const auto& writer : body.writers)
    if (!is_writer_id(writer)) return bad("a writer's name has another form");
  body.writers.insert(body.writers.begin(), delta.dot().writer);
  for (const auto& item : body.parents) {
    const auto* list = item.as<Value::List>();
    const auto* cid = list && list->size() == 3 ? (*list)[0].as<codec::Cid>() : nullptr;
    if (!cid) return bad("a parent is a link and its version");
    TRY(Dot dot, dot_at(*list, 1, body.writers));
    delta.parents.push_back({*cid, std::move(dot)});
  }
  for (const auto& item : body.operations) {
    TRY(Operation operation, operation_of(item, body.writers));
    delta.operations.push_back(std::move(operation));
  }
  TRY_STATUS(check_bounds(delta));
  return delta;
}

Result<SealedDelta> seal(const p2p::NodeIdentity& identity, Delta delta) {
  delta.peer = identity.id();
  TRY_STATUS(check_bounds(delta));
  Value body = value_of(delta);
  const codec::Signed item = codec::sign_bytes(identity.key(), kPurpose, codec::encode(body));
  Bytes block = codec::to_cbor(Envelope{std::move(body), item.signature, identity.certificate()});
  if (block.size() > kDeltaSizeMax)
    return bad("of " + std::to_string(block.size()) + " bytes; at most " +
               std::to_string(kDeltaSizeMax) + " may be: write less at once");
  const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, block);
  return SealedDelta{cid, std::move(block), std::move(delta)};
}

Result<p2p::Certificate> DeltaReader::certificate(const Bytes& bytes, std::int64_t at_unix_ms) {
  auto it = certificates_.find(bytes);
  if (it == certificates_.end()) {
    if (bytes.size() > p2p::kCertificateSizeMax) return bad("its certificate is too long");
    TRY(const auto item, codec::from_cbor<codec::Signed>(bytes));
    TRY(const auto claimed, codec::from_cbor<p2p::Certificate>(item.body));
    TRY(p2p::Certificate opened, admission_.open(claimed.peer, bytes));
    if (certificates_.size() >= kCertificatesMax) certificates_.clear();
    it = certificates_.insert_or_assign(bytes, std::move(opened)).first;
  }
  const p2p::Certificate& found = it->second;
  if (at_unix_ms >= found.not_before_unix_ms && at_unix_ms < found.not_after_unix_ms) return found;
  return fail(ErrorCode::permission_denied,
              "the certificate of " + found.peer.str() + " is not valid at the time of the delta");
}

Result<SealedDelta> DeltaReader::open(const codec::Cid& cid, Bytes block) {
  if (block.size() > kDeltaSizeMax) return bad("larger than " + std::to_string(kDeltaSizeMax));
  if (cid.type() != codec::ContentType::dag_cbor) return bad("is no DAG-CBOR");
  TRY(Envelope envelope, codec::from_cbor<Envelope>(block));
  const auto* map = envelope.delta.as<Value::Map>();
  const auto time = map ? map->find(std::string_view("time")) : Value::Map::const_iterator{};
  const auto* at = map && time != map->end() ? time->second.as<std::int64_t>() : nullptr;
  if (!at) return bad("has no time");
  TRY(const p2p::Certificate who, certificate(envelope.certificate, *at));
  if (!who.has_role(role_))
    return fail(ErrorCode::permission_denied,
                "node " + who.peer.str() + " wrote to " + map_ + " without the role " + role_);
  TRY(const auto key, codec::public_key_of(who.peer));
  // One value has one encoding, so what was signed is what was read.
  const codec::Signed item{codec::encode(envelope.delta), std::move(envelope.signature)};
  TRY_STATUS(codec::check_signature(key, kPurpose, item));
  TRY(Delta delta, delta_of(envelope.delta, who.peer));
  if (delta.map != map_) return bad("is of another map");
  return SealedDelta{cid, std::move(block), std::move(delta)};
}

}  // namespace tau::crdt
