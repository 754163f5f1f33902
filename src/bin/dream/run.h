// dream itself: a multiverse with its control API, from start to stop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "http/json.h"
#include "net/network.h"

namespace tau::dream {

struct RunOptions {
  // None: those that were kept, else blackhole.
  std::vector<std::string> universes;
  bool empty = false;          // only their clients
  std::filesystem::path data;  // of what is kept; never empty
  bool keep = false;           // universes, and what they have, outlive dream
  // Of the user: compiled standard libraries and fetched modules, so that a new universe is warm.
  std::filesystem::path build_cache;
  // Of the first universe; others take free ones, or those that they had before.
  std::uint16_t http_port = 1480;
  std::uint16_t api_port = 1422;
  std::uint16_t dns_port = 1453;
  net::Endpoint control{"127.0.0.1", 1421};
  LogLevel log_level = LogLevel::warning;
};

// Runs until a signal or POST /v1/stop. `on_ready` is told once, when the universes are ready, what
// GET /v1/universes answers, with "control"; `on_change` whenever a node came or went later.
Status run(const RunOptions& options, const Logger& log,
           const std::function<void(const http::Json&)>& on_ready,
           const std::function<void(const http::Json&)>& on_change);

}  // namespace tau::dream
