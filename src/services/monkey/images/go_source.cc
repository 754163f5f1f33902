#include "services/monkey/images/go_source.h"

#include <algorithm>

namespace tau::monkey {
namespace {

constexpr std::size_t kNamesMax = 6000;

// Where a token that begins at `at` ends. Comments were skipped by the caller.
std::size_t token_end(std::string_view text, std::size_t at) {
  const char first = text[at];
  if (first == '"' || first == '`') {
    for (std::size_t i = at + 1; i < text.size(); ++i) {
      if (text[i] == '\\' && first == '"') {
        ++i;
      } else if (text[i] == first) {
        return i + 1;
      }
    }
    return text.size();
  }
  const auto in_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
  };
  std::size_t end = at;
  while (end < text.size() && in_word(text[end])) ++end;
  return std::max(end, at + 1);
}

// As proxies name them: an upper case letter is '!' and its lower case (Go modules reference,
// "GOPROXY protocol").
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z') {
      out += '!';
      out += static_cast<char>(c - 'A' + 'a');
    } else {
      out += c;
    }
  }
  return out;
}

bool plain(std::string_view text) {
  return !text.empty() && text.size() < 400 && text.find("..") == text.npos && text[0] != '/' &&
         std::ranges::all_of(
             text,
             [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view("-._~/+").find(c) != std::string_view::npos;
             });
}

}  // namespace

std::string go_header(std::string_view source) {
  std::string out;
  bool in_group = false;
  for (std::size_t at = 0; at < source.size();) {
    const std::string_view rest = source.substr(at);
    if (rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n') {
      ++at;
    } else if (rest.starts_with("//")) {
      // A build constraint decides whether the file, with its imports, counts.
      const auto end = std::min(source.find('\n', at), source.size());
      const auto line = source.substr(at, end - at);
      if (line.starts_with("//go:build") || line.starts_with("// +build"))
        out.append(line).push_back('\n');
      at = end;
    } else if (rest.starts_with("/*")) {
      const auto end = source.find("*/", at + 2);
      if (end == source.npos) break;
      at = end + 2;
    } else {
      const std::size_t end = token_end(source, at);
      const auto token = source.substr(at, end - at);
      if (!in_group && (token == "func" || token == "var" || token == "const" || token == "type"))
        break;
      if (token == "(") in_group = true;
      if (token == ")") in_group = false;
      out.append(token).push_back(' ');
      at = end;
    }
  }
  return out;
}

std::vector<std::string> go_sum_names(std::string_view go_sum) {
  std::vector<std::string> out;
  while (!go_sum.empty() && out.size() < kNamesMax) {
    const auto end = std::min(go_sum.find('\n'), go_sum.size());
    const auto line = go_sum.substr(0, end);
    go_sum.remove_prefix(std::min(end + 1, go_sum.size()));
    const auto first = line.find(' ');
    const auto second = first == line.npos ? first : line.find(' ', first + 1);
    if (second == line.npos) continue;
    auto version = line.substr(first + 1, second - first - 1);
    constexpr std::string_view kModOnly = "/go.mod";
    const bool mod_only = version.ends_with(kModOnly);
    if (mod_only) version.remove_suffix(kModOnly.size());
    const auto module = line.substr(0, first);
    if (!plain(module) || !plain(version) || version.find('/') != version.npos) continue;
    const std::string stem = escaped(module) + "/@v/" + escaped(version);
    if (mod_only) {
      out.push_back(stem + ".mod");
    } else {
      out.push_back(stem + ".zip");
      out.push_back(stem + ".info");
    }
  }
  return out;
}

}  // namespace tau::monkey
