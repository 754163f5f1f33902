#include "node/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <variant>

#include "project/scalars.h"

namespace tau::node {
namespace {

// Less is no time for a network; nothing that a node does at a time takes longer: a slip of the
// finger.
constexpr std::uint64_t kDurationMinNs = 100'000'000;
constexpr std::uint64_t kDurationMaxNs = 3'600'000'000'000;

using Member =
    std::variant<std::string Options::*, std::vector<std::string> Options::*, bool Options::*,
                 std::uint32_t Options::*, MemorySize Options::*, OptionalMemory Options::*,
                 Duration Options::*, OptionalEndpoint Options::*, LogLevel Options::*,
                 std::filesystem::path Options::*>;

struct Key {
  std::string_view section;  // empty: at the top of the file
  std::string_view name;
  Member member;
  std::string_view sentence;
  std::uint32_t most = 0;  // for numbers; 0: any

  std::string path() const {
    return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
  }
};

const std::vector<Key>& keys() {
  static const std::vector<Key> all = {
      {"network", "name", &Options::network_name, "The network's name, for people."},
      {"network", "root_key", &Options::network_root_key,
       "The network's root public key (base32): who it certified may join. Required."},
      {"network", "suffix", &Options::network_suffix,
       "Where labels live: `hello` is served as hello.SUFFIX."},
      {"identity", "key", &Options::identity_key,
       "File with this node's secret key, readable by its user only."},
      {"identity", "certificate", &Options::identity_certificate,
       "File with this node's certificate, signed by the network's root key."},
      {"", "services", &Options::services,
       "What this node runs: auth, tns, hoarder, patrick, monkey, seer, substrate."},
      {"", "data", &Options::data, "Folder of the node's database and repositories."},
      {"p2p", "listen", &Options::p2p_listen,
       "Multiaddrs that other nodes dial; port 0 takes a free one."},
      {"p2p", "bootstrap", &Options::p2p_bootstrap,
       "Multiaddrs with /p2p/ID of nodes to join by; the others are learned from them."},
      {"p2p", "mdns", &Options::p2p_mdns, "Finds nodes of the same local network by mDNS."},
      {"http", "address", &Options::http_address,
       "Address of this machine that the substrate answers on."},
      {"http", "more_addresses", &Options::http_more_addresses,
       "Further addresses of this machine to answer on, like one of IPv6."},
      {"http", "announce", &Options::http_announce,
       "Addresses that DNS gives for this node's substrate; empty: those it answers on."},
      {"http", "port", &Options::http_port,
       "Port of the substrate, the same on every node of a network; 0 takes a free one.", 65535},
      {"http", "entry", &Options::http_entry,
       "Also answer on 127.0.0.1, together with the other nodes of this machine that do."},
      {"http", "threads", &Options::http_threads, "Loops that serve requests, each on one core.",
       256},
      {"api", "listen", &Options::api_listen,
       "Where tau and git reach this node (ADDRESS:PORT), or none."},
      {"dns", "listen", &Options::dns_listen, "Where seer answers DNS, UDP and TCP, or none."},
      {"dns", "ttl", &Options::dns_ttl, "Seconds that an address, or a no, may be kept.", 86400},
      {"dns", "issuers", &Options::dns_issuers,
       "Authorities that may issue certificates (CAA), like letsencrypt.org; empty: any."},
      {"dns", "answers_per_second", &Options::dns_answers_per_second,
       "UDP answers to one client's network (/24, /56) a second, of each kind; 0: no limit.",
       1'000'000},
      {"dns", "negatives_per_second", &Options::dns_negatives_per_second,
       "The same for names that do not exist, errors, and questions to tns.", 1'000'000},
      {"dns", "slip", &Options::dns_slip,
       "Of what exceeds that, every how manieth is sent back to ask over TCP; 0: none.", 100},
      {"consensus", "voters", &Options::consensus_voters,
       "Peer ids of the tns nodes that founded the registry; empty: this node alone."},
      {"consensus", "patricks", &Options::consensus_patricks,
       "Peer ids of the patricks that founded the list of jobs; empty: this node alone."},
      {"patrick", "lease", &Options::patrick_lease,
       "A monkey that is silent for so long loses its job to another."},
      {"monkey", "concurrency", &Options::monkey_concurrency, "Jobs at the same time.", 64},
      {"monkey", "memory", &Options::monkey_memory, "Memory of one build."},
      {"monkey", "memory_total", &Options::monkey_memory_total,
       "Memory of all builds together, or half (of this machine's): jobs that do not fit wait."},
      {"monkey", "toolchains", &Options::monkey_toolchains,
       "Folder of toolchains that Debian has no package for; tools/setup fills it."},
      {"monkey", "cache", &Options::monkey_cache,
       "Folder of compiled standard libraries, fetched modules and what projects' builds keep; "
       "nodes of one user may share it. By default in the node's data folder."},
      {"monkey", "go_proxy", &Options::monkey_go_proxy,
       "Where Go's modules are fetched from, as GOPROXY; by default what Go itself asks."},
      {"monkey", "build_time", &Options::monkey_build_time,
       "How long the build of one function may take, at most 1h."},
      {"monkey", "compile_ahead", &Options::monkey_compile_ahead,
       "Compiles to machine code what was built, for substrates that trust this node."},
      {"substrate", "trusted_compilers", &Options::substrate_trusted_compilers,
       "Peer ids of the monkeys whose machine code runs here uncompiled, besides this node; or "
       "`network`: all of the network's."},
      {"substrate", "accept_unproven", &Options::substrate_accept_unproven,
       "Serves what was published before pointers had proofs, or by monkeys of that time."},
      {"substrate", "compiled_cache", &Options::substrate_compiled_cache,
       "Disk for machine code that was compiled here, so that a restart compiles nothing."},
      {"log", "level", &Options::log_level, "debug, info, warning or error."},
  };
  return all;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j - 1] + 1, row[j] + 1, change});
    }
  }
  return row.back();
}

