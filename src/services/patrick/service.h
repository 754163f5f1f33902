// patrick: pushes become jobs, monkeys take them. See README.md.
//
// All patricks of a network decide together, as members of a consensus group (machine.h): any of
// them takes pushes of the repositories that it hosts, orders and questions; the one that leads the
// group gives jobs to monkeys and keeps their leases.
//
// Owns the group, and the logs of builds; the provider, the stores and the node's parts belong to
// the node and live longer. Loop thread only. start() restores what was acknowledged, answers
// commands and listens to the provider; stop() ends every call in progress and is idempotent.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/random.h"
#include "command/caller.h"
#include "command/router.h"
#include "consensus/keeper.h"
#include "content/exchange.h"
#include "p2p/host.h"
#include "p2p/node_signed.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "services/patrick/bids.h"
#include "services/patrick/lease_book.h"
#include "services/patrick/logs.h"
#include "services/patrick/machine.h"
#include "services/patrick/provider.h"

namespace tau::patrick {

struct Options {
  Duration lease = kLease;  // how long a monkey holds a job without a word
  // Who founds the group; read when this node is first started. Empty: this one, alone; one that is
  // not named joins.
  std::vector<PeerId> founders = {};
  Duration keeper_pace = consensus::Keeper::Options{}.pace;
  // How long a patrick may be away: then its vote goes to another, and so do the repositories of a
  // project that is pushed elsewhere.
  Duration keeper_grace = consensus::Keeper::Options{}.grace;
};

class Service final : public PushListener {
 public:
  // `kv` is this service's own (store::with_prefix). `exchange` is the node's: sources of jobs go
  // into its block store.
  Service(runtime::Loop& loop, p2p::Host& host, command::Router& router, command::Caller& caller,
          store::Kv& kv, content::Exchange& exchange, Provider& provider, Random& random,
          const p2p::NodeIdentity& identity, Logger log, Options options = {});
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
  Task<Status> claim(ProjectId project) override;

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
  Task<Result<CopyLog::Response>> handle(command::Peer peer, CopyLog::Request request);
  Task<Result<LogPiece::Response>> handle(command::Peer peer, LogPiece::Request request);
  Task<Result<HoldSource::Response>> handle(command::Peer peer, HoldSource::Request request);

  const consensus::Group& group() const { return group_; }
  const Jobs& jobs() const { return machine_.jobs(); }
  bool gives_jobs() const { return leading_.has_value(); }  // it leads, and knows all there is

 private:
  struct Known {
    codec::Signed signed_registration;
    auth::Registration registration;
  };
  // A poll of a monkey: what it is given is set once; nothing, when it had better poll again.
  struct Poll {
    Poll(runtime::Loop& loop, Bidder b) : bidder(std::move(b)), ended(loop) {}
    void end(Result<std::optional<JobRecord>> with) {
      given = std::move(with);
      ended.notify_all();
    }
    Bidder bidder;
    bool chosen = false;  // what it is given is being decided, or was
    std::optional<Result<std::optional<JobRecord>>> given;
    runtime::Signal ended;
  };
  struct Spread;

  // service.cc: the group, pushes, questions and orders
  Task<Status> take_over_older();
  void applied(const Change& change);
  JobsCommand command() const;
  // Waits out an election when `again` says that the command may be repeated.
  enum class Repeat : std::uint8_t { no, yes };
  Task<Result<JobsAnswer>> decide(JobsCommand command, Repeat again);
  Task<void> mend();
  Logs::Copies others() const;
  Task<Status> ready();
  Task<Status> settled_or_stale(std::optional<Staleness>& stale);
  Task<Result<Known>> find_project(ProjectId project);
  Task<Result<std::optional<Source>>> source_of(const Push& push);
  Task<Status> spread(codec::Cid archive);
  Task<void> ask_to_hold(PeerId peer, codec::Cid archive, std::shared_ptr<Spread> spread);
  bool is_gone(const PeerId& peer) const;
  Task<Result<JobRecord>> look_for(JobId job);
  template <class Order>
  Task<Result<Order>> open_order(codec::Signed order);
  Status check_age(std::int64_t made_unix_ms) const;
  Task<Result<JobStatus>> obey(JobsCommand order);
  // False: the time is up. Errors: cancelled.
  Task<Result<bool>> wait_for_change(TimePoint until);

  // service_builds.cc: leading, polls, leases
  Task<void> watch_leading();
  Task<bool> begin_leading();
  void leads_anew();
  Result<std::uint64_t> term() const;
  Task<Status> end_of(std::shared_ptr<Poll> poll);
  void end_polls(const PeerId& monkey);  // those that wait: answered with nothing
  Task<Status> give_jobs();  // while a job and a poll wait: the best bid gets the oldest job
  Task<Result<JobRecord>> taken(JobId job, std::uint64_t fence);
  std::shared_ptr<Poll> best_poll(const JobRecord& job) const;
  Task<void> give_back(JobRecord record);
  Task<void> watch_jobs();
  Task<Status> renew(JobId job, PeerId monkey, std::uint64_t fence);
  Task<Status> begin_publishing(PeerId monkey, RenewLease::Request request);
  Task<void> watch_leases();
  Task<void> end_lease(LeaseBook::Held held, std::uint64_t term);

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Router& router_;
  command::Caller& caller_;
  content::Exchange& exchange_;
  Provider& provider_;
  const p2p::NodeIdentity& identity_;
  Logger log_;
  const Options options_;
  std::string git_base_;

  Machine machine_;
  std::unique_ptr<store::Kv> kv_;
  consensus::Groups groups_;
  consensus::Group group_;
  consensus::Keeper keeper_;
  Logs logs_;
  LeaseBook leases_;
  std::optional<std::uint64_t> leading_;  // the term in which this patrick gives jobs
  std::uint64_t turns_ = 0;               // counts when it began to lead, or ceased to

  std::map<std::uint64_t, std::shared_ptr<Poll>> polls_;  // by the order in which they came
  std::uint64_t next_poll_ = 1;
  bool changed_meanwhile_ = false;  // since watch_jobs() looked
  runtime::Semaphore giving_;       // one job at a time
  runtime::Signal changed_;         // jobs, or who leads
  runtime::Signal hurt_;            // the group needs to start again
  std::map<PeerId, TimePoint> away_since_;
  TimePoint started_;
  std::shared_ptr<Service*> self_;  // what the host's handler holds
  std::unique_ptr<runtime::TaskGroup> tasks_;
  bool running_ = false, serving_ = false;
  bool stopped_ = false;  // the group, by mend()
};

// A decision, once begun, is not cut short: nobody would know whether it was made.
template <class T>
Task<T> to_the_end(Task<T> task) {
  runtime::Scope own((co_await runtime::current_scope()).loop());
  co_return co_await std::move(task).in(own);
}

}  // namespace tau::patrick
