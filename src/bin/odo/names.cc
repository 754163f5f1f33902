#include "bin/odo/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "bin/odo/node_call.h"

namespace tau::odo {
namespace {

using http::Json;

struct Wanted {
  std::string api, project, prefix, suffix, cursor;
  std::size_t limit = 100;
  bool json = false;
};

std::string encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// Other people chose what is shown: nothing of it steers the terminal.
std::string shown(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

Result<Json> page_of(const Wanted& wanted, const std::string& what) {
  return call(wanted.api, "GET",
              fmt::format("/v1/node/{}?project={}&prefix={}&suffix={}&cursor={}&limit={}", what,
                          encoded(wanted.project), encoded(wanted.prefix), encoded(wanted.suffix),
                          encoded(wanted.cursor), wanted.limit),
              "");
}

void show_rows(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i + 1 == row.size() ? row[i] : fmt::format("{:<{}}  ", row[i], widths[i]);
    fmt::print("{}\n", line);
  }
}

void show_end(const Json& page, const char* what) {
  const bool more = page.contains("next") && page["next"].is_string();
  if (page[what].empty())
    fmt::print("no {} on this page{}\n", what, more ? "" : "; it is the last");
  if (more) {
    // In quotes for a shell: what a page ended with may have any character in it.
    std::string next = shown(page["next"].get<std::string>());
    for (std::size_t at = 0; (at = next.find('\'', at)) != std::string::npos; at += 4)
      next.replace(at, 1, "'\\''");
    fmt::print("there is more: the same with --cursor '{}'\n", next);
  }
  if (const Json& age = page["stale_ms"]; age.is_number())
    fmt::print("(may be {} ms old)\n", age.get<std::int64_t>());
  else
    fmt::print("(how old this is, is not known: a tns node hears no leader)\n");
}

Status show_names(const Wanted& wanted) {
  TRY(const Json page, page_of(wanted, "names"));
  if (wanted.json) {
    fmt::print("{}\n", page.dump());
    return {};
  }
  std::vector<std::vector<std::string>> rows;
  for (const Json& one : page["names"])
    rows.push_back({shown(one.value("name", "")), shown(one.value("project", ""))});
  std::ranges::sort(rows);
  show_rows(rows);
  show_end(page, "names");
  return {};
}

Status show_pointers(const Wanted& wanted) {
  TRY(const Json page, page_of(wanted, "pointers"));
  if (wanted.json) {
    fmt::print("{}\n", page.dump());
    return {};
  }
  std::vector<std::vector<std::string>> rows;
  for (const Json& one : page["pointers"]) {
    const auto hosts = one.value("hosts", std::uint64_t{0});
    std::string where = one["host"].is_string() ? one["host"].get<std::string>() : "no host";
    if (hosts > 1) where += fmt::format(" and {} more", hosts - 1);
    rows.push_back({shown(one.value("branch", "")),
                    std::to_string(one.value("seq", std::uint64_t{0})),
                    day_of(one.value("moved_unix_ms", std::int64_t{0})), shown(std::move(where)),
                    shown(one.value("deployment", ""))});
  }
  show_rows(rows);
  show_end(page, "pointers");
  return {};
}

}  // namespace

void declare_names(CLI::App& app, Status& status) {
  const auto wanted = std::make_shared<Wanted>();
  auto* names = app.add_subcommand("names", "The names that the network knows, and whose they are");
  names->add_option("prefix", wanted->prefix, "What they begin with");
  names->add_option("--suffix", wanted->suffix, "What they end with: .example.com");
  auto* pointers = app.add_subcommand("pointers", "Where the branches of a project stand");
  pointers->add_option("project", wanted->project, "Its id, as `odo names` shows it")->required();
  pointers->add_option("prefix", wanted->prefix, "What the branches begin with");
  for (CLI::App* command : {names, pointers}) {
    command->add_option("--api", wanted->api, kApiHelp)->required();
    command->add_option("--limit", wanted->limit, "Entries of a page, at most 200")
        ->capture_default_str();
    command->add_option("--cursor", wanted->cursor, "Where the page before ended");
    command->add_flag("--json", wanted->json);
  }
  names->callback([wanted, &status] { status = show_names(*wanted); });
  pointers->callback([wanted, &status] { status = show_pointers(*wanted); });
}

}  // namespace tau::odo
