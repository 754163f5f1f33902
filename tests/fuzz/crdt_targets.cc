// What replicas of a map read of one another.
#include "base/check.h"
#include "crdt/delta.h"
#include "crdt/entry.h"
#include "crdt/wire.h"
#include "targets.h"

namespace tau::fuzz {
namespace {

using namespace crdt;

const PeerId kPeer("12D3KooWPeer");
const WriterId kOther("12D3KooWOther.00000000000000ab");

codec::Cid cid_of(std::string_view text) {
  return codec::Cid::of(codec::ContentType::dag_cbor, as_bytes(text));
}

// Below the signature, which no fuzzer guesses.
void crdt_delta(BytesView input) {
  const auto value = codec::decode(input);
  if (!value) return;
  const auto delta = delta_of(*value, kPeer);
  if (!delta) return;
  CHECK(delta->operations.size() <= kOperationsMax && delta->parents.size() <= kParentsMax);
  for (const auto& operation : delta->operations) {
    CHECK(!operation.key.empty() && operation.key.size() <= kKeySizeMax);
    CHECK(operation.removes.size() <= kRemovesMax);
  }
  CHECK(*delta_of(value_of(*delta), kPeer) == *delta);
}

std::vector<Seed> crdt_delta_seeds() {
  Delta first{.map = "test",
              .peer = kPeer,
              .incarnation = 7,
              .number = 1,
              .height = 1,
              .time_unix_ms = 1'700'000'000'000,
              .previous = std::nullopt,
              .parents = {},
              .operations = {{"key", to_bytes("value"), {}}}};
  Delta next = first;
  next.number = 2;
  next.height = 4;
  next.previous = cid_of("previous");
  next.parents = {{cid_of("parent"), {kOther, 9}}};
  next.operations.push_back({"gone", std::nullopt, {{kOther, 4}, {next.dot().writer, 1}}});
  return {{"first", codec::encode(value_of(first))}, {"next", codec::encode(value_of(next))}};
}

// The first byte says what it is read as.
void crdt_wire(BytesView input) {
  if (input.empty()) return;
  const BytesView data = input.subspan(1);
  switch (input[0] % 6) {
    case 0:
      if (const auto announcement = decode_announcement(data)) {
        CHECK(announcement->heads.size() <= kAnnouncedHeadsMax);
        CHECK(announcement->blocks.size() <= kAnnouncedBlocksMax);
        CHECK(decode_announcement(codec::to_cbor(*announcement)));
      }
      break;
    case 1:
      if (const auto rows = decode_chunk(data)) CHECK(*decode_chunk(encode_chunk(*rows)) == *rows);
      break;
    case 2:
      if (const auto root = decode_snapshot_root(data)) {
        CHECK(root->context.size() <= kWritersMax && root->heads.size() <= kHeadsMax);
        CHECK(decode_snapshot_root(codec::to_cbor(*root)));
      }
      break;
    case 3:
      if (const auto entry = decode_entry(data)) {
        CHECK(entry->versions().size() <= kVersionsMax);
        CHECK(*decode_entry(encode(*entry)) == *entry);
      }
      break;
    case 4:
      if (const auto request = codec::from_cbor<SyncRequest>(data))
        if (const auto context = context_from(request->context))
          CHECK(*context_from(wire_context(*context)) == *context);
      break;
    default:
      if (const auto answer = codec::from_cbor<SyncAnswer>(data))
        if (const auto links = links_from(answer->deltas, kListedMax))
          CHECK(links->size() == answer->deltas.size());
      break;
  }
}

std::vector<Seed> crdt_wire_seeds() {
  const auto as = [](std::uint8_t kind, Bytes bytes) {
    bytes.insert(bytes.begin(), kind);
    return bytes;
  };
  const WireLink link{cid_of("head"), kOther, 3};
  Entry entry;
  entry.add({{kOther, 3}, 4, 5, to_bytes("value")});
  return {
      {"announcement", as(0, codec::to_cbor(Announcement{
                                 "test", to_bytes("certificate"), {link}, {Bytes(3, 'x')}}))},
      {"chunk", as(1, encode_chunk({{"key", entry.versions()[0]}}))},
      {"root", as(2, codec::to_cbor(SnapshotRoot{"test",
                                                 {{kOther.str(), 3}},
                                                 {wire_head({{cid_of("head"), {kOther, 3}}, 4})},
                                                 {cid_of("chunk")}}))},
      {"entry", as(3, encode(entry))},
      {"request", as(4, codec::to_cbor(SyncRequest{{{kOther.str(), 3}}, true}))},
      {"answer", as(5, codec::to_cbor(SyncAnswer{{link}, cid_of("snapshot")}))}};
}

}  // namespace

std::vector<Target> crdt_targets() {
  return {{"crdt_delta", crdt_delta, crdt_delta_seeds}, {"crdt_wire", crdt_wire, crdt_wire_seeds}};
}

}  // namespace tau::fuzz
