#include "testnet/scripted_git.h"

#include "crypto/ed25519.h"

namespace tau::testnet {

Task<Result<patrick::Accepted>> ScriptedGit::push(ProjectId project, std::string repository,
                                                  std::string branch, Tree tree) {
  if (!listener_) co_return fail(ErrorCode::unavailable, "patrick does not listen");
  process::ArchivedFiles files;
  for (const auto& [path, text] : tree) files[path] = {to_bytes(text), false};
  CO_TRY_SYNC(Bytes tar, process::write_tar(files));
  // 40 hex digits that name the content, as git's do.
  const std::string commit = to_hex(BytesView(crypto::sha256(tar)).first(20));
  archives_[commit] = std::move(tar);
  // Ends with the provider, as a request does with the server that took it.
  runtime::Scope& outer = co_await runtime::current_scope();
  if (!ended_) ended_ = std::make_unique<runtime::Signal>(outer.loop());
  runtime::Scope own(outer.loop(), outer);
  pushing_.insert(&own);
  auto accepted =
      co_await listener_
          ->accept({std::move(project), std::move(repository), std::move(branch), commit})
          .in(own);
  pushing_.erase(&own);
  ended_->notify_all();
  co_return accepted;
}

Task<Status> ScriptedProvider::start(patrick::PushListener& listener) {
  git_->listener_ = &listener;
  co_return Status{};
}

Task<void> ScriptedProvider::stop() {
  git_->listener_ = nullptr;
  for (runtime::Scope* push : std::set(git_->pushing_)) push->cancel();
  while (!git_->pushing_.empty()) (void)co_await git_->ended_->wait();
}

Task<Result<Bytes>> ScriptedProvider::archive(ProjectId, std::string, std::string commit) {
  const auto found = git_->archives_.find(commit);
  if (found == git_->archives_.end()) co_return fail(ErrorCode::not_found, "no commit " + commit);
  co_return found->second;
}

}  // namespace tau::testnet
