#include "guest/http_event/url_text.h"

#include <algorithm>
#include <cstddef>

namespace tau::guest {
namespace {

// A query of a request line of 16 KiB cannot need more; the rest is ignored.
constexpr std::size_t kQueryPairsMax = 1024;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 3986, 3.1, up to the colon.
bool has_scheme(std::string_view url) {
  for (std::size_t i = 0; i < url.size(); ++i) {
    const char c = url[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool later = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
    if (c == ':') return i > 0;
    if (!letter && !(later && i > 0)) return false;
  }
  return false;
}

// "/a/./b/../c" -> "/a/c"; the path begins with '/'.
std::string clean_path(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    at = end + 1;
  }
  std::string out;
  for (std::string_view part : parts) out.append("/").append(part);
  if (out.empty() || path.ends_with('/')) out += '/';
  return out;
}

std::string escape_non_ascii(std::string_view url) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : url) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) {
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

bool percent_decode(std::string_view text, char plus, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (text.size() - i < 3) return false;
      const int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return false;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' ? plus : text[i];
    }
  }
  return true;
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty() && pairs.size() < kQueryPairsMax) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.empty() || pair.contains(';')) continue;
    const std::size_t equals = pair.find('=');
    const std::string_view raw_value =
        equals == pair.npos ? std::string_view() : pair.substr(equals + 1);
    std::string key, value;
    if (percent_decode(pair.substr(0, equals), ' ', key) && percent_decode(raw_value, ' ', value)) {
      pairs.emplace_back(std::move(key), std::move(value));
    }
  }
  return pairs;
}

std::string redirect_location(std::string_view url, std::string_view request_path) {
  const bool has_host = url.size() > 2 && url.starts_with("//") && url[2] != '/';
  if (has_scheme(url) || has_host) return escape_non_ascii(url);
  std::string full(url);
  if (!url.starts_with('/')) {
    const std::string_view base = request_path.empty() ? "/" : request_path;
    full.insert(0, base.substr(0, base.rfind('/') + 1));
    if (!full.starts_with('/')) full.insert(0, "/");
  }
  const std::size_t query = std::min(full.find('?'), full.size());
  return escape_non_ascii(clean_path(std::string_view(full).substr(0, query)) + full.substr(query));
}

std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace tau::guest
