#include "content/dag.h"

#include "codec/dag_cbor.h"
#include "codec/dag_pb.h"

namespace tau::content {
namespace {

using codec::Cid;
using codec::Value;

// As deep as the decoder allows, codec::kCborDepthMax.
void collect(const Value& value, std::vector<Cid>& out) {
  if (const auto* link = value.as<Cid>()) {
    out.push_back(*link);
  } else if (const auto* list = value.as<Value::List>()) {
    for (const auto& item : *list) collect(item, out);
  } else if (const auto* map = value.as<Value::Map>()) {
    for (const auto& [key, item] : *map) collect(item, out);
  }
}

Result<std::vector<Cid>> decoded_links(const Cid& cid, BytesView data) {
  std::vector<Cid> links;
  switch (cid.type()) {
    case codec::ContentType::raw:
      return links;
    case codec::ContentType::dag_pb: {
      TRY(const auto node, codec::decode_dag_pb(data));
      for (const auto& link : node.links) links.push_back(link.cid);
      return links;
    }
    case codec::ContentType::dag_cbor: {
      TRY(const auto value, codec::decode(data));
      collect(value, links);
      return links;
    }
    case codec::ContentType::libp2p_key:
    case codec::ContentType::dag_json:
      break;
  }
  return fail(ErrorCode::unimplemented, "links are read from raw, dag-pb and dag-cbor only");
}

}  // namespace

Result<std::vector<Cid>> links_of(const Cid& cid, BytesView data) {
  auto links = decoded_links(cid, data);
  if (!links) return fail(std::move(links).error().context("block " + cid.to_string()));
  return links;
}

}  // namespace tau::content