// What `given` was probably meant to be, as the end of a sentence.
std::string did_you_mean(std::string_view given, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = std::max<std::size_t>(1, given.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::size_t d = distance(given.substr(0, 64), candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  if (!best.empty()) return fmt::format("; did you mean \"{}\"?", best);
  return fmt::format("; known here: {}", fmt::join(known, ", "));
}

struct Place {
  std::string_view file;
  const std::filesystem::path& folder;

  std::unexpected<Error> wrong(const YAML::Mark& mark, std::string_view what) const {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}:{}:{}: {}", file, mark.line + 1, mark.column + 1, what));
  }
};

Result<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  std::uint64_t factor = 0;
  for (const auto& [name, value] : {std::pair{"MiB", 1ull << 20},
                                    {"GiB", 1ull << 30},
                                    {"MB", 1'000'000ull},
                                    {"GB", 1'000'000'000ull},
                                    {"KiB", 1ull << 10}}) {
    if (unit == name) factor = value;
  }
  if (error != std::errc() || factor == 0 || number == 0 || number > (1ull << 50) / factor)
    return fail(ErrorCode::invalid_argument, "a size like 512MiB or 2GB is needed");
  return number * factor;
}

std::string print_size(std::uint64_t bytes) {
  if (bytes % (1ull << 30) == 0) return fmt::format("{}GiB", bytes >> 30);
  if (bytes % (1ull << 20) == 0) return fmt::format("{}MiB", bytes >> 20);
  if (bytes % 1'000'000 == 0) return fmt::format("{}MB", bytes / 1'000'000);
  return fmt::format("{}KiB", bytes >> 10);
}

// Sets one member from what the file says.
struct Reader {
  const Place& place;
  const Key& key;
  const YAML::Node& node;
  Options& options;

  Result<std::string> scalar(std::string_view needed) const {
    if (!node.IsScalar())
      return place.wrong(node.Mark(), fmt::format("{} needs {}", key.path(), needed));
    return node.Scalar();
  }
  Status operator()(std::string Options::* member) const {
    TRY(options.*member, scalar("a text"));
    return {};
  }
  Status operator()(std::filesystem::path Options::* member) const {
    TRY(const std::string text, scalar("a path"));
    if (text.empty()) return place.wrong(node.Mark(), key.path() + " needs a path");
    const std::filesystem::path path(text);
    options.*member = path.is_absolute() ? path : place.folder / path;
    return {};
  }
  Status operator()(std::vector<std::string> Options::* member) const {
    if (!node.IsSequence())
      return place.wrong(node.Mark(), key.path() + " needs a list, like [a, b]");
    (options.*member).clear();
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) return place.wrong(item.Mark(), key.path() + " needs a list of texts");
      (options.*member).push_back(item.Scalar());
    }
    return {};
  }
  Status operator()(bool Options::* member) const {
    TRY(const std::string text, scalar("true or false"));
    if (text != "true" && text != "false")
      return place.wrong(node.Mark(), key.path() + " needs true or false");
    options.*member = text == "true";
    return {};
  }
  Status operator()(std::uint32_t Options::* member) const {
    TRY(const std::string text, scalar("a number"));
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() ||
        (key.most != 0 && number > key.most))
      return place.wrong(node.Mark(), fmt::format("{} needs a number from 0 to {}", key.path(),
                                                  key.most == 0 ? 4294967295u : key.most));
    options.*member = number;
    return {};
  }
  Status operator()(MemorySize Options::* member) const {
    TRY(const std::string text, scalar("a size"));
    const auto size = parse_size(text);
    if (!size)
      return place.wrong(node.Mark(), fmt::format("{}: {}", key.path(), size.error().message()));
    (options.*member).bytes = *size;
    return {};
  }
  Status operator()(OptionalMemory Options::* member) const {
    TRY(const std::string text, scalar("a size or half"));
    if (text == "half") {
      (options.*member).reset();
      return {};
    }
    const auto size = parse_size(text);
    if (!size)
      return place.wrong(node.Mark(), fmt::format("{}: {}", key.path(), size.error().message()));
    options.*member = MemorySize{*size};
    return {};
  }
  Status operator()(Duration Options::* member) const {
    TRY(const std::string text, scalar("a duration"));
    const auto ns = project::parse_duration(text);
    if (!ns || *ns < kDurationMinNs || *ns > kDurationMaxNs)
      return place.wrong(node.Mark(),
                         key.path() + " needs a duration like 90s or 10m, from 100ms to 1h");
    options.*member = std::chrono::nanoseconds(*ns);
    return {};
  }
  Status operator()(OptionalEndpoint Options::* member) const {
    TRY(const std::string text, scalar("ADDRESS:PORT or none"));
    if (text == "none") {
      (options.*member).reset();
      return {};
    }
    auto endpoint = net::Endpoint::parse(text);
    if (!endpoint)
      return place.wrong(node.Mark(),
                         fmt::format("{}: {}", key.path(), endpoint.error().message()));
    options.*member = *endpoint;
    return {};
  }
  Status operator()(LogLevel Options::* member) const {
    TRY(const std::string text, scalar("a level"));
    for (const LogLevel level :
         {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
      if (name_of(level) == text) {
        options.*member = level;
        return {};
      }
    }
    return place.wrong(node.Mark(), key.path() + " needs debug, info, warning or error");
  }
};

