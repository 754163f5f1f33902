#include "services/monkey/images/cargo_lock.h"

#include <fmt/format.h>

#include <algorithm>

namespace tau::monkey {
namespace {

constexpr std::size_t kCratesMax = 2000;         // what large programs have is a few hundred
constexpr std::size_t kTextBytesMax = 2u << 20;  // 200 bytes each, and as much again for checksums
constexpr std::size_t kWordBytesMax = 128;       // cargo's own bound on names is 64

// `name = "value"` gives value; cargo writes these files itself, in this one form.
std::string_view value_of(std::string_view line, std::string_view key) {
  if (!line.starts_with(key)) return {};
  line.remove_prefix(key.size());
  constexpr std::string_view kBegin = " = \"";
  if (!line.starts_with(kBegin) || line.size() == kBegin.size() || line.back() != '"') return {};
  return line.substr(kBegin.size(), line.size() - kBegin.size() - 1);
}

// It becomes part of a file's name.
bool is_plain(std::string_view word) {
  return !word.empty() && word.size() <= kWordBytesMax && word.front() != '.' &&
         std::ranges::all_of(word, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.' || c == '+';
         });
}

struct Package {
  std::size_t line = 0;  // of [[package]]; 0: none yet
  std::string_view name, version, source, checksum;
};

}  // namespace

Result<std::vector<LockedCrate>> crates_of_lock(std::string_view file, std::string_view text) {
  std::vector<LockedCrate> out;
  const auto wrong = [file](std::size_t line, const std::string& what) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}:{}:1: error: {}", file, line, what));
  };
  if (text.size() > kTextBytesMax)
    return wrong(1, fmt::format("larger than {} MiB", kTextBytesMax >> 20));
  const auto take = [&](const Package& p) -> Status {
    if (p.line == 0 || p.source.empty()) return {};  // a crate of the project's own folders
    if (!is_plain(p.name) || !is_plain(p.version))
      return wrong(p.line, "a package without a plain name and version: let cargo write this file");
    if (!p.source.starts_with("registry+") || p.checksum.empty())
      return wrong(p.line,
                   fmt::format("the crate {} comes from {}: only crates of the registry are "
                               "fetched, by their digests; use a published version, or copy its "
                               "sources into the function's folder and name it by path",
                               p.name,
                               p.source.starts_with("git+") ? "a git repository"
                                                            : "elsewhere, or has no checksum"));
    if (out.size() == kCratesMax)
      return wrong(p.line, fmt::format("more than {} crates", kCratesMax));
    out.push_back({std::string(p.name), std::string(p.version)});
    return {};
  };
  Package package;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with('[')) {
      TRY_STATUS(take(package));
      package = {};
      if (line == "[[package]]") package.line = number;
    } else if (const auto name = value_of(line, "name"); !name.empty()) {
      package.name = name;
    } else if (const auto version = value_of(line, "version"); !version.empty()) {
      package.version = version;
    } else if (const auto source = value_of(line, "source"); !source.empty()) {
      package.source = source;
    } else if (const auto checksum = value_of(line, "checksum"); !checksum.empty()) {
      package.checksum = checksum;
    }
  }
  TRY_STATUS(take(package));
  return out;
}

}  // namespace tau::monkey
