// The configuration of one node: a YAML file, and nothing else (no environment, no hidden default).
//
// Every key is declared once, in keys() of config.cc: its place, its type, its default and one
// sentence. That table reads the file, prints it (`odo config show`) and refuses what it does not
// know, with file:line:column and what was probably meant.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "net/network.h"

namespace tau::node {

struct MemorySize {
  std::uint64_t bytes = 0;
  friend bool operator==(const MemorySize&, const MemorySize&) = default;
};

// "half" in the file: of this machine's memory.
using OptionalMemory = std::optional<MemorySize>;
using OptionalEndpoint = std::optional<net::Endpoint>;  // "none" in the file

// Member initializers are the defaults.
struct Options {
  std::string network_root_key;
  std::string network_name = "blackhole";
  std::string network_suffix = "blackhole.localhost";

  std::filesystem::path identity_key = "node.key";
  std::filesystem::path identity_certificate = "node.certificate";

  std::vector<std::string> services;
  std::filesystem::path data = "data";

  std::vector<std::string> p2p_listen = {"/ip4/127.0.0.1/tcp/0"};
  std::vector<std::string> p2p_bootstrap;
  bool p2p_mdns = false;

  std::string http_address = "127.0.0.1";
  std::vector<std::string> http_more_addresses;
  std::vector<std::string> http_announce;
  std::uint32_t http_port = 1480;
  bool http_entry = false;
  std::uint32_t http_threads = 1;

  OptionalEndpoint api_listen;
  OptionalEndpoint dns_listen = net::Endpoint{"127.0.0.1", 1453};
  std::uint32_t dns_ttl = 1;
  std::vector<std::string> dns_issuers;
  std::uint32_t dns_answers_per_second = 200;
  std::uint32_t dns_negatives_per_second = 50;
  std::uint32_t dns_slip = 2;

  std::vector<std::string> consensus_voters, consensus_patricks;

  Duration patrick_lease = std::chrono::seconds(10);

  std::uint32_t monkey_concurrency = 2;
  MemorySize monkey_memory{2ull << 30};
  std::filesystem::path monkey_cache;  // empty: below `data`
  std::string monkey_go_proxy;
  OptionalMemory monkey_memory_total;
  std::filesystem::path monkey_toolchains = "/var/cache/tau/toolchains";
  Duration monkey_build_time = std::chrono::minutes(10);
  bool monkey_compile_ahead = true;

  std::vector<std::string> substrate_trusted_compilers;
  bool substrate_accept_unproven = true;
  MemorySize substrate_compiled_cache{512ull << 20};

  LogLevel log_level = LogLevel::info;
};

inline constexpr std::size_t kConfigBytesMax = 1u << 20;  // a few hundred lines in practice

// `name` goes in front of line and column. Relative paths are taken from `folder`.
// Errors: invalid_argument, "FILE:LINE:COLUMN: what, why, what to do".
Result<Options> parse_config(std::string_view text, std::string_view name,
                             const std::filesystem::path& folder);
// Errors: also not_found, permission_denied.
Result<Options> read_config(const std::filesystem::path& file);

// The whole file: every key with its sentence; the ones that are at their default are commented.
std::string show_config(const Options& options);

// The services that a node may run, in the order in which they start.
const std::vector<std::string>& service_names();

}  // namespace tau::node
