#include "project/scalars.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace tau::project {
namespace {

// A decimal number at the front of `text`: whole and fraction as the double of at most 18 digits.
// Nothing when there is none.
struct Number {
  double value = 0;
  bool found = false;
};

Number take_number(std::string_view& text) {
  Number out;
  double scale = 1;
  bool dot = false;
  std::size_t digits = 0, at = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !dot) {
      dot = true;
      continue;
    }
    if (c < '0' || c > '9' || ++digits > 18) break;
    out.found = true;
    if (dot) {
      scale /= 10;
      out.value += (c - '0') * scale;
    } else {
      out.value = out.value * 10 + (c - '0');
    }
  }
  text.remove_prefix(at);
  return out;
}

using Unit = std::pair<std::string_view, double>;

}  // namespace

Result<std::uint64_t> parse_duration(std::string_view text) {
  // Longer names first, so that "ms" is not read as "m".
  static constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                                  {"us", 1e3},
                                                  {"µs", 1e3},
                                                  {"μs", 1e3},
                                                  {"ms", 1e6},
                                                  {"s", 1e9},
                                                  {"m", 60e9},
                                                  {"h", 3600e9}}};
  const std::string_view all = text;
  const auto refuse = [&] {
    return fail(ErrorCode::invalid_argument,
                fmt::format("\"{}\" is no duration: write 20s, 500ms or 1m30s", all.substr(0, 40)));
  };
  if (text == "0") return 0;
  if (text.empty()) return refuse();
  double sum = 0;
  while (!text.empty()) {
    const Number n = take_number(text);
    if (!n.found) return refuse();
    const Unit* unit = nullptr;
    for (const auto& u : kUnits) {
      if (!unit && text.starts_with(u.first)) unit = &u;
    }
    if (!unit) return refuse();
    text.remove_prefix(unit->first.size());
    sum += n.value * unit->second;
  }
  if (sum >= 9.2e18) return refuse();  // Go's range, 292 years
  return static_cast<std::uint64_t>(std::llround(sum));
}

Result<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::array<Unit, 11> kUnits = {{{"KiB", 1024.0},
                                                   {"MiB", 1048576.0},
                                                   {"GiB", 1073741824.0},
                                                   {"TiB", 1099511627776.0},
                                                   {"KB", 1e3},
                                                   {"kB", 1e3},
                                                   {"MB", 1e6},
                                                   {"GB", 1e9},
                                                   {"TB", 1e12},
                                                   {"B", 1},
                                                   {"b", 1}}};
  const std::string_view all = text;
  const auto refuse = [&] {
    return fail(ErrorCode::invalid_argument,
                fmt::format("\"{}\" is no size: write 32MB, 64MiB or 1GB", all.substr(0, 40)));
  };
  const Number n = take_number(text);
  if (!n.found) return refuse();
  while (text.starts_with(' ')) text.remove_prefix(1);
  for (const auto& [name, factor] : kUnits) {
    if (text != name) continue;
    const double bytes = n.value * factor;
    if (bytes >= 9.2e18) return refuse();
    return static_cast<std::uint64_t>(std::llround(bytes));
  }
  return refuse();
}

std::string format_duration(std::uint64_t ns) {
  if (ns == 0) return "0s";
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 6> kUnits = {
      {{"h", 3'600'000'000'000},
       {"m", 60'000'000'000},
       {"s", 1'000'000'000},
       {"ms", 1'000'000},
       {"us", 1'000},
       {"ns", 1}}};
  std::string out;
  for (const auto& [name, size] : kUnits) {
    if (ns < size) continue;
    out += fmt::format("{}{}", ns / size, name);
    ns %= size;
  }
  return out;
}

std::string format_size(std::uint64_t bytes) {
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 7> kUnits = {
      {{"GiB", 1ull << 30},
       {"GB", 1'000'000'000},
       {"MiB", 1ull << 20},
       {"MB", 1'000'000},
       {"KiB", 1ull << 10},
       {"KB", 1'000},
       {"B", 1}}};
  for (const auto& [name, size] : kUnits) {
    if (bytes >= size && bytes % size == 0) return fmt::format("{}{}", bytes / size, name);
  }
  return "0B";
}

}  // namespace tau::project
