#include "node/node_api.h"

#include <cmath>

namespace tau::node {
namespace {

using http::Json;

Json of(const p2p::Certificate& certificate) {
  Json out = {{"roles", certificate.roles},
              {"not_before_unix_ms", certificate.not_before_unix_ms},
              {"not_after_unix_ms", certificate.not_after_unix_ms}};
  if (!certificate.host.empty()) out["host"] = certificate.host;
  if (!certificate.region.empty()) out["region"] = certificate.region;
  if (certificate.serial) out["serial"] = *certificate.serial;
  return out;
}

// Coroutines that live as long as a request: the API outlives the server.
Task<Result<Json>> take_revocations(Credentials& credentials, http::Request& request) {
  CO_TRY(const std::string body, request.body.read_all(p2p::kRevocationBytesMax));
  CO_TRY_STATUS(credentials.adopt(to_bytes(body)));
  co_return Json{{"number", credentials.number()}};
}

Task<Result<Json>> take_certificate(Credentials& credentials, http::Request& request) {
  CO_TRY(const std::string body, request.body.read_all(p2p::kCertificateSizeMax));
  CO_TRY(const PeerId taken, credentials.deliver(to_bytes(body)));
  co_return Json{{"renewed", taken.str()}};
}

Task<Result<Json>> answer(Json json) { co_return json; }

}  // namespace

Json entries_of(const p2p::Revocations& list) {
  Json entries = Json::array();
  for (const p2p::Revocation& entry : list.list().entries) {
    Json one = {{"id", entry.peer.str()},
                {"roles", entry.roles},
                {"reason", entry.reason},
                {"since_unix_ms", entry.since_unix_ms}};
    if (entry.serial) one["serial"] = *entry.serial;
    entries.push_back(std::move(one));
  }
  return entries;
}

Json NodeApi::self() const {
  Json out = {{"name", name_},
              {"id", host_.id().str()},
              {"addresses", host_.addresses()},
              {"peers", host_.peers().size()},
              {"now_unix_ms", loop_.wall_unix_ms()},
              {"revocations", credentials_.number()}};
  const auto own = host_.certificate_of(host_.id());
  out["certificate"] = own ? of(*own) : Json(nullptr);  // nothing: expired, or revoked
  return out;
}

Json NodeApi::peers() const {
  Json list = Json::array();
  for (const PeerId& peer : host_.peers()) {
    const auto certificate = host_.certificate_of(peer);
    if (!certificate) continue;
    Json one = of(*certificate);
    one["id"] = peer.str();
    list.push_back(std::move(one));
  }
  return {{"peers", std::move(list)}, {"conduct", conduct()}};
}

Json NodeApi::conduct() const {
  Json list = Json::array();
  for (const auto& entry : host_.conduct().entries()) {
    Json one = {{"id", entry.peer.str()},
                {"score", std::round(entry.score * 10) / 10},
                {"slowed", entry.slowed},
                {"last", entry.last}};
    if (entry.out_until_unix_ms > 0) one["out_until_unix_ms"] = entry.out_until_unix_ms;
    list.push_back(std::move(one));
  }
  return list;
}

Json NodeApi::revocations() const {
  const auto known = credentials_.revocations();
  return {{"number", credentials_.number()},
          {"entries", known ? entries_of(*known) : Json(Json::array())}};
}

void NodeApi::mount(http::Router& router) {
  router.add_json("GET", "/v1/node", [this](http::Request&) { return answer(self()); });
  router.add_json("GET", "/v1/node/peers", [this](http::Request&) { return answer(peers()); });
  router.add_json("GET", "/v1/node/revocations",
                  [this](http::Request&) { return answer(revocations()); });
  router.add_json("POST", "/v1/node/revocations", [this](http::Request& request) {
    return take_revocations(credentials_, request);
  });
  router.add_json("POST", "/v1/node/certificates", [this](http::Request& request) {
    return take_certificate(credentials_, request);
  });
}

}  // namespace tau::node
