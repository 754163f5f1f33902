#include "services/patrick/git.h"

#include "services/patrick/repositories.h"
#include "store/folder/data_folder.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

// A dozen pushes at once is a busy minute of a large team; each may take 100 MB.
constexpr std::size_t kAtOnce = 12;
constexpr std::size_t kComplaintBytesMax = 2048;  // of what git says on standard error
constexpr Duration kCommandTimeMax = 60s;
constexpr Duration kTransferTimeMax = 10min;  // a large pack over a slow disk
constexpr std::size_t kRefBytesMax = 1u << 20;

process::OutputSink collector(Bytes& out, std::string& complaint) {
  return [&out, &complaint](process::Output which, BytesView data) {
    if (which == process::Output::standard_output) {
      out.insert(out.end(), data.begin(), data.end());
    } else if (complaint.size() < kComplaintBytesMax) {
      complaint.append(
          as_text(data.first(std::min(data.size(), kComplaintBytesMax - complaint.size()))));
    }
  };
}

Status failed(const std::string& what, const process::Exit& exit, const std::string& complaint) {
  if (exit.too_much_output)
    return fail(ErrorCode::resource_exhausted, what + ": more output than is taken");
  return fail(ErrorCode::failed_precondition,
              what + ": " + exit.why() + (complaint.empty() ? "" : ": " + complaint));
}

}  // namespace

Git::Git(runtime::Loop& loop, process::Runner& runner, std::filesystem::path folder)
    : runner_(runner), folder_(std::move(folder)), running_(loop, kAtOnce) {}

std::map<std::string, std::string> Git::environment() const {
  return {{"PATH", "/usr/local/bin:/usr/bin:/bin"},
          {"HOME", "/nonexistent"},
          {"LC_ALL", "C"},
          {"GIT_CONFIG_GLOBAL", "/dev/null"},
          {"GIT_CONFIG_SYSTEM", "/dev/null"},
          {"GIT_CONFIG_NOSYSTEM", "1"},
          {"GIT_ATTR_NOSYSTEM", "1"},
          {"GIT_TERMINAL_PROMPT", "0"},
          // The folder may belong to the user who started the node as root.
          {"GIT_CONFIG_COUNT", "1"},
          {"GIT_CONFIG_KEY_0", "safe.directory"},
          {"GIT_CONFIG_VALUE_0", "*"}};
}

Task<Result<Bytes>> Git::run(std::vector<std::string> arguments, std::filesystem::path repository,
                             std::uint64_t output_bytes_max) {
  CO_TRY(const auto permit, running_.acquire());
  process::Command command;
  command.argv = {"git"};
  const std::string what = "git " + (arguments.empty() ? std::string() : arguments.front());
  for (auto& argument : arguments) command.argv.push_back(std::move(argument));
  command.environment = environment();
  command.directory = std::move(repository);
  command.limits.wall_time_max = kCommandTimeMax;
  command.limits.output_bytes_max = output_bytes_max + kComplaintBytesMax;
  Bytes out;
  std::string complaint;
  CO_TRY(const auto exit, runner_.run(std::move(command), collector(out, complaint)));
  if (exit.code != 0) co_return std::unexpected(failed(what, exit, complaint).error());
  co_return out;
}

Task<Status> Git::create(std::filesystem::path repository) {
  std::filesystem::path fresh = repository;
  fresh += ".new";
  std::error_code ec;
  std::filesystem::remove_all(fresh, ec);
  std::filesystem::create_directories(fresh.parent_path(), ec);
  if (ec)
    co_return fail(ErrorCode::unavailable,
                   "making " + fresh.parent_path().string() + ": " + ec.message());
  CO_TRY_STATUS(
      run({"init", "--quiet", "--bare", "--initial-branch=main", "--template=", fresh.string()},
          folder_, 64u << 10));
  CO_TRY_SYNC_STATUS(finish_repository(fresh));
  std::filesystem::rename(fresh, repository, ec);
  if (ec && !std::filesystem::exists(repository))
    co_return fail(ErrorCode::unavailable, "making " + repository.string() + ": " + ec.message());
  CO_TRY_SYNC_STATUS(store::sync_folder(repository.parent_path()));
  co_return store::sync_folder(folder_);
}

Task<Result<std::vector<Ref>>> Git::branches(std::filesystem::path repository) {
  CO_TRY(const Bytes out, run({"for-each-ref", "--format=%(objectname) %(refname)", "refs/heads"},
                              repository, kRefBytesMax));
  std::vector<Ref> refs;
  constexpr std::string_view kHeads = " refs/heads/";
  std::string_view rest = as_text(out);
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.size() <= 40 + kHeads.size() || line.substr(40, kHeads.size()) != kHeads)
      co_return fail(ErrorCode::internal, "git for-each-ref: a line that is no branch");
    refs.push_back({std::string(line.substr(40 + kHeads.size())), std::string(line.substr(0, 40))});
  }
  co_return refs;
}

Task<Result<Bytes>> Git::archive(std::filesystem::path repository, std::string commit,
                                 std::size_t bytes_max) {
  auto tar = co_await run({"archive", "--format=tar", commit}, repository, bytes_max);
  if (!tar && tar.error().code() == ErrorCode::resource_exhausted)
    co_return fail(ErrorCode::resource_exhausted,
                   "the files of commit " + commit.substr(0, 12) + " are more than " +
                       std::to_string(bytes_max >> 20) +
                       " MiB; keep large files out of the repository");
  co_return tar;
}

Task<Status> Git::http_backend(std::map<std::string, std::string> variables,
                               std::filesystem::path input, std::filesystem::path output) {
  CO_TRY(const auto permit, running_.acquire());
  process::Command command;
  // Files, not pipes: packs are large, and a client may be slow in taking them. ulimit counts
  // blocks of 512 bytes.
  command.argv = {"sh",
                  "-c",
                  "ulimit -f " + std::to_string(2 * kPackBytesMax / 512) +
                      " && exec git http-backend <\"$1\" >\"$2\"",
                  "sh",
                  input.string(),
                  output.string()};
  command.environment = environment();
  command.environment.merge(variables);
  command.environment["GIT_PROJECT_ROOT"] = folder_.string();
  command.environment["GIT_HTTP_EXPORT_ALL"] = "1";
  command.directory = folder_;
  command.limits.wall_time_max = kTransferTimeMax;
  Bytes out;
  std::string complaint;
  CO_TRY(const auto exit, runner_.run(std::move(command), collector(out, complaint)));
  if (exit.code != 0) co_return failed("git http-backend", exit, complaint);
  co_return Status{};
}

}  // namespace tau::patrick
