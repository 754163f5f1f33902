#include "table.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "bin/tau/terminal.h"

namespace tau::dream {
namespace {

using Row = std::array<std::string, 6>;

std::string text_of(const http::Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

Row row_of(const http::Json& node) {
  Row row;
  row[0] = text_of(node, "name");
  row[1] = text_of(node, "state");
  row[2] = std::to_string(node.value("peers", 0));
  for (const auto& [key, label] : {std::pair{"http", "http "}, {"dns", "dns "}, {"api", "api "}}) {
    const std::string at = text_of(node, key);
    if (!at.empty()) row[3] += (row[3].empty() ? "" : ", ") + (label + at);
  }
  const auto addresses = node.value("addresses", http::Json::array());
  if (!addresses.empty()) {
    row[4] = addresses[0].get<std::string>();
    row[4] = row[4].substr(0, row[4].find("/p2p/"));
  }
  row[5] = text_of(node, "id");
  return row;
}

bool runs(const http::Json& node, std::string_view service) {
  for (const auto& one : node.value("services", http::Json::array()))
    if (one.is_string() && one.get<std::string>() == service) return true;
  return false;
}

}  // namespace

std::string table_of(const http::Json& universe, std::string_view control) {
  std::vector<Row> rows = {{"NODE", "STATE", "PEERS", "LISTENS", "P2P", "ID"}};
  for (const auto& node : universe.value("nodes", http::Json::array()))
    rows.push_back(row_of(node));
  std::array<std::size_t, 6> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out = fmt::format("universe {}{}", text_of(universe, "name"),
                                universe.value("kept", false) ? ", kept" : "");
  const auto after = universe.find("ready_after_ms");
  if (after != universe.end() && after->is_number())
    out += fmt::format(", ready after {:.0f} ms", after->get<double>());
  const std::string entry = text_of(universe, "entry");
  if (!entry.empty())
    out += fmt::format("\nfunctions at http://LABEL.{}:{}/", text_of(universe, "suffix"),
                       entry.substr(entry.rfind(':') + 1));
  const std::string dns = text_of(universe, "dns");
  if (!dns.empty()) out += fmt::format("\nDNS at {}", dns);
  if (!control.empty())
    out += fmt::format("\ntau reaches it with TAU_CLOUD=http://{}/v1/universes/{}/cloud", control,
                       text_of(universe, "name"));
  out += "\n\n";
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += fmt::format("{:<{}}", row[i], i + 1 < row.size() ? widths[i] + 2 : 0);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

http::Json only_of(http::Json universe, std::string_view only) {
  if (only.empty()) return universe;
  http::Json nodes = http::Json::array();
  for (const auto& node : universe.value("nodes", http::Json::array())) {
    if (runs(node, only) || text_of(node, "name") == only || text_of(node, "id") == only)
      nodes.push_back(node);
  }
  universe["nodes"] = std::move(nodes);
  return universe;
}

std::string line_of(const http::Json& node) {
  const Row row = row_of(node);
  return fmt::format("{} is {}{}{}", row[0], row[1], row[3].empty() ? "" : "; ", row[3]);
}

std::string log_text_of(const http::Json& line) {
  const std::int64_t at_unix_ms = line.value("at_unix_ms", std::int64_t{0});
  const std::time_t seconds = at_unix_ms / 1000;
  const std::string part = cli::clean(text_of(line, "part"));
  return fmt::format("{:%H:%M:%S}.{:03} {:<7} {:<12} {}{}", fmt::localtime(seconds),
                     at_unix_ms % 1000, text_of(line, "level"), text_of(line, "node"),
                     part.empty() ? "" : part + ": ", cli::clean(text_of(line, "text")));
}

std::string list_of(const http::Json& items, std::string_view what) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& item : items) {
    std::vector<std::string> row = {text_of(item, "name")};
    if (what == "universes") {
      row.push_back(text_of(item, "entry"));
      row.push_back(item.value("kept", false) ? "kept" : "");
    } else if (what == "services") {
      row.push_back(fmt::format("{} in a usual universe{}", item.value("copies", 0),
                                item.value("single", false) ? ", one at most" : ""));
    } else {
      const std::string instead = text_of(item, "instead");
      row.push_back(text_of(item, "summary") + (instead.empty() ? "" : " Instead: " + instead));
    }
    rows.push_back(std::move(row));
  }
  return cli::table(rows);
}

}  // namespace tau::dream
