// A small network around one monkey, for its tests: patrick, tns and hoarders stand in behind their
// wire interfaces; the programs that build are scripted or real, as the test brings them.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "codec/peer_id.h"
#include "command/members.h"
#include "content/unixfs.h"
#include "p2p/simulated/network.h"
#include "process/archive.h"
#include "project/writer.h"
#include "services/monkey/service.h"
#include "services/tns/api.h"
#include "store/memory/memory_kv.h"

namespace tau::monkey {

using Files = std::map<std::string, std::string>;

inline std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

// One node's blocks.
struct Storage {
  Storage(runtime::Loop& loop, p2p::Host& host)
      : blocks(kv), exchange(loop, host, blocks, Logger()) {
    exchange.start();
  }
  store::MemoryKv kv;
  store::BlockStore blocks;
  content::Exchange exchange;
};

// Hands out jobs, keeps logs, believes what monkeys report.
class FakePatrick {
 public:
  FakePatrick(runtime::Loop& loop, p2p::NodeIdentity& identity)
      : loop_(loop), identity_(identity), changed_(loop) {}

  void add(patrick::Job job) {
    waiting.push_back(std::move(job));
    changed_.notify_all();
  }
  Task<Result<patrick::TakeJob::Response>> handle(command::Peer, patrick::TakeJob::Request r) {
    if (r.bid) bids.push_back(*r.bid);
    const TimePoint until = loop_.now() + std::chrono::milliseconds(r.wait_ms);
    while (waiting.empty() && loop_.now() < until) {
      const auto woken =
          co_await runtime::with_deadline(until - loop_.now(), "poll", changed_.wait());
      if (!woken && woken.error().code() == ErrorCode::cancelled) co_return fail(woken.error());
    }
    if (waiting.empty()) co_return patrick::TakeJob::Response{};
    const patrick::Job job = std::move(waiting.front());
    waiting.pop_front();
    co_return patrick::TakeJob::Response{identity_.sign(job), ++fence, 3000};
  }
  Task<Result<command::Empty>> handle(command::Peer, patrick::RenewLease::Request r) {
    ++renewed;
    if (deaf) co_return fail(ErrorCode::unavailable, "restarting");
    if (r.fence > fence || lease_lost || (too_late && r.publishing == true))
      co_return fail(ErrorCode::aborted, "another's now");
    const TimePoint until = loop_.now() + std::chrono::milliseconds(r.wait_ms.value_or(0));
    while (loop_.now() < until) {
      const auto woken =
          co_await runtime::with_deadline(until - loop_.now(), "poll", changed_.wait());
      if (!woken && woken.error().code() == ErrorCode::cancelled) co_return fail(woken.error());
      if (lease_lost) co_return fail(ErrorCode::aborted, "cancelled");
    }
    co_return command::Empty{};
  }
  void lose_lease() {
    lease_lost = true;
    changed_.notify_all();
  }
  Task<Result<patrick::AppendLog::Response>> handle(command::Peer, patrick::AppendLog::Request r) {
    if (r.text.size() > (64u << 10)) co_return fail(ErrorCode::invalid_argument, "too long");
    log += r.text;
    co_return patrick::AppendLog::Response{r.offset.value_or(0) + r.text.size()};
  }
  Task<Result<command::Empty>> handle(command::Peer, patrick::FinishJob::Request r) {
    if (deaf) co_return fail(ErrorCode::unavailable, "restarting");
    if (r.fence > fence) co_return fail(ErrorCode::aborted, "another's now");
    finished.push_back(std::move(r));
    co_return command::Empty{};
  }
  using Commands =
      command::List<patrick::TakeJob, patrick::RenewLease, patrick::AppendLog, patrick::FinishJob>;

  std::deque<patrick::Job> waiting;
  std::vector<patrick::FinishJob::Request> finished;
  std::string log;
  std::uint64_t fence = 0;
  int renewed = 0;
  bool lease_lost = false;
  bool too_late = false;  // says so when something is to be published
  bool deaf = false;      // as a patrick that restarts
  std::vector<patrick::Bid> bids;

