// patrick: pushes become jobs, monkeys take them. See README.md.
//
// Owns the jobs and their logs; the provider, the stores and the node's parts belong to the node
// and live longer. Loop thread only. start() restores what was acknowledged, answers commands and
// listens to the provider; stop() ends every call in progress and is idempotent.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "command/caller.h"
#include "command/router.h"
#include "p2p/node_signed.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "services/patrick/bids.h"
#include "services/patrick/jobs.h"
#include "services/patrick/provider.h"
#include "services/patrick/store.h"
#include "store/block_store.h"

namespace tau::patrick {

struct Options {
  Duration lease = kLease;  // how long a monkey holds a job without a word
};

class Service final : public PushListener {
 public:
  // `blocks` is what the node's bitswap serves to its peers: sources of jobs go there.
  Service(runtime::Loop& loop, command::Router& router, command::Caller& caller, store::Kv& kv,
          store::BlockStore& blocks, Provider& provider, const p2p::NodeIdentity& identity,
          Logger log, Options options = {});
  ~Service() override;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  Task<Status> start();
  Task<void> stop();

  // Where people reach the local provider's repositories; known once the node listens.
  void set_git_base(std::string url) { git_base_ = std::move(url); }

  Task<Result<Accepted>> accept(Push push) override;
  std::string known_commit(const ProjectId& project, const std::string& repository,
                           const std::string& branch) const override;
  std::vector<std::string> known_branches(const ProjectId& project,
                                          const std::string& repository) const override;
  Task<Result<auth::Registration>> registration(ProjectId project) override;

  Task<Result<TakeJob::Response>> handle(command::Peer peer, TakeJob::Request request);
  Task<Result<RenewLease::Response>> handle(command::Peer peer, RenewLease::Request request);
  Task<Result<AppendLog::Response>> handle(command::Peer peer, AppendLog::Request request);
  Task<Result<FinishJob::Response>> handle(command::Peer peer, FinishJob::Request request);
  Task<Result<ListJobs::Response>> handle(command::Peer peer, ListJobs::Request request);
  Task<Result<GetJob::Response>> handle(command::Peer peer, GetJob::Request request);
  Task<Result<ReadLog::Response>> handle(command::Peer peer, ReadLog::Request request);
  Task<Result<GitBase::Response>> handle(command::Peer peer, GitBase::Request request);
  Task<Result<CancelJob::Response>> handle(command::Peer peer, CancelJob::Request request);
  Task<Result<RetryJob::Response>> handle(command::Peer peer, RetryJob::Request request);
  Task<Result<NumberRollback::Response>> handle(command::Peer peer,
                                                NumberRollback::Request request);

 private:
  struct Known {
    codec::Signed signed_registration;
    auth::Registration registration;
  };
  Task<Result<Known>> find_project(ProjectId project);
  Task<Result<std::optional<Source>>> source_of(const Push& push);
  Task<Result<Accepted>> decide_push(Push push, std::optional<Source> source, Known known);
  // A poll of a monkey: what it is given is set once; nothing, when it had better poll again.
  struct Poll {
    Poll(runtime::Loop& loop, Bidder b) : bidder(std::move(b)), ended(loop) {}
    void end(Result<std::optional<JobRecord>> with) {
      given = std::move(with);
      ended.notify_all();
    }
    Bidder bidder;
    bool chosen = false;  // what it is given is being written down, or was
    std::optional<Result<std::optional<JobRecord>>> given;
    runtime::Signal ended;
  };
  Task<Status> end_of(std::shared_ptr<Poll> poll);
  void end_polls(const PeerId& monkey);  // those that wait: answered with nothing
  Task<Status> decide_takes();  // while a job and a poll wait: the best bid gets the oldest job
  std::shared_ptr<Poll> best_poll(const JobRecord& job) const;
  Task<void> give_back(JobRecord record);
  Task<Status> decide_give_back(JobRecord record);
  Task<void> watch_jobs();
  Task<Status> decide_publishing(PeerId monkey, RenewLease::Request request);
  template <class Order>
  Result<Order> open_order(const codec::Signed& order) const;
  Task<Result<JobStatus>> decide_cancel(CancelOrder order);
  Task<Result<JobStatus>> decide_retry(RetryOrder order);
  Status check_age(std::int64_t made_unix_ms) const;
  Task<Result<std::uint64_t>> decide_seq(ProjectId project, std::string branch);
  Task<Status> decide_finish(PeerId monkey, FinishJob::Request request);
  Task<Status> decide_append(PeerId monkey, AppendLog::Request request);
  Task<Status> decide_expire();
  Task<Status> commit(Change change);  // the lock is held
  // False: the time is up. Errors: cancelled.
  Task<Result<bool>> wait_for_change(TimePoint until);
  Task<void> watch_leases();

  runtime::Loop& loop_;
  command::Router& router_;
  command::Caller& caller_;
  Store store_;
  store::BlockStore& blocks_;
  Provider& provider_;
  const p2p::NodeIdentity& identity_;
  Logger log_;
  const Options options_;
  std::string git_base_;

  Jobs jobs_;
  std::map<std::uint64_t, std::shared_ptr<Poll>> polls_;  // by the order in which they came
  std::uint64_t next_poll_ = 1;
  bool changed_meanwhile_ = false;  // since watch_jobs() looked
  runtime::Semaphore deciding_;     // one decision at a time: looked at, written, applied
  runtime::Signal changed_;
  std::unique_ptr<runtime::TaskGroup> tasks_;
  bool running_ = false;
};

}  // namespace tau::patrick
