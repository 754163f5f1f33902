#include "run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "node/local_process.h"
#include "node/stop_signal.h"
#include "testnet/control.h"
#include "testnet/data_folder.h"
#include "testnet/multiverse.h"

namespace tau::dream {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsualUniverse = "blackhole";

http::Json view(const testnet::Multiverse& multiverse, const testnet::Control& control) {
  http::Json universes = http::Json::array();
  for (const auto* universe : multiverse.all()) universes.push_back(to_json(*universe));
  return {{"control", control.local().to_string()}, {"universes", std::move(universes)}};
}

struct Parts {
  Parts(runtime::RealLoop& loop, testnet::DataFolders& folders, const RunOptions& options,
        const Logger& log)
      : process(loop, log),
        multiverse(process,
                   {[&folders](std::string_view universe, testnet::Keep keep) {
                      return folders.folder_of(universe, keep);
                    },
                    options.keep ? testnet::Keep::yes : testnet::Keep::no, options.log_level,
                    options.build_cache},
                   log),
        control(loop, process.network("127.0.0.1"), multiverse, log.named("control")) {}
  node::LocalProcess process;
  testnet::Multiverse multiverse;
  testnet::Control control;
};

// The universes to start with, the first one first: those that were asked for, and those that were
// kept and not stopped on purpose.
Result<std::vector<std::string>> first_universes(const RunOptions& options,
                                                 testnet::DataFolders& folders) {
  std::vector<std::string> names = options.universes;
  if (options.keep) {
    TRY(const auto kept, folders.kept_universes());
    for (const std::string& name : kept) {
      if (std::ranges::find(names, name) != names.end()) continue;
      TRY(const fs::path folder, folders.folder_of(name, testnet::Keep::yes));
      TRY(const auto about, testnet::read_kept(folder));
      if (!about || !about->stopped) names.push_back(name);
    }
  }
  if (names.empty()) names.emplace_back(kUsualUniverse);
  // The ports that everybody knows belong to the usual one, unless another was asked for.
  if (const auto usual = std::ranges::find(names, kUsualUniverse);
      options.universes.empty() && usual != names.end())
    std::rotate(names.begin(), usual, usual + 1);
  return names;
}

Task<Status> serve(Parts& parts, const RunOptions& options, std::vector<std::string> universes,
                   const std::function<void(const http::Json&)>& on_ready,
                   const std::function<void(const http::Json&)>& on_change) {
  CO_TRY_STATUS(parts.control.start(options.control));
  const bool asked = !options.universes.empty() || universes.front() == kUsualUniverse;
  for (const std::string& name : universes) {
    testnet::Multiverse::NewUniverse universe;
    universe.name = name;
    universe.wishes.empty = options.empty;
    // A universe that was kept and is not the first of this command line has ports of its own.
    if (asked && name == universes.front())
      universe.ports = {options.http_port, options.api_port, options.dns_port};
    CO_TRY_STATUS(parts.multiverse.create(std::move(universe)));
  }
  on_ready(view(parts.multiverse, parts.control));
  parts.multiverse.on_change([&] { on_change(view(parts.multiverse, parts.control)); });
  co_return co_await parts.control.wait_for_stop();
}

Task<Status> serve_and_stop(Parts& parts, const RunOptions& options,
                            std::vector<std::string> universes,
                            const std::function<void(const http::Json&)>& on_ready,
                            const std::function<void(const http::Json&)>& on_change) {
  const Status status = co_await serve(parts, options, std::move(universes), on_ready, on_change);
  parts.multiverse.on_change({});
  // The control API last: when nothing listens there any more, everything has stopped.
  co_await parts.multiverse.stop();
  co_await parts.control.stop();
  co_return status;
}

}  // namespace

Status run(const RunOptions& options, const Logger& log,
           const std::function<void(const http::Json&)>& on_ready,
           const std::function<void(const http::Json&)>& on_change) {
  // Before any other thread: they inherit that the signals wait for us.
  runtime::RealLoop loop;
  std::optional<Parts> parts;
  node::StopSignal stop_signal(loop, [&] {
    if (parts) parts->control.request_stop();
  });
  const fs::path temporary = fs::temp_directory_path();
  for (const fs::path& folder : testnet::remove_left_over(temporary))
    log.info("removed " + folder.string() + ", which a dream that was killed left behind");
  testnet::DataFolders folders(
      {options.data, temporary,
       fmt::format("process {}, control API {}", ::getpid(), options.control.to_string())});
  TRY(auto universes, first_universes(options, folders));
  parts.emplace(loop, folders, options, log);
  const Status status = runtime::block_on(
      loop, serve_and_stop(*parts, options, std::move(universes), on_ready, on_change));
  parts.reset();  // databases close before their folder goes
  return status;
}

}  // namespace tau::dream
