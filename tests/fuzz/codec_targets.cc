// Values, links and blocks.
#include <algorithm>

#include "base/check.h"
#include "base/hex.h"
#include "codec/base64.h"
#include "codec/cid.h"
#include "codec/dag_cbor.h"
#include "codec/dag_pb.h"
#include "codec/multibase.h"
#include "codec/peer_id.h"
#include "codec/varint.h"
#include "targets.h"

namespace tau::fuzz {
namespace {

const codec::Cid kRaw = codec::Cid::of(codec::ContentType::raw, as_bytes("hello"));

// One value has one encoding, so what is accepted is what we would have written.
void dag_cbor(BytesView input) {
  const auto value = codec::decode(input);
  if (!value) return;
  const Bytes again = codec::encode(*value);
  CHECK(std::ranges::equal(again, input));
  CHECK(*codec::decode(again) == *value);
}

std::vector<Seed> dag_cbor_seeds() {
  codec::Value::Map inner;
  inner.emplace("link", codec::Value(kRaw));
  inner.emplace("list", codec::Value(codec::Value::List{
                            codec::Value(std::int64_t{-1}), codec::Value::of_unsigned(~0ull),
                            codec::Value(1.5), codec::Value(true), codec::Value()}));
  codec::Value::Map map;
  map.emplace("bytes", codec::Value(Bytes{1, 2, 3}));
  map.emplace("inner", codec::Value(std::move(inner)));
  map.emplace("text", codec::Value(std::string("\u00fcber")));
  codec::Value deep;
  for (int i = 0; i < codec::kCborDepthMax + 1; ++i)
    deep = codec::Value(codec::Value::List{std::move(deep)});
  return {{"map", codec::encode(codec::Value(std::move(map)))}, {"deep", codec::encode(deep)}};
}

void cid(BytesView input) {
  const std::string_view text = as_text(input);
  for (const auto& parsed : {codec::Cid::parse(text), codec::Cid::from_bytes(input)}) {
    if (!parsed) continue;
    CHECK(parsed->valid());
    CHECK(*codec::Cid::parse(parsed->to_string()) == *parsed);
    CHECK(*codec::Cid::from_bytes(parsed->to_bytes()) == *parsed);
  }
  BytesView rest = input;
  if (codec::Cid::take_from(rest)) CHECK(rest.size() < input.size());
  if (const auto bytes = codec::base58btc_decode(text))
    CHECK(codec::base58btc_encode(*bytes) == text);
  if (const auto bytes = codec::base32_decode(text)) CHECK(codec::base32_encode(*bytes) == text);
  if (const auto bytes = codec::base64_decode(text)) CHECK(codec::base64_encode(*bytes) == text);
  if (const auto bytes = from_hex(text)) CHECK(bytes->size() * 2 == text.size());
  if (const auto key = codec::public_key_of(PeerId(std::string(text))))
    CHECK(codec::peer_id_of(*key).str() == text);
  rest = input;
  if (const auto number = codec::take_uvarint(rest)) {
    Bytes again;
    codec::put_uvarint(again, *number);
    CHECK(std::ranges::equal(again, input.first(input.size() - rest.size())));
  }
}

std::vector<Seed> cid_seeds() {
  const auto key = *crypto::KeyPair::from_seed(Bytes(32, 7));
  return {{"text", to_bytes(kRaw.to_string())},
          {"bytes", kRaw.to_bytes()},
          {"base58", to_bytes("z" + codec::base58btc_encode(kRaw.to_bytes()))},
          {"version0", to_bytes("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG")},
          {"base64", to_bytes(codec::base64_encode(kRaw.to_bytes()))},
          {"peer", to_bytes(codec::peer_id_of(key.public_key()).str())}};
}

void dag_pb(BytesView input) {
  if (const auto node = codec::decode_dag_pb(input))
    CHECK(*codec::decode_dag_pb(codec::encode_dag_pb(*node)) == *node);
  if (const auto data = codec::decode_unixfs(input))
    CHECK(*codec::decode_unixfs(codec::encode_unixfs(*data)) == *data);
}

std::vector<Seed> dag_pb_seeds() {
  const codec::UnixFsData file{codec::UnixFsData::Kind::file, Bytes{'h', 'i'}, 2, {1, 1}};
  const codec::PbNode node{{{kRaw, "a", 5}, {kRaw, std::nullopt, std::nullopt}},
                           codec::encode_unixfs(file)};
  return {{"node", codec::encode_dag_pb(node)}, {"unixfs", codec::encode_unixfs(file)}};
}

}  // namespace

std::vector<Target> codec_targets() {
  return {{"dag_cbor", dag_cbor, dag_cbor_seeds},
          {"cid", cid, cid_seeds},
          {"dag_pb", dag_pb, dag_pb_seeds}};
}

}  // namespace tau::fuzz
