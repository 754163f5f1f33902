#include "services/monkey/builder.h"

#include <fmt/format.h>

#include <algorithm>

#include "content/unixfs.h"
#include "crypto/ed25519.h"
#include "guest/host_functions.h"
#include "process/archive.h"
#include "runtime/task_group.h"
#include "services/monkey/module_check.h"

namespace tau::monkey {
namespace {

using Files = std::map<std::string, Bytes>;

// What a compiler says of a mistake and its place; more of them are in the log.
constexpr std::size_t kCompilerErrorsMax = 5;

// Of all images, and of those of compilers before an update.
constexpr std::uint64_t kAllWarmthBytesMax = 1ull << 30;
// Of all projects: the caches of some hundred; the one that was not built for the longest goes.
constexpr std::uint64_t kKeptBytesMax = 2ull << 30;

std::filesystem::path below_cache(const BuilderOptions& options, const char* name) {
  return options.cache.empty() ? options.cache : options.cache / name;
}

std::string ms(Duration d) {
  return fmt::format("{:.2f} s", static_cast<double>(d / std::chrono::milliseconds(1)) / 1000);
}

// Files below `folder` ("functions/ping/"), by path in it.
Files below(const Files& files, const std::string& folder) {
  Files out;
  for (auto it = files.lower_bound(folder); it != files.end() && it->first.starts_with(folder);
       ++it)
    out.emplace(it->first.substr(folder.size()), it->second);
  return out;
}

// The two layouts of an application's functions that Taubyte's tools know, and the project's.
std::vector<std::string> folders_of(const project::DeployedFunction& f) {
  if (!f.application) return {"functions/" + f.name + "/"};
  return {"applications/" + *f.application + "/functions/" + f.name + "/",
          *f.application + "/functions/" + f.name + "/"};
}

// What a function's module follows from. A project's kept cache is among it: what one project put
// there must not end in another's module.
std::string digest_of(const Image& image, const Files& sources, const ProjectId& project) {
  Bytes all = to_bytes(image.toolchain);
  const auto add = [&all](BytesView part) {
    const auto digest = crypto::sha256(part);
    all.insert(all.end(), digest.begin(), digest.end());
  };
  if (!image.kept.empty()) add(as_bytes(project.str()));
  for (const auto& [path, data] : sources) {
    add(as_bytes(path));
    add(data);
  }
  return to_hex(crypto::sha256(all));
}

std::string kept_name(const Image& image, const ProjectId& project) {
  return to_hex(crypto::sha256(as_bytes(project.str() + "\n" + image.toolchain)));
}

// "/src/main.cc:4:3" -> "functions/ping/main.cc:4:3": names that the person who pushed knows.
std::string with_real_paths(std::string_view line, const std::string& folder) {
  constexpr std::string_view kInside = "/src/";
  std::string out;
  for (;;) {
    const auto at = line.find(kInside);
    const bool whole =
        at == 0 || (at != std::string_view::npos &&
                    std::string_view(" \t\n'\"(:=,").find(line[at - 1]) != std::string_view::npos);
    if (at == std::string_view::npos) return out.append(line);
    out.append(line.substr(0, at)).append(whole ? folder : std::string(kInside));
    line.remove_prefix(at + kInside.size());
  }
}

// What can be told of a module before it runs; found here, it is no 500 for somebody else.
Status check(const project::PlannedFunction& planned, BytesView module,
             std::span<const vm::HostFunction> offered) {
  TRY(const WasmOutside outside, read_outside(module));
  const auto& function = planned.function;
  Status status = check_module(outside, function.call, function.memory_bytes, offered);
  if (!status) return fail(std::move(status).error().context(planned.place.to_string()));
  return status;
}

Result<Files> unpack(BytesView tar, std::size_t bytes_max) {
  process::ArchiveLimits limits;
  limits.bytes_max = bytes_max;
  TRY(auto archived, process::read_tar(tar, limits, process::Links::skip));
  Files files;
  for (auto& [path, file] : archived) files.emplace(path, std::move(file.data));
  return files;
}

}  // namespace

struct Builder::Sources {
  Files config, code;
  codec::Cid config_archive;
};

// One build() on its way; shared by the builds of its functions, which end before it.
struct Builder::Run {
  Run(runtime::Loop& loop, BuildLog& l) : log(l), changed(loop) {}
  BuildLog& log;
  ProjectId project;
  bool clean = false;  // what was built before does not count
  Sources sources;
  project::Plan plan;
  std::size_t left = 0;
  runtime::Signal changed;
  project::Problems problems;  // of workflows
  std::vector<std::optional<BuiltFunction>> built;
  std::vector<std::string> errors;  // by function; empty: none
  std::optional<Error> trouble;     // ours, not the project's
};

struct Builder::Work {
  Run& run;
  const project::PlannedFunction& planned;
  const std::string& folder;
  const project::Workflow& workflow;
  const Files& files;
  std::shared_ptr<const Image> image;
  process::ArchivedFiles dependencies;
};

Builder::Builder(runtime::Loop& loop, content::Exchange& exchange, process::Runner& runner,
                 ModuleCache& cache, runtime::ThreadPool& pool, BuilderOptions options)
    : loop_(loop),
      exchange_(exchange),
      runner_(runner),
      cache_(cache),
      pool_(pool),
      options_(std::move(options)),
      offered_(guest::host_functions()),
      images_({runner, options_.toolchains, options_.go_proxy}),
      warming_(loop, 1),
      warm_(below_cache(options_, "warm"), kAllWarmthBytesMax),
      kept_(below_cache(options_, "kept"), kKeptBytesMax),
      dependencies_(loop, runner, pool, below_cache(options_, "modules"), options_.fetch),
      sandboxes_(loop, std::max<std::size_t>(options_.builds_max, 1)) {}

Task<Status> Builder::prepare() {
  if (!probed_) CO_TRY_STATUS(images_.probe());
  probed_ = true;
  co_return Status{};
}

Task<Status> Builder::warm_up() {
  CO_TRY_STATUS(prepare());
  Status all;
  for (const auto& image : images_.present()) {
    Status warm = co_await warm_up(image);
    if (!warm && warm.error().code() == ErrorCode::cancelled) co_return warm;
    if (!warm) all = fail(std::move(warm).error().context(image->name));
  }
  co_return all;
}

Task<Status> Builder::warm_up(std::shared_ptr<const Image> image) {
  if (options_.cache.empty()) co_return Status{};
  CO_TRY(const auto turn, warming_.acquire());
  const auto now = co_await images_.get(image->name);
  if (!now || (*now)->warmth) co_return Status{};  // somebody else's turn did it
  const std::string name =
      to_hex(crypto::sha256(as_bytes(image->warmth_of))).substr(0, 40) + ".tar";
  if (auto known = warm_.find(name)) {
    images_.use(image->name, *std::move(known));
    co_return Status{};
  }
  CO_TRY(const Bytes tar, images_.warm_up(image->name));
  if (tar.empty()) co_return Status{};
  auto path = co_await pool_.run([&] { return warm_.put(name, tar); });
  if (!path) co_return fail(path.error());
  images_.use(image->name, *std::move(path));
  co_return Status{};
}

Task<Result<std::shared_ptr<const Image>>> Builder::ready(Run& run, const std::string& key,
                                                          std::shared_ptr<const Image> image) {
  std::error_code error;
  if (image->warmth && !std::filesystem::exists(image->warmth->tar, error)) {
    images_.cool(image->name);  // another node evicted it
    CO_TRY(image, images_.get(image->name));
  }
  if (image->warmth || !image->language->waits_for_warmth()) co_return image;
  run.log.line(key, "waits until " + image->toolchain + " is warm, once for this machine");
  const Status warm = co_await warm_up(image);
  if (!warm && warm.error().code() == ErrorCode::cancelled) co_return fail(warm.error());
  if (!warm) run.log.line(key, "it stays cold: " + warm.error().message());
  co_return co_await images_.get(image->name);
}

std::vector<std::string> Builder::toolchains() const {
  std::vector<std::string> out;
  for (const auto& image : images_.present()) out.push_back(image->toolchain);
  return out;
}

Task<Result<Built>> Builder::build(patrick::Job job, auth::Registration registration, PeerId from,
                                   BuildLog& log) {
  const TimePoint start = loop_.now();
  CO_TRY_STATUS(prepare());
  Run run(loop_, log);
  run.project = job.project;
  run.clean = job.clean == true;
  CO_TRY(run.sources, fetch(job, registration, from, log));
  const project::Target target{job.project, job.branch, options_.suffix};
  run.plan = project::read_project(run.sources.config, target);
  for (const auto& problem : run.plan.problems.list()) log.line(problem.to_string());
  if (!run.plan.ok()) co_return fail(run.plan.problems.as_error());

  const std::size_t count = run.plan.functions.size();
  run.built.resize(count);
  run.errors.resize(count);
  run.left = count;
  {
    runtime::TaskGroup group(loop_);
    for (std::size_t i = 0; i < count; ++i) group.spawn(build_one(run, i));
    Status status;
    while (run.left > 0 && status) status = co_await run.changed.wait();
    if (!status) group.cancel();
    co_await group.join();
    if (!status) co_return fail(status.error());
  }
  if (run.trouble) co_return fail(*run.trouble);

  std::string errors = run.problems.ok() ? "" : run.problems.as_error().message();
  for (const auto& error : run.errors) {
    if (!error.empty()) errors += (errors.empty() ? "" : "\n") + error;
  }
  if (!errors.empty()) co_return fail(ErrorCode::failed_precondition, std::move(errors));

  Built out;
  std::map<std::string, codec::Cid> modules;
  for (auto& function : run.built) {
    modules[function->name] = function->module;
    out.functions.push_back(std::move(*function));
  }
  CO_TRY_SYNC(auto deployment, project::with_modules(run.plan, modules));
  deployment.config = run.sources.config_archive;
  CO_TRY_SYNC(auto encoded, project::encode_deployment(deployment));
  out.deployment = encoded.cid;
  out.hosts = project::hosts_of(deployment);
  std::vector<store::Block> blocks;
  blocks.push_back({encoded.cid, std::move(encoded.block)});
  CO_TRY_STATUS(exchange_.put(std::move(blocks), store::Durability::buffered));
  log.line(fmt::format("built {} function{} in {}: {}", count, count == 1 ? "" : "s",
                       ms(loop_.now() - start), out.deployment.to_string()));
  co_return out;
}

Task<Result<Builder::Sources>> Builder::fetch(const patrick::Job& job,
                                              const auth::Registration& registration, PeerId from,
                                              BuildLog& log) {
  Sources sources;
  const TimePoint start = loop_.now();
  content::Fetch how;
  how.hints = {from};
  const auto source = exchange_.source(how);
  bool config = false;
  for (const auto& repository : registration.repositories) {
    const auto it = job.sources.find(repository.name);
    if (it == job.sources.end()) continue;
    log.line(fmt::format("{} at {}", repository.name, it->second.commit.substr(0, 12)));
    auto tar = co_await content::read_file(*source, it->second.archive, options_.archive_bytes_max);
    if (!tar)
      co_return fail(
          std::move(tar).error().context("the sources of repository " + repository.name));
    const std::size_t bytes_max = options_.archive_bytes_max;
    auto files = co_await pool_.run([&tar, bytes_max] { return unpack(*tar, bytes_max); });
    if (!files) co_return fail(std::move(files).error().context("repository " + repository.name));
    if (repository.kind == auth::RepositoryKind::config) {
      config = true;
      sources.config_archive = it->second.archive;
      sources.config.merge(*files);
    } else {
      sources.code.merge(*files);
    }
  }
  if (!config)
    co_return fail(ErrorCode::failed_precondition,
                   "the project's config repository was never pushed to this branch: push it");
  log.line(fmt::format("fetched the sources in {}", ms(loop_.now() - start)));
  co_return sources;
}

Task<void> Builder::build_one(Run& run, std::size_t index) {
  auto function = co_await make(run, index);
  if (function) {
    run.built[index] = std::move(*function);
  } else {
    const Error& error = function.error();
    const std::string& key = run.plan.functions[index].key;
    switch (error.code()) {
      case ErrorCode::invalid_argument:
      case ErrorCode::failed_precondition:
      case ErrorCode::resource_exhausted:
      case ErrorCode::deadline_exceeded:
        if (error.message().empty()) break;  // its problems were noted
        run.errors[index] = fmt::format("function \"{}\": {}", key, error.message());
        run.log.line(key, "failed: " + error.message());
        break;
      default:
        run.trouble = Error(error).context("function \"" + key + "\"");
    }
  }
  --run.left;
  run.changed.notify_all();
}

Task<Result<BuiltFunction>> Builder::make(Run& run, std::size_t index) {
  const auto& planned = run.plan.functions[index];
  const auto noted = [] { return fail(ErrorCode::invalid_argument, ""); };
  std::string folder;
  Files files;
  for (const auto& candidate : folders_of(planned.function)) {
    files = below(run.sources.code, candidate);
    folder = candidate;
    if (!files.empty()) break;
  }
  if (files.empty()) {
    run.problems.error(
        planned.place,
        fmt::format("function \"{}\": there is no folder {} in the code repository: push its code",
                    planned.key, folders_of(planned.function)[0]));
    co_return noted();
  }
  project::Problems problems;
  const auto workflow = project::read_workflow(files, folder, problems);
  for (const auto& problem : problems.list()) run.log.line(planned.key, problem.to_string());
  run.problems.add(problems);
  if (!workflow) co_return noted();
  const auto image = co_await images_.get(workflow->image);
  if (!image) {
    const ErrorCode code = image.error().code();
    if (code != ErrorCode::not_found && code != ErrorCode::failed_precondition)
      co_return fail(image.error());
    const project::Place place{folder + workflow->folder + "/config.yaml", 0, 0};
    run.problems.error(place, code == ErrorCode::not_found
                                  ? fmt::format("the image \"{}\" is unknown here: {}",
                                                harmless(workflow->image), image.error().message())
                                  : "this node cannot build it: " + image.error().message());
    co_return noted();
  }

  BuiltFunction out;
  out.name = planned.key;
  out.toolchain = (*image)->toolchain;
  out.input_digest = co_await pool_.run([&] { return digest_of(**image, files, run.project); });
  const auto known = run.clean ? std::nullopt : cache_.find(out.input_digest);
  if (known) {
    content::LocalSource local(exchange_.blocks());
    const auto module =
        co_await content::read_file(local, *known, options_.limits.output_bytes_max);
    if (module) {
      run.log.line(planned.key, "unchanged: its module is " + known->to_string());
      CO_TRY_SYNC_STATUS(check(planned, *module, offered_));
      out.module = *known;
      co_return out;
    }
    CO_TRY_STATUS(cache_.forget(out.input_digest));
  }
  CO_TRY(auto warm, ready(run, planned.key, *image));
  CO_TRY(const auto permit, sandboxes_.acquire());
  Work work{run, planned, folder, *workflow, files, std::move(warm), {}};
  auto plan = work.image->language->plan_fetch(*work.image, files, images_.machine());
  if (!plan) co_return fail(plan.error().code(), with_real_paths(plan.error().message(), folder));
  if (*plan) {
    auto got = co_await dependencies_.get(
        *work.image->language, **std::move(plan),
        [&](std::string_view line) { run.log.line(planned.key, with_real_paths(line, folder)); });
    if (!got) co_return fail(got.error().code(), with_real_paths(got.error().message(), folder));
    work.dependencies = *std::move(got);
  }
  CO_TRY(out.module, compile(work));
  CO_TRY_STATUS(cache_.put(out.input_digest, out.module, loop_.wall_unix_ms()));
  co_return out;
}

Task<Result<codec::Cid>> Builder::compile(Work& work) {
  auto module = co_await compile_once(work, work.run.clean ? Caches::shared : Caches::all);
  if (module) co_return module;
  const Error& error = module.error();
  // Caches are files that another node may evict at any moment.
  bool misfit = error.code() == ErrorCode::not_found;
  if (work.image->warmth)
    misfit |= std::ranges::any_of(work.image->warmth->misfit_words, [&](const std::string& word) {
      return error.message().find(word) != std::string::npos;
    });
  if (!misfit) co_return module;
  work.run.log.line(work.planned.key, "once more, with a cold cache");
  co_return co_await compile_once(work, Caches::none);
}

Task<Result<codec::Cid>> Builder::compile_once(Work& work, Caches caches) {
  Image image = *work.image;
  if (caches == Caches::none) image.warmth.reset();
  Run& run = work.run;
  const project::PlannedFunction& planned = work.planned;
  const std::string& folder = work.folder;
  const std::string& key = planned.key;
  const std::string kept = kept_name(image, run.project);
  auto command = co_await pool_.run([&] {
    FunctionBuild build{image, work.workflow, work.files, work.dependencies, {}};
    if (!image.kept.empty() && caches == Caches::all) build.kept = kept_.find(kept);
    return build_command(std::move(build), options_.limits);
  });
  if (!command) co_return fail(command.error());
  std::vector<std::string> said;
  const auto line = [&](std::string_view text) {
    const std::string real = with_real_paths(text, folder);
    run.log.line(key, real);
    const bool is_error = real.find("error:") != std::string::npos;
    if (is_error && said.size() < kCompilerErrorsMax) said.push_back(harmless(real));
  };
  LineCutter out(line), err(line);
  const process::OutputSink sink = [&](process::Output to, BytesView bytes) {
    (to == process::Output::standard_output ? out : err).take(bytes);
  };
  const TimePoint start = loop_.now();
  auto exit = co_await runner_.run(*std::move(command), sink);
  out.end();
  err.end();
  std::string context;
  for (const auto& one : said) context += one + "\n";
  if (!exit && exit.error().code() == ErrorCode::deadline_exceeded)
    co_return fail(ErrorCode::deadline_exceeded,
                   "the build was ended after " + ms(options_.limits.wall_time_max));
  if (!exit) co_return fail(exit.error());
  if (exit->code != 0 || exit->out_of_memory || exit->too_much_output) {
    std::string why = exit->why();
    if (exit->out_of_memory)
      why += fmt::format(" ({} MiB)", options_.limits.memory_bytes_max >> 20);
    if (exit->too_much_output)
      why += fmt::format(" ({} KiB of log, {} MiB of results)", options_.limits.log_bytes_max >> 10,
                         options_.limits.output_bytes_max >> 20);
    co_return fail(ErrorCode::failed_precondition, said.empty()
                                                       ? "the build ended with " + why
                                                       : "the build ended with " + why + "\n" +
                                                             context.substr(0, context.size() - 1));
  }
  struct Cut {
    std::size_t bytes = 0;
    content::File file;
  };
  auto cut = co_await pool_.run([&]() -> Result<Cut> {
    TRY(const Outcome outcome, outcome_of(exit->results, options_.limits));
    if (!image.kept.empty()) {
      // Without one, the next build begins anew; a full disk only costs it its time.
      if (outcome.kept.empty() || !kept_.put(kept, outcome.kept)) kept_.remove(kept);
    }
    TRY_STATUS(check(planned, outcome.module, offered_));
    return Cut{outcome.module.size(), content::file_of(outcome.module)};
  });
  if (!cut) co_return fail(cut.error());
  const codec::Cid root = cut->file.root;
  CO_TRY_STATUS(exchange_.put(std::move(cut->file.blocks), store::Durability::buffered));
  run.log.line(key, fmt::format("built in {}: {} bytes, {}", ms(loop_.now() - start), cut->bytes,
                                root.to_string()));
  co_return root;
}

}  // namespace tau::monkey