// A text as YAML that reads back as the same text.
std::string quoted(const std::string& text) {
  // YAML's words for "nothing" are no text unless they are quoted.
  const bool nothing = text == "null" || text == "Null" || text == "NULL";
  const bool plain = !text.empty() && !nothing &&
                     std::ranges::all_of(text,
                                         [](unsigned char c) {
                                           return std::isalnum(c) || c == '/' || c == '.' ||
                                                  c == '_' || c == '-' || c == ':';
                                         }) &&
                     text.back() != ':' && text.front() != '-' && text.front() != ':';
  if (plain) return text;
  YAML::Emitter out;
  out << YAML::DoubleQuoted << text;
  return out.c_str();
}

struct Printer {
  const Options& options;

  std::string operator()(std::string Options::* m) const { return quoted(options.*m); }
  std::string operator()(std::filesystem::path Options::* m) const {
    return quoted((options.*m).string());
  }
  std::string operator()(std::vector<std::string> Options::* m) const {
    std::vector<std::string> items;
    for (const std::string& item : options.*m) items.push_back(quoted(item));
    return fmt::format("[{}]", fmt::join(items, ", "));
  }
  std::string operator()(bool Options::* m) const { return options.*m ? "true" : "false"; }
  std::string operator()(std::uint32_t Options::* m) const { return std::to_string(options.*m); }
  std::string operator()(MemorySize Options::* m) const { return print_size((options.*m).bytes); }
  std::string operator()(OptionalMemory Options::* m) const {
    return options.*m ? print_size((options.*m)->bytes) : "half";
  }
  std::string operator()(Duration Options::* m) const {
    return project::format_duration(
        static_cast<std::uint64_t>(std::chrono::nanoseconds(options.*m).count()));
  }
  std::string operator()(OptionalEndpoint Options::* m) const {
    return options.*m ? quoted((options.*m)->to_string()) : "none";
  }
  std::string operator()(LogLevel Options::* m) const { return std::string(name_of(options.*m)); }
};

const Key* find_key(std::string_view section, std::string_view name) {
  for (const Key& key : keys()) {
    if (key.section == section && key.name == name) return &key;
  }
  return nullptr;
}

