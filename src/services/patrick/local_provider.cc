#include "services/patrick/local_provider.h"

#include <algorithm>

#include "services/patrick/jobs.h"
#include "services/patrick/repositories.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

constexpr Duration kTellAgainFirst = 500ms;  // auth and tns of a starting network are soon there
constexpr Duration kTellAgainMost = 30s;

// Another try would end the same way: what was pushed is at fault, not this network.
bool is_final(ErrorCode code) {
  return code == ErrorCode::invalid_argument || code == ErrorCode::not_found ||
         code == ErrorCode::resource_exhausted || code == ErrorCode::permission_denied;
}

}  // namespace

LocalProvider::LocalProvider(runtime::Loop& loop, process::Runner& runner,
                             std::filesystem::path folder, Logger log)
    : loop_(loop),
      folder_(std::filesystem::absolute(folder)),
      log_(std::move(log)),
      git_(loop, runner, folder_),
      call_ended_(loop),
      to_tell_added_(loop) {}

LocalProvider::~LocalProvider() { CHECK(!listener_); }

Result<LocalProvider::Name> LocalProvider::parse_name(std::string_view project,
                                                      std::string_view repository) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  const auto cid = codec::Cid::parse(project);
  const bool good = cid && cid->to_string() == project && !repository.empty() &&
                    repository.size() <= 64 && std::ranges::all_of(repository, plain);
  if (!good)
    return fail(ErrorCode::not_found,
                "no such repository; its address is …/git/PROJECT/REPOSITORY.git");
  return Name{ProjectId(std::string(project)), std::string(repository)};
}

std::filesystem::path LocalProvider::path_of(const Name& name) const {
  return folder_ / name.project.str() / (name.repository + ".git");
}

std::filesystem::path LocalProvider::spool_file() {
  return folder_ / "spool" / std::to_string(++spooled_);
}

std::shared_ptr<LocalProvider::Repository> LocalProvider::repository(const Name& name) {
  auto& entry = repositories_[name];
  if (!entry) entry = std::make_shared<Repository>(loop_);
  return entry;
}

Task<Status> LocalProvider::start(PushListener& listener) {
  if (running()) co_return Status{};
  CO_TRY_SYNC_STATUS(recover_repositories(folder_));
  std::error_code ec;
  std::filesystem::remove_all(folder_ / "spool", ec);
  std::filesystem::create_directories(folder_ / "spool", ec);
  if (ec)
    co_return fail(ErrorCode::unavailable,
                   "making " + (folder_ / "spool").string() + ": " + ec.message());
  for (const auto& project : std::filesystem::directory_iterator(folder_, ec)) {
    for (const auto& entry : std::filesystem::directory_iterator(project.path(), ec)) {
      if (entry.path().extension() != ".git") continue;
      const auto name =
          parse_name(project.path().filename().string(), entry.path().stem().string());
      if (!name) continue;
      repository(*name)->ready = true;
      to_tell_.insert(*name);
    }
  }
  listener_ = &listener;
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  tasks_->spawn(tell_again());
  co_return Status{};
}

Task<void> LocalProvider::stop() {
  if (!running()) co_return;
  for (auto* call : std::set(calls_)) call->cancel();
  runtime::Scope own(loop_);
  while (!calls_.empty()) (void)co_await call_ended_.wait().in(own);
  co_await tasks_->stop().in(own);
  listener_ = nullptr;
}

Task<Result<Bytes>> LocalProvider::archive(ProjectId project, std::string repository,
                                           std::string commit) {
  CO_TRY_SYNC(const Name name, parse_name(project.str(), repository));
  if (!is_commit(commit)) co_return fail(ErrorCode::invalid_argument, "a commit has 40 hex digits");
  co_return co_await git_.archive(path_of(name), std::move(commit), kArchiveBytesMax);
}

