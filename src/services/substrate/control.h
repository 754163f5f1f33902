// What the data planes ask of the control loop: which deployment a host has, the compiled module of
// a function, and to keep what functions said. A plane on the control loop calls it directly, the
// others hop over and back.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "guest/log_sink.h"
#include "runtime/one_shot.h"
#include "runtime/task_group.h"
#include "services/substrate/logs.h"
#include "services/substrate/sites.h"
#include "services/tns/client.h"

namespace tau::substrate {

// A host as it is served now.
struct Resolved {
  std::shared_ptr<const tns::Pointer> pointer;
  std::shared_ptr<const Site> site;
  std::string routed_host;  // the name to route by
  Duration tns{}, deployment{};
  tns::Client::Source source = tns::Client::Source::cache;
};

// What one run of a function said.
struct Output {
  ProjectId project;
  std::string function, request;
  guest::LogSink said;
  std::string failure;  // why it failed, with the backtrace; empty: it did not
};

// Lives on the control loop.
class Control {
 public:
  Control(runtime::Loop& loop, tns::Client& tns, content::Exchange& exchange, vm::Engine& engine,
          runtime::ThreadPool& pool, store::Kv& kv, const p2p::Admission& admission,
          ReadyModules::Options ready, Sites::Options sites, Logs::Options logs, Logger log);

  Task<Status> start();
  Task<void> stop();  // idempotent

  // Errors: not_found, invalid_argument (no host name), and why it cannot be served now.
  Task<Result<Resolved>> resolve(std::string host);
  // A module of the deployment that `pointer` points to.
  Task<Result<std::shared_ptr<const LoadedModule>>> module(
      codec::Cid cid, std::shared_ptr<const tns::Pointer> pointer);
  void say(Output output);

  runtime::Loop& loop() const { return loop_; }
  runtime::TaskGroup& tasks() { return tasks_; }
  Logs& logs() { return logs_; }
  const Sites& sites() const { return sites_; }
  // Goes up when a pointer moved: what was resolved before is to be asked again. Any thread.
  std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

 private:
  void moved(const tns::Moved& moved);
  Task<void> prefetch(std::string host);

  runtime::Loop& loop_;
  tns::Client& tns_;
  Logger log_;
  ReadyModules ready_;
  Sites sites_;
  Logs logs_;
  std::atomic<std::uint64_t> generation_{1};
  std::map<std::string, TimePoint, std::less<>> served_;  // hosts that were asked for, and when
  std::shared_ptr<Control*> self_;  // what gossip handlers hold: null after stop()
  runtime::TaskGroup tasks_;
};

// A plane's end of it. Belongs to the plane's loop; the Control outlives the plane.
class Bridge {
 public:
  Bridge(runtime::Loop& loop, Control& control)
      : loop_(loop), control_(control), backlog_(std::make_shared<std::atomic<std::size_t>>(0)) {}

  Task<Result<Resolved>> resolve(std::string host);
  // A module of the deployment that `pointer` points to.
  Task<Result<std::shared_ptr<const LoadedModule>>> module(
      codec::Cid cid, std::shared_ptr<const tns::Pointer> pointer);
  void say(Output output);
  std::uint64_t generation() const { return control_.generation(); }

 private:
  bool same() const { return &loop_ == &control_.loop(); }
  template <class T>
  Task<Result<T>> hop(std::function<Task<Result<T>>(Control&)> ask);

  runtime::Loop& loop_;
  Control& control_;
  // Bytes of output on their way to the control loop.
  std::shared_ptr<std::atomic<std::size_t>> backlog_;
};

}  // namespace tau::substrate
