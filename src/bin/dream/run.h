// dream itself: a multiverse with its control API, from start to stop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "http/json.h"
#include "net/network.h"

namespace tau::dream {

struct RunOptions {
  std::string universe = "blackhole";
  std::filesystem::path data;  // empty: a temporary folder
  bool keep = false;           // what is in `data` outlives dream
  // Of the user: compiled standard libraries and fetched modules, so that a new universe is warm.
  std::filesystem::path build_cache;
  std::uint16_t http_port = 1480;
  std::uint16_t api_port = 1422;
  std::uint16_t dns_port = 1453;
  net::Endpoint control{"127.0.0.1", 1421};
  LogLevel log_level = LogLevel::warning;
};

// Runs until a signal or POST /v1/stop. `on_ready` is told once, when the universe is ready, what
// GET /v1/universes answers, with "control"; `on_change` whenever a node came or went later.
Status run(const RunOptions& options, const Logger& log,
           const std::function<void(const http::Json&)>& on_ready,
           const std::function<void(const http::Json&)>& on_change);

}  // namespace tau::dream