 private:
  runtime::Loop& loop_;
  p2p::NodeIdentity& identity_;
  runtime::Signal changed_;
};

class FakeTns {
 public:
  explicit FakeTns(p2p::Admission& admission, runtime::Loop& loop)
      : admission_(admission), loop_(loop) {}
  Task<Result<tns::Publish::Response>> handle(command::Peer, tns::Publish::Request r) {
    if (unavailable > 0) {
      --unavailable;
      co_return fail(ErrorCode::unavailable, "no majority");
    }
    CO_TRY_SYNC(auto job, p2p::open_node_signed<patrick::Job>(admission_, "patrick", r.job,
                                                              loop_.wall_unix_ms()));
    CO_TRY_SYNC(auto receipt, p2p::open_node_signed<Receipt>(admission_, "monkey", r.receipt,
                                                             loop_.wall_unix_ms()));
    CO_TRY_SYNC_STATUS(check_receipt(receipt.record));
    published.push_back(std::move(receipt.record));
    co_return tns::Publish::Response{r.receipt};
  }
  std::vector<Receipt> published;
  int unavailable = 0;

 private:
  p2p::Admission& admission_;
  runtime::Loop& loop_;
};

// Fetches what it promises to hold from the monkey, as hoarders do.
class FakeHolders final : public Holders {
 public:
  FakeHolders(Storage& storage, PeerId monkey, PeerId self)
      : storage_(storage), monkey_(std::move(monkey)), self_(std::move(self)) {}
  Task<Result<std::vector<PeerId>>> hold(codec::Cid root) override {
    if (refuse) co_return fail(ErrorCode::unavailable, "no hoarder is connected");
    CO_TRY(const auto size, storage_.exchange.get_dag(root, {.hints = {monkey_}}, {}));
    (void)size;
    held.push_back(root);
    co_return std::vector<PeerId>{self_};
  }
  Task<Status> hold_also(codec::Cid root, std::vector<PeerId>) override {
    CO_TRY(const auto held_now, hold(root));
    (void)held_now;
    co_return Status{};
  }
  std::vector<codec::Cid> held;
  bool refuse = false;

