// hoarder: keeps whole DAGs on this node's disk. See README.md.
//
// Loop thread only. start() begins to answer and to announce what is held; stop() ends every call
// in progress and is idempotent.
#pragma once

#include "base/log.h"
#include "command/router.h"
#include "content/exchange.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "services/hoarder/api.h"
#include "services/hoarder/store.h"

namespace tau::hoarder {

class Service {
 public:
  // `kv` is this service's own; the blocks go where the exchange puts them.
  Service(runtime::Loop& loop, command::Router& router, content::Exchange& exchange, store::Kv& kv,
          Logger log);

  Task<Status> start();
  Task<void> stop();

  Task<Result<Held>> handle(command::Peer peer, Hold::Request request);
  Task<Result<command::Empty>> handle(command::Peer, Release::Request request);
  Task<Result<Holds::Response>> handle(command::Peer, Holds::Request request);
  Task<Result<ListHeld::Response>> handle(command::Peer, ListHeld::Request request);

 private:
  Task<void> announce();
  Task<Status> announce_all();
  Task<void> announce_one(codec::Cid root);

  runtime::Loop& loop_;
  command::Router& router_;
  content::Exchange& exchange_;
  Store store_;
  Logger log_;
  bool running_ = false;
  runtime::Semaphore holds_;
  runtime::Channel<codec::Cid> fresh_;  // held, and not announced yet
  runtime::TaskGroup tasks_;
};

}  // namespace tau::hoarder
