#include "guest/http_event/exchange.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/http_event/content_type.h"
#include "guest/http_event/url_text.h"
#include "http/message.h"

namespace tau::guest {
namespace {

using namespace std::literals;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

// RFC 9110, 5.6.2.
bool is_token(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           "!#$%&'*+-.^_`|~"sv.contains(c);
  });
}

// "content-type" -> "Content-Type", as Go writes names.
std::string canonical_name(std::string_view name) {
  std::string out(name);
  bool first = true;
  for (char& c : out) {
    c = lower(c);
    if (first && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    first = c == '-';
  }
  return out;
}

// How the message is framed is the server's business: a guest that could say it could smuggle a
// second answer.
bool is_framing(std::string_view name) {
  static constexpr std::array kFraming = {
      "Content-Length"sv, "Transfer-Encoding"sv, "Connection"sv,      "Keep-Alive"sv,
      "Trailer"sv,        "Upgrade"sv,           "Proxy-Connection"sv};
  return std::ranges::find(kFraming, name) != kFraming.end();
}

}  // namespace

std::string_view HttpExchange::header(std::string_view name) const {
  if (same_name(name, "Host")) return {};
  for (const HttpHeaderView& h : request_.headers) {
    if (same_name(h.name, name)) return h.value;
  }
  return {};
}

const std::string& HttpExchange::header_names() {
  if (!header_names_) {
    std::vector<std::string> names;
    for (const HttpHeaderView& h : request_.headers) {
      std::string name = canonical_name(h.name);
      if (name != "Host" && std::ranges::find(names, name) == names.end()) {
        names.push_back(std::move(name));
      }
    }
    header_names_.emplace();
    for (const std::string& name : names) header_names_->append(name).push_back('\0');
  }
  return *header_names_;
}

const HttpExchange::Query& HttpExchange::query() {
  if (!query_) {
    query_.emplace();
    for (auto& [key, value] : parse_query(request_.query)) {
      const bool known =
          std::ranges::any_of(query_->values, [&](const auto& kv) { return kv.first == key; });
      if (known) continue;  // only the first value can be asked for
      query_->names.append(key).push_back('\0');
      query_->values.emplace_back(std::move(key), std::move(value));
    }
  }
  return *query_;
}

std::string_view HttpExchange::query_value(std::string_view key) {
  for (const auto& [k, v] : query().values) {
    if (k == key) return v;
  }
  return {};
}

const std::string& HttpExchange::query_names() { return query().names; }

std::pair<Error, std::size_t> HttpExchange::read_body(std::span<std::uint8_t> out) {
  if (body_closed_) return {Error::http_read_body, 0};
  const std::size_t count = std::min(out.size(), request_.body.size() - body_read_);
  if (count > 0) std::memcpy(out.data(), request_.body.data() + body_read_, count);
  body_read_ += count;
  return {body_read_ == request_.body.size() ? Error::eof : Error::none, count};
}

bool HttpExchange::has_header(std::string_view name) const {
  return std::ranges::any_of(headers_, [&](const HttpHeader& h) { return h.name == name; });
}

bool HttpExchange::body_allowed() const { return status_ != 204 && status_ != 304; }

Error HttpExchange::add_header(std::string_view name, std::string_view value) {
  // Where Go would leave a header out, so do we: after the commit, and with a name that no answer
  // can carry.
  if (committed() || !is_token(name)) return Error::none;
  std::string canonical = canonical_name(name);
  if (is_framing(canonical)) return Error::none;
  if (headers_.size() >= limits_.headers_max ||
      name.size() + value.size() > limits_.header_bytes_max - header_bytes_) {
    return Error::http_write;
  }
  header_bytes_ += name.size() + value.size();
  std::string clean(value);
  for (char& c : clean) {
    // A line break would begin the next header. Other control characters are refused by strict
    // clients (RFC 9110, 5.5).
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F) c = ' ';
  }
  headers_.push_back({std::move(canonical), std::move(clean)});
  return Error::none;
}

Error HttpExchange::set_status(std::uint32_t code) {
  // 101 would hand the connection over to a protocol that a guest cannot speak.
  if (code < 100 || code > 999 || code == 101) return Error::http_write;
  const bool interim = code < 200;  // informs and commits nothing
  if (!committed() && !interim) status_ = static_cast<int>(code);
  return Error::none;
}

std::pair<Error, std::size_t> HttpExchange::write(std::string_view bytes) {
  if (!committed()) status_ = 200;
  if (bytes.empty()) return {Error::none, 0};
  if (!body_allowed()) return {Error::http_write, 0};
  if (body_.empty() && !has_header("Content-Type") && !has_header("Content-Encoding")) {
    headers_.push_back({"Content-Type", std::string(sniff_content_type(bytes))});
  }
  const std::size_t count = std::min(bytes.size(), limits_.body_bytes_max - body_.size());
  body_.append(bytes.substr(0, count));
  return {count == bytes.size() ? Error::none : Error::http_write, count};
}

Error HttpExchange::flush() {
  if (!committed()) status_ = 200;
  return Error::none;
}

Error HttpExchange::redirect(std::string_view url, std::uint32_t code) {
  if (code < 100 || code > 999 || code == 101) return Error::http_write;
  const std::string location = redirect_location(url, request_.path);
  const bool own_type = has_header("Content-Type");
  const bool reads = request_.method == "GET" || request_.method == "HEAD";
  if (const Error e = add_header("Location", location); e != Error::none) return e;
  if (!own_type && reads) (void)add_header("Content-Type", "text/html; charset=utf-8");
  if (const Error e = set_status(code); e != Error::none) return e;
  if (own_type || request_.method != "GET" || !body_allowed()) return Error::none;
  std::string page = "<a href=\"" + html_escape(location) + "\">";
  page.append(http::reason_of(static_cast<int>(code))).append("</a>.\n\n");
  return write(page).first;
}

}  // namespace tau::guest
