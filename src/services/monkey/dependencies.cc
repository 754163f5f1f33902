#include "services/monkey/dependencies.h"

#include <fmt/format.h>

#include "process/sandbox.h"
#include "services/monkey/build_log.h"

namespace tau::monkey {
namespace {

// $1: the language's script. Standard error is what a failure is explained by.
constexpr const char* kDriver = R"(
tar -xmf - -C / || exit 1
exec < /dev/null
/bin/sh -c "$1" 3>&- || exit 1
exec tar -cf - -C /out . >&3
)";
// A fetch script and what it says of 6000 modules.
constexpr std::uint64_t kWordsBytesMax = 1u << 20;
constexpr std::uint64_t kTemporaryBytesMax = 1ull << 30;  // modules, packed and unpacked

process::Command fetch_command(const FetchPlan& plan, const FetchLimits& limits) {
  process::Command command;
  command.argv = {"/bin/sh", "-c", kDriver, "fetch", plan.script};
  command.environment = plan.environment;
  command.environment.insert({{"HOME", "/tmp"}, {"LANG", "C.UTF-8"}});
  auto& box = command.sandbox.emplace();
  box.network = process::Network::machine;
  box.read_only = process::system_binds();
  box.read_only.insert(box.read_only.end(), plan.read_only.begin(), plan.read_only.end());
  box.tmpfs = {{"/fetch", 64u << 20},
               {"/known", limits.bytes_max},
               {"/out", limits.bytes_max},
               {"/tmp", kTemporaryBytesMax}};
  command.directory = "/tmp";
  command.limits.wall_time_max = limits.wall_time_max;
  command.limits.memory_bytes_max = limits.memory_bytes_max;
  command.limits.output_bytes_max = kWordsBytesMax;
  command.limits.results_bytes_max =
      limits.bytes_max + limits.files_max * 1024;  // tar's blocks and names
  return command;
}

std::string harmless_lines(std::string_view text) {
  std::string out;
  LineCutter lines([&out](std::string_view line) { out += harmless(line) + "\n"; });
  lines.take(as_bytes(text));
  lines.end();
  return out;
}

}  // namespace

Task<Result<process::ArchivedFiles>> Dependencies::get(const Language& language, FetchPlan plan,
                                                       std::function<void(std::string_view)> say) {
  using Files = process::ArchivedFiles;
  if (auto known = co_await pool_.run([&] { return store_.find_set(plan.ecosystem, plan.key); }))
    co_return std::move(*known);

  const TimePoint start = loop_.now();
  auto command = co_await pool_.run([&]() -> Result<process::Command> {
    auto made = fetch_command(plan, limits_);
    Files files = std::move(plan.inputs);
    Files known = store_.find_names(plan.ecosystem, plan.names);
    for (auto& [name, file] : known) files["known/" + name] = std::move(file);
    TRY(made.input, process::write_tar(files));
    return made;
  });
  if (!command) co_return fail(command.error());
  std::string said;
  LineCutter out([&say](std::string_view line) { say(line); });
  const process::OutputSink sink = [&](process::Output to, BytesView bytes) {
    if (to == process::Output::standard_output) {
      out.take(bytes);
    } else {
      said.append(as_text(bytes));
    }
  };
  const auto exit = co_await runner_.run(*std::move(command), sink);
  out.end();
  if (!exit && exit.error().code() == ErrorCode::deadline_exceeded)
    co_return fail(ErrorCode::failed_precondition,
                   fmt::format("fetching its modules took longer than {} s and was ended",
                               limits_.wall_time_max / std::chrono::seconds(1)));
  if (!exit) co_return fail(exit.error());
  if (exit->too_much_output)
    co_return fail(ErrorCode::failed_precondition,
                   fmt::format("it needs more than {} MiB of modules", limits_.bytes_max >> 20));
  if (exit->code != 0)
    co_return fail(ErrorCode::failed_precondition,
                   said.empty() ? "fetching its modules ended with " + exit->why()
                                : language.explain_fetch(harmless_lines(said)));
  struct Fetched {
    Files files;
    Status stored;
  };
  auto fetched = co_await pool_.run([&]() -> Result<Fetched> {
    process::ArchiveLimits bounds;
    bounds.bytes_max = limits_.bytes_max;
    bounds.files_max = limits_.files_max;
    TRY(auto files, process::read_tar(exit->results, bounds, process::Links::refuse));
    Status stored = store_.put_set(plan.ecosystem, plan.key, files);
    return Fetched{std::move(files), std::move(stored)};
  });
  if (!fetched)
    co_return fail(ErrorCode::failed_precondition,
                   "its modules cannot be used: " + fetched.error().message());
  // A full disk only costs the next build its time.
  if (!fetched->stored) say("modules are not kept: " + fetched->stored.error().message());
  say(fmt::format("fetched {} files of modules in {} ms", fetched->files.size(),
                  (loop_.now() - start) / std::chrono::milliseconds(1)));
  co_return std::move(fetched->files);
}

}  // namespace tau::monkey