 private:
  Storage& storage_;
  PeerId monkey_, self_;
};

inline command::Members::HostFactory hosts_on(p2p::simulated::SimulatedNetwork& network) {
  return [&network](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::simulated::SimulatedHost>(
        network, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
  };
}

class Town {
 public:
  Town(runtime::Loop& l, Random& random, command::Members::HostFactory hosts,
       process::Runner& runner, Options options = {})
      : loop(l),
        members(l, random, std::move(hosts)),
        patrick_node(members.add({"patrick"})),
        tns_node(members.add({"tns"})),
        hoarder_node(members.add({"hoarder"})),
        monkey_node(members.add({"monkey"})),
        owner(crypto::KeyPair::generate(random)),
        patrick(l, patrick_node.identity),
        tns(tns_node.admission, l) {
    EXPECT_TRUE(runtime::block_on(loop, members.start()));
    patrick_store = std::make_unique<Storage>(loop, *patrick_node.host);
    hoarder_store = std::make_unique<Storage>(loop, *hoarder_node.host);
    monkey_store = std::make_unique<Storage>(loop, *monkey_node.host);
    holders = std::make_unique<FakeHolders>(*hoarder_store, monkey_node.host->id(),
                                            hoarder_node.host->id());
    patrick_node.router.serve(patrick::kProtocol, patrick, FakePatrick::Commands{});
    tns_node.router.serve(tns::kProtocol, tns, command::List<tns::Publish>{});
    options.builder.suffix = "blackhole.localhost";
    service = std::make_unique<Service>(
        loop, *monkey_node.host, monkey_node.caller, kv, monkey_store->exchange, runner, pool,
        *holders, monkey_node.identity, monkey_node.admission, Logger(), options);
    const auto started = runtime::block_on(loop, service->start());
    EXPECT_TRUE(started) << started.error().to_string();

    registration.genesis = {"hello", owner.public_key().raw(), {}};
    registration.label = "hello";
    registration.repositories = {{"config", auth::RepositoryKind::config, "local"},
                                 {"code", auth::RepositoryKind::code, "local"}};
    registration.made_unix_ms = 1;
    config["config.yaml"] = project::project_yaml({registration.project().str(), "hello", ""});
    config["domains/main.yaml"] = project::domain_yaml({id_of("main"), "", "hello"});
    add_function("ping");
  }
  ~Town() {
    runtime::block_on(loop, service->stop());
    runtime::block_on(loop, service->stop());
    runtime::block_on(loop, patrick_node.router.unserve(patrick::kProtocol));
    runtime::block_on(loop, tns_node.router.unserve(tns::kProtocol));
    for (auto* storage : {&patrick_store, &hoarder_store, &monkey_store})
      runtime::block_on(loop, (*storage)->exchange.stop());
    runtime::block_on(loop, members.stop());
  }

  void add_function(const std::string& name) {
    project::NewFunction f;
    f.id = id_of(name);
    f.paths = {"/" + name};
    f.domains = {"main"};
    f.call = name;
    config["functions/" + name + ".yaml"] = project::function_yaml(f);
    const std::string folder = "functions/" + name + "/";
    code[folder + ".taubyte/config.yaml"] = project::workflow_yaml("taubyte/cpp-wasi", {"build"});
    code[folder + ".taubyte/build.sh"] = ". /utils/wasm.sh\nbuild \"${FILENAME:-}\"\n";
    code[folder + "main.cc"] = "#include <tau/http.h>\n\nTAU_HTTP_FUNCTION(" + name +
                               ") { event.write(\"" + name + "\"); }\n";
  }

  patrick::Source source_of(const Files& files) {
    process::ArchivedFiles archived;
    for (const auto& [path, text] : files) archived[path] = {to_bytes(text), false};
    const auto tar = process::write_tar(archived);
    EXPECT_TRUE(tar);
    const auto root = runtime::block_on(
        loop, content::add_file(patrick_store->blocks, *tar, store::Durability::buffered));
    EXPECT_TRUE(root);
    return {std::string(40, 'a'), *root};
  }
  void push() {
    patrick::Job job;
    job.id = JobId("job-" + std::to_string(++seq));
    job.project = registration.project();
    job.branch = "main";
    job.seq = seq;
    job.sources["config"] = source_of(config);
    if (!code.empty()) job.sources["code"] = source_of(code);
    job.registration = codec::sign_record(owner, registration);
    if (clean) job.clean = true;
    patrick.log.clear();
    patrick.add(std::move(job));
  }
  // The report of a pushed job.
  patrick::FinishJob::Request push_and_wait() {
    const std::size_t before = patrick.finished.size();
    push();
    EXPECT_TRUE(wait([&] { return patrick.finished.size() > before; })) << patrick.log;
    return patrick.finished.size() > before ? patrick.finished.back()
                                            : patrick::FinishJob::Request{};
  }
  template <class Condition>
  bool wait(Condition condition) {
    const TimePoint give_up = loop.now() + wait_max;
    while (!condition() && loop.now() < give_up)
      (void)runtime::block_on(loop, runtime::sleep_for(std::chrono::milliseconds(5)));
    return condition();
  }

  runtime::Loop& loop;
  command::Members members;
  command::Member &patrick_node, &tns_node, &hoarder_node, &monkey_node;
  crypto::KeyPair owner;
  FakePatrick patrick;
  FakeTns tns;
  std::unique_ptr<Storage> patrick_store, hoarder_store, monkey_store;
  std::unique_ptr<FakeHolders> holders;
  store::MemoryKv kv;
  runtime::ThreadPool pool{0};
  std::unique_ptr<Service> service;
  auth::Registration registration;
  Files config, code;
  std::uint64_t seq = 0;
  Duration wait_max = std::chrono::seconds(60);
  bool clean = false;  // what is pushed is built without caches
};

}  // namespace tau::monkey