// The keys and sections that may stand at one level.
std::vector<std::string> known_at(std::string_view section) {
  std::vector<std::string> known;
  for (const Key& key : keys()) {
    const std::string_view name = section.empty() && !key.section.empty() ? key.section : key.name;
    if (!section.empty() && key.section != section) continue;
    if (std::ranges::find(known, name) == known.end()) known.emplace_back(name);
  }
  return known;
}

Status read_level(const Place& place, std::string_view section, const YAML::Node& map,
                  Options& options) {
  std::set<std::string> seen;
  for (const auto& item : map) {
    if (!item.first.IsScalar()) return place.wrong(item.first.Mark(), "a key must be a text");
    const std::string name = item.first.Scalar();
    if (!seen.insert(name).second)
      return place.wrong(item.first.Mark(), fmt::format("\"{}\" is given twice", name));
    if (const Key* key = find_key(section, name)) {
      TRY_STATUS(std::visit(Reader{place, *key, item.second, options}, key->member));
      continue;
    }
    const std::vector<std::string> known = known_at(section);
    if (!section.empty() || std::ranges::find(known, name) == known.end())
      return place.wrong(item.first.Mark(),
                         fmt::format("unknown key \"{}\"{}{}", name,
                                     section.empty() ? "" : fmt::format(" in {}", section),
                                     did_you_mean(name, known)));
    if (item.second.IsNull()) continue;
    if (!item.second.IsMap())
      return place.wrong(item.second.Mark(), fmt::format("{} needs keys below it", name));
    TRY_STATUS(read_level(place, name, item.second, options));
  }
  return {};
}

Status check_services(const Place& place, const YAML::Node& root) {
  const YAML::Node services = root["services"];
  if (!services || !services.IsSequence()) return {};
  std::set<std::string> seen;
  for (const YAML::Node& item : services) {
    if (std::ranges::find(service_names(), item.Scalar()) == service_names().end())
      return place.wrong(item.Mark(), fmt::format("unknown service \"{}\"{}", item.Scalar(),
                                                  did_you_mean(item.Scalar(), service_names())));
    if (!seen.insert(item.Scalar()).second)
      return place.wrong(item.Mark(), fmt::format("{} is listed twice", item.Scalar()));
  }
  return {};
}

}  // namespace

const std::vector<std::string>& service_names() {
  static const std::vector<std::string> names = {"tns",  "auth",   "hoarder",  "patrick",
                                                 "seer", "monkey", "substrate"};
  return names;
}

Result<Options> parse_config(std::string_view text, std::string_view name,
                             const std::filesystem::path& folder) {
  const Place place{name, folder};
  if (text.size() > kConfigBytesMax)
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: more than {} bytes", name, kConfigBytesMax));
  Options options;
  options.identity_key = folder / options.identity_key;
  options.identity_certificate = folder / options.identity_certificate;
  options.data = folder / options.data;
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (root.IsNull()) return options;
    if (!root.IsMap()) return place.wrong(root.Mark(), "a node's configuration is a map of keys");
    TRY_STATUS(read_level(place, "", root, options));
    TRY_STATUS(check_services(place, root));
  } catch (const YAML::Exception& e) {
    return place.wrong(e.mark, e.msg);
  }
  return options;
}

Result<Options> read_config(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    return fail(ErrorCode::not_found,
                fmt::format("cannot read {}: no such file, or not yours to read (`odo node create` "
                            "makes one)",
                            file.string()));
  std::string text(kConfigBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return parse_config(text, file.string(), std::filesystem::absolute(file).parent_path());
}

std::string show_config(const Options& options) {
  const Options defaults;
  std::string out;
  std::string_view section;
  for (const Key& key : keys()) {
    if (key.section != section) {
      section = key.section;
      if (!section.empty()) out += fmt::format("\n{}:\n", section);
    }
    if (section.empty()) out += '\n';
    const std::string indent = section.empty() ? "" : "  ";
    const std::string value = std::visit(Printer{options}, key.member);
    const std::string standard = std::visit(Printer{defaults}, key.member);
    out += fmt::format("{}# {}\n", indent, key.sentence);
    if (value == standard) {
      out += fmt::format("{}# {}: {}\n", indent, key.name, value);
    } else {
      out += fmt::format("{}{}: {}  # default: {}\n", indent, key.name, value, standard);
    }
  }
  return out.substr(1);
}

}  // namespace tau::node
