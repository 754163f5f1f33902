#include "node/names_api.h"

#include <charconv>

#include "services/tns/listing.h"

namespace tau::node {
namespace {

using http::Json;

std::string text_of(const http::Request& request, std::string_view name) {
  return http::query_value(request.query, name).value_or("");
}

Result<std::size_t> limit_of(const http::Request& request) {
  const auto text = text_of(request, "limit");
  std::size_t limit = tns::NamesQuestion().limit;
  if (text.empty()) return limit;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || limit == 0 ||
      limit > tns::kListedMax)
    return fail(ErrorCode::invalid_argument,
                "a page has 1 to " + std::to_string(tns::kListedMax) + " entries");
  return limit;
}

template <class Item>
Json page_of(const tns::StalePage<Item>& page, const char* what, Json items) {
  Json out = {{what, std::move(items)}, {"next", nullptr}, {"stale_ms", nullptr}};
  if (!page.next.empty()) out["next"] = page.next;
  if (page.age) out["stale_ms"] = std::chrono::ceil<std::chrono::milliseconds>(*page.age).count();
  return out;
}

Task<Result<Json>> names(command::Caller& caller, http::Request& request) {
  CO_TRY_SYNC(const std::size_t limit, limit_of(request));
  CO_TRY(const auto page,
         tns::list_names(caller, {text_of(request, "prefix"), text_of(request, "suffix"),
                                  text_of(request, "cursor"), limit}));
  Json items = Json::array();
  for (const auto& one : page.items)
    items.push_back({{"name", one.name}, {"project", one.project.str()}});
  co_return page_of(page, "names", std::move(items));
}

Task<Result<Json>> pointers(command::Caller& caller, http::Request& request) {
  CO_TRY_SYNC(const std::size_t limit, limit_of(request));
  CO_TRY(const auto page, tns::list_pointers(caller, {ProjectId(text_of(request, "project")),
                                                      text_of(request, "prefix"),
                                                      text_of(request, "cursor"), limit}));
  Json items = Json::array();
  for (const auto& one : page.items) {
    Json item = {
        {"branch", one.branch}, {"seq", one.seq},  {"deployment", one.deployment.to_string()},
        {"hosts", one.hosts},   {"host", nullptr}, {"moved_unix_ms", one.moved_unix_ms}};
    if (one.host) item["host"] = *one.host;
    items.push_back(std::move(item));
  }
  co_return page_of(page, "pointers", std::move(items));
}

}  // namespace

void NamesApi::mount(http::Router& router) {
  router.add_json("GET", "/v1/node/names",
                  [this](http::Request& request) { return names(caller_, request); });
  router.add_json("GET", "/v1/node/pointers",
                  [this](http::Request& request) { return pointers(caller_, request); });
}

}  // namespace tau::node
