#include "run.h"

#include <fmt/format.h>
#include <stdlib.h>

#include "node/local_process.h"
#include "node/stop_signal.h"
#include "testnet/control.h"
#include "testnet/multiverse.h"

namespace tau::dream {
namespace {

namespace fs = std::filesystem;

// The data folder; removed at the end unless it is kept.
class Folder {
 public:
  static Result<Folder> make(const RunOptions& options) {
    if (!options.data.empty()) {
      std::error_code error;
      fs::create_directories(options.data, error);
      if (error)
        return fail(ErrorCode::unavailable,
                    fmt::format("cannot make {}: {}", options.data.string(), error.message()));
      return Folder(fs::absolute(options.data), !options.keep);
    }
    std::string name = (fs::temp_directory_path() / "dream-XXXXXX").string();
    if (!::mkdtemp(name.data()))
      return fail(ErrorCode::unavailable,
                  "cannot make a folder in " + fs::temp_directory_path().string());
    return Folder(name, !options.keep);
  }
  Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, {})), remove_(other.remove_) {}
  ~Folder() {
    std::error_code ignored;
    if (remove_ && !path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  Folder(fs::path path, bool remove) : path_(std::move(path)), remove_(remove) {}
  fs::path path_;
  bool remove_;
};

http::Json view(const testnet::Multiverse& multiverse, const testnet::Control& control) {
  http::Json universes = http::Json::array();
  for (const auto* universe : multiverse.all()) universes.push_back(to_json(*universe));
  return {{"control", control.local().to_string()}, {"universes", std::move(universes)}};
}

struct Parts {
  Parts(runtime::RealLoop& loop, const Logger& log)
      : process(loop, log),
        multiverse(process, log),
        control(loop, process.network("127.0.0.1"), multiverse, log.named("control")) {}
  node::LocalProcess process;
  testnet::Multiverse multiverse;
  testnet::Control control;
};

Task<Status> serve(Parts& parts, const RunOptions& options, fs::path data,
                   const std::function<void(const http::Json&)>& on_ready,
                   const std::function<void(const http::Json&)>& on_change) {
  CO_TRY_STATUS(parts.control.start(options.control));
  testnet::UniverseOptions universe;
  universe.name = options.universe;
  universe.data = data / ("universe-" + options.universe);
  universe.keep_identities = options.keep;
  universe.http_port = options.http_port;
  universe.api_port = options.api_port;
  universe.dns_port = options.dns_port;
  universe.build_cache = options.build_cache;
  universe.log_level = options.log_level;
  CO_TRY_STATUS(parts.multiverse.add(std::move(universe)));
  on_ready(view(parts.multiverse, parts.control));
  parts.multiverse.on_change([&] { on_change(view(parts.multiverse, parts.control)); });
  co_return co_await parts.control.wait_for_stop();
}

Task<Status> serve_and_stop(Parts& parts, const RunOptions& options, fs::path data,
                            const std::function<void(const http::Json&)>& on_ready,
                            const std::function<void(const http::Json&)>& on_change) {
  const Status status = co_await serve(parts, options, std::move(data), on_ready, on_change);
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
  TRY(const Folder folder, Folder::make(options));
  parts.emplace(loop, log);
  return runtime::block_on(loop,
                           serve_and_stop(*parts, options, folder.path(), on_ready, on_change));
}

}  // namespace tau::dream