Task<Status> LocalProvider::prepare(Name name) {
  const auto here = repository(name);
  if (!listener_) co_return fail(ErrorCode::unavailable, "the git host of this node is stopped");
  if (here->ready) co_return co_await listener_->claim(name.project);
  const auto registration = co_await listener_->registration(name.project);
  if (!registration) {
    repositories_.erase(name);  // a stranger's guesses take no memory
    co_return fail(registration.error());
  }
  const bool registered = std::ranges::any_of(registration->repositories, [&](const auto& r) {
    return r.name == name.repository && r.provider == kLocalProvider;
  });
  if (!registered) {
    repositories_.erase(name);
    co_return fail(ErrorCode::not_found, "project " + name.project.str() + " has no repository \"" +
                                             name.repository + "\" here");
  }
  if (auto claimed = co_await listener_->claim(name.project); !claimed) {
    repositories_.erase(name);
    co_return claimed;
  }
  CO_TRY(const auto permit, here->telling.acquire());
  if (here->ready) co_return Status{};
  if (!std::filesystem::exists(path_of(name))) CO_TRY_STATUS(git_.create(path_of(name)));
  here->ready = true;
  co_return Status{};
}

Task<Result<LocalProvider::Told>> LocalProvider::tell_locked(Name name) {
  const auto here = repository(name);
  CO_TRY(const auto permit, here->telling.acquire());
  if (!listener_) co_return fail(ErrorCode::unavailable, "the git host of this node is stopped");
  if (const auto claimed = co_await listener_->claim(name.project); !claimed) {
    if (claimed.error().code() != ErrorCode::failed_precondition) co_return fail(claimed.error());
    co_return Told{true, {"not told, because another node hosts it: " + claimed.error().message()}};
  }
  CO_TRY(const auto refs, git_.branches(path_of(name)));
  std::vector<Push> pushes;
  for (const auto& branch : listener_->known_branches(name.project, name.repository))
    if (std::ranges::none_of(refs, [&](const Ref& r) { return r.branch == branch; }))
      pushes.push_back({name.project, name.repository, branch, ""});
  for (const auto& ref : refs)
    if (listener_->known_commit(name.project, name.repository, ref.branch) != ref.commit)
      pushes.push_back({name.project, name.repository, ref.branch, ref.commit});
  Told told;
  for (auto& push : pushes) {
    const std::string branch = push.branch;
    const auto accepted = co_await listener_->accept(std::move(push));
    if (accepted) {
      if (!accepted->note.empty()) told.lines.push_back(accepted->note);
      continue;
    }
    const bool final = is_final(accepted.error().code());
    told.lines.push_back("branch " + branch + " is not built" + (final ? "" : " yet") + ": " +
                         accepted.error().message());
    if (!final) told.complete = false;
  }
  co_return told;
}

Task<LocalProvider::Told> LocalProvider::tell(Name name) {
  auto told = co_await tell_locked(name);
  if (!told) told = Told{false, {told.error().message()}};
  if (told->complete) {
    to_tell_.erase(name);
  } else {
    tell_later(name);
  }
  co_return *std::move(told);
}

void LocalProvider::tell_later(const Name& name) {
  to_tell_.insert(name);
  to_tell_added_.notify_all();
}

Task<void> LocalProvider::tell_again() {
  Duration pause = kTellAgainFirst;
  for (;;) {
    for (const Name& name : std::set(to_tell_)) {
      const Told told = co_await tell(name);
      for (const auto& line : told.lines) {
        if (told.complete) {
          log_.info(name.repository + ": " + line);
        } else {
          log_.debug(name.repository + ": " + line);
        }
      }
    }
    if (to_tell_.empty()) {
      pause = kTellAgainFirst;
      if (!co_await to_tell_added_.wait()) co_return;
    }
    if (!co_await runtime::sleep_for(pause)) co_return;
    pause = std::min<Duration>(pause * 2, kTellAgainMost);
  }
}

}  // namespace tau::patrick
